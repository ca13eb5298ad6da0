"""Caps, protonation, and D residues of the input: kept, or named, by every verb."""

from __future__ import annotations

import logging
import re

import mdtraj as md
import numpy as np
import pytest
from click.testing import CliRunner
from force_fields import load
from frames_to_relax import ALONE, with_d_residue
from odd_peptides import all_atoms, hand, names_of, write_capped, write_renamed
from openmm import NonbondedForce

import openmm_slm
from openmm_slm.cli.main import main
from openmm_slm.errors import StructureError
from openmm_slm.protein.variants import stated_variant

QUIET = {"progress": False, "device": "cpu"}
SEED = {"n": 1, "solvent": "implicit", "equilibration": 0, "report": "md"}
PEPTIDE = "AKFS"


def charge(topology: md.Topology) -> float:
    """Total charge in amber14, which also shows that there is a template for each residue."""
    system = load("amber14-all.xml").createSystem(topology.to_openmm())
    (force,) = (f for f in system.getForces() if isinstance(f, NonbondedForce))
    charges = (force.getParticleParameters(i)[0]._value for i in range(system.getNumParticles()))
    return round(sum(charges), 3)


def seeded(source):
    return next(openmm_slm.seed_simulations(source, **SEED))


# -- caps --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "behind", "expected"),
    [
        ("ACE", "NME", 1.0),
        ("ACE", "", 0.0),
        ("", "NME", 2.0),
        ("ACE", "NMA", 1.0),
        ("ACE", "NH2", 1.0),
        ("", "NHE", 2.0),
    ],
)
def test_complete_keeps_caps_and_charges_free_ends_only(tmp_path, before, behind, expected):
    path = write_capped(tmp_path / "in.pdb", PEPTIDE, before, behind)
    out = openmm_slm.complete(path, **QUIET)
    standard = {"NMA": "NME", "NHE": "NH2"}
    named = [standard.get(name, name) for name in (before, behind)]
    assert [r.name for r in out.topology.residues] == [
        name for name in (named[0], "ALA", "LYS", "PHE", "SER", named[1]) if name
    ]
    assert charge(out.topology) == expected  # lysine +1, a free N-terminus +1, a free C-terminus -1
    first, last = (1, 4) if before else (0, 3)
    assert ({"H2", "H3"} <= names_of(out.topology, first)) == (not before)
    assert ("OXT" in names_of(out.topology, last)) == (not behind)
    # Heavy atoms lie where they were.
    given = md.load(str(path))
    kept = {(a.residue.index, a.name): out.xyz[0, a.index] for a in out.topology.atoms}
    for atom in given.topology.atoms:
        name = {"CA": "C", "CH3": "C"}.get(atom.name) if atom.residue.name == "NMA" else None
        where = kept[atom.residue.index, name or atom.name]
        np.testing.assert_allclose(where, given.xyz[0, atom.index], atol=1e-4)
    report = openmm_slm.geometry_report(out)
    assert report["valid"].all() and not report["missing_heavy_atoms"].any()


def test_hydrogens_of_caps_have_the_geometry_of_amides_and_methyls(tmp_path):
    path = write_capped(tmp_path / "in.pdb", PEPTIDE, "ACE", "NME")
    out = openmm_slm.complete(path, **QUIET)
    heavy = {a.index for a in out.topology.atoms if a.element.symbol != "H"}
    lengths = {"C": 0.109, "N": 0.101, "O": 0.096}  # nm
    for a, b in out.topology.bonds:
        if not {a.index, b.index} <= heavy:
            parent = a if a.index in heavy else b
            length = np.linalg.norm(out.xyz[0, a.index] - out.xyz[0, b.index])
            assert length == pytest.approx(lengths[parent.element.symbol], abs=2e-4)
    relaxed = openmm_slm.relax(out, **ALONE)
    assert relaxed.report["valid"].all()
    assert relaxed.report["largest_bond_deviation_nm"][0] < 0.005


@pytest.mark.parametrize(("before", "behind"), [("ACE", "NME"), ("ACE", "NH2"), ("", "NH2")])
def test_relax_and_seed_keep_caps(tmp_path, before, behind):
    given = openmm_slm.complete(write_capped(tmp_path / "in.pdb", PEPTIDE, before, behind), **QUIET)
    given.save_pdb(str(tmp_path / "capped.pdb"))
    names = [(a.residue.name, a.name) for a in given.topology.atoms]
    assert any(residue == behind for residue, _ in names)
    for source in (given, tmp_path / "capped.pdb"):
        relaxed = openmm_slm.relax(source, iterations=5, **ALONE)
        assert [(a.residue.name, a.name) for a in relaxed.trajectory.topology.atoms] == names
        assert np.isfinite(relaxed.report["energy_after_kj_mol"]).all()
        seed = seeded(source)
        assert [(a.residue.name, a.name) for a in seed.topology.atoms()] == names


def test_caps_in_the_names_of_amber_and_gromacs_relax(tmp_path):
    given = openmm_slm.complete(write_capped(tmp_path / "in.pdb", PEPTIDE, "ACE", "NME"), **QUIET)
    amber = {"NME": {"C": "CH3", "H1": "HH31", "H2": "HH32", "H3": "HH33"},
             "ACE": {"H1": "HH31", "H2": "HH32", "H3": "HH33"}}  # fmt: skip
    renamed = md.Topology()
    chain = renamed.add_chain("A")
    for old in given.topology.residues:
        residue = renamed.add_residue(old.name, chain, old.resSeq)
        for atom in old.atoms:
            name = amber.get(old.name, {}).get(atom.name, atom.name)
            renamed.add_atom(name, atom.element, residue)
    renamed.create_standard_bonds()
    md.Trajectory(given.xyz, renamed).save_gro(str(tmp_path / "capped.gro"))
    relaxed = openmm_slm.relax(tmp_path / "capped.gro", iterations=5, **ALONE)
    assert [r.name for r in relaxed.trajectory.topology.residues][::5] == ["ACE", "NME"]
    assert np.isfinite(relaxed.report["energy_after_kj_mol"]).all()
    again = openmm_slm.complete(tmp_path / "capped.gro", **QUIET)
    assert again.n_atoms == given.n_atoms


def test_caps_within_residues_as_charmm_writes_them_become_residues(tmp_path):
    path = write_capped(tmp_path / "in.pdb", PEPTIDE, "ACE", "NME")
    expected = openmm_slm.complete(path, **QUIET)
    patched = {"ACE": {"CH3": "CAY", "C": "CY", "O": "OY"}, "NME": {"N": "NT", "CH3": "CAT"}}
    owner = {"ACE": "ALA A   2", "NME": "SER A   5"}
    lines = path.read_text().splitlines()
    for k, line in enumerate(lines):
        cap, atom = line[17:20], line[12:16].strip()
        if cap in patched:
            lines[k] = f"{line[:12]} {patched[cap][atom]:<3} {owner[cap]}{line[26:]}"
    path.write_text("\n".join(lines))
    for source in (path, md.load(str(path))):
        found = openmm_slm.complete(source, **QUIET)
        assert [str(a) for a in found.topology.atoms] == [str(a) for a in expected.topology.atoms]
        np.testing.assert_allclose(found.xyz, expected.xyz, atol=1e-4)


def test_caps_survive_a_folder_and_several_frames(tmp_path):
    one = openmm_slm.complete(write_capped(tmp_path / "in.pdb", PEPTIDE, "ACE", "NME"), **QUIET)
    frames = md.join([one, one])
    frames.xyz[1] += 1
    folder = openmm_slm.complete(frames, output=tmp_path / "out", **QUIET)
    again = openmm_slm.complete(folder, **QUIET)
    assert [r.name for r in again.topology.residues][::5] == ["ACE", "NME"]
    moved = again.xyz[1] - again.xyz[0]
    np.testing.assert_allclose(moved, 1, atol=3e-3)  # XTC rounds to 0.001 nm
    relaxed = openmm_slm.relax(folder, iterations=5, **ALONE)
    assert relaxed.trajectory.n_atoms == one.n_atoms


def test_caps_follow_the_ends_of_a_molecule_that_is_cut_by_the_box(tmp_path):
    path = write_capped(tmp_path / "in.pdb", PEPTIDE, "ACE", "NME")
    whole, lines = openmm_slm.complete(path, **QUIET), path.read_text().splitlines()
    cut = [
        f"{line[:30]}{float(line[30:38]) + 40:8.3f}{line[38:]}"
        if line.startswith("ATOM") and int(line[22:26]) < 4
        else line
        for line in lines
    ]
    cell = f"CRYST1{40:9.3f}{40:9.3f}{40:9.3f}{90:7.2f}{90:7.2f}{90:7.2f} P 1           1"
    path.write_text("\n".join([cell, *cut]))
    for source in (path, md.load(str(path))):
        found = openmm_slm.complete(source, **QUIET)
        moved = found.xyz[0] - whole.xyz[0]
        np.testing.assert_allclose(moved, np.broadcast_to(moved[0], moved.shape), atol=1e-3)


def test_caps_that_cannot_be_kept_are_named(tmp_path, caplog):
    path = write_capped(tmp_path / "in.pdb", PEPTIDE, "FOR", "NME")
    out = openmm_slm.complete(path, **QUIET)
    assert "FOR 1 is left out" in caplog.text and "NME" not in caplog.text
    assert [r.name for r in out.topology.residues][-1] == "NME"
    caplog.clear()
    options = {"n": 1, "seed": 1, "template": path, **QUIET}
    openmm_slm.generate_ensemble(PEPTIDE, **options)
    assert "FOR 1 and NME 6 are left out" in caplog.text
    caplog.clear()
    lines = path.read_text().splitlines()  # the cap of another molecule, 2 nm away
    far = [
        f"{line[:30]}{float(line[30:38]) + 20:8.3f}{line[38:]}" if "NME" in line else line
        for line in lines
    ]
    path.write_text("\n".join(far))
    out = openmm_slm.complete(path, **QUIET)
    assert "FOR 1 and NME 6 are left out" in caplog.text
    assert "OXT" in names_of(out.topology, 3)


# -- protonation -------------------------------------------------------------------------------

TITRATED = "ADEKHHCA"
STATES = {
    "amber": {1: "ASH", 2: "GLH", 3: "LYN", 4: "HIP", 5: "HIE"},
    "charmm": {4: "HSP", 5: "HSE"},
    "gromacs": {1: "ASPH", 2: "GLUH", 3: "LYSN", 4: "HISH", 5: "HISE"},
}
ACIDIC = {1: "HD2", 2: "HE2", 4: "HD1"}  # hydrogens that ASH, GLH and HIP have


@pytest.fixture(scope="module")
def titrated() -> md.Trajectory:
    """All atoms at pH 7: Asp, Glu and Lys charged, both His neutral."""
    return all_atoms(TITRATED)


@pytest.mark.parametrize("program", STATES)
def test_protonation_stated_by_names_is_kept_and_told(tmp_path, titrated, caplog, program):
    heavy = titrated.atom_slice(titrated.topology.select("element != H"))
    names = STATES[program]
    path = write_renamed(tmp_path / "in.pdb", heavy, names)
    out = openmm_slm.complete(path, **QUIET)
    for row, hydrogen in ACIDIC.items():
        assert (hydrogen in names_of(out.topology, row)) == (row in names)
    assert ("HZ3" in names_of(out.topology, 3)) == (3 not in names)
    assert {"HD1", "HE2"} & names_of(out.topology, 5) == {"HE2"}
    assert charge(out.topology) == (1.0 if program == "amber" or program == "gromacs" else 0.0)
    (line,) = (r.getMessage() for r in caplog.records if "protonation" in r.getMessage())
    for row in names:
        assert (f" {row + 1} of chain A" in line) == (row != 5)  # HIE is usual at pH 7
    caplog.clear()
    by_ph = openmm_slm.complete(path, protonation="ph", **QUIET)
    assert by_ph.n_atoms == titrated.n_atoms
    (line,) = (r.getMessage() for r in caplog.records if "protonation" in r.getMessage())
    assert re.search(r"HIS 5 of chain A is HI[DE], not HIP \(pH 7\)", line)


def test_protonation_stated_by_hydrogens_is_kept(titrated):
    heavy = titrated.atom_slice(titrated.topology.select("element != H"))
    acid = openmm_slm.complete(heavy, ph=2.0, **QUIET)
    assert "HD2" in names_of(acid.topology, 1)
    again = openmm_slm.complete(acid, **QUIET)
    assert [a.name for a in again.topology.atoms] == [a.name for a in acid.topology.atoms]
    neutral = openmm_slm.complete(acid, protonation="ph", **QUIET)
    assert [a.name for a in neutral.topology.atoms] == [a.name for a in titrated.topology.atoms]
    # The forms of pH 7 are no statement: pH decides.
    lower = openmm_slm.complete(titrated, ph=2.0, **QUIET)
    assert [a.name for a in lower.topology.atoms] == [a.name for a in acid.topology.atoms]


def test_a_thiolate_is_kept_but_not_at_chain_ends(tmp_path, titrated, caplog):
    heavy = titrated.atom_slice(titrated.topology.select("element != H"))
    out = openmm_slm.complete(write_renamed(tmp_path / "in.pdb", heavy, {6: "CYM"}), **QUIET)
    assert "HG" not in names_of(out.topology, 6) and "CYS 7 of chain A is CYM" in caplog.text
    assert charge(out.topology) == -2.0
    caplog.clear()
    ends = all_atoms("DAE")
    path = write_renamed(tmp_path / "ends.pdb", ends, {0: "ASH", 2: "GLH"})
    out = openmm_slm.complete(path, **QUIET)
    assert charge(out.topology) == -2.0
    assert "ASP 1 of chain A is ASP, not ASH (chain end)" in caplog.text
    assert "GLU 3 of chain A is GLU, not GLH (chain end)" in caplog.text


@pytest.mark.parametrize("program", STATES)
def test_relax_and_seed_take_all_names_and_keep_every_hydrogen(tmp_path, titrated, caplog, program):
    caplog.set_level(logging.INFO, "openmm_slm")
    heavy = titrated.atom_slice(titrated.topology.select("element != H"))
    names = STATES[program]
    full = openmm_slm.complete(write_renamed(tmp_path / "heavy.pdb", heavy, names), **QUIET)
    path = write_renamed(tmp_path / "in.pdb", full, names)
    caplog.clear()
    relaxed = openmm_slm.relax(path, iterations=5, **ALONE).trajectory
    assert [a.name for a in relaxed.topology.atoms] == [a.name for a in full.topology.atoms]
    assert charge(relaxed.topology) == charge(full.topology)
    (line,) = (r.getMessage() for r in caplog.records if "protonation" in r.getMessage())
    assert "HIS 5 of chain A is HIP" in line and ("ASP 2" in line) == (1 in names)
    seed = seeded(path)
    assert [a.name for a in seed.topology.atoms()] == [a.name for a in full.topology.atoms]
    # In memory, as MDTraj reads the file.
    again = openmm_slm.relax(md.load(str(path)), iterations=5, **ALONE).trajectory
    np.testing.assert_allclose(again.xyz, relaxed.xyz, atol=1e-5)


def test_samples_have_the_protonation_of_the_template(tmp_path, titrated):
    path = write_renamed(tmp_path / "in.pdb", titrated, {1: "ASH", 4: "HIP"})
    options = {"n": 1, "seed": 1, "template": path, **QUIET}
    kept = openmm_slm.generate_ensemble(TITRATED, **options)
    assert "HD2" in names_of(kept.topology, 1)
    assert {"HD1", "HE2"} <= names_of(kept.topology, 4)
    by_ph = openmm_slm.generate_ensemble(TITRATED, protonation="ph", **options)
    assert by_ph.n_atoms == kept.n_atoms - 2
    with pytest.raises(ValueError, match="protonation is 'both', expected one of input, ph"):
        openmm_slm.generate_ensemble(TITRATED, protonation="both", **options)


def test_the_command_line_has_the_choice(tmp_path, titrated):
    path = write_renamed(tmp_path / "in.pdb", titrated, {4: "HIP"})
    for choice in ("input", "ph"):
        arguments = ["complete", str(path), "-o", str(tmp_path / choice), "--protonation", choice]
        assert CliRunner().invoke(main, arguments).exit_code == 0
        found = names_of(md.load(str(tmp_path / choice / "topology.pdb")).topology, 4)
        assert ({"HD1", "HE2"} <= found) == (choice == "input")


@pytest.mark.parametrize(
    ("name", "atoms", "variant"),
    [
        ("HIS", "HD1 HE2", "HIP"), ("HIS", "HD1", "HID"), ("HIS", "HE2", "HIE"), ("HIS", "", ""),
        ("NHIP", "", "HIP"), ("HSD", "", "HID"), ("ASP", "HB2 HB3", ""), ("ASP", "2HD", "ASH"),
        ("ASP", "HD2", "ASH"), ("GLU", "HG2 HE2", "GLH"), ("LYS", "HE2 HZ1 HZ2 HZ3", ""),
        ("LYS", "HZ2 HZ3", "LYN"), ("LYS", "1HZ 2HZ 3HZ", ""), ("LYSH", "", ""), ("ALA", "HA", ""),
    ],
)  # fmt: skip
def test_variants_follow_from_names_or_hydrogens(name, atoms, variant):
    assert stated_variant(name, atoms.split()) == variant


# -- D residues --------------------------------------------------------------------------------

CHIRAL = "GAKWIAVG"


@pytest.mark.parametrize(("row", "name"), [(1, "ALA"), (4, "ILE"), (5, "DAL")])
def test_a_d_residue_of_the_input_stays_d_and_is_named(tmp_path, caplog, row, name):
    given = with_d_residue(all_atoms(CHIRAL), 0, row)
    path = write_renamed(tmp_path / "d.pdb", given, {row: name})
    said = f"{name} {row + 1} of chain A: D residues of the input stay D"
    relaxed = openmm_slm.relax(path, **ALONE)
    hands = [hand(relaxed.trajectory.xyz[0], relaxed.trajectory.topology, r) for r in range(1, 7)]
    assert "".join(hands) == "".join("D" if r == row else "L" for r in range(1, 7))
    assert relaxed.report["valid"].all() and relaxed.report["repair"][0] == ""
    assert said in caplog.text
    caplog.clear()
    seed = seeded(path)
    xyz = seed.context.getState(getPositions=True).getPositions(asNumpy=True)._value
    assert hand(xyz, md.Topology.from_openmm(seed.topology), row) == "D" and said in caplog.text
    caplog.clear()
    if name == "DAL":
        with pytest.raises(StructureError, match="DAL 6 of chain A is a D amino acid"):
            openmm_slm.complete(path, **QUIET)
    else:
        full = openmm_slm.complete(path, **QUIET)
        assert hand(full.xyz[0], full.topology, row) == "D" and said in caplog.text
        assert openmm_slm.relax(full, copies=2, progress=False).report["valid"].all()
    caplog.clear()
    openmm_slm.generate_ensemble(CHIRAL, n=1, seed=1, template=path, **QUIET)
    assert f"{name} {row + 1} of chain A: D residues are not modelled" in caplog.text


def test_a_d_residue_that_is_not_sampled_stays_d():
    given = with_d_residue(all_atoms(CHIRAL), 0, 5)
    options = {"n": 1, "seed": 1, "template": given, "resample": [2], "relax": True, **QUIET}
    kept = openmm_slm.generate_ensemble(CHIRAL, **options)
    assert hand(kept.xyz[0], kept.topology, 5) == "D"
    sampled = openmm_slm.generate_ensemble(CHIRAL, **{**options, "resample": [5]})
    assert hand(sampled.xyz[0], sampled.topology, 5) == "L"


def test_a_d_residue_in_some_frames_is_damage_and_d_residues_says_otherwise(caplog):
    one = all_atoms(CHIRAL)
    mixed = with_d_residue(md.join([one, one]), 1, 2)
    repaired = openmm_slm.relax(mixed, **ALONE)
    assert hand(repaired.trajectory.xyz[1], one.topology, 2) == "L"
    assert repaired.report["repair"].tolist() == ["", "turned to L"] and "D res" not in caplog.text
    turned = openmm_slm.relax(mixed[1], d_residues=(), **ALONE)
    assert hand(turned.trajectory.xyz[0], one.topology, 2) == "L"
    meant = openmm_slm.relax(mixed, d_residues=[2], **ALONE)
    assert [hand(x, one.topology, 2) for x in meant.trajectory.xyz] == ["D", "D"]
    assert meant.report["valid"].all() and not caplog.text.count("stay D")
    with pytest.raises(ValueError, match="d_residues has 8; the protein has rows 0 to 7"):
        openmm_slm.relax(mixed, d_residues=[8], **ALONE)

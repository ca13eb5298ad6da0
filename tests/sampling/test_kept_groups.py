"""Ligands and ions of a template stay in its samples, rigid with what is around them."""

from __future__ import annotations

import json
from pathlib import Path

import mdtraj as md
import numpy as np
import pytest
from click.testing import CliRunner
from holo import GLOBIN, atom_line, between, write_chain
from openmm import app

import openmm_slm
from openmm_slm.cli.main import main
from openmm_slm.errors import StructureError
from openmm_slm.files.frame_reader import FrameReader
from openmm_slm.protein.keep_selection import other_residues
from openmm_slm.protein.superposition import rmsd
from openmm_slm.sampling.template import Template

QUIET = {"progress": False, "seed": 1}
ZINC = 0.21  # nm from the two atoms that bind it


@pytest.fixture(scope="module")
def globin(tmp_path_factory):
    """Path and sequence of the pocket of a globin (78 of its 147 residues).

    With haem, CO, a zinc ion, glycerol (one atom) and a water.
    """
    path = tmp_path_factory.mktemp("holo") / "globin.pdb"
    write_chain(path, GLOBIN)
    site = between(path, (45, "ND1"), (41, "OD1"), ZINC)
    water = between(path, (45, "NE2"), (45, "CE1"), 0.3)
    lines = [
        atom_line(1, "ZN", "ZN", site, "ZN"),
        atom_line(2, " O1", "GOL", site + [0, 0, 2.0], "O"),
        atom_line(3, " O", "HOH", water, "O"),
    ]
    return str(path), write_chain(path, GLOBIN, *lines, numbers=(26, 103))


@pytest.fixture(scope="module")
def generator():
    return openmm_slm.EnsembleGenerator.from_pretrained("default", device="cpu")


@pytest.fixture(scope="module")
def sampled(generator, globin):
    path, sequence = globin
    return generator.sample(sequence, 3, template=path, **QUIET)


def atom(topology: md.Topology, residue: int, name: str) -> int:
    return next(a.index for a in topology.atoms if a.residue.resSeq == residue and a.name == name)


def bonds_of(topology: md.Topology, name: str) -> set[frozenset[str]]:
    bonds = [b for b in topology.bonds if name in (b[0].residue.name, b[1].residue.name)]
    return {frozenset((a.name, b.name)) for a, b in bonds}


def kept(topology: md.Topology) -> list[str]:
    return [residue.name for residue in other_residues(topology)]


def test_ligand_and_ion_stay_in_the_topology(sampled, globin):
    topology, before = sampled.trajectory.topology, md.load(globin[0]).topology
    assert kept(topology) == ["CMO", "HEM", "ZN"]  # no glycerol, no water
    assert [c.chain_id for c in topology.chains] == ["A", "A", "Z"]
    haem = [next(r for r in t.residues if r.name == "HEM") for t in (topology, before)]
    names = [[(a.name, a.element.symbol) for a in r.atoms] for r in haem]
    assert names[0] == names[1] and haem[0].resSeq == 160
    made, given = (bonds_of(t, "HEM") for t in (topology, before))
    # With CO; the coordination of iron by a histidine is no bond of a force field.
    assert made == given - {frozenset(("FE", "NE2"))} and frozenset(("FE", "C")) in made
    protein = sampled.trajectory.atom_slice(topology.select("protein or resname ZN"))
    field = app.ForceField("amber14-all.xml", "amber14/tip3p.xml")
    field.createSystem(protein.topology.to_openmm())


def test_groups_are_rigid_and_ride_with_what_is_around_them(sampled, globin):
    made, before = sampled.trajectory, FrameReader(globin[0]).load()
    rigid = "resname HEM CMO"
    x, y = made.xyz[:, made.topology.select(rigid)], before.xyz[:, before.topology.select(rigid)]
    assert rmsd(x, y).max() < 1e-5
    around = [
        t.topology.select("name CA and (residue 58 to 74 or residue 90 to 100)")
        for t in (made, before)
    ]
    trajectories = zip(around, (made, before), strict=True)
    both = [np.append(a, t.topology.select(rigid)) for a, t in trajectories]
    moved = rmsd(made.xyz[:, both[0]], before.xyz[:, both[1]])
    assert 0.003 < moved.max() < 0.12  # the protein moved, and the haem stayed in its pocket
    assert (sampled.report["kept_clashes"] == 0).all() and sampled.report["valid"].all()


def test_residues_that_bind_a_metal_keep_their_side_chain_and_lack_the_hydrogen(sampled):
    made = sampled.trajectory
    top = made.topology
    zinc = next(a.index for a in top.atoms if a.name == "ZN")
    for residue, name in ((45, "ND1"), (41, "OD1")):
        away = np.linalg.norm(made.xyz[:, zinc] - made.xyz[:, atom(top, residue, name)], axis=-1)
        assert (away > 0.16).all() and (away < 0.28).all()
    names = {a.name for a in top.residue(other(top, 45)).atoms}
    assert "HE2" in names and "HD1" not in names
    iron = next(a.index for a in top.atoms if a.name == "FE")
    nitrogen = [a.index for a in top.atoms if a.name == "NE2" and a.residue.name == "HIS"]
    away = np.linalg.norm(made.xyz[:, nitrogen] - made.xyz[:, [iron]], axis=-1).min(1)
    assert (away < 0.3).all()  # the fragment moves more than the whole protein


def other(topology: md.Topology, number: int) -> int:
    return next(r.index for r in topology.residues if r.resSeq == number)


def test_resampling_leaves_the_groups_where_they_are(generator, globin):
    path, sequence = globin
    made = generator.sample(sequence, 2, template=path, resample="A:77-82", **QUIET).trajectory
    before = FrameReader(path).load()
    rigid = "resname HEM CMO ZN"
    y = before.xyz[0, before.topology.select(rigid)]
    for x in made.xyz[:, made.topology.select(rigid)]:
        np.testing.assert_array_equal(x, y)


def test_without_groups_samples_are_those_of_the_protein_alone(generator, globin, tmp_path):
    path, sequence = globin
    bare = tmp_path / "bare.pdb"
    lines = Path(path).read_text().splitlines()
    bare.write_text("\n".join(line for line in lines if line.startswith(("ATOM", "END"))))
    options = [{"template": str(bare)}, {"template": path, "keep": "none"}]
    made = [generator.sample(sequence, 1, **each, **QUIET) for each in options]
    np.testing.assert_array_equal(made[0].trajectory.xyz, made[1].trajectory.xyz)
    assert "kept_clashes" not in made[0].report and not kept(made[1].trajectory.topology)


def test_keep_all_brings_waters_with_hydrogens(generator, globin):
    path, sequence = globin
    made = generator.sample(sequence, 1, template=path, keep="all", **QUIET).trajectory
    assert kept(made.topology) == ["CMO", "HEM", "ZN", "GOL", "HOH"]
    water = next(r for r in made.topology.residues if r.name == "HOH")
    assert [a.element.symbol for a in water.atoms] == ["O", "H", "H"]
    bare = generator.sample(sequence, 1, template=path, keep="water", sidechains=None, **QUIET)
    assert kept(bare.trajectory.topology) == ["HOH"] and "kept_clashes" in bare.report


def test_the_folder_has_the_groups_and_reads_back(globin, tmp_path):
    path, sequence = globin
    out = tmp_path / "out"
    arguments = ["sample", sequence, "-n", "2", "--seed", "1", "--template", path, "-o", str(out)]
    result = CliRunner().invoke(main, [*arguments, "--keep", "resname HEM ZN"])
    assert result.exit_code == 0, result.output
    found = FrameReader(out).load()
    assert kept(found.topology) == ["HEM", "ZN"]
    assert sum("HEM" in {a.residue.name, b.residue.name} for a, b in found.topology.bonds) > 40
    assert [r.resSeq for r in other_residues(found.topology)] == [160, 1]
    run = json.loads((out / "run.json").read_text())
    assert run["keep"] == "resname HEM ZN"
    assert run["template"]["kept"] == ["HEM 160 of chain A", "ZN 1 of chain Z"]
    again = CliRunner().invoke(
        main, ["sample", "--repeat", str(out / "run.json"), "-o", str(tmp_path / "again")]
    )
    assert again.exit_code == 0, again.output
    for name in ("samples.xtc", "topology.pdb"):
        assert (out / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


@pytest.mark.parametrize(
    ("keep", "words"),
    [
        ("resname XYZ", "matches no atom.*HEM 160 of chain A"),
        ("resname HEM or resid 3", "[A-Z]* [0-9]* of chain A.*protein is always there"),
        ("resname ==", "neither 'auto', 'all', 'none' nor an MDTraj selection"),
        (3, "give 'auto', 'all', 'none'"),
    ],
)
def test_a_selection_that_does_not_fit_is_named(globin, keep, words):
    with pytest.raises(ValueError, match=f"(?s)keep is .*{words}"):
        Template.of(globin[0], globin[1], keep=keep)


def test_keep_needs_a_template(globin):
    with pytest.raises(ValueError, match="no template is given"):
        openmm_slm.generate_ensemble("ACDEFGHIKL", 1, keep="all")
    structure = openmm_slm.protein.loading.read_structure(globin[0])
    assert Template.of(structure, globin[1], keep="auto").kept is None
    with pytest.raises(StructureError, match="protein alone"):
        Template.of(structure, globin[1], keep="all")


@pytest.mark.slow
def test_twenty_samples_of_a_holo_structure_relax_without_contacts(tmp_path):
    path = tmp_path / "globin.pdb"
    sequence = write_chain(path, GLOBIN)
    made = openmm_slm.generate_ensemble(sequence, 20, template=path, relax=True, **QUIET)
    topology = made.topology
    heavy = np.array([a.element.symbol != "H" for a in topology.atoms])
    ligand = np.isin(np.arange(topology.n_atoms), topology.select("resname HEM CMO")) & heavy
    protein = np.isin(np.arange(topology.n_atoms), topology.select("protein")) & heavy
    iron = next(a.index for a in topology.atoms if a.name == "FE")
    for x in made.xyz:
        away = np.linalg.norm(x[ligand][:, None] - x[protein], axis=-1)
        bound = np.flatnonzero(ligand) == iron
        assert away[~bound].min() >= 0.25
        assert away[bound].min() > 0.18  # the histidine that binds it

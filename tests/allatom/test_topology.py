"""One topology for an ensemble: force fields accept it, and its chemistry is right."""

from __future__ import annotations

import logging
import random
from dataclasses import replace

import numpy as np
import openmm
import openmm.app as app
import openmm.unit as unit
import pytest
from all_atoms import template_chain, villin
from force_fields import NEWER, has, load, where_present

from openmm_slm.allatom.topology import define_topology, openmm_topology
from openmm_slm.errors import StructureError
from openmm_slm.protein.sequence import AMINO_ACIDS
from openmm_slm.protein.structure import ProteinStructure
from openmm_slm.protein.superposition import superpose

# charmm36_2024 needs a minute to match residues to its templates.
QUICK = ("amber14-all.xml", "charmm36.xml", *filter(has, NEWER[:1]))
FORCE_FIELDS = (*QUICK, where_present(NEWER[1], slow=True))


def protein(sequence: str, *, broken: tuple[int, ...] = (), **changes) -> ProteinStructure:
    """Extended chains (``:`` between them) 3 nm apart; `broken`: rows with no bond before."""
    chains = sequence.split(":")
    atom14 = np.concatenate([template_chain(c) + [0, 3 * i, 0] for i, c in enumerate(chains)])
    index = np.repeat(np.arange(len(chains)), [len(c) for c in chains]).astype(np.int32)
    breaks = np.diff(index, prepend=-1) > 0
    breaks[list(broken)] = True
    fields = {
        "sequence": "".join(chains), "atom14": atom14[None].astype(np.float32),
        "chain_index": index, "chain_ids": tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(chains)]),
        "residue_number": np.arange(1, len(index) + 1, dtype=np.int32),
        "insertion_code": np.full(len(index), "", "<U1"), "chain_break": breaks,
    }  # fmt: skip
    return ProteinStructure(**{**fields, **changes})


def system(found, force_field: str) -> openmm.System:
    return load(force_field).createSystem(found.topology.to_openmm())


def charge(made: openmm.System) -> float:
    (force,) = [f for f in made.getForces() if isinstance(f, openmm.NonbondedForce)]
    return sum(force.getParticleParameters(i)[0]._value for i in range(force.getNumParticles()))


def names(found, row: int) -> set[str]:
    return {atom.name for atom in found.topology.residue(row).atoms}


@pytest.fixture(scope="module")
def ends():
    """Each amino acid as first, middle and last residue of a chain."""
    return define_topology(protein(":".join(f"{x}{x}{x}" for x in AMINO_ACIDS)))


@pytest.mark.parametrize("force_field", FORCE_FIELDS)
def test_force_fields_know_every_residue_at_every_place(ends, force_field):
    made = system(ends, force_field)
    assert made.getNumParticles() == ends.topology.n_atoms
    # D, E: -1; K, R: +1, three residues each; both ends of each chain cancel.
    assert charge(made) == pytest.approx(0, abs=1e-3)


def test_chains_end_charged(ends):
    for chain in ends.topology.chains:
        first, *_, last = chain.residues
        hydrogens = {"H2", "H3"} if first.name == "PRO" else {"H", "H2", "H3"}
        assert {a.name for a in first.atoms} & {"H", "H2", "H3"} == hydrogens
        assert "OXT" in {a.name for a in last.atoms} and "OXT" not in {a.name for a in first.atoms}


@pytest.mark.parametrize("force_field", QUICK)
def test_disulfides_two_chains_histidine_and_ends_of_proline_and_glycine(force_field):
    """Bonds within a chain, between chains, and at both ends of one."""
    s = protein("GHCAAACP:PWHCK:CAC")
    pairs = ((2, 6), (11, 13))
    found = define_topology(s, disulfides=pairs)
    bonds = [(a, b) for a, b in found.topology.bonds if a.name == b.name == "SG"]
    sulfurs = {(a.residue.index, b.residue.index) for a, b in bonds}
    assert sulfurs == set(pairs)
    assert [found.variants[i] for i in (2, 6, 11, 13, 15)] == 4 * ["CYX"] + ["CYS"]
    assert "HG" not in names(found, 2) and "HG" in names(found, 15)
    made = system(found, force_field)
    assert charge(made) == pytest.approx(1, abs=1e-3)  # K
    atoms = {(a.residue.index, a.name): a.index for a in found.topology.atoms}
    (bonds,) = [f for f in made.getForces() if isinstance(f, openmm.HarmonicBondForce)]
    bonded = {frozenset(bonds.getBondParameters(i)[:2]) for i in range(bonds.getNumBonds())}
    for i, j in pairs:
        assert frozenset({atoms[i, "SG"], atoms[j, "SG"]}) in bonded


@pytest.mark.parametrize(
    ("ph", "variants", "expected"),
    [(4.0, ["HIP", "ASH", "GLH", "LYS"], 2), (7.0, ["HID", "ASP", "GLU", "LYS"], -1),
     (11.0, ["HID", "ASP", "GLU", "LYN"], -2)],
)  # fmt: skip
def test_ph_decides_protonation(ph, variants, expected):
    found = define_topology(protein("AHADAEAKA"), ph=ph)
    assert [found.variants[i] for i in (1, 3, 5, 7)] == variants
    for force_field in QUICK:
        assert charge(system(found, force_field)) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("ph", [2, 12])
def test_no_ph_makes_a_terminus_that_force_fields_do_not_know(ph):
    found = define_topology(protein(":".join(f"{x}A{x}" for x in "DEKHCYR")), ph=ph)
    for force_field in QUICK:
        assert system(found, force_field).getNumParticles() == found.topology.n_atoms


def test_a_histidine_that_accepts_a_hydrogen_bond_at_nd1_carries_its_hydrogen_at_ne2():
    """Modeller alone takes the amide nitrogen for an acceptor and makes it HID."""
    s = protein("AHA:AAA")
    alone = define_topology(s)
    assert alone.variants[1] == "HID"
    at = {(a.residue.index, a.name): alone.positions[a.index] for a in alone.topology.atoms}
    axis = (at[1, "HD1"] - at[1, "ND1"]) / 0.101
    across = np.cross(axis, [0.3, 0.5, 0.8])
    # Three points that the N, H and C(i-1) of the middle alanine are brought to.
    other = s.atom14[0, 3:].reshape(-1, 3)
    here = np.array([at[4, "N"], at[4, "H"], at[3, "C"]])
    goal = at[1, "ND1"] + axis * 0.29
    target = np.array([goal, goal - axis * 0.101, goal + axis * 0.07 + across * 0.11])
    _, rotation, translation = superpose(here, target)
    atom14 = s.atom14.copy()
    atom14[0, 3:] = (other @ rotation.T + translation).reshape(3, 14, 3)
    found = define_topology(protein("AHA:AAA", atom14=atom14))
    assert found.variants[1] == "HIE" and "HD1" not in names(found, 1)


@pytest.mark.parametrize("ph", [3.0, 7.0, 11.0])
def test_hydrogens_are_those_of_modeller(ph):
    """Atoms in OpenMM's order, and bonds, for every residue at every place of a chain."""
    chains = [f"{x}{x}{x}" for x in AMINO_ACIDS if x not in "DEK"] + ["ADEKA", "ACA"]
    s = protein(":".join(chains))
    found = define_topology(s, ph=ph, disulfides=[(4, 57)])
    heavy = openmm_topology(s, s.atom_mask[0], found.disulfides, ends=True)
    positions = found.positions[[a.element.symbol != "H" for a in found.topology.atoms]]
    modeller = app.Modeller(heavy, positions.astype(float) * unit.nanometer)
    variants = [{"H": v, "C": v}.get(x) for x, v in zip(s.sequence, found.variants, strict=True)]
    reference = openmm.Platform.getPlatformByName("Reference")
    modeller.addHydrogens(pH=ph, variants=variants, platform=reference)

    def described(topology) -> tuple[list, set]:
        atoms = [(a.residue.index, a.residue.name, a.name) for a in topology.atoms()]
        return atoms, {frozenset((one.index, other.index)) for one, other in topology.bonds()}

    assert described(found.topology.to_openmm()) == described(modeller.topology)


def test_atoms_bonds_and_places_belong_together():
    s = protein("ACDEFGHIKLMNPQRSTVWY:GP", insertion_code=np.array([""] * 21 + ["B"]),
                residue_number=np.arange(-3, 19, dtype=np.int32))  # fmt: skip
    found = define_topology(s)
    heavy = found.slot >= 0
    np.testing.assert_array_equal(
        found.positions[heavy], s.atom14[0, found.residue[heavy], found.slot[heavy]]
    )
    assert heavy.sum() == s.atom_mask.sum()
    for atom, row, slot in zip(found.topology.atoms, found.residue, found.slot, strict=True):
        assert atom.residue.index == row
        assert (slot < 0) == (atom.element.symbol == "H" or atom.name == "OXT")
    assert [r.resSeq for r in found.topology.residues] == s.residue_number.tolist()
    assert [r.insertion_code for r in found.topology.residues] == s.insertion_code.tolist()
    assert [c.chain_id for c in found.topology.chains] == ["A", "B"]
    lengths = [np.linalg.norm(found.positions[a.index] - found.positions[b.index])
               for a, b in found.topology.bonds]  # fmt: skip
    assert min(lengths) > 0.09 and max(lengths) < 0.2
    # As many bonds as atoms, but for one less a chain and one more a ring (F, H, P, P, Y; W has 2).
    assert found.topology.n_bonds == found.topology.n_atoms - 2 + 7


def test_heavy_atoms_only():
    found = define_topology(protein("HC:GP"), hydrogens=False)
    assert {a.element.symbol for a in found.topology.atoms} == {"C", "N", "O", "S"}
    assert [a.name for a in found.topology.atoms].count("OXT") == 2
    assert found.variants == ("HIS", "CYS", "GLY", "PRO")


def test_a_break_has_chain_ends_on_both_sides(caplog):
    s = protein("AAAAAA", broken=(3,))
    with caplog.at_level(logging.WARNING):
        found = define_topology(s)
    assert "ALA 3 of chain A and ALA 4 of chain A" in caplog.text
    assert len(caplog.records) == 1
    assert [c.chain_id for c in found.topology.chains] == ["A", "A"]
    assert "OXT" in names(found, 2) and {"H", "H2", "H3"} <= names(found, 3)
    system(found, "amber14-all.xml")
    with caplog.at_level(logging.WARNING):
        define_topology(protein("AAAA", broken=(2, 3)))
    assert "ALA 3 of chain A, ALA 4 of chain A: bonded to no other" in caplog.text


def test_the_same_input_gives_the_same_bits_and_leaves_the_global_generator_alone():
    s = villin()
    random.seed(1)
    before = random.getstate()
    first = define_topology(s)
    assert random.getstate() == before
    random.seed(2)
    second = define_topology(s)
    np.testing.assert_array_equal(first.positions, second.positions)
    assert first.topology == second.topology and first.variants == second.variants


def test_any_frame_can_be_the_reference():
    s = protein("AHKSY")
    atom14 = np.concatenate([np.full_like(s.atom14, np.nan), s.atom14])
    found = define_topology(protein("AHKSY", atom14=atom14), frame=1)
    np.testing.assert_array_equal(found.positions, define_topology(s).positions)


def test_incomplete_structures_and_bad_arguments_are_named():
    s = protein("AKC:GS")
    atom14 = s.atom14.copy()
    atom14[0, 1, 7] = np.nan
    with pytest.raises(StructureError, match=r"frame 0: LYS 2 of chain A \(row 1\) has no CE"):
        define_topology(protein("AKC:GS", atom14=atom14))
    with pytest.raises(StructureError, match="residue X 2 of chain A.*not one of the 20"):
        define_topology(replace(s, sequence="AXCGS"))
    for ph in (-1, 14.5, float("nan"), "7", None, True):
        with pytest.raises(ValueError, match="ph is"):
            define_topology(s, ph=ph)
    for frame in (1, -1, 0.0):
        with pytest.raises(ValueError, match="frame is"):
            define_topology(s, frame)
    with pytest.raises(StructureError, match="residue 0 is ALA"):
        define_topology(s, disulfides=[(0, 2)])

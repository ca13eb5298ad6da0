"""All-atom reports: every fault is found, where it is, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
from all_atoms import template_chain

from openmm_slm.errors import StructureError
from openmm_slm.protein.atoms import ATOM14
from openmm_slm.protein.protein import Protein
from openmm_slm.protein.sequence import AMINO_ACIDS
from openmm_slm.validity import report as validity
from openmm_slm.validity.report import all_atom_report, backbone_report

START = np.arange(len(AMINO_ACIDS)) == 0
SOUND = template_chain()
WITH_CB = len(AMINO_ACIDS) - 1


def report(atom14, sequence=AMINO_ACIDS, broken=None, terminal_oxygen=None, **options) -> dict:
    broken = np.arange(len(sequence)) == 0 if broken is None else broken
    protein = Protein(sequence, broken, **options)
    found = all_atom_report(np.asarray(atom14)[None], protein, terminal_oxygen=terminal_oxygen)
    assert all(values.shape == (1,) for values in found.values())
    return {key: values[0] for key, values in found.items()}


def slot(residue: int, name: str, sequence: str = AMINO_ACIDS) -> tuple[int, int]:
    return residue, ATOM14[sequence[residue]].index(name)


def differing(a: dict, b: dict) -> set[str]:
    return {key for key in a if not np.array_equal(a[key], b[key], equal_nan=True)}


def test_all_twenty_amino_acids_from_templates_are_sound():
    found = report(SOUND)
    assert found["valid"] and found["finite"]
    for column in ("d_residues", "wrong_cb", "clashes", "pierced_rings", "missing_heavy_atoms"):
        assert found[column] == 0
    assert found["closest_heavy_nm"] > 0.25
    levels = [found[f"ramachandran_{name}"] for name in ("favoured", "allowed", "outliers")]
    assert levels == [18, 0, 0]  # the two ends have no phi or no psi


def test_backbone_columns_are_those_of_the_backbone_report():
    rng = np.random.default_rng(0)
    x = SOUND + rng.normal(0, 0.01, (5, *SOUND.shape)).astype(np.float32)
    full = all_atom_report(x, Protein(AMINO_ACIDS, START))
    for column, values in backbone_report(x[:, :, :4], Protein(AMINO_ACIDS, START)).items():
        if column != "valid":
            np.testing.assert_array_equal(full[column], values)


def test_the_mirror_image_is_d_throughout():
    found = report(SOUND * np.float32([1, 1, -1]))
    assert found["d_residues"] == WITH_CB
    assert found["wrong_cb"] == 2  # Ile and Thr
    assert not found["valid"]
    changed = differing(report(SOUND), found)
    assert changed == {
        "valid", "d_residues", "wrong_cb", "ramachandran_favoured", "ramachandran_outliers"
    }  # fmt: skip


def test_one_d_residue_is_one():
    x = SOUND.copy()
    n, ca, c, _, cb = x[0, :5].astype(np.float64)  # Ala, mirrored in the plane of N, CA and C
    normal = np.cross(n - ca, c - ca)
    normal /= np.linalg.norm(normal)
    x[0, 4] = cb - 2 * ((cb - ca) @ normal) * normal
    found = report(x)
    assert found["d_residues"] == 1 and found["wrong_cb"] == 0 and not found["valid"]
    assert found["bond_deviation_nm"] == report(SOUND)["bond_deviation_nm"]


@pytest.mark.parametrize(("letter", "names"), [("T", ("OG1", "CG2")), ("I", ("CG1", "CG2"))])
def test_swapped_branches_are_a_wrong_cb(letter, names):
    x = SOUND.copy()
    a, b = (slot(AMINO_ACIDS.index(letter), name) for name in names)
    x[a], x[b] = SOUND[b], SOUND[a]
    found = report(x)
    assert found["wrong_cb"] == 1 and found["d_residues"] == 0 and not found["valid"]


def test_swapped_branches_of_valine_are_a_matter_of_names():
    x = SOUND.copy()
    a, b = (slot(AMINO_ACIDS.index("V"), name) for name in ("CG1", "CG2"))
    x[a], x[b] = SOUND[b], SOUND[a]
    assert report(x)["valid"]


def test_a_residue_of_no_known_kind_has_no_hand():
    sequence = "X" + AMINO_ACIDS[1:]
    assert report(SOUND, sequence)["valid"]
    mirrored = report(SOUND * np.float32([1, 1, -1]), sequence)
    assert mirrored["d_residues"] == WITH_CB - 1
    x = SOUND.copy()
    x[0, 4] = np.nan
    assert report(x, sequence)["missing_heavy_atoms"] == 0


def test_a_clash_is_found_with_its_distance():
    x = SOUND.copy()
    tip, oxygen = slot(14, "NH2"), slot(2, "O")
    x[tip] = x[oxygen] + np.float32([0, 0.12, 0.16])
    found = report(x)
    near = np.linalg.norm(x.reshape(-1, 3) - x[tip], axis=-1)
    near = np.sort(near[np.isfinite(near)])[1:]
    assert not found["valid"] and found["clashes"] == (near < 0.25).sum() >= 1
    assert found["closest_heavy_nm"] == pytest.approx(near[0], abs=1e-6)


def test_a_pierced_ring_is_found():
    x = SOUND.copy()
    phe = AMINO_ACIDS.index("F")
    ring = x[phe, 5:11].astype(np.float64)
    normal = np.linalg.svd(ring - ring.mean(0))[2][2]
    ce, nz = slot(8, "CE"), slot(8, "NZ")  # of Lys
    x[ce], x[nz] = ring.mean(0) + 0.075 * normal, ring.mean(0) - 0.075 * normal
    found = report(x)
    assert found["pierced_rings"] == 1 and not found["valid"]


def test_a_long_bond_through_a_ring_is_invalid_without_a_clash():
    x = template_chain("FK")
    ring = x[0, 5:11].astype(np.float64)
    normal = np.linalg.svd(ring - ring.mean(0))[2][2]
    x[1] += np.float32([5, 0, 0])
    x[1, 5:] = np.nan  # Lys keeps CE and NZ, far above and below the ring or beside it
    ce, nz = slot(1, "CE", "FK"), slot(1, "NZ", "FK")
    for aside, pierced in ((0, 1), (5, 0)):
        x[ce], x[nz] = (ring.mean(0) + [0, aside, 0] + side * normal for side in (-0.35, 0.35))
        found = report(x, "FK", np.array([True, True]))
        assert (found["pierced_rings"], found["clashes"]) == (pierced, 0)
        assert found["valid"] == (not pierced)


# -- peptides -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "allowed", "wrong"),
    [("P", None, 0), ("S", None, 1), ("S", "S", 0), ("S", "T", 1)],
)
def test_cis_is_wrong_but_before_proline_and_where_allowed(at, allowed, wrong):
    omega = np.full(len(AMINO_ACIDS), np.pi)
    omega[AMINO_ACIDS.index(at)] = 0
    x = template_chain(omega=omega)
    mask = None if allowed is None else np.array([a == allowed for a in AMINO_ACIDS])
    found = report(x, cis_allowed=mask)
    assert (found["cis"], found["twisted_omega"], found["wrong_omega"]) == (1, 0, wrong)
    backbone = backbone_report(x[None, :, :4], Protein(AMINO_ACIDS, START, cis_allowed=mask))
    assert backbone["wrong_omega"][0] == wrong and backbone["valid"][0] == (not wrong)
    if wrong:
        assert not found["valid"]


def test_a_twisted_peptide_is_wrong_even_where_cis_is_allowed():
    omega = np.full(len(AMINO_ACIDS), np.pi)
    omega[5] = np.radians(100)
    found = report(template_chain(omega=omega), cis_allowed=np.ones(len(AMINO_ACIDS), bool))
    assert found["twisted_omega"] == found["wrong_omega"] == 1 and not found["valid"]


def test_a_broken_peptide_is_invalid_unless_it_is_a_chain_end():
    x = SOUND.copy()
    x[10:] += np.float32([3, 0, 0])
    assert not report(x)["valid"] and report(x)["broken_bonds"] == 1
    assert report(x, broken=np.isin(np.arange(len(AMINO_ACIDS)), [0, 10]))["valid"]


# -- disulfides ---------------------------------------------------------------------------------


def cystine(length: float) -> np.ndarray:
    """Two cysteines, SG `length` nm apart, the second turned by half a turn; [2, 14, 3]."""
    a = template_chain("C")[0].astype(np.float64)
    a -= a[5]
    axis = a[5] - a[4]
    axis /= np.linalg.norm(axis)
    side = np.cross(axis, a[1])
    side /= np.linalg.norm(side)
    # C2 about an axis at a right angle to S-S, which leaves CB-SG-SG at about 100 degrees.
    across = np.cross(axis, side)
    bond = np.cos(np.radians(80)) * axis + np.sin(np.radians(80)) * side
    turn = across - (across @ bond) * bond
    turn /= np.linalg.norm(turn)
    half = 2 * np.outer(turn, turn) - np.eye(3)
    b = (a - length / 2 * bond) @ half.T + length / 2 * bond
    return np.stack([a, b]).astype(np.float32)


def test_disulfides_are_bonds_where_they_are_named():
    ends = np.array([True, True])
    closed, stretched = cystine(0.205), cystine(0.27)
    named = report(closed, "CC", ends, disulfides=[(0, 1)])
    assert named["valid"] and named["disulfides_open"] == 0 and named["clashes"] == 0
    unnamed = report(closed, "CC", ends)
    assert unnamed["clashes"] == 1 and unnamed["disulfides_open"] == 0 and not unnamed["valid"]
    assert unnamed["closest_heavy_nm"] == pytest.approx(0.205, abs=1e-6)
    opened = report(stretched, "CC", ends, disulfides=[(1, 0)])
    assert opened["disulfides_open"] == 1 and opened["valid"]  # reported, not judged
    closed[1, 5] = np.nan
    assert report(closed, "CC", ends, disulfides=[(0, 1)])["disulfides_open"] == 1


@pytest.mark.parametrize("pair", [(0, 1), (1, 1), (1, 99)])
def test_a_disulfide_of_anything_else_is_refused(pair):
    with pytest.raises(StructureError, match="disulfides"):
        report(SOUND, disulfides=[pair])


# -- absent atoms and bad frames ----------------------------------------------------------------


def test_absent_atoms_are_counted_and_the_rest_judged():
    x = SOUND.copy()
    x[AMINO_ACIDS.index("W"), 5:] = np.nan
    x[0, 4] = np.nan
    found = report(x)
    assert found["valid"] and found["missing_heavy_atoms"] == 9 + 1
    assert found["d_residues"] == 0


def test_what_pads_the_slots_without_a_name_does_not_count():
    x = np.where(np.isfinite(SOUND), SOUND, 0.0)
    assert differing(report(SOUND), report(x)) == set()


def test_terminal_oxygens_clash_and_are_never_missing():
    oxygen = np.full((1, len(AMINO_ACIDS), 3), np.nan, np.float32)
    c, ca, o = (SOUND[-1, i].astype(np.float64) for i in (2, 1, 3))
    axis = (c - ca) / np.linalg.norm(c - ca)
    oxygen[0, -1] = c + 2 * ((o - c) @ axis) * axis - (o - c)  # across the axis from O
    sound = report(SOUND, terminal_oxygen=oxygen)
    assert sound["valid"] and differing(sound, report(SOUND)) <= {"closest_heavy_nm"}
    oxygen[0, -1] = SOUND[slot(2, "CB")] + np.float32([0.03, 0, 0])
    bad = report(SOUND, terminal_oxygen=oxygen)
    assert bad["closest_heavy_nm"] == pytest.approx(0.03, abs=1e-6) and not bad["valid"]
    assert bad["missing_heavy_atoms"] == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_frame_that_is_not_finite_leaves_the_others_alone(value):
    rng = np.random.default_rng(1)
    x = SOUND + rng.normal(0, 0.002, (5, *SOUND.shape)).astype(np.float32)
    clean = all_atom_report(x, Protein(AMINO_ACIDS, START))
    x[1, 4, 2] = value  # C
    x[3] = value
    with np.errstate(all="raise", under="ignore"):
        found = all_atom_report(x, Protein(AMINO_ACIDS, START))
    assert found["finite"].tolist() == [True, False, True, False, True]
    assert not found["valid"][[1, 3]].any()
    assert found["missing_heavy_atoms"].tolist() == [0, 1, 0, (~np.isnan(SOUND[..., 0])).sum(), 0]
    for column, values in found.items():
        np.testing.assert_array_equal(values[::2], clean[column][::2], err_msg=column)


def test_an_infinite_side_chain_atom_is_not_finite_and_an_absent_one_is():
    for value, finite in ((np.inf, False), (np.nan, True)):
        x = SOUND.copy()
        x[slot(8, "NZ")] = value
        found = report(x)
        assert found["finite"] == finite == found["valid"]
        assert found["missing_heavy_atoms"] == 1


def test_blocks_of_frames_are_judged_as_single_ones(monkeypatch):
    rng = np.random.default_rng(2)
    x = SOUND + rng.normal(0, 0.02, (7, *SOUND.shape)).astype(np.float32)
    together = all_atom_report(x, Protein(AMINO_ACIDS, START))
    monkeypatch.setattr(validity, "BLOCK", 1)
    single = all_atom_report(x, Protein(AMINO_ACIDS, START))
    assert list(single) == list(together)
    for column in single:
        np.testing.assert_array_equal(single[column], together[column], err_msg=column)
    assert len(set(together["clashes"])) > 1  # the frames do differ


def test_no_frames_are_an_empty_report():
    found = all_atom_report(SOUND[None][:0], Protein(AMINO_ACIDS, START))
    assert all(len(values) == 0 for values in found.values())
    assert list(found) == list(report(SOUND))


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(StructureError, match=r"atom14 has shape \(1, 20, 4, 3\)"):
        all_atom_report(SOUND[None, :, :4], Protein(AMINO_ACIDS, START))
    with pytest.raises(StructureError, match="terminal_oxygen"):
        report(SOUND, terminal_oxygen=np.zeros((2, 20, 3)))
    with pytest.raises(StructureError, match="cis_allowed"):
        report(SOUND, cis_allowed=np.zeros(3, bool))

"""Combinations of odd habits: a reader keeps all residues in their order, or names them."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from odd_file_faults import faults_of_reading, refused_for_a_reason
from odd_files import Recipe, build, plain, recipes

from openmm_slm.errors import StructureError
from openmm_slm.protein.loading import read_structure

QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck)}


def found(recipe: Recipe, folder, caplog) -> list[str]:
    """What is wrong with the structure that is read, or with the error."""
    odd = build(recipe)
    path = folder / f"odd{odd.suffix}"
    path.write_bytes(odd.text.encode())
    caplog.clear()
    try:
        structure = read_structure(path)
    except StructureError as error:
        reason = str(error).replace(str(path), "")
        return [] if refused_for_a_reason(odd, reason) else [f"refused: {reason}"]
    return faults_of_reading(odd, structure, caplog.text.replace(str(path), ""))


@settings(max_examples=60, **QUIET)
@given(recipe=recipes)
def test_residues_survive_any_combination_of_habits(tmp_path, caplog, recipe):
    assert found(recipe, tmp_path, caplog) == []


@pytest.mark.slow
@settings(max_examples=3000, **QUIET)
@given(recipe=recipes)
def test_residues_survive_many_combinations_of_habits(tmp_path, caplog, recipe):
    assert found(recipe, tmp_path, caplog) == []


def read(tmp_path, **changes):
    odd = build(plain(**changes))
    path = tmp_path / f"odd{odd.suffix}"
    path.write_bytes(odd.text.encode())
    return read_structure(path)


@pytest.mark.parametrize("kind", ["pdb", "cif"])
def test_modified_residues_next_to_each_other_go_to_their_place(tmp_path, kind):
    structure = read(tmp_path, kind=kind, sequences=("ADMMSKSS",), modified="MSE after")
    assert structure.chain_sequences == "ADMMSKSS"
    assert structure.residue_number.tolist() == list(range(1, 9))
    assert not structure.chain_break[1:].any()


@pytest.mark.parametrize("missing", ["CA", "backbone"])
def test_a_modified_residue_without_bonds_goes_where_its_number_fits(tmp_path, missing):
    structure = read(tmp_path, sequences=("GASKSVHC",), modified="SEP after", missing=missing)
    assert structure.chain_sequences == "GAXKXVHC"
    assert structure.residue_number.tolist() == list(range(1, 9))


def test_of_two_runs_of_modified_residues_the_later_one_moves(tmp_path):
    structure = read(
        tmp_path, sequences=("ADMMSKSS", "ACDEFGHIKL"), second="restarts", gap="numbered",
        modified="SEP after", hand="by name", names="same", wrapped="hybrid",
    )  # fmt: skip
    assert structure.residue_number.tolist() == [1, 2, 3, 6, 7, 8, 1, 2, 3, 4, 7, 8, 9, 10]


@pytest.mark.parametrize("others", ["water", "amino acid", "nucleotide"])
def test_mmcif_with_label_ids_only_has_chains_of_several_letters(tmp_path, others):
    structure = read(
        tmp_path, kind="cif", sequences=("SKLMEDRA", "GAKAGDAVHC"), ids="label", names="long",
        start=9998, second="restarts", others=others,
    )  # fmt: skip
    assert structure.chain_sequences == "SKLMEDRA:GAKAGDAVHC"
    assert structure.chain_ids == ("Heavy", "Heavy-2")
    assert structure.residue_number.tolist() == [*range(9998, 10006), *range(9998, 10008)]


@pytest.mark.parametrize("case", ["", "lower"])
def test_names_in_small_letters_are_the_same_names(tmp_path, case):
    structure = read(tmp_path, case=case, caps="ACE NME", modified="MSE")
    assert structure.sequence == "ACDEFGHIKL" and structure.atom_mask[0, :, :4].all()


def test_a_file_all_in_small_letters_is_read(tmp_path):
    text = build(plain(modified="MSE", sequences=("MNPQRSTVWY",))).text
    (tmp_path / "x.pdb").write_text(text.lower())
    structure = read_structure(tmp_path / "x.pdb")
    assert structure.sequence == "MNPQRSTVWY" and structure.chain_ids == ("a",)
    (tmp_path / "x.pdb").write_text(text.lower().replace("  0.000   0.000", "  0.000  ******"))
    with pytest.raises(StructureError, match="is not three coordinates"):
        read_structure(tmp_path / "x.pdb")


def test_numbers_that_restart_over_a_bond_do_not_cut_a_chain_without_name(tmp_path):
    structure = read(tmp_path, names="blank", numbers="restart", ter=False)
    assert structure.chain_sequences == "ACDEFGHIKL" and not structure.chain_break[1:].any()


def test_a_residue_that_is_bonded_to_nothing_is_named(tmp_path, caplog):
    """Two chains without names; the second has lost all residues but one."""
    lines = build(plain(sequences=("SKLMEDRA", "GAKAGDAVHC"), names="blank")).text.splitlines()
    at = lines.index("TER")
    lone = [line for line in lines[at + 1 :] if int(line[22:26] or 0) == 5 and "ATOM" in line]
    (tmp_path / "x.pdb").write_text("\n".join([*lines[: at + 1], *lone, "TER", "END", ""]))
    assert read_structure(tmp_path / "x.pdb").sequence == "SKLMEDRA"
    assert "bonded to no chain and left out: GLY 5" in caplog.text


def test_a_residue_without_backbone_is_kept_in_the_sequence(tmp_path):
    structure = read(tmp_path, missing="backbone")
    assert structure.sequence == "ACDEFGHIKL"
    assert structure.backbone_mask[0].tolist() == [True] * 5 + [False] + [True] * 4

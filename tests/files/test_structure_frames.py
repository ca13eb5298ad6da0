"""All atoms of structure files: relax, seed and compare see the protein that complete sees."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from odd_file_faults import faults_of_reading, refused_for_a_reason
from odd_files import Recipe, build, plain, recipes

from openmm_slm.errors import StructureError
from openmm_slm.files.frame_reader import FrameReader
from openmm_slm.protein.loading import read_structure
from openmm_slm.protein.trajectory import structure_of

QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck)}


def written(tmp_path, text: str, suffix: str = ".pdb"):
    path = tmp_path / f"odd{suffix}"
    path.write_bytes(text.encode())
    return path


def faults(recipe: Recipe, folder, caplog) -> list[str]:
    odd = build(recipe)
    path = written(folder, odd.text, odd.suffix)
    caplog.clear()
    try:
        found = structure_of(FrameReader(path).load())
    except StructureError as error:
        reason = str(error).replace(str(path), "")
        return [] if refused_for_a_reason(odd, reason) else [f"refused: {reason}"]
    return faults_of_reading(odd, found, caplog.text.replace(str(path), ""))


def with_backbone(recipe: Recipe) -> Recipe:
    """Residues without CA are no protein for force fields and distances."""
    here = recipe.missing in ("", "side chain", "O")
    return recipe if here else dataclasses.replace(recipe, missing="")


@settings(max_examples=40, **QUIET)
@given(recipe=recipes)
def test_all_atoms_have_the_residues_of_the_structure(tmp_path, caplog, recipe):
    assert faults(with_backbone(recipe), tmp_path, caplog) == []


@pytest.mark.slow
@settings(max_examples=1000, **QUIET)
@given(recipe=recipes)
def test_all_atoms_have_the_residues_in_many_combinations(tmp_path, caplog, recipe):
    assert faults(with_backbone(recipe), tmp_path, caplog) == []


def test_modified_residues_next_to_each_other_behind_the_chain_go_to_their_place(tmp_path):
    odd = build(plain(sequences=("ADMMSKSS", "GAKAGDAVHC"), modified="MSE after", others="water"))
    frames = FrameReader(written(tmp_path, odd.text)).load()
    assert structure_of(frames).chain_sequences == "ADMMSKSS:GAKAGDAVHC"
    assert [r.name for r in frames.topology.residues][2:4] == ["MSE", "MSE"]
    assert sum(r.is_water for r in frames.topology.residues) == 2
    ends = {(a.residue.resSeq, b.residue.resSeq) for a, b in frames.topology.bonds if a.name == "C"}
    assert {(2, 3), (3, 4), (4, 5)} <= ends


@pytest.mark.parametrize("kind", ["AB", "BA", "tie", "two residues"])
def test_the_likelier_of_two_locations_is_taken_by_all_commands(tmp_path, kind):
    odd = build(plain(alternatives=kind))
    path = written(tmp_path, odd.text)
    ours = structure_of(FrameReader(path).load()).atom14
    np.testing.assert_allclose(ours, read_structure(path).atom14, atol=1e-5)


def test_models_of_other_residues_or_atoms_are_left_out_with_a_warning(tmp_path, caplog):
    frame = [line for line in build(plain()).text.splitlines() if line != "END"]
    short = [line for line in frame if " TYR " not in line and "LEU" not in line]
    light = [line for line in frame if " CD1 ILE" not in line]
    models = [("MODEL", *part, "ENDMDL") for part in (frame, short, frame, light)]
    path = written(tmp_path, "\n".join([*(line for m in models for line in m), "END", ""]))
    assert FrameReader(path).n_frames == 2
    assert "left out: 1 of 4 models, with other residues than the first" in caplog.text
    assert "left out: 1 of 3 models, with other atoms than the first" in caplog.text


def test_a_file_in_small_letters_and_a_broken_one(tmp_path):
    text = build(plain()).text
    assert FrameReader(written(tmp_path, text.lower())).topology.n_residues == 10
    with pytest.raises(StructureError, match="truncated"):
        FrameReader(written(tmp_path, text[:500]))
    with pytest.raises(StructureError, match="no atoms"):
        FrameReader(written(tmp_path, "REMARK empty\nEND\n"))


def test_stated_bonds_and_names_of_ligands_survive(tmp_path):
    """Glycerol has no entry in MDTraj's table of bonds; names in mmCIF may have five letters."""
    lines = build(plain(others="ligand", caps="ACE NME")).text.splitlines()
    serial = {line[12:16].strip(): int(line[6:11]) for line in lines if " GOL " in line}
    lines[-1:] = [f"CONECT{serial['C1']:5d}{serial['O1']:5d}", "END", ""]
    frames = FrameReader(written(tmp_path, "\n".join(lines))).load()
    bonds = [{a.name, b.name} for a, b in frames.topology.bonds if a.residue.name == "GOL"]
    assert bonds == [{"C1", "O1"}]
    assert [r.name for r in frames.topology.residues][0:12:11] == ["ACE", "NME"]
    text = build(plain(kind="cif", others="ligand")).text.replace("GOL", "A1LU6")
    frames = FrameReader(written(tmp_path, text, ".cif")).load()
    assert [r.name for r in frames.topology.residues][-2:] == ["A1LU6"] * 2

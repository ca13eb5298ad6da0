"""pLDDT: told from B factors by what a file states, never by the numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders import helix
from odd_files import build, plain
from structure_server import SEQUENCES, crystal, predicted

from openmm_slm.errors import SLMError, StructureError
from openmm_slm.protein.loading import read_structure
from openmm_slm.protein.plddt import checked_plddt, numbered, origin_of_pdb, sure_part, unsure
from openmm_slm.protein.structure import from_backbone

MODEL = build(plain(kind="cif", sequences=SEQUENCES)).text
PLDDT = np.array([30, 45, 49.99, 50, 90, 91, 92, 40, 93, 94, *[96] * 8, 20, 10], float)
TITLE = "TITLE     ALPHAFOLD MONOMER V2.0 PREDICTION FOR PANCREATIC TRYPSIN INHIBITOR\n"


def structure(tmp_path, data: bytes, name: str = "x.cif"):
    (tmp_path / name).write_bytes(data)
    return read_structure(tmp_path / name)


def test_an_mmcif_file_states_its_plddt(tmp_path):
    found = structure(tmp_path, predicted(MODEL, PLDDT))
    assert found.origin == "predicted"
    np.testing.assert_allclose(found.b_factor, PLDDT[None], atol=0.01)
    np.testing.assert_array_equal(unsure(found)[0], PLDDT < 50)
    np.testing.assert_array_equal(unsure(found, 95)[0], PLDDT < 95)
    assert not unsure(found, 0).any()
    small = structure(tmp_path, predicted(MODEL, PLDDT / 100, "pLDDT in [0,1]"))
    np.testing.assert_allclose(small.b_factor, PLDDT[None], atol=0.6)  # two decimals in the file


def test_crystals_have_no_plddt(tmp_path):
    """Their B factors are often under 50; even a prediction in the same file changes nothing."""
    found = structure(tmp_path, crystal())
    assert found.origin == "experiment" and found.b_factor.max() == 20
    assert unsure(found) is None
    both = structure(tmp_path, predicted(crystal(), PLDDT))
    assert both.origin == "experiment" and unsure(both) is None
    assert structure(tmp_path, MODEL.encode()).origin == ""
    with pytest.raises(StructureError, match="from an experiment.*leave min_plddt out"):
        unsure(found, 50)


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        (TITLE, "predicted"),
        ("", ""),
        ("TITLE     ESMFOLD V1 PREDICTION FOR INPUT\n", ""),  # its B column is 0 to 1
        ("TITLE     CRYSTAL STRUCTURE AND ALPHAFOLD PREDICTION FOR TRYPSIN\n", ""),
        ("EXPDTA    X-RAY DIFFRACTION\n" + TITLE, "experiment"),
        ("EXPDTA    THEORETICAL MODEL\n" + TITLE, "predicted"),
        (TITLE + "REMARK   2 RESOLUTION.    1.80 ANGSTROMS.\n", "experiment"),
        (TITLE + "REMARK   2 RESOLUTION. NOT APPLICABLE.\n", "predicted"),
        ("EXPDTA    SOLUTION NMR\n", "experiment"),
    ],
)
def test_the_header_of_a_pdb_file_decides(tmp_path, text, origin):
    assert origin_of_pdb(text).kind == origin
    whole = text + build(plain()).text
    assert structure(tmp_path, whole.encode(), "x.pdb").origin == origin


def test_residues_left_out_lose_their_atoms_and_are_named(tmp_path, caplog):
    found = structure(tmp_path, predicted(MODEL, PLDDT))
    sure, left_out = sure_part(found, None, "x.cif")
    assert left_out == {"min_plddt": 50.0, "unsure": "A:1-3, A:8, B:9-10"}
    assert "pLDDT is under 50: 6 of 20 residues (A:1-3, A:8" in caplog.text
    np.testing.assert_array_equal(~sure.backbone_mask[0], PLDDT < 50)
    kept = PLDDT >= 50
    np.testing.assert_array_equal(sure.atom14[:, kept], found.atom14[:, kept])
    assert numbered(found, np.zeros(20, bool)) == ""


def test_frames_of_a_model_are_judged_one_by_one(tmp_path):
    found = structure(tmp_path, predicted(MODEL, PLDDT))
    two = np.concatenate([found.b_factor, found.b_factor[:, ::-1]])
    both = replace(found, atom14=np.tile(found.atom14, (2, 1, 1, 1)), b_factor=two)
    np.testing.assert_array_equal(unsure(both), two < 50)
    np.testing.assert_array_equal(both.frames(slice(1, 2)).b_factor, two[1:])


@pytest.mark.parametrize("value", [-1, 100.5, "50", True, float("nan")])
def test_min_plddt_is_0_to_100(value):
    with pytest.raises(SLMError, match="min_plddt is"):
        checked_plddt(value)


def test_values_that_are_no_plddt_are_refused(tmp_path):
    unknown = structure(tmp_path, MODEL.encode())
    for values, named in (
        (np.full(20, 0.5), "0.5 to 0.5, but pLDDT is 0 to 100"),
        (np.linspace(0, 120, 20), "0 to 120, but"),
        (np.linspace(-3, 50, 20), "-3 to 50, but"),
    ):
        with pytest.raises(StructureError, match=named):
            unsure(replace(unknown, b_factor=values[None]), 50)
    with pytest.raises(StructureError, match="no B factors"):
        unsure(from_backbone(helix(4)[None], "ACDE"), 50)
    with pytest.raises(StructureError, match="no residue has pLDDT of 97 or more.*is 96"):
        sure_part(structure(tmp_path, predicted(MODEL, PLDDT)), 97, "x.cif")

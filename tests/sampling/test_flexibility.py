"""`flexibility`: the motion of a structure, whatever it comes as."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
from builders import helix
from click.testing import CliRunner

import openmm_slm
from openmm_slm.cli.main import main
from openmm_slm.errors import StructureError
from openmm_slm.protein.trajectory import backbone_trajectory

SEQUENCE = "ACDEFGHIKLMNPQRSTVWY"


@pytest.fixture(scope="module")
def traj():
    bent = helix(20).copy()
    bent[10:] += np.float32([0, 0, 0.02])
    return backbone_trajectory(np.stack([helix(20), bent]), SEQUENCE)


def test_it_has_a_profile_a_covariance_and_modes(traj):
    found = openmm_slm.flexibility(traj)
    np.testing.assert_allclose(np.einsum("iaia->i", found.covariance), found.rmsf**2)
    assert 0.01 < found.rmsf.mean() < 0.5  # nm
    size, direction = found.modes(60)
    assert size.shape == (54,) and direction.shape == (54, 20, 3)
    assert (np.diff(size) <= 0).all()
    flat = direction.reshape(54, 60)
    np.testing.assert_allclose(flat @ flat.T, np.eye(54), atol=1e-8)
    again = np.einsum("k,kia,kjb->iajb", size**2, direction, direction)
    np.testing.assert_allclose(again, found.covariance, atol=1e-8)
    together = found.correlation()
    np.testing.assert_allclose(np.diag(together), 1)
    assert (np.abs(together) <= 1 + 1e-9).all()


def test_the_structure_with_bfactors_has_the_numbers_and_chains_of_the_input(tmp_path, caplog):
    frames = backbone_trajectory(
        np.concatenate([helix(6), helix(6) + np.float32([1, 0, 0])])[None], "ACDEFG:ACDEFG"
    )
    numbers, codes = [-2, -1, 1, 1, 1, 2] * 2, ["", "", "", "A", "B", ""] * 2
    odd = replace(
        openmm_slm.load_structure(frames),
        chain_ids=("AA", "AB"),
        residue_number=np.array(numbers),
        insertion_code=np.array(codes),
    )
    openmm_slm.flexibility(odd).save(tmp_path)
    again = openmm_slm.read_structure(tmp_path / "flexibility.pdb")
    assert again.residue_number.tolist() == numbers
    assert again.insertion_code.tolist() == codes
    assert again.chain_ids == ("A", "B") and "chain AA is A, AB is B" in caplog.text


def test_the_ends_of_a_helix_move_more_than_its_middle(traj):
    rmsf = openmm_slm.flexibility(traj).rmsf
    assert min(rmsf[0], rmsf[-1]) > 1.2 * rmsf[6:14].mean()


def test_each_frame_and_each_way_to_give_it(traj, tmp_path):
    first, second = (openmm_slm.flexibility(traj, frame=k) for k in (0, 1))
    assert not np.allclose(first.rmsf, second.rmsf)
    traj.save_pdb(str(tmp_path / "x.pdb"))
    traj.save_xtc(str(tmp_path / "x.xtc"))
    from_pdb = openmm_slm.flexibility(tmp_path / "x.pdb", frame=1)
    from_xtc = openmm_slm.flexibility(tmp_path / "x.xtc", frame=1, top=tmp_path / "x.pdb")
    np.testing.assert_allclose(from_pdb.rmsf, second.rmsf, rtol=0.05)
    np.testing.assert_allclose(from_xtc.rmsf, second.rmsf, rtol=0.05)
    with pytest.raises(StructureError, match="frame is 2; the structure has 2 frames"):
        openmm_slm.flexibility(traj, frame=2)


def test_ca_alone_are_enough(traj):
    whole = openmm_slm.flexibility(traj)
    ca = openmm_slm.flexibility(traj.atom_slice(traj.topology.select("name CA")))
    assert np.corrcoef(ca.rmsf, whole.rmsf)[0, 1] > 0.9


def test_chains_that_touch_hold_each_other():
    one = helix(20)
    both = np.concatenate([one, one + np.float32([0, 0.9, 0])])
    pair = openmm_slm.flexibility(backbone_trajectory(both[None], f"{SEQUENCE}:{SEQUENCE}"))
    alone = openmm_slm.flexibility(backbone_trajectory(one[None], SEQUENCE))
    assert pair.rmsf.shape == (40,)
    assert pair.stiffness[0, :20, 20:].max() > 0
    apart = pair.structure.atom14[0, :, 1].astype(float)
    line = (apart[19] - apart[0]) / np.linalg.norm(apart[19] - apart[0])

    def stretch(found):  # fluctuation of the distance between the ends of the first helix
        block = found.covariance[np.ix_((0, 19), range(3), (0, 19), range(3))]
        ends = block[0, :, 0] + block[1, :, 1] - block[0, :, 1] - block[1, :, 0]
        return np.sqrt(line @ ends @ line)

    assert stretch(pair) < stretch(alone)


def test_chains_that_touch_nowhere_and_short_ones_are_refused():
    one = helix(20)
    apart = np.concatenate([one, one + np.float32([0, 5, 0])])
    with pytest.raises(StructureError, match="ALA 1 of chain B and 19 other .* periodic box"):
        openmm_slm.flexibility(backbone_trajectory(apart[None], f"{SEQUENCE}:{SEQUENCE}"))
    with pytest.raises(StructureError, match="3 residues with CA; .* 4 or more"):
        openmm_slm.flexibility(backbone_trajectory(helix(3)[None], "ACD"))
    with pytest.raises(StructureError, match="at least 2 residues"):
        openmm_slm.flexibility(backbone_trajectory(helix(1)[None], "A"))


def test_the_command_writes_profile_structure_and_picture(traj, tmp_path):
    traj.save_pdb(str(tmp_path / "x.pdb"))
    out = tmp_path / "out"
    result = CliRunner().invoke(main, ["flexibility", str(tmp_path / "x.pdb"), "-o", str(out)])
    assert result.exit_code == 0, result.output
    assert "mean RMSF" in result.output
    found = openmm_slm.flexibility(tmp_path / "x.pdb")
    with (out / "flexibility.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    np.testing.assert_allclose([float(row["rmsf_nm"]) for row in rows], found.rmsf, atol=1e-4)
    lines = (out / "flexibility.pdb").read_text().splitlines()
    b = [float(line[60:66]) for line in lines if line[12:16] == " CA "]
    np.testing.assert_allclose(b, np.minimum(found.bfactors, 99.99), atol=0.01)
    with np.load(out / "covariance.npz") as saved:
        np.testing.assert_allclose(saved["covariance"], found.covariance, atol=1e-6)
    assert (out / "flexibility.png").stat().st_size > 10_000


def test_large_b_factors_are_capped_in_the_pdb_file_alone(traj, tmp_path):
    found = openmm_slm.flexibility(traj)
    loose = replace(found, bfactors=10 * found.bfactors)
    loose.save(tmp_path)
    lines = (tmp_path / "flexibility.pdb").read_text().splitlines()
    b = [float(line[60:66]) for line in lines if line[12:16] == " CA "]
    assert loose.bfactors.max() > 100
    np.testing.assert_allclose(b, np.minimum(loose.bfactors, 99.99), atol=0.01)

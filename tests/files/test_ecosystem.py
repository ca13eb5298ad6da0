"""Ensembles in MDAnalysis and in HDF5 files: the same frames, residues and bonds."""

from __future__ import annotations

import subprocess
import sys

import mdtraj as md
import numpy as np
import pytest
from absent import without
from click.testing import CliRunner

import openmm_slm
from openmm_slm.cli.main import main
from openmm_slm.files.report_table import read_report

SEQUENCE = "GYDPETGTWG:ACDK"


@pytest.fixture(scope="module")
def ensemble() -> openmm_slm.Ensemble:
    generator = openmm_slm.EnsembleGenerator.from_pretrained("default", device="cpu")
    return generator.sample(SEQUENCE, 3, seed=1, progress=False)


def test_a_universe_has_the_frames_the_residues_and_the_bonds(ensemble):
    pytest.importorskip("MDAnalysis")
    universe, traj = ensemble.to_mdanalysis(), ensemble.trajectory
    assert universe.trajectory.n_frames == 3
    for frame, x in zip(universe.trajectory, traj.xyz, strict=True):
        np.testing.assert_allclose(frame.positions, 10 * x, atol=1e-4)
    assert universe.residues.resids.tolist() == [r.resSeq for r in traj.topology.residues]
    assert universe.segments.segids.tolist() == ["A", "B"]
    ours = {frozenset((a.index, b.index)) for a, b in traj.topology.bonds}
    assert {frozenset(pair) for pair in universe.bonds.indices.tolist()} == ours
    ca = universe.select_atoms("segid B and name CA")
    np.testing.assert_allclose(
        ca.positions / 10, traj.xyz[0, traj.topology.select("chainid 1 and name CA")], atol=1e-5
    )


def test_folders_are_read_by_mdanalysis_and_written_as_hdf5(tmp_path):
    pytest.importorskip("tables")
    folder = tmp_path / "out"
    command = ["sample", SEQUENCE, "-n", "3", "--seed", "1", "--hdf5", "-o", str(folder)]
    done = CliRunner().invoke(main, [*command, "--threads", "1"])
    assert done.exit_code == 0 and "samples.h5" in done.output, done.output
    traj, alone = (
        md.load(str(folder / "samples.xtc"), top=str(folder / "topology.pdb")),
        md.load(str(folder / "samples.h5")),
    )
    np.testing.assert_array_equal(alone.xyz, traj.xyz)
    np.testing.assert_array_equal(alone.time, read_report(folder)["frame"])
    assert [str(r) for r in alone.topology.residues] == [str(r) for r in traj.topology.residues]
    assert alone.topology.n_bonds == traj.topology.n_bonds
    assert openmm_slm.geometry_report(alone)["frame"].size == 3
    mda = pytest.importorskip("MDAnalysis")
    universe = mda.Universe(str(folder / "topology.pdb"), str(folder / "samples.xtc"))
    for frame, x in zip(universe.trajectory, traj.xyz, strict=True):
        np.testing.assert_allclose(frame.positions, 10 * x, atol=2e-3)
    assert universe.select_atoms("protein and chainID B and name CA").n_atoms == 4


def test_a_missing_library_is_named_before_any_sampling(tmp_path):
    command = f"sample AAAA -n 1 --hdf5 -o {tmp_path / 'out'}".split()
    code = without({"tables"}) + (
        f"sys.argv[1:] = {command}\nrunpy.run_module('openmm_slm', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2 and "pip install 'openmm_slm[hdf5]'" in done.stderr
    assert not (tmp_path / "out").exists() and "Traceback" not in done.stderr

"""Replica exchange and weighted ensembles start from seeds: what is written is run."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import mdtraj as md
import numpy as np
import openmm
import pytest
from openmm import app

import openmm_slm
from openmm_slm.errors import SLMError
from openmm_slm.seeding.replica_exchange import ladder

QUICK = {"solvent": "vacuum", "equilibration": 0.02, "platform": "CPU", "progress": False}
N = 3


@pytest.fixture(scope="module")
def seeds(tmp_path_factory) -> Path:
    peptide = openmm_slm.generate_ensemble("GYDPETGTWG", 8, seed=1, relax=True, progress=False)
    good = np.ones(8, bool)
    formats = ("replica-exchange", "westpa")
    folder = tmp_path_factory.mktemp("seeds") / "s"
    return openmm_slm.write_seeds(peptide, folder, N, formats, report=good, **QUICK)


def run(*command: object, cwd: Path, **environment: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd, env={**os.environ, "PATH": path, "OPENMM_CPU_THREADS": "1", **environment},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("how", ["--plain", "OpenMM's sampler"])
def test_replica_exchange_runs_from_the_frame_of_each_seed(seeds, how):
    own = how != "--plain"
    if own and not hasattr(app, "ReplicaExchangeSampler"):
        pytest.skip("this OpenMM has no ReplicaExchangeSampler")
    folder = seeds / "replica_exchange"
    run(sys.executable, folder / "run.py", 4, 2, *([] if own else [how]), cwd=seeds)
    output = (folder / "output").rename(folder / f"output_{own}")
    topology = str(seeds / "seed_000" / "topology.cif")
    found = sorted(output.glob("*.xtc" if own else "*.dcd"))
    assert len(found) == N
    if own:
        return
    with open(output / "exchanges.csv", newline="") as handle:
        rows = list(csv.reader(handle))[1:]
    assert len(rows) == 4 and all(sorted(row[1:]) == ["0", "1", "2"] for row in rows)
    starts = [md.load(str(seeds / f"seed_{k:03d}" / "topology.cif")) for k in range(N)]
    first = [md.load_dcd(str(path), top=md.load(topology))[0] for path in found]
    away = np.array([[md.rmsd(x, start)[0] for start in starts] for x in first])
    assert sorted(away.argmin(1).tolist()) == [0, 1, 2] and away.min(1).max() < 0.02


@pytest.mark.slow
def test_replicas_in_boxes_of_water_exchange_at_constant_pressure(tmp_path):
    peptide = openmm_slm.generate_ensemble("AGA", 2, seed=1, relax=True, progress=False)
    wet = {"padding": 0.6, "cutoff": 0.6, "same_box": True, "solvent": "explicit"}
    out = openmm_slm.write_seeds(
        peptide, tmp_path / "s", 2, ("replica-exchange", "westpa"), report=np.ones(2, bool),
        **{**QUICK, **wet},
    )  # fmt: skip
    folder = out / "replica_exchange"
    run(sys.executable, folder / "run.py", 2, 2, "--plain", cwd=out)
    frames = md.load(
        str(folder / "output" / "temperature_300.dcd"),
        top=str(out / "seed_000" / "topology.cif"),
    )
    assert frames.n_frames == 2 and np.isfinite(frames.xyz).all()
    assert frames.unitcell_volumes is not None and frames.topology.n_residues > 50


def test_temperatures_rise_so_that_neighbours_exchange():
    """The probability of an exchange of two Gaussian distributions of energy, by sampling them."""
    system = openmm.System()
    for _ in range(101):
        system.addParticle(12.0)
    low, high = ladder(system, 300.0, 3)[:2]
    capacity = 150.0  # half of 300 degrees of freedom
    rng = np.random.default_rng(0)
    cold, hot = (t * rng.gamma(capacity, size=100_000) for t in (low, high))
    share = np.exp(np.minimum(0, (1 / low - 1 / high) * (cold - hot))).mean()
    assert 0.18 < share < 0.32
    assert (
        ladder(system, 300.0, 40).max() == pytest.approx(500) and ladder(system, 300.0, 2)[0] == 300
    )


def test_westpa_files_say_what_the_seeds_are(seeds):
    folder = seeds / "westpa"
    rows = [line.split() for line in (folder / "bstates/bstates.txt").read_text().splitlines()]
    assert [row[0] for row in rows] == ["seed_000", "seed_001", "seed_002"]
    shares = np.array([float(row[1]) for row in rows])
    assert shares.sum() == pytest.approx(1, abs=1e-6) and (shares * 8 == (shares * 8).round()).all()
    system = openmm.XmlSerializer.deserialize((folder / "common_files/system.xml").read_text())
    pdb = app.PDBFile(str(folder / "common_files/topology.pdb"))
    assert system.getNumParticles() == pdb.topology.getNumAtoms()
    for row in rows:
        made = md.load(str(folder / "bstates" / row[2] / "structure.pdb"))
        seed = md.load(str(seeds / row[0] / "topology.cif"))
        np.testing.assert_allclose(made.xyz, seed.xyz, atol=2e-4)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("westpa") is None, reason="WESTPA is not installed")
def test_westpa_runs(seeds):
    folder = seeds / "westpa"
    config = (folder / "west.cfg").read_text()
    assert "SEGMENT_STEPS: 10000 " in config
    config = config.replace("SEGMENT_STEPS: 10000", "SEGMENT_STEPS: 3")
    (folder / "west.cfg").write_text(config.replace("iterations: 100", "iterations: 2"))
    root = {"WEST_SIM_ROOT": str(folder)}
    run("w_init", "--bstate-file", "bstates/bstates.txt", "--segs-per-state", 1, cwd=folder, **root)
    run("w_run", "--work-manager", "serial", cwd=folder, **root)
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "west.h5") as handle:
        segments = handle["iterations/iter_00000002"]
        assert segments["seg_index"]["weight"].sum() == pytest.approx(1)
        assert (segments["pcoord"][:] >= 0).all() and segments["pcoord"].shape[1:] == (2, 1)
        first = handle["iterations/iter_00000001/pcoord"][:, 0, 0]
    assert first.min() < 1e-5 < first.max()  # one is the reference itself


def test_what_cannot_be_joined_is_refused(seeds, tmp_path):
    peptide = md.load(str(seeds / "seed_000" / "topology.cif"))
    wet = {**QUICK, "solvent": "explicit"}
    for name in ("replica-exchange", "westpa"):
        with pytest.raises(SLMError, match=f"{name}.*same_box=True"):
            openmm_slm.write_seeds(peptide, tmp_path / "s", 1, (name,), **wet)
    with pytest.raises(SLMError, match="there is 1; ask for two or more"):
        openmm_slm.write_seeds(
            peptide, tmp_path / "s", 1, "replica-exchange", report=np.ones(1, bool), **QUICK
        )
    with pytest.raises(SLMError, match="'gromos'; give some of openmm, amber, gromacs, replica-"):
        openmm_slm.write_seeds(peptide, tmp_path / "s", 1, ("gromos",), **QUICK)
    assert not (tmp_path / "s").exists()

"""Sampling, completing and relaxing on a Dask cluster write the files of a local run."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from holo import with_calcium

import openmm_slm
from openmm_slm.sampling.many_sequences import sample_fasta
from openmm_slm.sampling.rerun import repeat_run

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.slow
PEPTIDE = "GYDPETGTWG"
QUIET = {"progress": False, "device": "cpu"}
FASTA = {"seed": 1, "batch_size": 2, "relatives": None, **QUIET}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Bits depend on the number of torch's threads."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def client():
    """Two worker processes."""
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    )
    with cluster, distributed.Client(cluster, set_as_default=False) as client:
        yield client


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock" and path.suffix != ".lock"
    }


@pytest.fixture(scope="module")
def fasta(tmp_path_factory):
    """Forty short sequences, and one that fails."""
    rng = random.Random(1)
    letters = "ACDEFGHIKLMNPQRSTVWY"
    path = tmp_path_factory.mktemp("fasta") / "in.fasta"
    records = [("".join(rng.choices(letters, k=rng.randint(8, 20)))) for _ in range(40)]
    records[7] = "AXA"
    path.write_text("".join(f">p{k}\n{text}\n" for k, text in enumerate(records)))
    return path


@pytest.fixture(scope="module")
def local(fasta, tmp_path_factory):
    folder = tmp_path_factory.mktemp("local")
    sample_fasta(fasta, folder, 4, **FASTA)
    return contents(folder)


def test_forty_sequences_with_a_worker_killed_in_the_middle(client, fasta, local, tmp_path):
    killed = []

    def kill() -> None:
        while len(list(tmp_path.rglob("samples.xtc"))) < 10:
            time.sleep(0.05)
        pid = next(iter(client.run(os.getpid).values()))
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)

    thread = threading.Thread(target=kill)
    thread.start()
    run = sample_fasta(fasta, tmp_path, 4, dask=client, **FASTA)
    thread.join()
    assert killed and len(run.folders) == 39 and "p7" in run.failures
    assert contents(tmp_path) == local
    again = sample_fasta(fasta, tmp_path, 4, resume=True, dask=client, **FASTA)
    assert again == run and contents(tmp_path) == local


def test_one_sequence_its_repetition_and_the_best_of_it(client, tmp_path):
    """In memory and on disk, relaxed, and the best of a resampled segment."""
    options = {"seed": 3, "batch_size": 2, **QUIET}
    here = openmm_slm.generate_ensemble(PEPTIDE, 5, output=tmp_path / "a", relax=True, **options)
    there = openmm_slm.generate_ensemble(
        PEPTIDE, 5, output=tmp_path / "b", relax=True, dask=client, **options
    )
    repeated = repeat_run(here, tmp_path / "c", dask=client, **QUIET)
    assert contents(here) == contents(there) == contents(repeated)
    template = openmm_slm.generate_ensemble(PEPTIDE, 1, **options)
    options |= {"template": template, "resample": "A:4-6", "best": 3}
    here, there = (
        openmm_slm.generate_ensemble(PEPTIDE, 6, dask=dask, **options) for dask in (None, client)
    )
    assert here.topology == there.topology and np.array_equal(here.xyz, there.xyz)


def test_complete_and_relax(client, tmp_path):
    bare = openmm_slm.generate_ensemble(PEPTIDE, 12, sidechains=None, seed=1, **QUIET)
    folders = [tmp_path / name for name in "abcd"]
    for output, dask in zip(folders[:2], (None, client), strict=True):
        openmm_slm.complete(bare, output=output, dask=dask, **QUIET)
    assert contents(folders[0]) == contents(folders[1])
    for output, dask in zip(folders[2:], (None, client), strict=True):
        openmm_slm.relax(folders[0], output=output, dask=dask, iterations=30, progress=False)
    assert contents(folders[2]) == contents(folders[3])
    holo = tmp_path / "holo.pdb"
    with_calcium(openmm_slm.generate_ensemble(PEPTIDE, 1, seed=1, **QUIET)).save_pdb(str(holo))
    for verb in ("complete", "sample"):  # the ion stays
        for name, dask in (("here", None), ("there", client)):
            options = {"output": tmp_path / verb / name, "dask": dask, **QUIET}
            if verb == "complete":
                openmm_slm.complete(holo, **options)
            else:
                options |= {"template": holo, "seed": 1, "batch_size": 2}
                openmm_slm.generate_ensemble(PEPTIDE, 4, **options)
        found = contents(tmp_path / verb / "here")
        assert b"calcium" in found["topology.pdb"] or b" CA    CA Z" in found["topology.pdb"]
        assert found == contents(tmp_path / verb / "there")
    with pytest.raises(ValueError, match="processes are those of this machine"):
        openmm_slm.relax(folders[0], dask=client, processes=2)

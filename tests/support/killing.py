"""Commands in processes that are killed, and what may be found on disk afterwards."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import time
from pathlib import Path

import mdtraj as md
import numpy as np

from openmm_slm.networks.storage import load_network

# Loaded once, in a server that forks: a killed command costs no second start of Python.
_LOADED = ("openmm_slm.sampling.ensemble", "openmm_slm.relaxation.relaxing",
           "openmm_slm.data.prepare", "openmm_slm.training.train_packer", "openmm_slm.cli.main",
           "pdbfixer", "mdtraj", "mdtraj.formats", "openmm.app", "gemmi", "scipy.optimize",
           "torch._dynamo",
           "torch.utils.flop_counter", "safetensors.torch", "killing")  # fmt: skip


def _run(arguments: list[str], log: str, block: int) -> None:
    with open(log, "ab", buffering=0) as handle:
        os.dup2(handle.fileno(), 1)
        os.dup2(handle.fileno(), 2)
    from openmm_slm.cli.main import main
    from openmm_slm.relaxation import relaxing

    relaxing.BLOCK = block
    main(arguments)


class Command:
    """``openmm-slm ARGUMENTS``, relaxing `block` frames between its notes of how far it is."""

    def __init__(self, log: Path, *arguments: object, block: int = 4) -> None:
        self.arguments, self.log, self.block = [str(a) for a in arguments], str(log), block

    def start(self) -> multiprocessing.Process:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(_LOADED))
        process = context.Process(target=_run, args=(self.arguments, self.log, self.block))
        process.start()
        return process

    def finish(self) -> float:
        """Run to the end; seconds."""
        begin = time.monotonic()
        process = self.start()
        process.join(300)
        assert process.exitcode == 0, Path(self.log).read_text()
        return time.monotonic() - begin

    def kill(self, after: float) -> bool:
        """SIGKILL after some seconds, unless it is done by then: then it did well."""
        process = self.start()
        process.join(after)
        alive = process.exitcode is None
        process.kill()
        process.join()
        if not alive:
            assert process.exitcode == 0, Path(self.log).read_text()
        return alive


def check_whole(folder: Path) -> None:
    """Whatever bears a final name can be read to its end, and belongs to what is beside it."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_dir() or ".tmp" in str(name) or path.suffix == ".part":
            continue
        if path.name == "config.json":
            load_network(path.parent)  # with checksums
        elif path.suffix == ".json":
            assert json.loads(path.read_text()), path
        elif path.suffix == ".csv":
            with open(path, newline="") as handle:
                rows = list(csv.reader(handle, strict=True))
            assert len({len(row) for row in rows}) <= 1, path
        elif path.suffix == ".npy":
            assert np.load(path).size, path
        elif path.suffix == ".npz":
            with np.load(path) as arrays:
                assert sum(arrays[key].size for key in arrays), path  # reads each of them
        elif path.suffix == ".safetensors":
            assert len(tensors(path)), path
        elif path.suffix == ".pdb":
            assert md.load(str(path)).n_atoms, path
            assert path.read_text().rstrip().endswith("END"), path
        elif path.suffix == ".xtc":
            frames = md.load(str(path), top=str(path.parent / "topology.pdb")).n_frames
            assert frames == json.loads((path.parent / "run.json").read_text())["n"], path


def tensors(path: Path) -> dict[str, bytes]:
    """Of a safetensors file, without its metadata (which has seconds)."""
    from safetensors.numpy import load_file

    return {key: value.tobytes() for key, value in load_file(path).items()}


def files(folder: Path) -> dict[str, object]:
    """All files, bit for bit; of logs and checkpoints what does not say how fast a run was."""
    out: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            continue
        value: object = path.read_bytes()
        if path.name in ("log.csv", "validation.csv"):
            with open(path, newline="") as handle:
                value = [(row["step"], row["residues"], row.get("loss"))
                         for row in csv.DictReader(handle)]  # fmt: skip
        elif path.name == "checkpoint.safetensors":
            value = tensors(path)
        out[str(path.relative_to(folder))] = value
    return out


def relax_workers() -> set[int]:
    """Processes that relax frames, of whomever (Linux)."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if b"openmm_slm.relaxation.relaxation_workers import serve" in line:
            found.add(int(entry.name))
    return found

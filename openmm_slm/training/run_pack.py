"""A training run in a few small files, to go on elsewhere.

Weights and their running mean in float16, the optimizer's momentum in bfloat16 (whose range holds
squares of gradients) where there is room for it, else not: a run that goes on without fills it
again in some 50 steps. Rounding apart, the run that comes out is the one that went in.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch

from ..errors import ModelError
from ..networks.storage import load_network, read_config, save_network
from .checkpoint import read_tensors, write_tensors

KIND, CHECKPOINT = "run", "checkpoint.safetensors"
_MODELS = ("model", "decayed")
_PARTS = (("model", "ema", "optimizer"), ("model", "ema"), ())


def shrink_run(
    run: str | os.PathLike, output: str | os.PathLike, limit: int, files: int | None = None
) -> tuple[str, ...]:
    """Write the model exported last, the state and the logs of a run directory to another.

    Parameters
    ----------
    run, output : path
    limit : int
        Bytes that all files may have.
    files : int, optional
        How many there may be. None is larger than 16 MiB.

    Returns
    -------
    tuple of str
        What was kept of the state besides its position; nothing if only the model fits.

    Raises
    ------
    ModelError
        No run there, or one whose model alone is too large.
    """
    run, output = Path(run), Path(output)
    meta, tensors = read_tensors(run / CHECKPOINT)
    output.mkdir(parents=True, exist_ok=True)
    for name in (*_MODELS, "state"):
        shutil.rmtree(output / name, ignore_errors=True)
    exported = {}
    made = [run / name / "config.json" for name in _MODELS if (run / name).is_dir()]
    if made:
        last = max(made, key=lambda path: path.stat().st_mtime).parent
        shutil.copytree(last, output / last.name)
        if last.name == "model":  # of the step of the state
            exported = load_network(last)[1]
    logs = {path.name: path.read_text() for path in sorted(run.glob("*.csv"))}
    small = {name: _small(name, value) for name, value in tensors.items()}
    same = [name for name, value in small.items() if _equal(value, exported.get(_bare(name)))]
    for kept in _PARTS:
        shutil.rmtree(output / "state", ignore_errors=True)
        state = {k: v for k, v in small.items() if k.partition(".")[0] in kept and k not in same}
        save_network(
            output / "state", KIND, meta, state, half=False, logs=logs, kept=kept,
            same=same if kept else [],
        )  # fmt: skip
        sizes = [path.stat().st_size for path in output.rglob("*") if path.is_file()]
        if sum(sizes) <= limit and (files is None or len(sizes) <= files):
            return kept
    raise ModelError(
        f"{run}: its model alone makes {len(sizes)} files of {sum(sizes):,} bytes, the limit is "
        f"{limit:,}; train a smaller network"
    )


def expand_run(shrunk: str | os.PathLike, run: str | os.PathLike) -> Path:
    """Make a run directory of what `shrink_run` wrote, checksums verified.

    Trainers go on with it by ``resume``.

    Raises
    ------
    ModelError
        A file is missing or altered, or the folder holds something else.
    """
    shrunk, run = Path(shrunk), Path(run)
    meta, tensors = load_network(shrunk / "state", KIND)
    told = read_config(shrunk / "state")
    if run.exists() and any(run.iterdir()):
        raise ModelError(f"{run} holds files already; choose another folder")
    run.mkdir(parents=True, exist_ok=True)
    for name in _MODELS:
        if (shrunk / name).is_dir():
            exported = load_network(shrunk / name)[1]  # whole and unaltered
            shutil.copytree(shrunk / name, run / name)
            if name == "model":
                tensors |= {key: exported[_bare(key)] for key in told["same"]}
    for name, text in told["logs"].items():
        (run / Path(name).name).write_text(text)
    if told["kept"]:
        write_tensors(run / CHECKPOINT, tensors, meta)
    return run


def _bare(name: str) -> str:
    """The network's name of a weight (``model.``) or of its mean (``ema.``)."""
    return name.partition(".")[2]


def _small(name: str, value: torch.Tensor) -> torch.Tensor:
    if not value.is_floating_point() or value.numel() <= 4096:  # as in `save_network`
        return value
    return value.to(torch.bfloat16 if name.startswith("optimizer.") else torch.float16)


def _equal(value: torch.Tensor, exported: torch.Tensor | None) -> bool:
    """Whether the exported model has the value to the bit, as of frozen weights."""
    return exported is not None and torch.equal(value.to(exported.dtype), exported)

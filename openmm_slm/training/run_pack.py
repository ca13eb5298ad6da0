"""Pack a training run into a few small files, to continue it on another machine.

Weights and their EMA are stored in float16. The optimizer state is stored in bfloat16 (float16
cannot hold squared gradients) if the size limit allows it; otherwise the resumed run rebuilds it in
about 50 steps. Apart from rounding, the unpacked run equals the original.
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
    """Pack the last exported model, the training state and the logs of a run directory.

    Parameters
    ----------
    run : path
        Run directory.
    output : path
        Folder to write. No file in it is larger than 16 MiB.
    limit : int
        Largest total size in bytes.
    files : int, optional
        Largest number of files.

    Returns
    -------
    tuple of str
        Parts of the training state that fit (``model``, ``ema``, ``optimizer``); empty if only the
        exported model does.

    Raises
    ------
    ModelError
        The directory has no run, or its model alone is too large.
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
        if last.name == "model":  # exported at the step of the checkpoint
            exported = load_network(last)[1]
    logs = {path.name: path.read_text(encoding="utf-8") for path in sorted(run.glob("*.csv"))}
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
        f"{run}: the model alone has {len(sizes)} files of {sum(sizes):,} bytes together, but the "
        f"limit is {limit:,}; train a smaller network"
    )


def expand_run(shrunk: str | os.PathLike, run: str | os.PathLike) -> Path:
    """Unpack the output of `shrink_run` into a run directory; checksums are verified.

    Trainers continue it with ``resume``.

    Raises
    ------
    ModelError
        A file is missing or has another checksum, or the folder `run` is not empty.
    """
    shrunk, run = Path(shrunk), Path(run)
    meta, tensors = load_network(shrunk / "state", KIND)
    config = read_config(shrunk / "state")
    if run.exists() and any(run.iterdir()):
        raise ModelError(f"{run} is not empty; choose another folder")
    run.mkdir(parents=True, exist_ok=True)
    for name in _MODELS:
        if (shrunk / name).is_dir():
            exported = load_network(shrunk / name)[1]  # verifies the checksums
            shutil.copytree(shrunk / name, run / name)
            if name == "model":
                tensors |= {key: exported[_bare(key)] for key in config["same"]}
    for name, text in config["logs"].items():
        (run / Path(name).name).write_text(text, encoding="utf-8")
    if config["kept"]:
        write_tensors(run / CHECKPOINT, tensors, meta)
    return run


def _bare(name: str) -> str:
    """Name of a weight in the network, without the prefix ``model.`` or ``ema.``."""
    return name.partition(".")[2]


def _small(name: str, value: torch.Tensor) -> torch.Tensor:
    if not value.is_floating_point() or value.numel() <= 4096:  # as in `save_network`
        return value
    return value.to(torch.bfloat16 if name.startswith("optimizer.") else torch.float16)


def _equal(value: torch.Tensor, exported: torch.Tensor | None) -> bool:
    """Whether the exported model has the same value bit for bit, as for frozen weights."""
    return exported is not None and torch.equal(value.to(exported.dtype), exported)

"""Weights that others wrote with torch.save or as safetensors, read without running their code.

A file of torch.save is a pickle, which may call anything when it is read. torch's restricted reader
(``weights_only``) builds tensors and plain containers alone; whatever else a file names is refused
before anything runs. Names that a caller lists are read as empty stand-ins: what they name is
neither imported nor called.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from pickle import UnpicklingError

from ..errors import ModelError

_NAMED = re.compile(r"(?:GLOBAL|Unsupported class|unsupported operand) ([\w.]+)")


def read_torch_file(path: Path, stand_ins: Sequence[str] = ()) -> object:
    """What a ``.pth``, ``.pt``, ``.ckpt`` or ``.safetensors`` file holds, on the CPU.

    Parameters
    ----------
    path : Path
    stand_ins : sequence of str
        Full names (``package.module.name``) of what a file may have besides tensors and plain
        containers, and is read as nothing.

    Raises
    ------
    ModelError
        It cannot be read, or has something else: the message says what.
    """
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        # A file that is mapped takes no memory; those of the old format cannot be.
        mapped = zipfile.is_zipfile(path)
        with _standing_in(stand_ins):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except UnpicklingError as error:
        raise ModelError(f"{path}: {_reason(str(error))}; nothing of it was run") from None
    except Exception as error:  # whatever a damaged file makes the readers raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"{path}: cannot be read as a file of torch ({reason})") from None


def _reason(error: str) -> str:
    if named := _NAMED.search(error):
        return f"has {named[1]}, which is neither a tensor nor a plain value"
    inner = re.search(r"Unpickler error:\s*(.+)", error)
    return f"cannot be read ({inner[1] if inner else error.splitlines()[0]})"


def _standing_in(names: Sequence[str]) -> object:
    if not names:
        return nullcontext()
    import torch

    if not hasattr(torch.serialization, "safe_globals"):
        raise ModelError(f"reading it needs torch 2.6 or later, this is {torch.__version__}")
    made = {"collections.defaultdict": _dictionary}
    return torch.serialization.safe_globals([(made.get(name, StandIn), name) for name in names])


class StandIn:
    """Takes the place of something that is not needed, whatever that would have been made of."""

    def __new__(cls, *values: object, **named: object) -> StandIn:
        return super().__new__(cls)

    def __init__(self, *values: object, **named: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def _dictionary(*values: object) -> dict:
    """For a default dictionary; items may be put into it."""
    return {}

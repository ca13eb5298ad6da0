"""Read weights written by torch.save or as safetensors, without executing code in them.

A file of torch.save is a pickle, which can execute any code when read. torch's restricted reader
(``weights_only``) builds only tensors and plain containers, and rejects other types before anything
runs. Types listed by the caller are replaced by empty stand-ins: they are neither imported nor
called.
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
    """Read a ``.pth``, ``.pt``, ``.ckpt`` or ``.safetensors`` file to the CPU.

    Parameters
    ----------
    path : Path
    stand_ins : sequence of str
        Full names (``package.module.name``) of types to replace by stand-ins.

    Returns
    -------
    object
        Contents of the file.

    Raises
    ------
    ModelError
        The file cannot be read, or contains another type, which the message names.
    """
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        # Memory-map the file to save memory; the old format does not support it.
        mapped = zipfile.is_zipfile(path)
        with _allow_stand_ins(stand_ins):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except UnpicklingError as error:
        raise ModelError(f"{path}: {_reason(str(error))}; none of its code was run") from None
    except Exception as error:  # a damaged file can raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"{path}: cannot be read as a file of torch ({reason})") from None


def _reason(error: str) -> str:
    if named := _NAMED.search(error):
        return f"has {named[1]}, which is neither a tensor nor a plain value"
    inner = re.search(r"Unpickler error:\s*(.+)", error)
    return f"cannot be read ({inner[1] if inner else error.splitlines()[0]})"


def _allow_stand_ins(names: Sequence[str]) -> object:
    if not names:
        return nullcontext()
    import torch

    if not hasattr(torch.serialization, "safe_globals"):
        raise ModelError(f"reading it needs torch 2.6 or later, this is {torch.__version__}")
    special = {"collections.defaultdict": _dictionary}
    return torch.serialization.safe_globals([(special.get(name, StandIn), name) for name in names])


class StandIn:
    """Empty replacement of an object that is not needed; accepts any arguments."""

    def __new__(cls, *values: object, **named: object) -> StandIn:
        return super().__new__(cls)

    def __init__(self, *values: object, **named: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def _dictionary(*values: object) -> dict:
    """Plain dictionary in place of a defaultdict; the reader adds its items."""
    return {}

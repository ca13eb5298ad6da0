"""What the commands share: options, errors, the CPU's settings."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path

import click

from ..files.options import options_of

existing = click.Path(exists=True, path_type=Path)
directory = click.Path(exists=True, file_okay=False, path_type=Path)
new = click.Path(path_type=Path)


def report_errors(function: Callable) -> Callable:
    """Bad input: one clear line and exit code 2, never a traceback."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except (ValueError, ImportError, OSError) as error:
            click.echo(f"openmm-slm: {error}", err=True)
            sys.exit(2)

    return wrapped


def stack(*options: Callable) -> Callable:
    def decorate(function: Callable) -> Callable:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def example(*lines: str) -> str:
    """Epilog of a command's help: lines that tests/cli/test_help.py runs."""
    return "\n".join(("\b", "Example:", *(f"  {line}" for line in lines)))


def settings_options(cls: type, *, leave_out: Collection[str] = (), **changed: dict) -> Callable:
    """Options of a command for the options of a settings class (`openmm_slm.files.options`).

    Parameters
    ----------
    cls : dataclass
    leave_out : collection of str
        Options that the command does not offer.
    **changed : dict
        Arguments of `click.option` to change, by option; ``flag`` is another name for it.
    """
    made = []
    for field in options_of(cls, leave_out):
        arguments = {"help": field.metadata["brief"], "default": field.default}
        name = f"--{field.name.replace('_', '-')}"
        kinds = field.type.split(" | ")
        if kinds[0] == "bool":
            arguments |= {"is_flag": True}
            name = f"{name}/--no-{name[2:]}" if field.default else name
        elif field.metadata["choices"]:
            arguments["type"] = click.Choice(field.metadata["choices"])
        else:
            arguments["type"] = {"int": int, "float": float}.get(kinds[0], str)
        if kinds[0] != "bool" and field.default is not None:
            arguments["show_default"] = True
        change = dict(changed.get(field.name, {}))
        made.append(click.option(change.pop("flag", name), field.name, **{**arguments, **change}))
    return stack(*made)


device_option = click.option(
    "--device", default="auto", show_default=True, help="auto, cpu, cuda, ..."
)
threads_option = click.option(
    "--threads", type=click.IntRange(1), help="CPU threads [default: all]."
)


def prepare_cpu(threads: int | None, *, patient: bool = False) -> None:
    """Set torch's threads, and keep freed memory in the process.

    glibc hands each large block back to the system and takes page faults to get it again: 20 % of
    the CPU time of a language model's training (6 % with this). A command owns its process, so it
    may change that; a library may not.

    `patient` threads sleep while they wait for one another. Sampling shares its blocks out among
    them, so that on an idle machine they rarely wait; on a busy one, those that spin take the time
    of the thread they wait for.
    """
    if patient and "torch" not in sys.modules:  # OpenMP reads it once
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if threads:
        import torch

        torch.set_num_threads(threads)
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            mallopt = ctypes.CDLL(None).mallopt
            for option, value in ((-4, 0), (-1, 2**31 - 1), (-2, 2**28)):
                mallopt(option, value)  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD


def read_config_file(path: Path) -> dict:
    try:
        values = json.loads(path.read_text())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: a training config is a JSON object")
    return values

"""Shared by all commands: options, error reporting, CPU settings."""

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
from ..protein.named_structures import is_name


class StructurePath(click.Path):
    """An existing file or folder, or the name of a structure, as in ``pdb:5PTI``."""

    def convert(
        self, value: object, parameter: click.Parameter | None, context: click.Context | None
    ) -> object:
        return value if is_name(value) else super().convert(value, parameter, context)


existing = click.Path(exists=True, path_type=Path)
structure = StructurePath(exists=True, path_type=Path)
directory = click.Path(exists=True, file_okay=False, path_type=Path)
new = click.Path(path_type=Path)


def report_errors(function: Callable) -> Callable:
    """Decorator: print an error of the user's input as one line and exit with code 2."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except (ValueError, ImportError, OSError) as error:
            there = isinstance(error, FileExistsError) and error.filename
            text = f"{there} exists already; choose another output" if there else error
            click.echo(f"openmm-slm: {text}", err=True)
            sys.exit(2)

    return wrapped


def stack(*options: Callable) -> Callable:
    """Combine several `click.option` decorators into one."""

    def decorate(function: Callable) -> Callable:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def example(*lines: str) -> str:
    """Epilog of a command's help. tests/cli/test_help.py runs each line."""
    return "\n".join(("\b", "Example:", *(f"  {line}" for line in lines)))


def settings_options(cls: type, *, leave_out: Collection[str] = (), **changed: dict) -> Callable:
    """Make click options from the options of a settings class (`openmm_slm.files.options`).

    Parameters
    ----------
    cls : dataclass
    leave_out : collection of str
        Options that the command does not offer.
    **changed : dict
        Arguments of `click.option` to override, by option name. ``flag`` renames the option on the
        command line.
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
    "--device", default="auto", show_default=True, help="Torch device: auto, cpu, cuda, ..."
)
threads_option = click.option(
    "--threads", type=click.IntRange(1), help="Number of CPU threads [default: all]."
)


dask_option = click.option(
    "--dask",
    metavar="ADDRESS",
    help="Compute on a Dask cluster: address of a scheduler, scheduler file, or local.",
)


def prepare_cpu(threads: int | None, *, patient: bool = False) -> None:
    """Set the number of torch threads, and keep freed memory in the process.

    By default glibc returns each large freed block to the system, and page faults follow when the
    memory is needed again. They take 20 % of the CPU time of language-model training (6 % with
    these settings). A command owns its process and may change them; a library may not.

    With `patient`, threads sleep while they wait for each other. On a busy machine, waiting threads
    that spin would slow down the thread they wait for. On an idle machine it costs little, because
    sampling gives each thread blocks of its own and they rarely wait.
    """
    if patient and "torch" not in sys.modules:  # OpenMP reads the variable once, at import
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if threads:
        import torch

        torch.set_num_threads(threads)
    if sys.platform == "linux":
        from ..files.dask_cluster import MALLOC

        with contextlib.suppress(OSError, AttributeError):
            mallopt = ctypes.CDLL(None).mallopt
            for option, name in ((-4, "MMAP_MAX"), (-1, "TRIM_THRESHOLD"), (-2, "TOP_PAD")):
                mallopt(option, MALLOC[f"MALLOC_{name}_"])


def read_config_file(path: Path) -> dict:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not readable as JSON ({error}); correct the file") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: a training config must be a JSON object ({{...}})")
    return values

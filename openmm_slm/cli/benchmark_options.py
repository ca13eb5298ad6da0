"""How a command of ``openmm-slm benchmark`` is made, and the options that several have."""

from __future__ import annotations

import functools
from collections.abc import Callable

import click

from .common import (
    device_option,
    directory,
    example,
    new,
    prepare_cpu,
    report_errors,
    stack,
    threads_option,
)


@click.group()
def benchmark() -> None:
    """Benchmark a model; each command prints tables."""


def verb(name: str, *options: Callable, lines: tuple[str, ...]) -> Callable:
    """Make a benchmark command from a function that imports and returns the benchmark.

    Parameters
    ----------
    name : str
    *options : callable
        Click options, named as the parameters of the benchmark. ``--device`` and ``--threads`` are
        added.
    lines : tuple of str
        Example in the help text.
    """

    def decorate(load: Callable[[], Callable[..., str]]) -> click.Command:
        @stack(*options, device_option, threads_option)
        @report_errors
        @functools.wraps(load)
        def command(threads, **values):
            prepare_cpu(threads)
            click.echo(load()(**values))

        return benchmark.command(name, epilog=example(*lines))(command)

    return decorate


data = click.option("--data", type=directory, required=True, help="Shard directory.")
references = click.option(
    "--references", type=directory, required=True, help="Directory with reference sets."
)
model = click.option(
    "--model", default="default", show_default=True, help="Model name or directory."
)
split = click.option("--split", default="test", show_default=True, help="Split of the shards.")
seed = click.option("--seed", default=0, show_default=True, help="Random seed.")
targets = click.option(
    "--target", "targets", multiple=True, help="Id of a target; may be repeated [default: all]."
)
parts = click.option(
    "--part", "parts", multiple=True, help="Name of a table; may be repeated [default: all]."
)
proteins = click.option(
    "--protein", "proteins", multiple=True, help="Name of a protein; may be repeated."
)
continued = click.option(
    "-o", "--output", type=new,
    help="Folder for finished rows; the same command continues an interrupted run.",
)  # fmt: skip


def number(*names: str, default: int | None, help: str | None = None, least: int = 1) -> Callable:
    """An option that takes an integer of at least `least`."""
    shown = default is not None
    kind = click.IntRange(least)
    return click.option(*names, type=kind, default=default, show_default=shown, help=help)


def numbers(*names: str, kind: type = float, default: tuple = (), help: str) -> Callable:
    """An option that may be repeated."""
    return click.option(
        *names, type=kind, multiple=True, default=default, show_default=bool(default), help=help
    )


processes = number("--processes", default=1, help="Worker processes of one thread each.")
rounds = numbers("--rounds", kind=int, default=(1,), help="Mask-and-resample cycles.")

"""``openmm-slm benchmark``: each verb calls one function and prints the tables it returns."""

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
    """Measure a model; each verb prints its tables."""


def verb(name: str, *options: Callable, lines: tuple[str, ...]) -> Callable:
    """Make a command of a function that imports and returns a benchmark.

    Parameters
    ----------
    name : str
    *options : callable
        Click options, named after the benchmark's parameters. ``--device`` and ``--threads`` are
        added.
    lines : tuple of str
        The example of its help.
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
    "--references", type=directory, required=True, help="Directory with a targets.csv."
)
model = click.option("--model", default="default", show_default=True, help="Name or directory.")
split = click.option("--split", default="test", show_default=True)
seed = click.option("--seed", default=0, show_default=True)
targets = click.option("--target", "targets", multiple=True, help="Id, may be repeated [all].")
parts = click.option("--part", "parts", multiple=True, help="A table, may be repeated [all].")
proteins = click.option("--protein", "proteins", multiple=True, help="Name, may be repeated.")
continued = click.option(
    "-o", "--output", type=new, help="Folder for finished rows; the same command continues."
)


def number(*names: str, default: int | None, help: str | None = None, least: int = 1) -> Callable:
    """An option that takes an integer from `least`."""
    shown = default is not None
    kind = click.IntRange(least)
    return click.option(*names, type=kind, default=default, show_default=shown, help=help)


def numbers(*names: str, kind: type = float, default: tuple = (), help: str) -> Callable:
    """An option that may be repeated."""
    return click.option(
        *names, type=kind, multiple=True, default=default, show_default=bool(default), help=help
    )


processes = number("--processes", default=1, help="Targets at a time, one thread each.")
noise = numbers("--noise", help="Share of a template's tokens that is sampled anew.")
rounds = numbers("--rounds", kind=int, default=(1,), help="Mask-and-sample cycles.")


@verb(
    "reconstruction",
    data,
    model,
    split,
    lines=("openmm-slm benchmark reconstruction --data shards",),
)
def reconstruction():
    """Encode and decode a split: RMSD, lDDT, codes, broken bonds, clashes."""
    from ..benchmarks.reconstruction import benchmark_reconstruction

    return benchmark_reconstruction


@verb(
    "lm",
    data,
    click.option("--tokens", type=directory, help="Of `openmm-slm tokenize` [encode the splits]."),
    click.option(
        "--model", "models", multiple=True, default=["default"], show_default=True,
        help="Name or directory, may be repeated.",
    ),
    click.option(
        "--no-sequence", multiple=True, type=directory,
        help="A model trained without sequences, one a family: what the sequence gains.",
    ),
    click.option(
        "--split", "splits", multiple=True, default=["test", "test_related"], show_default=True,
        help="Nats of each, samples of the first.",
    ),
    number("--chains", default=20),
    number("-n", default=100, help="Samples a chain."),
    numbers("--guidance", help="Samples at this too."),
    lines=("openmm-slm benchmark lm --data shards --split test --chains 2 -n 2",),
)  # fmt: skip
def language_models():
    """Language models side by side: nats per token, time, validity, secondary structure."""
    from ..benchmarks.language import benchmark_language

    return benchmark_language


@verb(
    "samples", data, model, split,
    number("--chains", default=20), number("-n", default=10, help="Samples a chain."),
    lines=("openmm-slm benchmark samples --data shards --chains 2 -n 2",),
)  # fmt: skip
def samples():
    """Validity and secondary structure of samples from sequence, before and after projection."""
    from ..benchmarks.samples import benchmark_samples

    return benchmark_samples


@verb(
    "sidechains", data, model, split,
    number("--chains", default=None, help="So many, evenly over lengths [all]."),
    number("--longest", default=None, help="Residues of a chain."),
    click.option(
        "--against", multiple=True, type=click.Choice(["faspr", "pdbfixer", "pdbfixer-repaired"]),
        help="Other programs to measure (faspr needs the package pyfaspr).",
    ),
    lines=("openmm-slm benchmark sidechains --data shards --against pdbfixer",),
)  # fmt: skip
def side_chains():
    """Side chains packed on native backbones: chi angles, RMSD, clashes, speed."""
    from ..benchmarks.sidechains import benchmark_sidechains

    return benchmark_sidechains


@verb(
    "apo-holo", references,
    click.option("-o", "--output", type=new, required=True, help="Folder for finished targets."),
    model, number("-n", default=5, least=2, help="Samples a target."), seed,
    number("--limit", default=None, help="The first so many pairs [all]."), processes,
    lines=("openmm-slm benchmark apo-holo --references references -n 2 --limit 1 -o pairs",),
)  # fmt: skip
def apo_holo():
    """Samples against pairs of conformers: flexibility, TM-scores. The same command continues."""
    from ..benchmarks.apo_holo import benchmark_apo_holo

    return benchmark_apo_holo


@verb(
    "all", data, references,
    click.option("-o", "--output", type=new, help="Folder for finished sections."), model,
    click.option("--no-sequence", type=directory, help="A model trained without sequences."),
    number("--chains", default=8, help="Sampled."),
    number("-n", default=100, least=2, help="Samples of each."),
    number("--pairs", default=15, help="Conformers."), seed, number("--processes", default=2),
    click.option("--only", multiple=True, help="A section, may be repeated [all]."),
    lines=(
        "openmm-slm benchmark all --data shards --references references -o board \\",
        "  --chains 1 -n 2 --processes 1 --only speed --only valid_frames --only side_chains",
    ),
)  # fmt: skip
def scoreboard():
    """The scoreboard: all figures that need no GPU. The same command continues."""
    from ..benchmarks.scoreboard import benchmark_all

    return benchmark_all


@verb(
    "ceiling", references, model,
    number("--frames", default=100, least=2, help="Of an ensemble."), targets,
    lines=("openmm-slm benchmark ceiling --references references --target md --frames 10",),
)  # fmt: skip
def ceiling():
    """Encode and decode MD and NMR frames: the best that any sampler of tokens can do."""
    from ..benchmarks.ceiling import benchmark_ceiling

    return benchmark_ceiling


@verb(
    "md", references, model, number("-n", default=100, least=2, help="Frames."), seed,
    numbers("--noise", help="Also from the first frame, at this noise."), rounds, targets,
    lines=("openmm-slm benchmark md --references references --target md -n 10",),
)  # fmt: skip
def md():
    """Samples, and baselines from the first frame, against MD at equal numbers of frames."""
    from ..benchmarks.md import benchmark_md

    return benchmark_md


@verb(
    "templates", references, continued, model,
    number("-n", default=100, least=2, help="Samples at each setting."), seed,
    numbers(
        "--noise", default=(0.02, 0.05, 0.1, 0.3, 0.6, 1.0),
        help="Share of the template's tokens that is sampled anew.",
    ),
    rounds, numbers("--deform", help="nm [the sampler's default]."), targets, processes,
    lines=("openmm-slm benchmark templates --references references -n 4 --noise 0.1 --noise 1",),
)  # fmt: skip
def templates():
    """Samples from the first frame of MD: RMSD, RMSF and validity by noise, rounds and deform."""
    from ..benchmarks.templates import benchmark_templates

    return benchmark_templates


@verb(
    "loops", data, continued, model, split,
    click.option(
        "--antibodies", default="test_antibody", show_default=True, help="Split for CDR-H3."
    ),
    number("--chains", default=30, help="Chains with a coil loop."),
    number("-n", default=50, help="Samples of a loop."), seed, processes,
    lines=("openmm-slm benchmark loops --data shards --chains 1 -n 2",),
)  # fmt: skip
def loops():
    """Loops resampled with all else fixed, beside random closures: RMSD, validity."""
    from ..benchmarks.loops import benchmark_loops

    return benchmark_loops


@verb(
    "complexes", data, continued, model,
    click.option(
        "--split", "splits", multiple=True, default=["test_antibody", "test"], show_default=True
    ),
    number("--of-each", default=2, help="Antibodies, homodimers, with a peptide, others."),
    number("--longest", default=450, help="Residues of a complex."),
    number("-n", default=10, help="Samples at each setting."), seed,
    numbers(
        "--noise", default=(0.05, 0.3), help="Share of the template's tokens that is sampled anew."
    ),
    rounds, processes,
    lines=(
        "openmm-slm prepare dimer.pdb -o dimers --complexes --test-share 1",
        "openmm-slm benchmark complexes --data dimers --of-each 1 -n 2 --noise 0.3",
    ),
)  # fmt: skip
def complexes():
    """Complexes sampled from their own structure: RMSD, contacts between chains, validity."""
    from ..benchmarks.complexes import benchmark_complexes

    return benchmark_complexes


@verb(
    "speed", continued, model, parts,
    numbers("--length", "lengths", kind=int, default=(50, 100, 200, 400, 800), help="Residues."),
    proteins, number("-n", default=500, least=2, help="Frames completed, and frames resumed."),
    click.option("--structures", type=directory, help="PDB or mmCIF files to prepare."),
    lines=("openmm-slm benchmark speed --part lengths --length 50",),
)  # fmt: skip
def speed():
    """Time and memory: lengths, completion, resume (a run killed and continued), prepare."""
    from ..benchmarks.speed import benchmark_speed

    return benchmark_speed


@verb(
    "relaxation", continued, model, parts, proteins,
    number("-n", default=20, help="Samples of each protein."),
    lines=("openmm-slm benchmark relaxation --part valid --protein chignolin -n 4",),
)  # fmt: skip
def relaxation():
    """Relaxed samples: valid, speed, copies, repair, energy, dynamics, solvents."""
    from ..benchmarks.relaxation import benchmark_relaxation

    return benchmark_relaxation


@verb(
    "seeding", continued, model, parts, proteins,
    click.option("--field", "fields", multiple=True, help="Force field of export, repeated."),
    number("-n", default=3, help="Seeds of each protein."),
    number("--steps", default=1000, help="Of 2 fs."),
    lines=("openmm-slm benchmark seeding --part implicit --protein Trp-cage -n 1 --steps 50",),
)  # fmt: skip
def seeding():
    """Seeds that run (implicit, explicit), export read back, CHARMM36 as seeds have it (charmm)."""
    from ..benchmarks.seeding import benchmark_seeding

    return benchmark_seeding

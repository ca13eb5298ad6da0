"""``openmm-slm benchmark``: each verb wraps one function and prints one table."""

from __future__ import annotations

import click

from .common import (
    device_option,
    directory,
    example,
    new,
    prepare_cpu,
    report_errors,
    threads_option,
)


@click.group()
def benchmark() -> None:
    """Measure a model; each verb prints one table."""


@benchmark.command(epilog=example("openmm-slm benchmark reconstruction --data shards"))
@click.option("--data", type=directory, required=True, help="Shard directory.")
@click.option("--model", default="default", show_default=True, help="Model or tokenizer directory.")
@click.option("--split", default="test", show_default=True)
@device_option
@threads_option
@report_errors
def reconstruction(data, model, split, device, threads):
    """Encode and decode a split: RMSD, lDDT, codes, broken bonds, clashes."""
    from ..benchmarks.reconstruction import benchmark_reconstruction

    prepare_cpu(threads)
    click.echo(benchmark_reconstruction(data, model, split, device))


@benchmark.command(
    "lm", epilog=example("openmm-slm benchmark lm --data shards --split test --chains 2 -n 2")
)
@click.option("--data", type=directory, required=True, help="Shard directory.")
@click.option("--tokens", type=directory, help="Made by `openmm-slm tokenize` [encode the splits].")
@click.option(
    "--model",
    "models",
    multiple=True,
    default=["default"],
    show_default=True,
    help="Name or directory, may be repeated.",
)
@click.option(
    "--no-sequence",
    multiple=True,
    type=directory,
    help="A model trained without sequences, one a family: what the sequence gains.",
)
@click.option(
    "--split",
    "splits",
    multiple=True,
    default=["test", "test_related"],
    show_default=True,
    help="Nats of each, samples of the first.",
)
@click.option("--chains", type=click.IntRange(1), default=20, show_default=True)
@click.option("-n", type=click.IntRange(1), default=100, show_default=True, help="Samples a chain.")
@click.option("--guidance", type=float, multiple=True, help="Samples at this too.")
@device_option
@threads_option
@report_errors
def benchmark_lm_command(data, threads, **options):
    """Language models side by side: nats per token, time, validity, secondary structure."""
    from ..benchmarks.language import benchmark_language

    prepare_cpu(threads)
    click.echo(benchmark_language(data, **options))


@benchmark.command(
    "samples", epilog=example("openmm-slm benchmark samples --data shards --chains 2 -n 2")
)
@click.option("--data", type=directory, required=True, help="Shard directory.")
@click.option("--model", default="default", show_default=True, help="Model name or directory.")
@click.option("--split", default="test", show_default=True)
@click.option("--chains", type=click.IntRange(1), default=20, show_default=True)
@click.option("-n", type=click.IntRange(1), default=10, show_default=True, help="Samples a chain.")
@device_option
@threads_option
@report_errors
def benchmark_samples_command(data, threads, **options):
    """Validity and secondary structure of samples from sequence, before and after projection."""
    from ..benchmarks.samples import benchmark_samples

    prepare_cpu(threads)
    click.echo(benchmark_samples(data, **options))


@benchmark.command(
    "sidechains", epilog=example("openmm-slm benchmark sidechains --data shards --against pdbfixer")
)
@click.option("--data", type=directory, required=True, help="Shard directory with side chains.")
@click.option("--model", default="default", show_default=True, help="Model name or directory.")
@click.option("--split", default="test", show_default=True)
@click.option("--chains", type=click.IntRange(1), help="So many, evenly over lengths [all].")
@click.option("--longest", type=click.IntRange(1), help="Residues of a chain.")
@click.option(
    "--against",
    multiple=True,
    type=click.Choice(["faspr", "pdbfixer", "pdbfixer-repaired"]),
    help="What else to measure (faspr needs the package pyfaspr).",
)
@device_option
@threads_option
@report_errors
def benchmark_sidechains_command(data, threads, **options):
    """Side chains packed on native backbones: chi angles, RMSD, clashes, speed."""
    from ..benchmarks.sidechains import benchmark_sidechains

    prepare_cpu(threads)
    click.echo(benchmark_sidechains(data, **options))


references_option = click.option(
    "--references", type=directory, required=True, help="Directory with a targets.csv."
)


@benchmark.command(
    "apo-holo",
    epilog=example("openmm-slm benchmark apo-holo --references references -n 2 --limit 1 -o pairs"),
)
@references_option
@click.option("-o", "--output", type=new, required=True, help="Folder for finished targets.")
@click.option("--model", default="default", show_default=True, help="Model name or directory.")
@click.option("-n", type=click.IntRange(2), default=5, show_default=True, help="Samples a target.")
@click.option("--seed", default=0, show_default=True)
@click.option("--limit", type=click.IntRange(1), help="The first so many pairs [all].")
@click.option("--processes", type=click.IntRange(1), default=1, show_default=True)
@device_option
@threads_option
@report_errors
def benchmark_apo_holo_command(references, output, threads, **options):
    """Samples against pairs of conformers: flexibility, TM-scores. The same command continues."""
    from ..benchmarks.apo_holo import benchmark_apo_holo

    prepare_cpu(threads)
    click.echo(benchmark_apo_holo(references, output, **options))


@benchmark.command(
    "all",
    epilog=example(
        "openmm-slm benchmark all --data shards --references references -o board \\",
        "  --chains 1 -n 2 --processes 1 --only speed --only valid_frames --only side_chains",
    ),
)
@click.option("--data", type=directory, required=True, help="Shard directory.")
@references_option
@click.option("-o", "--output", type=new, help="Folder for finished sections.")
@click.option("--model", default="default", show_default=True, help="Model name or directory.")
@click.option("--no-sequence", type=directory, help="A model trained without sequences.")
@click.option("--chains", type=click.IntRange(1), default=8, show_default=True, help="Sampled.")
@click.option("-n", type=click.IntRange(2), default=100, show_default=True, help="Samples of each.")
@click.option("--pairs", type=click.IntRange(1), default=15, show_default=True, help="Conformers.")
@click.option("--seed", default=0, show_default=True)
@click.option("--processes", type=click.IntRange(1), default=2, show_default=True)
@click.option("--only", multiple=True, help="A section, may be repeated [all].")
@device_option
@threads_option
@report_errors
def benchmark_all_command(data, references, output, threads, **options):
    """The scoreboard: all figures that need no GPU. The same command continues."""
    from ..benchmarks.scoreboard import benchmark_all

    prepare_cpu(threads)
    click.echo(benchmark_all(data, references, output, **options))


_sets = click.option("--target", "targets", multiple=True, help="Id, may be repeated [all].")


@benchmark.command(
    "ceiling",
    epilog=example("openmm-slm benchmark ceiling --references references --target md --frames 10"),
)
@references_option
@click.option("--model", default="default", show_default=True, help="Model or tokenizer directory.")
@click.option("--frames", type=click.IntRange(2), default=100, show_default=True, help="Of a set.")
@_sets
@device_option
@threads_option
@report_errors
def benchmark_ceiling_command(references, threads, **options):
    """Encode and decode MD and NMR frames: the best that any sampler of tokens can do."""
    from ..benchmarks.ceiling import benchmark_ceiling

    prepare_cpu(threads)
    click.echo(benchmark_ceiling(references, **options))


@benchmark.command(
    "md", epilog=example("openmm-slm benchmark md --references references --target md -n 10")
)
@references_option
@click.option("--model", default="default", show_default=True, help="Model name or directory.")
@click.option("-n", type=click.IntRange(2), default=100, show_default=True, help="Frames.")
@click.option("--seed", default=0, show_default=True)
@click.option("--noise", type=float, multiple=True, help="From the first frame, at this noise.")
@click.option("--rounds", type=int, multiple=True, default=[1], help="Of that.")
@_sets
@device_option
@threads_option
@report_errors
def benchmark_md_command(references, threads, **options):
    """Samples, and baselines from the first frame, against MD at equal numbers of frames."""
    from ..benchmarks.md import benchmark_md

    prepare_cpu(threads)
    click.echo(benchmark_md(references, **options))

"""``openmm-slm benchmark``: each verb wraps one function and prints one table."""

from __future__ import annotations

import click

from .cli_common import device_option, directory, prepare_cpu, report_errors, threads_option


@click.group()
def benchmark() -> None:
    """Measure a model; each verb prints one table."""


@benchmark.command()
@click.option("--data", type=directory, required=True, help="Shard directory.")
@click.option("--model", default="default", show_default=True, help="Model or tokenizer directory.")
@click.option("--split", default="test", show_default=True)
@device_option
@threads_option
@report_errors
def reconstruction(data, model, split, device, threads):
    """Encode and decode a split: RMSD, lDDT, codes, broken bonds, clashes."""
    from .benchmarks.reconstruction import benchmark_reconstruction

    prepare_cpu(threads)
    click.echo(benchmark_reconstruction(data, model, split, device))


@benchmark.command("lm")
@click.option("--data", type=directory, required=True, help="Shard directory.")
@click.option("--tokens", type=directory, required=True, help="Made by `openmm-slm tokenize`.")
@click.option("--model", "models", multiple=True, default=["default"], show_default=True)
@click.option("--split", default="test", show_default=True)
@device_option
@threads_option
@report_errors
def benchmark_lm(data, tokens, models, split, device, threads):
    """Nats per token on a split (a bound, for diffusion); several --model are put side by side."""
    from .benchmarks.likelihood import benchmark_likelihood

    prepare_cpu(threads)
    click.echo(benchmark_likelihood(data, tokens, models, split, device))


@benchmark.command("samples")
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
    from .benchmarks.samples import benchmark_samples

    prepare_cpu(threads)
    click.echo(benchmark_samples(data, **options))


@benchmark.command("sidechains")
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
    from .benchmarks.sidechains import benchmark_sidechains

    prepare_cpu(threads)
    click.echo(benchmark_sidechains(data, **options))

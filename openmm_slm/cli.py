"""The ``openmm-slm`` command: each verb wraps one function."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import click

from . import __version__

existing = click.Path(exists=True, path_type=Path)
directory = click.Path(exists=True, file_okay=False, path_type=Path)
new = click.Path(path_type=Path)


def _report_errors(function: Callable) -> Callable:
    """Bad input: one clear line and exit code 2, never a traceback."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except (ValueError, ImportError, OSError) as error:
            click.echo(f"openmm-slm: {error}", err=True)
            sys.exit(2)

    return wrapped


def _stack(*options: Callable) -> Callable:
    def decorate(function: Callable) -> Callable:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


_device = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, ...")
_threads = click.option("--threads", type=click.IntRange(1), help="CPU threads [default: all].")
_training = _stack(
    click.argument("config", type=existing),
    click.option("--data", type=directory, required=True, help="Shard directory."),
    click.option("-o", "--output", type=new, required=True, help="Run directory."),
    click.option("--time-limit", type=float, help="Minutes after which to stop and save."),
    click.option("--resume", is_flag=True, help="Continue the checkpoint in --output."),
    click.option("--init-from", type=directory, help="Model directory to start from."),
    click.option("--decay", type=click.IntRange(1), help="Anneal a copy over this many steps."),
    _device,
    _threads,
)


def _prepare_cpu(threads: int | None) -> None:
    """Set torch's threads, and keep freed memory in the process.

    glibc hands each large block back to the system and takes page faults to get it again: 20 % of
    the CPU time of a language model's training (6 % with this). A command owns its process, so it
    may change that; a library may not.
    """
    if threads:
        import torch

        torch.set_num_threads(threads)
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            mallopt = ctypes.CDLL(None).mallopt
            for option, value in ((-4, 0), (-1, 2**31 - 1), (-2, 2**28)):
                mallopt(option, value)  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="openmm-slm")
@click.option("-v", "--verbose", is_flag=True, help="Log progress messages.")
def main(verbose: bool) -> None:
    """Protein conformational ensembles from structure language models."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s: %(message)s"
    )


@main.command()
@click.argument("sequence", required=False)
@click.option("-o", "--output", type=new, required=True, help="Folder to write.")
@click.option("-n", default=500, show_default=True, help="Number of conformations.")
@click.option("--model", default="default", show_default=True, help="Model name or directory.")
@click.option("--temperature", default=1.0, show_default=True)
@click.option("--top-p", default=1.0, show_default=True)
@click.option("--steps", type=int, help="Denoising steps [default: 25].")
@click.option("--seed", type=int, help="Repeats a run [default: drawn].")
@click.option("--batch-size", type=int, help="Frames in memory at once.")
@click.option("--project/--no-project", default=True, help="Close peptide bonds [default: yes].")
@click.option("--drop-invalid", is_flag=True, help="Leave out frames that are not valid.")
@click.option("--resume", is_flag=True, help="Continue or extend what --output holds.")
@click.option("--repeat", type=existing, help="Do again what this run.json describes.")
@_device
@_threads
@_report_errors
def sample(sequence, output, n, repeat, device, resume, threads, **settings):
    """Sample conformations of SEQUENCE.

    SEQUENCE is one-letter amino acids ("AAA:BBB" for two chains), or a FASTA file: then each
    record gets a folder of its own in --output.
    """
    from .ensemble import generate_ensemble
    from .runs import repeat_run, sample_fasta

    _prepare_cpu(threads)
    options = {"device": device, "resume": resume}
    if (sequence is None) == (repeat is None):
        raise ValueError("give either a SEQUENCE (or FASTA file) or --repeat RUN_JSON")
    if repeat is not None:
        source = click.get_current_context().get_parameter_source
        given = [name for name in ("n", *settings) if source(name).name != "DEFAULT"]
        if given:
            raise ValueError(f"--repeat takes {given[0]} from the run.json; leave the option out")
        where = [repeat_run(repeat, output, **options)]
    # A sequence may be longer than a file name can be: only short ones are looked up.
    elif len(sequence) < 200 and Path(sequence).is_file():
        where = sample_fasta(sequence, output, n, **settings, **options)
    elif "." in sequence or "/" in sequence:
        raise ValueError(f"{sequence}: no such file (a sequence has letters and ':' only)")
    else:
        where = [generate_ensemble(sequence, n, output=output, **settings, **options)]
    for folder in where:
        click.echo(
            f"{folder}: topology.pdb and samples.xtc (open both in MDTraj, VMD or PyMOL), "
            "report.csv (one row a frame), run.json (settings and seed)"
        )


@main.command()
@click.argument("inputs", nargs=-1, required=True, type=new, metavar="INPUT...")
@click.option("-o", "--output", type=new, required=True, help="Shard directory to write.")
@click.option("--top", type=new, help="Topology of trajectories without one.")
@click.option("--stride", default=1, show_default=True, help="Every so many frames.")
@click.option("--min-length", default=20, show_default=True, help="Residues of an entry.")
@click.option("--max-length", default=1024, show_default=True, help="Residues of an entry.")
@click.option("--max-resolution", default=3.5, show_default=True, help="Å; none given is kept.")
@click.option("--min-complete", default=0.9, show_default=True, help="Share with N, CA and C.")
@click.option("--max-breaks", default=10, show_default=True, help="Breaks inside chains.")
@click.option("--max-unknown", default=0.1, show_default=True, help="Share of X in a sequence.")
@click.option("--complexes", is_flag=True, help="All chains of a file are one entry.")
@click.option("--cluster", is_flag=True, help="Cluster chains with MMseqs2 (80 % coverage).")
@click.option("--identity", default=0.3, show_default=True, help="Of clusters.")
@click.option("--validation-share", default=0.0, show_default=True, help="Of clusters: val.")
@click.option("--test-share", default=0.0, show_default=True, help="Of clusters: test.")
@click.option("--processes", type=click.IntRange(1), help="Worker processes [default: all CPUs].")
@_report_errors
def prepare(inputs, output, **options):
    """Make training shards of PDB and mmCIF files (also .gz), folders of them, or trajectories.

    A stopped run is continued by the same command.
    """
    from .preparation.merge import summarise, told
    from .preparation.prepare import prepare as write_shards

    where = write_shards(inputs, output, **options)
    click.echo(f"{where}: {told(summarise(where))} (report.csv has the reasons)")


@main.group()
def train() -> None:
    """Train a tokenizer or a language model."""


@train.command("tokenizer")
@_training
@click.option("--tokens", type=directory, help="Train the decoder alone on these tokens.")
@_report_errors
def train_tokenizer_command(config, data, output, time_limit, threads, **options):
    """Stage 1: the dVAE, with the settings of CONFIG (JSON)."""
    from .models.registry import find_device
    from .training.train_tokenizer import train_tokenizer

    _prepare_cpu(threads)
    options["device"] = find_device(options["device"])
    logging.getLogger("openmm_slm.training").setLevel(logging.INFO)
    seconds = None if time_limit is None else 60 * time_limit
    where = train_tokenizer(_json(config), data, output, time_limit=seconds, **options)
    _tell(where)


@train.command("lm")
@_training
@click.option("--tokens", type=directory, required=True, help="Made by `openmm-slm tokenize`.")
@_report_errors
def train_lm_command(config, data, tokens, output, time_limit, threads, **options):
    """Stage 2: masked diffusion over tokens, with the settings of CONFIG (JSON)."""
    from .models.registry import find_device
    from .training.train_language_model import train_language_model

    _prepare_cpu(threads)
    options["device"] = find_device(options["device"])
    logging.getLogger("openmm_slm.training").setLevel(logging.INFO)
    seconds = None if time_limit is None else 60 * time_limit
    where = train_language_model(_json(config), data, tokens, output, time_limit=seconds, **options)
    _tell(where)


@main.command()
@click.option("--data", type=directory, required=True, help="Shard directory.")
@click.option("--model", default="default", show_default=True, help="Model or tokenizer directory.")
@click.option("-o", "--output", type=new, required=True)
@_device
@_threads
@_report_errors
def tokenize(data, model, output, device, threads):
    """Encode every entry of a shard directory."""
    from .models.registry import find_device, find_part
    from .training.tokens import tokenize as encode

    _prepare_cpu(threads)
    encode(data, find_part(model, "tokenizer"), output, device=find_device(device))


@main.group()
def benchmark() -> None:
    """Measure a model; each verb prints one table."""


@benchmark.command()
@click.option("--data", type=directory, required=True, help="Shard directory.")
@click.option("--model", default="default", show_default=True, help="Model or tokenizer directory.")
@click.option("--split", default="test", show_default=True)
@_device
@_threads
@_report_errors
def reconstruction(data, model, split, device, threads):
    """Encode and decode a split: RMSD, lDDT, codes, broken bonds, clashes."""
    from .benchmarks.reconstruction import benchmark_reconstruction

    _prepare_cpu(threads)
    click.echo(benchmark_reconstruction(data, model, split, device))


@benchmark.command("lm")
@click.option("--data", type=directory, required=True, help="Shard directory.")
@click.option("--tokens", type=directory, required=True, help="Made by `openmm-slm tokenize`.")
@click.option("--model", "models", multiple=True, default=["default"], show_default=True)
@click.option("--split", default="test", show_default=True)
@_device
@_threads
@_report_errors
def benchmark_lm(data, tokens, models, split, device, threads):
    """Nats per token on a split (a bound, for diffusion); several --model are put side by side."""
    from .benchmarks.likelihood import benchmark_likelihood

    _prepare_cpu(threads)
    click.echo(benchmark_likelihood(data, tokens, models, split, device))


@benchmark.command("samples")
@click.option("--data", type=directory, required=True, help="Shard directory.")
@click.option("--model", default="default", show_default=True, help="Model name or directory.")
@click.option("--split", default="test", show_default=True)
@click.option("--chains", type=click.IntRange(1), default=20, show_default=True)
@click.option("-n", type=click.IntRange(1), default=10, show_default=True, help="Samples a chain.")
@_device
@_threads
@_report_errors
def benchmark_samples_command(data, threads, **options):
    """Validity and secondary structure of samples from sequence, before and after projection."""
    from .benchmarks.samples import benchmark_samples

    _prepare_cpu(threads)
    click.echo(benchmark_samples(data, **options))


@main.group()
def models() -> None:
    """List, show and check models; put trained parts together."""


@models.command("list")
def list_models():
    """Names that --model takes, and where they are."""
    from .models.registry import registered_models, shipped_models

    for name, path in shipped_models().items():
        click.echo(f"{name:20} {path}")
    for name, point in registered_models().items():
        click.echo(f"{name:20} {point.value}")


@models.command()
@click.argument("model", default="default")
@_report_errors
def show(model):
    """Sizes and card of MODEL (a name or directory)."""
    from .models.registry import describe_model

    click.echo(describe_model(model))


@models.command()
@click.argument("model", default="default")
@_report_errors
def verify(model):
    """Check MODEL: every shard against its checksum, and that its parts belong together."""
    from .models.registry import verify_model

    for line in verify_model(model):
        click.echo(line)


@models.command()
@click.option("--tokenizer", type=directory, required=True)
@click.option("--language-model", type=directory, required=True)
@click.option("--card", type=existing, required=True, help="Markdown: data, figures, licence.")
@click.option("-o", "--output", type=new, required=True)
@_report_errors
def assemble(tokenizer, language_model, card, output):
    """Make one model directory of a trained tokenizer and language model."""
    from .models.storage import assemble_model

    click.echo(f"model: {assemble_model(tokenizer, language_model, output, card.read_text())}")


def _tell(where: Path) -> None:
    if where.is_dir():
        click.echo(f"model: {where}")
    else:
        click.echo(f"stopped before {where} was written; continue with --resume")


def _json(path: Path) -> dict:
    try:
        values = json.loads(path.read_text())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: a training config is a JSON object")
    return values

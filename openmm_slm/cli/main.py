"""The ``openmm-slm`` command; each subcommand calls one function of the package."""

from __future__ import annotations

import logging
import os
import sys

import click

from .. import __version__
from ..comparison.comparison_settings import ComparisonSettings
from ..data.preparation_settings import PreparationSettings
from .benchmark import benchmark
from .check import check
from .common import (
    directory,
    example,
    existing,
    new,
    report_errors,
    settings_options,
    structure,
)
from .finetune import finetune_command
from .flexibility import flexibility_command
from .library import library
from .sample import complete_command, relax_command, sample
from .seed import seed
from .train import embed, tokenize, train
from .weights import download, import_esm3_command, import_esmdiff_command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="openmm-slm")
@click.option("-v", "--verbose", is_flag=True, help="Log progress messages.")
def main(verbose: bool) -> None:
    """Protein conformational ensembles from structure language models."""
    if not sys.stderr.isatty():  # a log file: update progress bars every 30 s
        os.environ.setdefault("TQDM_MININTERVAL", "30")  # tqdm reads it when it is imported
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s: %(message)s"
    )


for command in (
    sample,
    complete_command,
    relax_command,
    seed,
    train,
    tokenize,
    embed,
    finetune_command,
    benchmark,
    check,
    flexibility_command,
    library,
):
    main.add_command(command)


@main.command(
    epilog=example(
        "openmm-slm prepare pdbs -o shards --validation-share 0.2 --test-share 0.2",
        "openmm-slm prepare md.xtc --top md.pdb --stride 10 --min-length 10 -o md-shards",
    )
)
@click.argument("inputs", nargs=-1, required=True, type=new, metavar="INPUT...")
@click.option("-o", "--output", type=new, required=True, help="Shard directory to write.")
@settings_options(PreparationSettings, chains={"metavar": "LIST"}, top={"type": new})
@click.option("--processes", type=click.IntRange(1), help="Worker processes [default: all CPUs].")
@report_errors
def prepare(inputs, output, **options):
    """Convert structures or trajectories to training shards.

    INPUT is PDB or mmCIF files (.gz too), folders of such files, names (pdb:5PTI), or trajectories.
    To continue an interrupted run, repeat the command.
    """
    from ..data.merge import format_counts, summarise
    from ..data.prepare import prepare as write_shards

    where = write_shards(inputs, output, **options)
    click.echo(f"{where}: {format_counts(summarise(where))} (reasons in report.csv)")


@main.command(
    "compare",
    epilog=example(
        "openmm-slm sample GYDPETGTWG -n 30 -o sampled",
        "openmm-slm compare sampled md.xtc --reference-top md.pdb -o comparison",
        "openmm-slm compare sampled --experiment measured.csv --reweight -o reweighted",
    ),
)
@click.argument("samples", type=structure)
@click.argument("reference", type=structure, required=False)
@click.option("-o", "--output", type=new, required=True, help="Folder to write.")
@click.option("--top", type=existing, help="Topology file of SAMPLES.")
@click.option("--reference-top", type=existing, help="Topology file of REFERENCE.")
@click.option("--experiment", type=existing, help="CSV or JSON file with measured averages.")
@click.option(
    "--weights", type=existing, help="File with one weight per sample; weights.csv of a comparison."
)
@click.option("--reference-weights", type=existing, help="File with one weight per frame.")
@settings_options(
    ComparisonSettings, leave_out=("tica_components", "n_bootstrap"), tica_lag={"flag": "--lag"}
)
@click.option(
    "--lengths",
    help="Frames in each trajectory of REFERENCE, if it joins several: 400,400,376 or a file.",
)
@report_errors
def compare_command(samples, reference, output, **options):
    """Compare the ensemble SAMPLES with REFERENCE, with an experiment, or with both.

    Writes tables, a figure and an HTML page; with --reweight, also weights.csv. SAMPLES and
    REFERENCE are trajectories (PDB, mmCIF, XTC, DCD, ...), names of structures (pdb:1D3Z) or
    folders written by `openmm-slm sample`.
    """
    from ..comparison.loading import compare_files

    click.echo(compare_files(samples, reference, output, **options))


@main.group()
def models() -> None:
    """List, describe, verify, import and assemble models."""


for command in (download, import_esm3_command, import_esmdiff_command):
    models.add_command(command)


@models.command("list", epilog=example("openmm-slm models list"))
def list_models():
    """List the names that --model accepts, and where each model is."""
    from ..models.registry import BROUGHT, registered_models, shipped_models

    for name, path in shipped_models().items():
        click.echo(f"{name:20} {path}")
    for name, point in registered_models().items():
        click.echo(f"{name:20} {point.value}")
    for name in BROUGHT:
        click.echo(f"{name:20} (weights not shipped: see docs/{name}.md)")


@models.command(epilog=example("openmm-slm models show diffusion"))
@click.argument("model", default="default")
@report_errors
def show(model):
    """Print the sizes and the model card of MODEL (a name or directory)."""
    from ..models.registry import describe_model

    click.echo(describe_model(model))


@models.command(epilog=example("openmm-slm models verify default"))
@click.argument("model", default="default")
@report_errors
def verify(model):
    """Verify the checksums of MODEL, and that its parts fit together."""
    from ..models.registry import verify_model

    for line in verify_model(model):
        click.echo(line)


@models.command(
    epilog=example(
        "openmm-slm models assemble --tokenizer tokenizer/model --language-model lm/model \\",
        "    --packer packer/model --card CARD.md -o mymodel",
        "openmm-slm sample GYDPETGTWG -n 1 --model mymodel -o mine",
    )
)
@click.option("--tokenizer", type=directory, required=True, help="Trained tokenizer.")
@click.option("--language-model", type=directory, required=True, help="Trained language model.")
@click.option(
    "--packer", type=directory, help="Trained side-chain packer [default: the shipped one]."
)
@click.option(
    "--backmapping",
    type=directory,
    help="Trained network that builds backbones from CA traces [default: the shipped one].",
)
@click.option(
    "--motions", type=directory, help="Trained network of springs [default: the shipped one]."
)
@click.option(
    "--segments",
    type=directory,
    help="Trained network that ranks sampled segments [default: the shipped one].",
)
@click.option(
    "--card",
    type=existing,
    required=True,
    help="Model card in Markdown: training data, benchmarks, licence.",
)
@click.option("-o", "--output", type=new, required=True, help="Model directory to write.")
@report_errors
def assemble(tokenizer, language_model, card, output, **networks):
    """Assemble a model directory from trained networks."""
    from ..networks.storage import assemble_model

    where = assemble_model(
        tokenizer, language_model, output, card.read_text(encoding="utf-8"), **networks
    )
    click.echo(f"model: {where}")

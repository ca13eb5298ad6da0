"""The ``openmm-slm`` command: each verb wraps one function."""

from __future__ import annotations

import logging
import os
import sys

import click

from .. import __version__
from .benchmark import benchmark
from .check import check
from .common import directory, example, existing, new, report_errors
from .sample import complete_command, relax_command, sample
from .seed import seed
from .train import embed, tokenize, train
from .weights import download, import_esm3_command, import_esmdiff_command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="openmm-slm")
@click.option("-v", "--verbose", is_flag=True, help="Log progress messages.")
def main(verbose: bool) -> None:
    """Protein conformational ensembles from structure language models."""
    if not sys.stderr.isatty():  # in the log of a job: a line now and then, not ten a second
        os.environ.setdefault("TQDM_MININTERVAL", "30")  # read by tqdm when it is imported
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
    benchmark,
    check,
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
@click.option(
    "--chains",
    metavar="LIST",
    help="Only the chains of this CSV file, with their splits; 'default': those of the shipped "
    "models. INPUT is a folder (mirror) of files named by PDB id.",
)
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
@report_errors
def prepare(inputs, output, **options):
    """Make training shards of PDB and mmCIF files (also .gz), folders of them, or trajectories.

    A stopped run is continued by the same command.
    """
    from ..data.merge import format_counts, summarise
    from ..data.prepare import prepare as write_shards

    where = write_shards(inputs, output, **options)
    click.echo(f"{where}: {format_counts(summarise(where))} (report.csv has the reasons)")


@main.command(
    "compare",
    epilog=example(
        "openmm-slm sample GYDPETGTWG -n 30 -o sampled",
        "openmm-slm compare sampled md.xtc --reference-top md.pdb -o comparison",
    ),
)
@click.argument("samples", type=existing)
@click.argument("reference", type=existing)
@click.option("-o", "--output", type=new, required=True, help="Folder to write.")
@click.option("--top", type=existing, help="Topology of the samples.")
@click.option("--reference-top", type=existing, help="Topology of the reference.")
@click.option("--weights", type=existing, help="File with one number a sample.")
@click.option("--reference-weights", type=existing, help="File with one number a frame.")
@click.option("--lag", default=20, show_default=True, help="Of TICA, in frames; 0: no TICA.")
@click.option("--lengths", help="Trajectories in the reference: 400,400,376 or a file.")
@click.option("--seed", default=0, show_default=True, help="Of the noise floor.")
@report_errors
def compare_command(samples, reference, output, **options):
    """Compare the ensemble SAMPLES with REFERENCE: table, figure, HTML page.

    Both are trajectories (PDB, mmCIF, XTC, DCD, ...) or folders written by `openmm-slm sample`.
    """
    from ..comparison.loading import compare_files

    click.echo(compare_files(samples, reference, output, **options))


@main.group()
def models() -> None:
    """List, show and check models; put trained parts together."""


for command in (download, import_esm3_command, import_esmdiff_command):
    models.add_command(command)


@models.command("list", epilog=example("openmm-slm models list"))
def list_models():
    """Names that --model takes, and where they are."""
    from ..models.registry import BROUGHT, registered_models, shipped_models

    for name, path in shipped_models().items():
        click.echo(f"{name:20} {path}")
    for name, point in registered_models().items():
        click.echo(f"{name:20} {point.value}")
    for name in BROUGHT:
        click.echo(f"{name:20} (weights that you bring: see docs/{name}.md)")


@models.command(epilog=example("openmm-slm models show diffusion"))
@click.argument("model", default="default")
@report_errors
def show(model):
    """Sizes and card of MODEL (a name or directory)."""
    from ..models.registry import describe_model

    click.echo(describe_model(model))


@models.command(epilog=example("openmm-slm models verify default"))
@click.argument("model", default="default")
@report_errors
def verify(model):
    """Check MODEL: every shard against its checksum, and that its parts belong together."""
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
@click.option("--tokenizer", type=directory, required=True)
@click.option("--language-model", type=directory, required=True)
@click.option("--packer", type=directory, help="Default: that of the default model.")
@click.option("--card", type=existing, required=True, help="Markdown: data, figures, licence.")
@click.option("-o", "--output", type=new, required=True)
@report_errors
def assemble(tokenizer, language_model, packer, card, output):
    """Make one model directory of a trained tokenizer, language model and packer."""
    from ..networks.storage import assemble_model

    where = assemble_model(tokenizer, language_model, output, card.read_text(), packer)
    click.echo(f"model: {where}")

"""The ``openmm-slm`` command: each verb wraps one function."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from . import __version__
from .cli_benchmark import benchmark
from .cli_check import check
from .cli_common import (
    device_option,
    directory,
    existing,
    new,
    prepare_cpu,
    report_errors,
    stack,
    threads_option,
)
from .cli_seed import seed
from .cli_train import tokenize, train
from .cli_weights import download, import_esm3_command, import_esmdiff_command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="openmm-slm")
@click.option("-v", "--verbose", is_flag=True, help="Log progress messages.")
def main(verbose: bool) -> None:
    """Protein conformational ensembles from structure language models."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s: %(message)s"
    )


for command in (train, tokenize, benchmark, seed, check):
    main.add_command(command)

_atoms = stack(
    click.option("--hydrogens/--no-hydrogens", default=True, help="[default: yes]"),
    click.option("--ph", default=7.0, show_default=True, help="Decides protonation."),
    click.option(
        "--disulfides", default="auto", show_default=True,
        help="auto, none, or pairs of residues counted from 0: 4-54,13-37",
    ),
)  # fmt: skip


_drop_invalid = click.option(
    "--drop-invalid", is_flag=True, help="Leave out frames that are not valid."
)


def _pairs(text: str) -> str | list[list[int]]:
    """What `disulfides` means on the command line."""
    if text in ("auto", "none"):
        return text
    try:
        return [[int(row) for row in pair.split("-")] for pair in text.split(",")]
    except ValueError:
        remedy = "give auto, none, or pairs of residues as in 4-54,13-37"
        raise ValueError(f"--disulfides is {text!r}; {remedy}") from None


@main.command()
@click.argument("sequence", required=False)
@click.option("-o", "--output", type=new, required=True, help="Folder to write.")
@click.option("-n", default=500, show_default=True, help="Number of conformations.")
@click.option("--model", default="default", show_default=True, help="Model name or directory.")
@click.option("--template", type=existing, help="PDB or mmCIF file to start from.")
@click.option("--noise", type=float, help="Share of residues sampled anew [with a template: 0.05].")
@click.option("--rounds", default=1, show_default=True, help="How often.")
@click.option("--deform", type=float, help="Displaced along soft modes, nm [with noise: 0.1].")
@click.option("--resample", help="Sample these alone: H:95-102, or an MDTraj selection.")
@click.option("--temperature", type=float, help="Below 1: less diverse [the model's own: 1].")
@click.option("--top-p", type=float, help="Share of the probability kept [the model's own: 1].")
@click.option("--steps", type=int, help="Denoising steps, of masked diffusion [25].")
@click.option(
    "--order",
    type=click.Choice(["ancestral", "confidence", "iterative", "entropy"]),
    help="Of unmasking [ancestral].",
)
@click.option("--guidance", default=0.0, show_default=True, help="Above 0: the sequence says more.")
@click.option(
    "--log-prob",
    type=click.Choice(["path", "bound"]),
    default="path",
    show_default=True,
    help="Reported: of the choices made, or of the tokens.",
)
@click.option("--seed", type=int, help="Repeats a run [default: drawn].")
@click.option("--batch-size", type=int, help="Frames in memory at once.")
@click.option("--project/--no-project", default=True, help="Close peptide bonds [default: yes].")
@click.option(
    "--sidechains",
    type=click.Choice(["packer", "pdbfixer", "none"]),
    default="packer",
    show_default=True,
    help="none: N, CA, C and O alone.",
)
@_atoms
@click.option("--relax", is_flag=True, help="Minimise every frame with OpenMM.")
@_drop_invalid
@click.option("--resume", is_flag=True, help="Continue or extend what --output holds.")
@click.option("--repeat", type=existing, help="Do again what this run.json describes.")
@device_option
@threads_option
@report_errors
def sample(sequence, output, n, repeat, device, resume, threads, **settings):
    """Sample conformations of SEQUENCE.

    SEQUENCE is one-letter amino acids ("AAA:BBB" for two chains), or a FASTA file: then each
    record gets a folder of its own in --output.
    """
    from .ensemble import generate_ensemble
    from .runs import repeat_run, sample_fasta

    prepare_cpu(threads)
    options = {"device": device, "resume": resume}
    settings["disulfides"] = _pairs(settings["disulfides"])
    settings["sidechains"] = None if settings["sidechains"] == "none" else settings["sidechains"]
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
        click.echo(_ENSEMBLE.format(folder))


@main.command("complete")
@click.argument("trajectory", type=new)
@click.option("-o", "--output", type=new, required=True, help="Folder to write.")
@click.option("--top", type=existing, help="Topology of trajectories without one.")
@click.option(
    "--sidechains", type=click.Choice(["packer", "pdbfixer"]), default="packer", show_default=True
)
@_atoms
@click.option("--model", default="default", show_default=True, help="Where the packer is.")
@click.option("--resume", is_flag=True, help="Continue what --output holds.")
@device_option
@threads_option
@report_errors
def complete_command(trajectory, threads, disulfides, **options):
    """Add side chains, hydrogens and OXT to the frames of TRAJECTORY (PDB, mmCIF, XTC, DCD, ...).

    N, CA and C of every residue are needed; side-chain atoms that are there are kept.
    """
    from .completion import complete

    prepare_cpu(threads)
    click.echo(_ENSEMBLE.format(complete(trajectory, disulfides=_pairs(disulfides), **options)))


@main.command("relax")
@click.argument("trajectory", type=new)
@click.option("-o", "--output", type=new, required=True, help="Folder to write.")
@click.option("--top", type=existing, help="Topology of trajectories without one.")
@click.option(
    "--forcefield",
    multiple=True,
    default=["amber14-all.xml"],
    show_default=True,
    help="File of OpenMM, or your own; may be repeated.",
)
@click.option(
    "--solvent", type=click.Choice(["vacuum", "obc2", "gbn2"]), default="vacuum", show_default=True
)
@click.option("--restraint", default=1000.0, show_default=True, help="Of N CA C O, kJ/mol/nm^2.")
@click.option("--iterations", default=100, show_default=True, help="With all atoms free.")
@click.option("--tolerance", default=10.0, show_default=True, help="RMS force, kJ/mol/nm.")
@click.option("--anneal", default=0.0, show_default=True, help="Langevin dynamics, ps.")
@click.option("--temperature", default=300.0, show_default=True, help="Of the dynamics, K.")
@click.option("--seed", default=0, show_default=True, help="Of the dynamics.")
@click.option("--repair/--no-repair", default=True, help="Try again where needed [default: yes].")
@click.option("--platform", default="CPU", show_default=True, help="CPU, CUDA, OpenCL, ...")
@click.option("--processes", type=click.IntRange(1), help="Worker processes [default: all CPUs].")
@click.option("--copies", type=click.IntRange(1), default=1, help="Frames together, for GPUs.")
@_drop_invalid
@click.option("--resume", is_flag=True, help="Continue what --output holds.")
@report_errors
def relax_command(trajectory, **options):
    """Minimise the frames of TRAJECTORY (PDB, mmCIF, XTC, DCD, ..., or a folder of `sample`).

    All atoms with hydrogens are needed (`openmm-slm complete` adds what is missing).
    """
    from .relaxing import relax

    click.echo(_ENSEMBLE.format(relax(trajectory, **options)))


_ENSEMBLE = (
    "{}: topology.pdb and samples.xtc (open both in MDTraj, VMD or PyMOL), "
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
@report_errors
def prepare(inputs, output, **options):
    """Make training shards of PDB and mmCIF files (also .gz), folders of them, or trajectories.

    A stopped run is continued by the same command.
    """
    from .preparation.merge import summarise, told
    from .preparation.prepare import prepare as write_shards

    where = write_shards(inputs, output, **options)
    click.echo(f"{where}: {told(summarise(where))} (report.csv has the reasons)")


@main.command("compare")
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
    from .comparison.loading import compare_files

    click.echo(compare_files(samples, reference, output, **options))


@main.group()
def models() -> None:
    """List, show and check models; put trained parts together."""


for command in (download, import_esm3_command, import_esmdiff_command):
    models.add_command(command)


@models.command("list")
def list_models():
    """Names that --model takes, and where they are."""
    from .models.registry import BROUGHT, registered_models, shipped_models

    for name, path in shipped_models().items():
        click.echo(f"{name:20} {path}")
    for name, point in registered_models().items():
        click.echo(f"{name:20} {point.value}")
    for name in BROUGHT:
        click.echo(f"{name:20} (weights that you bring: see docs/{name}.md)")


@models.command()
@click.argument("model", default="default")
@report_errors
def show(model):
    """Sizes and card of MODEL (a name or directory)."""
    from .models.registry import describe_model

    click.echo(describe_model(model))


@models.command()
@click.argument("model", default="default")
@report_errors
def verify(model):
    """Check MODEL: every shard against its checksum, and that its parts belong together."""
    from .models.registry import verify_model

    for line in verify_model(model):
        click.echo(line)


@models.command()
@click.option("--tokenizer", type=directory, required=True)
@click.option("--language-model", type=directory, required=True)
@click.option("--packer", type=directory, help="Default: that of the default model.")
@click.option("--card", type=existing, required=True, help="Markdown: data, figures, licence.")
@click.option("-o", "--output", type=new, required=True)
@report_errors
def assemble(tokenizer, language_model, packer, card, output):
    """Make one model directory of a trained tokenizer, language model and packer."""
    from .models.storage import assemble_model

    where = assemble_model(tokenizer, language_model, output, card.read_text(), packer)
    click.echo(f"model: {where}")

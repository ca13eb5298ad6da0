"""``openmm-slm sample``, ``complete`` and ``relax``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ..errors import require
from ..files.formats import needs_topology
from ..files.options import options_of
from ..relaxation.relaxation_settings import RelaxationSettings
from ..sampling.settings import SamplingSettings
from .common import (
    dask_option,
    device_option,
    example,
    existing,
    new,
    prepare_cpu,
    report_errors,
    settings_options,
    structure,
    threads_option,
)

_hdf5 = click.option(
    "--hdf5",
    is_flag=True,
    help="Write samples.h5 too: frames and topology in one HDF5 file of MDTraj.",
)
# `sample` and `complete` share the options that determine the topology.
_TOPOLOGY = ("hydrogens", "ph", "protonation", "disulfides", "keep")
_NOT_TOPOLOGY = tuple(f.name for f in options_of(SamplingSettings) if f.name not in _TOPOLOGY)
_drop_invalid = click.option(
    "--drop-invalid", is_flag=True, help="Leave out frames with invalid geometry."
)


def _pairs(text: str) -> str | list[list[int]]:
    """Parse the value of ``--disulfides``."""
    if text in ("auto", "none"):
        return text
    try:
        return [[int(row) for row in pair.split("-")] for pair in text.split(",")]
    except ValueError:
        remedy = "give auto, none, or pairs of residues such as 4-54,13-37"
        raise ValueError(f"--disulfides is {text!r}; {remedy}") from None


def _templates(paths: tuple, top: Path | None) -> object:
    """The argument `template`: None, one template, or a list of states."""
    if top and not paths:
        raise ValueError(f"--top {top} is the topology of a template; give --template too")
    if len(paths) < 2:
        return next(((path, top) if top else path for path in paths), None)
    return [(path, top) if top and needs_topology(path) else path for path in paths]


@click.command(
    epilog=example(
        "openmm-slm sample GYDPETGTWG -n 10 --seed 1 -o ensemble",
        "openmm-slm sample proteins.fasta -n 10 --shard 1/2 -o many --resume",
    )
)
@click.argument("sequence", required=False)
@click.option("-o", "--output", type=new, required=True, help="Folder to write.")
@click.option("-n", default=500, show_default=True, help="Number of conformations.")
@click.option("--model", default="default", show_default=True, help="Model name or directory.")
@click.option(
    "--template",
    type=structure,
    multiple=True,
    help="Known structure to start from: a file, or a name such as pdb:5PTI:A or afdb:P00974. "
    "Repeat it for several states.",
)
@click.option("--top", type=existing, help="Topology of templates in XTC, DCD, rst7, ...")
@click.option(
    "--relatives",
    default="auto",
    show_default=True,
    help="Known structures of related proteins, used as templates: auto (the shipped library), "
    "none, a library, or a shard directory.",
)
@click.option(
    "--msa", type=existing, help="Alignment of SEQUENCE, to find distant relatives: A3M, FASTA."
)
@click.option(
    "--resample",
    help="Sample only these residues of the template: H:95-102, or an MDTraj selection.",
)
@click.option(
    "--disordered",
    default="auto",
    show_default=True,
    help="Residues without a fold: auto (low pLDDT, or predicted where no structure is known), "
    "all, none, or residues as for --resample.",
)
@click.option(
    "--condition",
    help="Input of a model trained with a condition: a .npy file [L, D] or the name of an ESM "
    "model.",
)
@settings_options(SamplingSettings, relax={"help": "Minimise every frame with OpenMM."})
@click.option("--resume", is_flag=True, help="Continue or extend the run in --output.")
@click.option(
    "--report", is_flag=True, help="Write report.html: pictures, invalid frames, settings."
)
@_hdf5
@click.option(
    "--shard", help="Sample one part of a FASTA file, for job arrays; 3/8: the third of eight."
)
@click.option("--repeat", type=existing, help="Repeat the run that this run.json describes.")
@dask_option
@device_option
@threads_option
@report_errors
def sample(
    sequence, output, n, repeat, report, hdf5, shard, dask, device, resume, threads, **settings
):
    """Sample conformations of SEQUENCE.

    SEQUENCE is one-letter amino acids ("AAA:BBB" for two chains) or a FASTA file. Each record of a
    FASTA file gets its own folder in --output. If a record fails, sampling goes on with the next
    one, failures.csv in --output gives the reason, and the exit code is 1. To sample failed and
    interrupted records, repeat the command with --resume.
    """
    from ..files.hdf5 import HDF5, check_hdf5, write_hdf5
    from ..plots.report_page import PAGE, write_report_page
    from ..sampling.ensemble import generate_ensemble
    from ..sampling.many_sequences import sample_fasta
    from ..sampling.rerun import repeat_run

    prepare_cpu(threads, patient=True)
    given = ["n", *settings]
    settings["relatives"] = None if settings["relatives"] == "none" else settings["relatives"]
    settings["template"] = _templates(settings["template"], settings.pop("top"))
    if report:
        require("matplotlib", "plots")  # fail now rather than after hours of sampling
    if hdf5:
        check_hdf5()
    options = {"device": device, "resume": resume, "dask": dask}
    settings["disulfides"] = _pairs(settings["disulfides"])
    settings["sidechains"] = None if settings["sidechains"] == "none" else settings["sidechains"]
    if (sequence is None) == (repeat is None):
        raise ValueError("give either SEQUENCE (or a FASTA file) or --repeat RUN_JSON")
    # A sequence may be longer than a file name can be, so only short ones are looked up.
    fasta = sequence is not None and len(sequence) < 200 and Path(sequence).is_file()
    if shard is not None and not fasta:
        raise ValueError(
            f"--shard {shard} splits the records of a FASTA file, but SEQUENCE is a single one; "
            "give each task its own --seed and --output"
        )
    failed = {}
    if repeat is not None:
        source = click.get_current_context().get_parameter_source
        given = [name for name in given if source(name).name != "DEFAULT"]
        if given:
            raise ValueError(f"--repeat takes {given[0]} from the run.json; leave the option out")
        where = [repeat_run(repeat, output, **options)]
    elif fasta:
        run = sample_fasta(sequence, output, n, shard=shard, report=report, **settings, **options)
        where, failed = run.folders, run.failures
    elif "." in sequence or "/" in sequence:
        raise ValueError(f"{sequence}: no such file (a sequence has letters and ':' only)")
    else:
        where = [generate_ensemble(sequence, n, output=output, **settings, **options)]
    if report and not fasta:
        write_report_page(where[0])
    for folder in where:
        if hdf5:
            write_hdf5(folder)
        more = (f", {PAGE} (pictures)" if report else "") + (f", {HDF5}" if hdf5 else "")
        click.echo(_ENSEMBLE.format(folder) + more)
    if failed:
        click.echo(
            f"openmm-slm: {len(failed)} of {len(failed) + len(where)} sequences failed (reasons "
            f"in {run.table}); repeat the command with --resume to try them again",
            err=True,
        )
        sys.exit(1)


@click.command("complete", epilog=example("openmm-slm complete backbones.pdb -o completed"))
@click.argument("trajectory", type=new)
@click.option("-o", "--output", type=new, required=True, help="Folder to write.")
@click.option("--top", type=existing, help="Topology file, for trajectories in XTC, DCD, ...")
@click.option(
    "--sidechains",
    type=click.Choice(["packer", "pdbfixer"]),
    default="packer",
    show_default=True,
    help="Method that builds side chains.",
)
@settings_options(
    SamplingSettings,
    leave_out=_NOT_TOPOLOGY,
    keep={
        "help": "What stays besides protein: auto (ligands and metals beside it in the first "
        "frame), all (waters too), none, or an MDTraj selection."
    },
)
@click.option("--model", default="default", show_default=True, help="Model whose packer is used.")
@click.option("--resume", is_flag=True, help="Continue the run in --output.")
@dask_option
@device_option
@threads_option
@report_errors
def complete_command(trajectory, threads, disulfides, **options):
    """Add missing side chains, hydrogens and OXT to the frames of TRAJECTORY.

    TRAJECTORY is a PDB or mmCIF file, a name (pdb:5PTI), or XTC, DCD, ... with --top. Every residue
    must have N, CA and C. Side-chain atoms and caps (ACE, NME, NH2) that are present are kept, and
    so are ligands and metals beside the protein (--keep).
    """
    from ..sampling.completion import complete

    prepare_cpu(threads, patient=True)
    click.echo(_ENSEMBLE.format(complete(trajectory, disulfides=_pairs(disulfides), **options)))


@click.command(
    "relax",
    epilog=example(
        "openmm-slm sample GYDPETGTWG -n 4 -o unrelaxed",
        "openmm-slm relax unrelaxed -o relaxed",
    ),
)
@click.argument("trajectory", type=new)
@click.option("-o", "--output", type=new, required=True, help="Folder to write.")
@click.option("--top", type=existing, help="Topology file, for trajectories in XTC, DCD, ...")
@settings_options(
    RelaxationSettings,
    leave_out=("cis_allowed", "d_residues", "disulfides"),
    forcefield={"multiple": True, "default": ["amber14-all.xml"]},
)
@click.option("--processes", type=click.IntRange(1), help="Worker processes [default: all CPUs].")
@click.option(
    "--copies",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Frames minimised together in one OpenMM system; more are faster on a GPU.",
)
@_drop_invalid
@_hdf5
@click.option("--resume", is_flag=True, help="Continue the run in --output.")
@dask_option
@report_errors
def relax_command(trajectory, hdf5, **options):
    """Minimise the frames of TRAJECTORY with OpenMM.

    TRAJECTORY is a folder written by `openmm-slm sample`, a PDB or mmCIF file, a name (pdb:5PTI),
    or XTC, DCD, ... with --top. It must have all atoms including hydrogens; `openmm-slm complete`
    adds missing ones.
    """
    from ..files.hdf5 import HDF5, check_hdf5, write_hdf5
    from ..relaxation.relaxing import relax

    if hdf5:
        check_hdf5()
    where = relax(trajectory, **options)
    if hdf5:
        write_hdf5(where)
    click.echo(_ENSEMBLE.format(where) + (f", {HDF5}" if hdf5 else ""))


_ENSEMBLE = (
    "{}: topology.pdb and samples.xtc (open both in MDTraj, VMD or PyMOL), "
    "report.csv (one row per frame), run.json (settings and seed)"
)

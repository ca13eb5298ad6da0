"""``openmm-slm benchmark``; each subcommand calls one function and prints its tables."""

from __future__ import annotations

import click

from .benchmark_options import (
    benchmark,
    continued,
    data,
    model,
    number,
    numbers,
    parts,
    processes,
    proteins,
    references,
    rounds,
    seed,
    split,
    targets,
    verb,
)
from .common import directory, existing, new

__all__ = ["benchmark"]


@verb(
    "reconstruction", data, model, split,
    lines=("openmm-slm benchmark reconstruction --data shards",),
)  # fmt: skip
def reconstruction():
    """Reconstruction of a split: RMSD, lDDT, codes used, broken bonds, clashes."""
    from ..benchmarks.reconstruction import benchmark_reconstruction

    return benchmark_reconstruction


@verb(
    "lm",
    data,
    click.option(
        "--tokens", type=directory,
        help="Token directory from `openmm-slm tokenize` [default: the splits are encoded].",
    ),
    click.option(
        "--model", "models", multiple=True, default=["default"], show_default=True,
        help="Model name or directory; may be repeated.",
    ),
    click.option(
        "--no-sequence", multiple=True, type=directory,
        help="Model of the same family trained without sequences; shows what the sequence gains. "
        "May be repeated.",
    ),
    click.option(
        "--split", "splits", multiple=True, default=["test", "test_related"], show_default=True,
        help="Splits for nats per token; chains of the first are sampled.",
    ),
    number("--chains", default=20, help="Number of chains to sample."),
    number("-n", default=100, help="Samples per chain."),
    numbers("--guidance", help="Also sample with this guidance weight; may be repeated."),
    lines=("openmm-slm benchmark lm --data shards --split test --chains 2 -n 2",),
)  # fmt: skip
def language_models():
    """Compare language models: nats per token, time, validity, secondary structure."""
    from ..benchmarks.language import benchmark_language

    return benchmark_language


@verb(
    "contexts", data, model, split,
    number("--clusters", default=150, help="Clusters, one chain each."),
    lines=("openmm-slm benchmark contexts --data shards --clusters 2",),
)  # fmt: skip
def contexts():
    """Nats per token given known structure: gaps, displaced frames, CA traces."""
    from ..benchmarks.contexts import benchmark_contexts

    return benchmark_contexts


@verb(
    "disordered",
    click.option(
        "--proteins", type=existing,
        help="CSV file with the columns name, sequence and exp_rg_nm (measured, nm).",
    ),
    click.option("--data", type=directory, help="Shard directory: tails on folds of test chains."),
    model, seed, number("-n", default=100, help="Frames per protein."),
    lines=("openmm-slm benchmark disordered --proteins proteins.csv -n 20",),
)  # fmt: skip
def disordered():
    """Sizes of disordered proteins against measured radii of gyration; helix content."""
    from ..benchmarks.disordered import benchmark_disordered

    return benchmark_disordered


@verb(
    "samples", data, model, split,
    number("--chains", default=20, help="Number of chains to sample."),
    number("-n", default=10, help="Samples per chain."),
    lines=("openmm-slm benchmark samples --data shards --chains 2 -n 2",),
)  # fmt: skip
def samples():
    """Samples from sequence: validity, secondary structure, effect of projection."""
    from ..benchmarks.samples import benchmark_samples

    return benchmark_samples


@verb(
    "sidechains", data, model, split,
    number("--chains", default=None, help="Number of chains, spread over lengths [default: all]."),
    number("--longest", default=None, help="Maximum residues per chain [default: no limit]."),
    click.option(
        "--against", multiple=True, type=click.Choice(["faspr", "pdbfixer", "pdbfixer-repaired"]),
        help="Also measure this program; may be repeated (faspr needs the package pyfaspr).",
    ),
    lines=("openmm-slm benchmark sidechains --data shards --against pdbfixer",),
)  # fmt: skip
def side_chains():
    """Side chains packed onto native backbones: chi angles, RMSD, clashes, speed."""
    from ..benchmarks.sidechains import benchmark_sidechains

    return benchmark_sidechains


@verb(
    "backmapping", data, model, split,
    number("--chains", default=100, help="Number of chains, of different clusters."), seed,
    lines=("openmm-slm benchmark backmapping --data shards --chains 1",),
)  # fmt: skip
def backmapping():
    """All atoms built from CA alone: RMSD of the backbone, validity."""
    from ..benchmarks.backmapping import benchmark_backmapping

    return benchmark_backmapping


@verb(
    "flexibility", data, model, split,
    click.option(
        "--motions", type=directory, required=True,
        help="Folder with bfactors.npz, pairs.csv or sizes.csv of chains in the shards.",
    ),
    click.option("--references", type=directory, help="Directory with reference sets, for MD."),
    number("--longest", default=512, help="Maximum residues per chain."),
    lines=(
        "openmm-slm benchmark flexibility --data shards --motions motions --references references",
    ),
)  # fmt: skip
def flexibility():
    """Predicted motion against B-factors, pairs of conformers and MD; GNM and ANM beside it."""
    from ..benchmarks.flexibility import benchmark_flexibility

    return benchmark_flexibility


@verb(
    "apo-holo", references,
    click.option("-o", "--output", type=new, required=True, help="Folder for finished targets."),
    model, number("-n", default=5, least=2, help="Samples per target."), seed,
    number("--limit", default=None, help="Use only the first so many pairs [default: all]."),
    click.option(
        "--against", multiple=True, type=click.Choice(["clustenm"]),
        help="Also ClustENM of ProDy, if it is installed; may be repeated.",
    ),
    processes,
    lines=("openmm-slm benchmark apo-holo --references references -n 2 --limit 1 -o pairs",),
)  # fmt: skip
def apo_holo():
    """Samples against pairs of conformers: flexibility, TM-scores.

    To continue an interrupted run, repeat the command.
    """
    from ..benchmarks.apo_holo import benchmark_apo_holo

    return benchmark_apo_holo


@verb(
    "paths", references, model, targets, number("-n", default=50, least=3, help="Frames."), seed,
    number("--every", default=10, help="Of so many frames, relax one."),
    lines=("openmm-slm benchmark paths --references references -n 3",),
)  # fmt: skip
def paths():
    """Paths between pairs of conformers: ends, order, validity."""
    from ..benchmarks.paths import benchmark_paths

    return benchmark_paths


@verb(
    "all", data, references,
    click.option("-o", "--output", type=new, help="Folder for finished sections."), model,
    click.option("--no-sequence", type=directory, help="Model trained without sequences."),
    number("--chains", default=8, help="Number of chains to sample."),
    number("-n", default=100, least=2, help="Samples per chain or target."),
    number("--pairs", default=15, help="Number of pairs of conformers."), seed,
    number("--processes", default=2, help="Worker processes of one thread each."),
    click.option("--only", multiple=True, help="Run this section; may be repeated [default: all]."),
    lines=(
        "openmm-slm benchmark all --data shards --references references -o board \\",
        "  --chains 1 -n 2 --processes 1 --only speed --only valid_frames --only side_chains",
    ),
)  # fmt: skip
def scoreboard():
    """The scoreboard: all benchmarks that need no GPU.

    To continue an interrupted run, repeat the command.
    """
    from ..benchmarks.scoreboard import benchmark_all

    return benchmark_all


@verb(
    "ceiling", references, model,
    number("--frames", default=100, least=2, help="Frames per ensemble."), targets,
    lines=("openmm-slm benchmark ceiling --references references --target md --frames 10",),
)  # fmt: skip
def ceiling():
    """Reconstruction of MD and NMR frames: the limit of what tokens can represent."""
    from ..benchmarks.ceiling import benchmark_ceiling

    return benchmark_ceiling


@verb(
    "md", references, model, number("-n", default=100, least=2, help="Samples per target."), seed,
    numbers("--noise", help="Also sample from the first frame of MD with this noise."), rounds,
    targets,
    lines=("openmm-slm benchmark md --references references --target md -n 10",),
)  # fmt: skip
def md():
    """Samples, and baselines from the first frame, against as many frames of MD."""
    from ..benchmarks.md import benchmark_md

    return benchmark_md


@verb(
    "templates", references, continued, model,
    number("-n", default=100, least=2, help="Samples per setting."), seed,
    numbers(
        "--noise", default=(0.02, 0.05, 0.1, 0.3, 0.6, 1.0),
        help="Share of the template's residues that are sampled again; may be repeated.",
    ),
    rounds,
    numbers("--deform", help="Multiples of thermal motion [default: as `sample`]."),
    targets, processes,
    lines=("openmm-slm benchmark templates --references references -n 4 --noise 0.1 --noise 1",),
)  # fmt: skip
def templates():
    """Samples from the first frame of MD, by noise, rounds and deform."""
    from ..benchmarks.templates import benchmark_templates

    return benchmark_templates


@verb(
    "loops", data, continued, model, split,
    click.option(
        "--antibodies", default="test_antibody", show_default=True,
        help="Split of the antibodies whose CDR-H3 is sampled.",
    ),
    number("--chains", default=30, help="Number of chains with a coil loop."),
    number("--by-length", default=0, least=0, help="Loops of each length from 4 to 16."),
    number("-n", default=50, help="Samples per loop."), seed, processes,
    lines=("openmm-slm benchmark loops --data shards --chains 1 -n 2",),
)  # fmt: skip
def loops():
    """Loops resampled in a fixed protein, against random closures: RMSD, validity."""
    from ..benchmarks.loops import benchmark_loops

    return benchmark_loops


@verb(
    "complexes", data, continued, model,
    click.option(
        "--split", "splits", multiple=True, default=["test_antibody", "test"], show_default=True,
        help="Split to take complexes from; may be repeated.",
    ),
    number(
        "--of-each", default=2,
        help="Complexes of each kind: antibody, homodimer, with a peptide, other.",
    ),
    number("--longest", default=450, help="Maximum residues per complex."),
    number("-n", default=10, help="Samples per setting."), seed,
    numbers(
        "--noise", default=(0.05, 0.3),
        help="Share of the template's residues that are sampled again; may be repeated.",
    ),
    rounds, processes,
    lines=(
        "openmm-slm prepare dimer.pdb -o dimers --complexes --test-share 1",
        "openmm-slm benchmark complexes --data dimers --of-each 1 -n 2 --noise 0.3",
    ),
)  # fmt: skip
def complexes():
    """Complexes sampled from their own structure: RMSD, contacts, validity."""
    from ..benchmarks.complexes import benchmark_complexes

    return benchmark_complexes


@verb(
    "speed", continued, model, parts,
    numbers("--length", "lengths", kind=int, default=(58, 150, 300), help="Residues (stages)."),
    numbers("--frames", kind=int, default=(1, 50, 500), help="Frames (stages)."),
    proteins,
    number("-n", default=500, least=2, help="Frames of the tables of completion and resume."),
    click.option(
        "--structures", type=directory, help="PDB or mmCIF files for the table of prepare."
    ),
    lines=("openmm-slm benchmark speed --part stages --length 58 --frames 1 --protein BPTI",),
)  # fmt: skip
def speed():
    """Time and memory of sampling, completion and data preparation.

    Tables: stages (of sampling), completion, resume (a killed run is continued), prepare, dask (40
    sequences on a local Dask cluster; only if asked for).
    """
    from ..benchmarks.speed import benchmark_speed

    return benchmark_speed


@verb(
    "relaxation", continued, model, parts, proteins,
    number("-n", default=20, help="Samples per protein."),
    lines=("openmm-slm benchmark relaxation --part valid --protein chignolin -n 4",),
)  # fmt: skip
def relaxation():
    """Relaxation of samples: validity, time and energies.

    Tables: valid, speed, copies, repair, energy, dynamics, solvents.
    """
    from ..benchmarks.relaxation import benchmark_relaxation

    return benchmark_relaxation


@verb(
    "seeding", continued, model, parts, proteins,
    click.option(
        "--field", "fields", multiple=True,
        help="Force field of the exported files; may be repeated [default: all].",
    ),
    number("-n", default=3, help="Seeds per protein."),
    number("--steps", default=1000, help="Number of steps of 2 fs."),
    lines=("openmm-slm benchmark seeding --part implicit --protein Trp-cage -n 1 --steps 50",),
)  # fmt: skip
def seeding():
    """Seeds for MD: stability, and energies of exported files.

    Tables: implicit and explicit (runs in these solvents), export (energies of Amber and GROMACS
    files read back), charmm (energies and forces of CHARMM36).
    """
    from ..benchmarks.seeding import benchmark_seeding

    return benchmark_seeding


@verb(
    "search", data, continued,
    click.option(
        "--library", default="default", show_default=True, help="Library name or directory."
    ),
    click.option(
        "--profiles", type=click.Path(exists=True, dir_okay=False),
        help="Profiles of the chains (.npz with id, lens and q).",
    ),
    click.option(
        "--split", "splits", multiple=True, default=["test", "test_related"], show_default=True,
        help="Split of the queries; may be repeated.",
    ),
    click.option(
        "--against", multiple=True, type=click.Choice(["blosum62", "no-codes"]),
        help="Also search in this way; may be repeated (no-codes needs --profiles).",
    ),
    number("--chains", default=150, help="Maximum number of queries per split."),
    number("--shuffled", default=1000, least=0, help="Number of shuffled sequences."), seed,
    lines=(
        "openmm-slm library build shards -o mylibrary",
        "openmm-slm benchmark search --data shards --library mylibrary --split test --shuffled 5",
    ),
)  # fmt: skip
def search():
    """Folds found among the training chains of a structure library."""
    from ..benchmarks.search import benchmark_search

    return benchmark_search

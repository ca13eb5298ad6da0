"""``openmm-slm seed``, which calls `write_seeds`."""

from __future__ import annotations

import click

from ..seeding.seeding_settings import SeedSettings
from .common import example, existing, new, report_errors, settings_options, structure


@click.command(
    epilog=example(
        "openmm-slm sample GYDPETGTWG -n 20 --relax -o chignolin",
        "openmm-slm seed chignolin -n 2 --solvent implicit -o seeds",
        "python seeds/seed_000/run.py 1000",
    )
)
@click.argument("ensemble", type=structure)
@click.option("-o", "--output", type=new, required=True, help="Folder to write.")
@click.option("-n", default=10, show_default=True, help="Number of seeds.")
@click.option("--top", type=existing, help="Topology file, for a trajectory in XTC, DCD, ...")
@click.option(
    "--md",
    is_flag=True,
    help="ENSEMBLE is an MD trajectory: accept distortions by thermal motion.",
)
@click.option(
    "--method",
    help="Selection of seeds: kcenters, kmeans, least-populated, drawn "
    "[default: kcenters; with --weights: drawn].",
)
@click.option(
    "--weights",
    type=existing,
    help="File with one weight per frame, such as weights.csv of openmm-slm compare.",
)
@click.option(
    "--per-state",
    is_flag=True,
    help="Select -n seeds of each state, if ENSEMBLE was sampled from several (--template).",
)
@click.option(
    "--features",
    default="ca-rmsd",
    show_default=True,
    help="Distance between frames: ca-rmsd, dihedrals, pca, tica.",
)
@click.option(
    "--lag", type=click.IntRange(1), default=20, show_default=True, help="Lag of tica in frames."
)
@click.option(
    "--format",
    "formats",
    multiple=True,
    default=["openmm"],
    show_default=True,
    help="Input files to write: openmm, amber, gromacs, replica-exchange, westpa; may be repeated.",
)
@settings_options(
    SeedSettings,
    box_shape={"flag": "--box"},
    box={"flag": "--box-size"},
    parameters={"multiple": True, "show_default": False},
)
@report_errors
def seed(ensemble, md, pressure, **options):
    """Write MD simulations that start from frames of ENSEMBLE, each in its own folder.

    ENSEMBLE is a folder written by `openmm-slm sample`, a trajectory (PDB, mmCIF, XTC, DCD, ...),
    or a name (pdb:1D3Z). The run.py in each folder starts the simulation.
    """
    from ..seeding.writing import write_seeds

    where = write_seeds(ensemble, report="md" if md else None, pressure=pressure or None, **options)
    click.echo(
        f"{where}: seeds.csv (one row per seed), run.json (settings); "
        f"start the first with: python {where}/seed_000/run.py"
    )

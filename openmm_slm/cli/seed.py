"""``openmm-slm seed``: wraps `write_seeds`."""

from __future__ import annotations

import click

from .common import example, existing, new, report_errors


@click.command(
    epilog=example(
        "openmm-slm sample GYDPETGTWG -n 20 --relax -o chignolin",
        "openmm-slm seed chignolin -n 2 --solvent implicit -o seeds",
        "python seeds/seed_000/run.py 1000",
    )
)
@click.argument("ensemble", type=existing)
@click.option("-o", "--output", type=new, required=True, help="Folder to write.")
@click.option("-n", default=10, show_default=True, help="Number of seeds.")
@click.option("--top", type=existing, help="Topology of a trajectory without one.")
@click.option("--md", is_flag=True, help="ENSEMBLE is a simulation: judge its frames as such.")
@click.option(
    "--method", default="kcenters", show_default=True, help="kcenters, kmeans, least-populated."
)
@click.option(
    "--features", default="ca-rmsd", show_default=True, help="ca-rmsd, dihedrals, pca, tica."
)
@click.option(
    "--format",
    "formats",
    multiple=True,
    default=["openmm"],
    show_default=True,
    help="openmm, amber, gromacs; may be repeated.",
)
@click.option(
    "--forcefield", default="amber14", show_default=True, help="amber14, amber19, charmm36."
)
@click.option(
    "--solvent",
    default="explicit",
    show_default=True,
    help="explicit, implicit (OBC2), gbn2, vacuum.",
)
@click.option("--water", help="tip3p, opc3, ... [default: the force field's].")
@click.option("--padding", default=1.0, show_default=True, help="nm.")
@click.option(
    "--box",
    "box_shape",
    default="octahedron",
    show_default=True,
    help="cube, dodecahedron, octahedron.",
)
@click.option("--same-box", is_flag=True, help="One box, one number of waters for all seeds.")
@click.option("--ionic-strength", default=0.15, show_default=True, help="mol/l.")
@click.option("--cutoff", type=float, help="nm [default: 1.0 in a box, else none].")
@click.option("--temperature", default=300.0, show_default=True, help="K.")
@click.option("--pressure", default=1.0, show_default=True, help="bar; 0: constant volume.")
@click.option("--timestep", default=2.0, show_default=True, help="fs.")
@click.option("--hydrogen-mass", type=float, help="dalton; 1.5 allows 4 fs.")
@click.option("--equilibration", default=10.0, show_default=True, help="ps.")
@click.option("--seed", default=0, show_default=True, help="Of velocities and ions.")
@click.option("--platform", help="CPU, CUDA, OpenCL, ... [default: OpenMM's choice].")
@report_errors
def seed(ensemble, md, pressure, **options):
    """Write simulations that start from frames of ENSEMBLE, one folder each, with a run.py.

    ENSEMBLE is a folder of `openmm-slm sample`, or a trajectory (PDB, mmCIF, XTC, DCD, ...).
    """
    from ..seeding.writing import write_seeds

    where = write_seeds(ensemble, report="md" if md else None, pressure=pressure or None, **options)
    click.echo(
        f"{where}: seeds.csv (one row a seed), run.json (settings); "
        f"python {where}/seed_000/run.py starts the first"
    )

"""``openmm-slm flexibility``."""

from __future__ import annotations

import click

from .common import (
    device_option,
    example,
    existing,
    new,
    prepare_cpu,
    report_errors,
    threads_option,
)
from .common import structure as structure_file


@click.command("flexibility", epilog=example("openmm-slm flexibility md.pdb -o motions-of-md"))
@click.argument("structure", type=structure_file)
@click.option("-o", "--output", type=new, required=True, help="Folder to write.")
@click.option("--top", type=existing, help="Topology of a trajectory in XTC, DCD, ...")
@click.option("--frame", default=0, show_default=True, help="Number of the frame, from 0.")
@click.option("--model", default="default", show_default=True, help="Model name or directory.")
@device_option
@threads_option
@report_errors
def flexibility_command(structure, output, threads, **options):
    """Predict how STRUCTURE moves at 300 K, without sampling.

    Writes the RMSF of each residue, the structure with B-factors, the covariance, and a picture.
    """
    from ..plots.flexibility import save_flexibility_picture
    from ..sampling.flexibility import flexibility

    prepare_cpu(threads)
    found = flexibility(structure, **options)
    where = found.save(output)
    try:
        save_flexibility_picture(found.structure, found.rmsf, found.correlation(), where)
    except ImportError as error:
        click.echo(f"no picture: {error}", err=True)
    rmsf = found.rmsf
    click.echo(f"{where}: mean RMSF {float(rmsf[rmsf == rmsf].mean()):.3f} nm at 300 K")

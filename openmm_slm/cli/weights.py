"""``openmm-slm models download`` and ``import-esm3``: weights that the package does not ship."""

from __future__ import annotations

import click

from .common import directory, example, existing, new, report_errors


@click.command(epilog=example("openmm-slm models download esm3 --accept-licence"))
@click.argument("model", type=click.Choice(["esm3"]))
@click.option("--accept-licence", is_flag=True, help="You have read it, and accept it.")
@click.option("--hub", help="Repository of the Hugging Face hub [the first that answers].")
@report_errors
def download(model, accept_licence, hub):
    """Download the weights of MODEL, after telling what licence they have."""
    from ..models.esm3_weights import download_esm3, licence

    click.echo(licence())
    click.echo(f"model: {download_esm3(accept_licence, hub)}")


@click.command(
    "import-esm3", epilog=example("openmm-slm models import-esm3 esm3_sm_open_v1/ -o esm3")
)
@click.argument("folder", type=directory)
@click.option("-o", "--output", type=new, required=True, help="Model directory to write.")
@report_errors
def import_esm3_command(folder, output):
    """Make a model directory of the files of ESM3's release in FOLDER."""
    from ..models.esm3_import import import_esm3

    click.echo(f"model: {import_esm3(folder, output)}")


@click.command(
    "import-esmdiff", epilog=example("openmm-slm models import-esmdiff release_v0.pt -o esmdiff")
)
@click.argument("checkpoint", type=existing)
@click.option("-o", "--output", type=new, required=True, help="Model directory to write.")
@click.option("--config", type=existing, help="[.hydra/config.yaml of the run]")
@click.option("--ignore", multiple=True, metavar="NAME", help="A type in the file to pass over.")
@report_errors
def import_esmdiff_command(checkpoint, output, config, ignore):
    """Make a model directory of a published ESMDiff CHECKPOINT (Lightning, DeepSpeed).

    Nothing in it is executed.
    """
    from ..models.esmdiff_import import import_esmdiff

    click.echo(f"model: {import_esmdiff(checkpoint, output, config, ignore)}")

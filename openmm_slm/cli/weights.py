"""``openmm-slm models download`` and ``import-*``: weights that the package does not ship."""

from __future__ import annotations

import click

from .common import directory, example, existing, new, report_errors


@click.command(epilog=example("openmm-slm models download esm3 --accept-licence"))
@click.argument("model", type=click.Choice(["esm3"]))
@click.option("--accept-licence", is_flag=True, help="Confirm that you accept the licence.")
@click.option("--hub", help="Repository on the Hugging Face hub [default: the first that answers].")
@report_errors
def download(model, accept_licence, hub):
    """Print the licence of MODEL and download its weights."""
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
    """Convert the released ESM3 weights in FOLDER to a model directory."""
    from ..models.esm3_import import import_esm3

    click.echo(f"model: {import_esm3(folder, output)}")


@click.command(
    "import-esmdiff", epilog=example("openmm-slm models import-esmdiff release_v0.pt -o esmdiff")
)
@click.argument("checkpoint", type=existing)
@click.option("-o", "--output", type=new, required=True, help="Model directory to write.")
@click.option(
    "--config",
    type=existing,
    help="Config of the training run [default: its .hydra/config.yaml, else the published one].",
)
@click.option(
    "--ignore",
    multiple=True,
    metavar="NAME",
    help="Ignore objects of this type in CHECKPOINT; may be repeated.",
)
@report_errors
def import_esmdiff_command(checkpoint, output, config, ignore):
    """Convert a published ESMDiff CHECKPOINT to a model directory.

    CHECKPOINT is from Lightning, with or without DeepSpeed. None of its code is executed.
    """
    from ..models.esmdiff_import import import_esmdiff

    click.echo(f"model: {import_esmdiff(checkpoint, output, config, ignore)}")

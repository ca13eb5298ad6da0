"""``openmm-slm finetune``."""

from __future__ import annotations

import logging

import click

from ..training.finetuning_settings import FinetuningSettings
from .common import (
    device_option,
    example,
    existing,
    new,
    prepare_cpu,
    report_errors,
    settings_options,
    threads_option,
)


@click.command(
    "finetune",
    epilog=example(
        "openmm-slm finetune md.xtc --top md.pdb -o tuned --steps 2 --samples 4",
        "openmm-slm sample GYDPETGTWG -n 2 --template md.pdb --model tuned -o of-tuned",
    ),
)
@click.argument("trajectories", nargs=-1, required=True, type=existing, metavar="TRAJECTORY...")
@click.option("-o", "--output", type=new, required=True, help="Model directory to write.")
@click.option("--top", type=existing, help="Topology of trajectories in XTC, DCD, ...")
@click.option("--model", default="default", show_default=True, help="Model to start from.")
@settings_options(FinetuningSettings)
@device_option
@threads_option
@report_errors
def finetune_command(trajectories, output, threads, **options):
    """Tune a model to simulations of one protein.

    The last fifth of each TRAJECTORY is held back: it ends training and is compared with samples
    before and after. To continue an interrupted run, repeat the command.
    """
    from ..training.finetuning import finetune, table_of

    prepare_cpu(threads)
    logging.getLogger("openmm_slm.training").setLevel(logging.INFO)
    where = finetune(trajectories, output, **options)
    click.echo(f"{table_of(where)}\nmodel: {where}")

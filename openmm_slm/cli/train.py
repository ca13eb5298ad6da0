"""``openmm-slm train`` and ``tokenize``: each verb wraps one function."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import click

from .common import (
    device_option,
    directory,
    example,
    existing,
    new,
    prepare_cpu,
    read_config_file,
    report_errors,
    stack,
    threads_option,
)

_training = stack(
    click.argument("config", type=existing),
    click.option("--data", type=directory, required=True, help="Shard directory."),
    click.option("-o", "--output", type=new, required=True, help="Run directory."),
    click.option("--time-limit", type=float, help="Minutes after which to stop and save."),
    click.option("--resume", is_flag=True, help="Continue what --output holds."),
    click.option("--init-from", type=directory, help="Model directory to start from."),
    click.option("--decay", type=click.IntRange(1), help="Anneal a copy over this many steps."),
    device_option,
    threads_option,
)


@click.group()
def train() -> None:
    """Train a tokenizer, a language model or a side-chain packer."""


@train.command(
    "tokenizer",
    epilog=example(
        "openmm-slm train tokenizer tokenizer.json --data shards -o tokenizer --time-limit 60"
    ),
)
@_training
@click.option("--tokens", type=directory, help="Train the decoder alone on these tokens.")
@report_errors
def train_tokenizer_command(config, data, output, time_limit, threads, **options):
    """Stage 1: the dVAE, with the settings of CONFIG (JSON)."""
    from ..models.registry import find_device
    from ..training.train_tokenizer import train_tokenizer

    prepare_cpu(threads)
    options["device"] = find_device(options["device"])
    logging.getLogger("openmm_slm.training").setLevel(logging.INFO)
    seconds = None if time_limit is None else 60 * time_limit
    where = train_tokenizer(read_config_file(config), data, output, time_limit=seconds, **options)
    _tell(where)


@train.command(
    "lm",
    epilog=example(
        "openmm-slm train lm lm.json --data shards --tokens tokens -o lm --time-limit 30"
    ),
)
@_training
@click.option("--tokens", type=directory, required=True, help="Made by `openmm-slm tokenize`.")
@click.option(
    "--family",
    type=click.Choice(["diffusion", "t5", "gpt", "esm3"]),
    help="[that of CONFIG, else of --init-from, else diffusion]",
)
@click.option("--embeddings", type=directory, help="Made by `openmm-slm embed`: the condition.")
@report_errors
def train_lm_command(config, data, tokens, output, time_limit, threads, **options):
    """Stage 2: a language model of tokens, with the settings of CONFIG (JSON)."""
    from ..models.registry import find_device
    from ..training.train_language_model import train_language_model

    prepare_cpu(threads)
    options["device"] = find_device(options["device"])
    logging.getLogger("openmm_slm.training").setLevel(logging.INFO)
    seconds = None if time_limit is None else 60 * time_limit
    where = train_language_model(
        read_config_file(config), data, tokens, output, time_limit=seconds, **options
    )
    _tell(where)


@train.command(
    "packer",
    epilog=example("openmm-slm train packer packer.json --data shards -o packer --time-limit 60"),
)
@_training
@report_errors
def train_packer_command(config, data, output, time_limit, threads, **options):
    """The side-chain packer, with the settings of CONFIG (JSON)."""
    from ..models.registry import find_device
    from ..training.train_packer import train_packer

    prepare_cpu(threads)
    options["device"] = find_device(options["device"])
    logging.getLogger("openmm_slm.training").setLevel(logging.INFO)
    seconds = None if time_limit is None else 60 * time_limit
    _tell(train_packer(read_config_file(config), data, output, time_limit=seconds, **options))


@click.command(
    epilog=example("openmm-slm tokenize --data shards --model tokenizer/model -o tokens")
)
@click.option("--data", type=directory, required=True, help="Shard directory.")
@click.option("--model", default="default", show_default=True, help="Model or tokenizer directory.")
@click.option("-o", "--output", type=new, required=True)
@click.option("--sample", type=int, help="Draw from the posterior with this seed [its mode].")
@device_option
@threads_option
@report_errors
def tokenize(data, model, output, sample, device, threads):
    """Encode every entry of a shard directory."""
    from ..data.tokens import tokenize as encode
    from ..models.registry import find_device, find_part

    prepare_cpu(threads)
    where = find_part(model, "tokenizer")
    encode(data, where, output, device=find_device(device), sample=sample)


@click.command(
    epilog=example("openmm-slm embed --data shards --arrays arrays --name profiles -o embeddings")
)
@click.option("--data", type=directory, required=True, help="Shard directory.")
@click.option("--model", help="esmc_300m, esmc_600m, esm3, or a file or folder of weights.")
@click.option("--arrays", type=directory, help="Your own: <entry id>.npy of shape [L, D].")
@click.option("--name", help="What your own arrays are; goes into the models trained with them.")
@click.option("-o", "--output", type=new, required=True)
@device_option
@threads_option
@report_errors
def embed(data, model, arrays, name, output, device, threads):
    """Embed every entry of a shard directory, as a condition of language models."""
    from ..data.embed_sequences import Embedder
    from ..data.embeddings import embed_arrays, embed_shards
    from ..models.registry import find_device

    if (model is None) == (arrays is None) or (arrays is None) != (name is None):
        raise ValueError("give either --model, or --arrays and --name")
    if arrays is not None:
        embed_arrays(data, output, arrays, name)
        return
    prepare_cpu(threads)
    embedder = Embedder(model, find_device(device))
    embed_shards(data, output, lambda row: embedder.embed(row["sequence"]), embedder.identity)


def _tell(where: Path) -> None:
    if os.environ.get("RANK", "0") != "0":  # under torchrun one of them speaks
        return
    if where.is_dir():
        click.echo(f"model: {where}")
    else:
        click.echo(f"stopped before {where} was written; continue with --resume")

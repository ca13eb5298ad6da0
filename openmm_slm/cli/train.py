"""``openmm-slm train``, ``tokenize`` and ``embed``."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
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

_training_of_any = stack(
    click.argument("config", type=existing),
    click.option("-o", "--output", type=new, required=True, help="Run directory to write."),
    click.option("--time-limit", type=float, help="Save and stop after this many minutes."),
    click.option("--resume", is_flag=True, help="Continue the run in --output."),
    click.option("--init-from", type=directory, help="Start from the weights of this model."),
    click.option(
        "--decay",
        type=click.IntRange(1),
        help="With --resume: decay the learning rate to 0 over this many steps, in a copy.",
    ),
    device_option,
    threads_option,
)
_training = stack(
    _training_of_any,
    click.option("--data", type=directory, required=True, help="Shard directory."),
)


@click.group()
def train() -> None:
    """Train a tokenizer, a language model, or one of the smaller networks."""


@train.command(
    "tokenizer",
    epilog=example(
        "openmm-slm train tokenizer tokenizer.json --data shards -o tokenizer --time-limit 60"
    ),
)
@_training
@click.option("--tokens", type=directory, help="Train only the decoder, on these tokens.")
@report_errors
def train_tokenizer_command(config, data, output, **options):
    """Train the structure tokenizer (stage 1, a dVAE).

    CONFIG is a JSON file of settings.
    """
    from ..training.train_tokenizer import train_tokenizer

    _run(train_tokenizer, config, data, output, **options)


@train.command(
    "lm",
    epilog=example(
        "openmm-slm train lm lm.json --data shards --tokens tokens -o lm --time-limit 30"
    ),
)
@_training
@click.option(
    "--tokens", type=directory, required=True, help="Token directory from `openmm-slm tokenize`."
)
@click.option(
    "--family",
    type=click.Choice(["diffusion", "t5", "gpt", "esm3"]),
    help="Model family [default: from CONFIG, else from --init-from, else diffusion].",
)
@click.option(
    "--embeddings", type=directory, help="Condition on these embeddings from `openmm-slm embed`."
)
@report_errors
def train_lm_command(config, data, tokens, output, **options):
    """Train a language model of structure tokens (stage 2).

    CONFIG is a JSON file of settings.
    """
    from ..training.train_language_model import train_language_model

    _run(train_language_model, config, data, tokens, output, **options)


@train.command(
    "packer",
    epilog=example("openmm-slm train packer packer.json --data shards -o packer --time-limit 60"),
)
@_training
@report_errors
def train_packer_command(config, data, output, **options):
    """Train the side-chain packer.

    CONFIG is a JSON file of settings.
    """
    from ..training.train_packer import train_packer

    _run(train_packer, config, data, output, **options)


@train.command(
    "backmapping",
    epilog=example(
        "openmm-slm train backmapping backmapping.json --data shards -o backmapping --time-limit 20"
    ),
)
@_training
@report_errors
def train_backmapping_command(config, data, output, **options):
    """Train the network that builds backbones from CA traces.

    CONFIG is a JSON file of settings.
    """
    from ..training.train_backmapping import train_backmapping

    _run(train_backmapping, config, data, output, **options)


@train.command(
    "motions",
    epilog=example(
        "openmm-slm train motions motions.json --data shards --motions motions -o springs \\",
        "    --time-limit 60",
    ),
)
@_training
@click.option(
    "--motions",
    type=directory,
    required=True,
    help="Folder with bfactors.npz, pairs.csv or sizes.csv of chains in the shards.",
)
@report_errors
def train_motions_command(config, data, motions, output, **options):
    """Train the network of springs that tells how a structure moves.

    CONFIG is a JSON file of settings.
    """
    from ..training.train_motions import train_motions

    _run(train_motions, config, data, motions, output, **options)


@train.command(
    "segments",
    epilog=example(
        "openmm-slm train segments segments.json --decoys decoys -o segments --time-limit 30"
    ),
)
@_training_of_any
@click.option(
    "--decoys", type=directory, required=True, help="Folder of sampled segments (decoys_*.npz)."
)
@report_errors
def train_segments_command(config, decoys, output, **options):
    """Train the network that ranks sampled segments.

    CONFIG is a JSON file of settings.
    """
    from ..training.train_segments import train_segments

    _run(train_segments, config, decoys, output, **options)


@click.command(
    epilog=example("openmm-slm tokenize --data shards --model tokenizer/model -o tokens")
)
@click.option("--data", type=directory, required=True, help="Shard directory.")
@click.option(
    "--model", default="default", show_default=True, help="Model name, or tokenizer directory."
)
@click.option("-o", "--output", type=new, required=True, help="Token directory to write.")
@click.option(
    "--sample",
    type=int,
    metavar="SEED",
    help="Sample tokens from the posterior with this seed [default: its mode].",
)
@device_option
@threads_option
@report_errors
def tokenize(data, model, output, sample, device, threads):
    """Encode every entry of a shard directory as structure tokens."""
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
@click.option(
    "--arrays",
    type=directory,
    help="Use your own arrays: folder of files <entry id>.npy with shape [L, D].",
)
@click.option("--name", help="Name of your own arrays, stored in models trained with them.")
@click.option("-o", "--output", type=new, required=True, help="Embedding directory to write.")
@device_option
@threads_option
@report_errors
def embed(data, model, arrays, name, output, device, threads):
    """Embed every sequence of a shard directory, as the condition of a language model.

    Give either --model, or --arrays and --name.
    """
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


def _run(
    training: Callable[..., Path],
    config: Path,
    *folders: Path,
    time_limit: float | None,
    threads: int | None,
    device: str,
    **options: object,
) -> None:
    """Train with the settings in a file, and tell where the model is."""
    from ..models.registry import find_device

    prepare_cpu(threads)
    logging.getLogger("openmm_slm.training").setLevel(logging.INFO)
    seconds = None if time_limit is None else 60 * time_limit
    settings, device = read_config_file(config), find_device(device)
    _report(training(settings, *folders, time_limit=seconds, device=device, **options))


def _report(where: Path) -> None:
    if os.environ.get("RANK", "0") != "0":  # under torchrun, only the first process prints
        return
    if where.is_dir():
        click.echo(f"model: {where}")
    else:
        click.echo(f"stopped before {where} was written; repeat the command with --resume")

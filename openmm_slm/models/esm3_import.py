"""Convert the files of ESM3's release to a model directory (safetensors with checksums).

The files were written by ``torch.save``. Reading them executes no code. The sizes of the networks
follow from the shapes of the weights.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelError
from ..networks.storage import (
    LARGE_SHARD_BYTES,
    assemble_model,
    save_network,
    tokenizer_fingerprint,
)
from .fitting import check_weights
from .torch_files import read_torch_file

if TYPE_CHECKING:
    import torch

    State = dict[str, torch.Tensor]

FOLDER = "data/weights"
LANGUAGE_MODEL = "esm3_sm_open_v1.pth"
ENCODER, DECODER = "esm3_structure_encoder_v0.pth", "esm3_structure_decoder_v0.pth"
FILES = (LANGUAGE_MODEL, ENCODER, DECODER)
_HEAD_CHANNELS = 64  # channels of an attention head in ESM3; the weights do not show the heads


def release_files(folder: str | os.PathLike) -> list[Path] | None:
    """The three files of the release in a folder or its ``data/weights``; None if incomplete."""
    for where in (Path(folder) / FOLDER, Path(folder)):
        files = [where / name for name in FILES]
        if all(file.is_file() for file in files):
            return files
    return None


def import_esm3(folder: str | os.PathLike, output: str | os.PathLike) -> Path:
    """Convert the files of ESM3's release to a model directory; weights keep their precision.

    Parameters
    ----------
    folder : path
        Folder with the three files, directly or in ``data/weights``.
    output : path
        Model directory to write; must not exist.

    Returns
    -------
    Path
        `output`.

    Raises
    ------
    ModelError
        A file is missing, contains anything but tensors, or has other weights than ESM3.
    """
    from ..language.esm3_network import ESM3Network
    from ..tokenizer.esm3 import ESM3TokenizerNetwork

    files, output = release_files(folder), Path(output)
    if files is None:
        raise ModelError(
            f"{folder}: some of {', '.join(FILES)} are missing (here or in {FOLDER}); download "
            "the complete release"
        )
    if output.exists():
        raise ModelError(f"{output} exists; give a new folder")
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(f"{output.name}.{os.getpid()}.tmp")
    parts = temporary / "parts"
    try:
        tokens = {
            f"{part}.{key}": value
            for part, file in (("encoder", files[1]), ("decoder", files[2]))
            for key, value in read_tensors(file).items()
        }
        _save(parts / "tokenizer", ESM3TokenizerNetwork, _tokenizer_sizes(tokens), tokens, folder)
        del tokens
        _save(
            parts / "language_model",
            ESM3Network,
            _sizes(state := structure_track(read_tensors(files[0]))),
            state,
            folder,
            tokenizer=tokenizer_fingerprint(parts / "tokenizer"),
            no_sequence=True,  # ESM3 was trained with some sequences hidden
        )
        del state
        made = temporary / "model"
        assemble_model(parts / "tokenizer", parts / "language_model", made, _CARD, move=True)
        made.replace(output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return output


def read_tensors(path: Path) -> State:
    """Read a dictionary of tensors written by ``torch.save``, without executing code in it.

    Raises
    ------
    ModelError
        The file cannot be read, or contains anything but named tensors.
    """
    import torch

    state = read_torch_file(path)
    tensors = isinstance(state, dict) and all(isinstance(x, torch.Tensor) for x in state.values())
    if not tensors:
        raise ModelError(f"{path}: contains something other than named tensors; download it again")
    return dict(state)


def structure_track(state: State) -> State:
    """Select the weights of `ESM3Network` from those of ESM3: drop the heads of other tracks."""
    head = "output_heads."
    return {
        key.removeprefix(head): value
        for key, value in state.items()
        if not key.startswith(head) or key.startswith(head + "structure_head.")
    }


def _sizes(state: State) -> dict:
    """Config of `ESM3Network` from the shapes of its weights."""
    width = _shape(state, "encoder.sequence_embed.weight")[1]
    return {
        "d_model": width,
        "n_heads": max(1, width // _HEAD_CHANNELS),
        "v_heads": _shape(state, "transformer.blocks.0.geom_attn.distance_scale_per_head")[0],
        "n_layers": _layers(state, "transformer.blocks."),
    }


def _tokenizer_sizes(state: State) -> dict:
    """Config of `ESM3TokenizerNetwork` from the shapes of its weights."""
    width = _shape(state, "decoder.embed.weight")[1]
    geometry = "encoder.transformer.blocks.0.geom_attn.distance_scale_per_head"
    return {
        "encoder_width": _shape(state, "encoder.pre_vq_proj.weight")[1],
        "encoder_v_heads": _shape(state, geometry)[0],
        "encoder_layers": _layers(state, "encoder.transformer.blocks."),
        "code_width": _shape(state, "encoder.codebook.embeddings")[1],
        "decoder_width": width,
        "decoder_heads": max(1, width // _HEAD_CHANNELS),
        "decoder_layers": _layers(state, "decoder.decoder_stack.blocks."),
    }


def _shape(state: State, key: str) -> tuple[int, ...]:
    if key not in state:
        raise ModelError(
            f"the files have no weights {key}, so they are not those of ESM3; download the release"
        )
    return tuple(state[key].shape)


def _layers(state: State, prefix: str) -> int:
    numbers = {key[len(prefix) :].split(".")[0] for key in state if key.startswith(prefix)}
    return len(numbers)


def _save(
    directory: Path, network: Callable, sizes: dict, state: State, source: object, **extra: object
) -> None:
    import torch

    config = network.config_class(**sizes)
    with torch.device("meta"):
        check_weights(state, network(config), source)
    options = {"half": False, "shard_bytes": LARGE_SHARD_BYTES}
    save_network(directory, network.kind, asdict(config), state, **options, **extra)


_CARD = """# ESM3 (open model, 1.4 B parameters)

Converted from the release of EvolutionaryScale (Hayes et al., "Simulating 500 million years of
evolution with a language model", Science 2025). The weights have a licence of their own: that of
the repository they were downloaded from. Heads of tracks other than structure are left out.
"""

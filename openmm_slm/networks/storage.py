"""Model directories: config.json with checksums, and weights in safetensors shards."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..errors import ModelError
from ..files.checksum import file_checksum
from ..files.json_file import write_json
from ..files.json_settings import build

if TYPE_CHECKING:
    import torch

N = TypeVar("N", bound="torch.nn.Module")
SHARD_BYTES = 15 * 2**20
LARGE_SHARD_BYTES = 2**29  # for models that are not kept in a git repository
FORMAT = 1


def save_network(
    directory: str | os.PathLike,
    kind: str,
    config: dict,
    state: dict[str, torch.Tensor],
    *,
    half: bool = True,
    shard_bytes: int = SHARD_BYTES,
    **extra: object,
) -> None:
    """Write the weights and the config of one network.

    Parameters
    ----------
    directory : path
        Created if missing.
    kind : str
        Name of the network's class.
    config : dict
        Arguments of the network's config dataclass.
    state : dict
        Weights by name.
    half : bool
        Store large tensors as float16. Vectors and small buffers (norms, quantizer statistics)
        stay float32: rounding them saves little. False keeps all types.
    shard_bytes : int
        Maximum size of a weight file, in bytes.
    **extra
        Further entries of config.json.
    """
    import torch
    from safetensors.torch import save_file

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    shards: list[dict[str, torch.Tensor]] = [{}]
    filled = 0
    for name, value in state.items():
        value = value.detach().cpu()
        if half and value.is_floating_point():
            value = value.to(torch.float16 if value.numel() > 4096 else torch.float32)
        size = value.numel() * value.element_size()
        if filled and filled + size > shard_bytes:
            shards.append({})
            filled = 0
        shards[-1][name] = value.contiguous()
        filled += size
    checksums = {}
    for number, shard in enumerate(shards):
        path = directory / f"weights_{number:03d}.safetensors"
        temporary = path.with_suffix(".tmp")
        save_file(shard, temporary)
        temporary.replace(path)
        checksums[path.name] = file_checksum(path)
    write_json(
        directory / "config.json",
        {"format": FORMAT, "kind": kind, **extra, "config": config, "sha256": checksums},
    )


def read_config(directory: str | os.PathLike) -> dict:
    """Read the ``config.json`` of a model directory."""
    path = Path(directory) / "config.json"
    if not path.is_file():
        raise ModelError(f"{directory}: not a model directory (no config.json)")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelError(f"{path}: not readable as JSON ({error}); fetch the model again") from None
    found = values.get("format") if isinstance(values, dict) else None
    if found != FORMAT:
        raise ModelError(
            f"{path}: model format is {found!r}, this version reads {FORMAT}; "
            "upgrade openmm_slm or export the model again"
        )
    return values


def load_network(
    directory: str | os.PathLike, kind: str | None = None
) -> tuple[dict, dict[str, torch.Tensor]]:
    """Load the config and the float32 weights of one network and verify the checksums.

    Raises
    ------
    ModelError
        A shard is missing or changed, or the directory holds another kind of network.
    """
    values = _network_config(directory, kind)
    state = {}
    for shard in _read_shards(directory, values["sha256"]):
        state.update(shard)
    return values["config"], state


def _network_config(directory: str | os.PathLike, kind: str | None) -> dict:
    """`read_config` of a single network; checks its kind unless `kind` is None."""
    values = read_config(directory)
    if kind is not None and values.get("kind") != kind:
        raise ModelError(f"{directory}: holds {values.get('kind')!r}, expected {kind!r}")
    if not isinstance(values.get("config"), dict) or not isinstance(values.get("sha256"), dict):
        raise ModelError(
            f"{directory}: config.json has no 'config' and 'sha256' entries; fetch the model again"
        )
    return values


def _read_shards(
    directory: str | os.PathLike, checksums: dict[str, str], prefixes: tuple[str, ...] = ("",)
) -> Iterator[dict[str, torch.Tensor]]:
    """Yield float32 weights whose names start with `prefixes`, one verified shard at a time."""
    from safetensors import safe_open

    for name, checksum in checksums.items():
        path = Path(directory) / name
        if not path.is_file():
            raise ModelError(f"{path}: missing; the model directory is incomplete")
        if file_checksum(path) != checksum:
            raise ModelError(f"{path}: checksum differs from config.json; fetch the model again")
        with safe_open(path, "pt") as shard:
            read = {key: shard.get_tensor(key) for key in shard.keys() if key.startswith(prefixes)}  # noqa: SIM118
        yield {k: v.float() if v.is_floating_point() else v for k, v in read.items()}


def save_module(directory: str | os.PathLike, module: torch.nn.Module, **extra: object) -> None:
    """`save_network` for a module that has a ``kind`` and a ``config`` dataclass."""
    save_network(directory, module.kind, asdict(module.config), module.state_dict(), **extra)


def load_module(directory: str | os.PathLike, network: type[N]) -> N:
    """Load a network in float32, shard by shard, so that memory holds the weights only once.

    Raises
    ------
    ModelError
        As in `load_network`, or the weights do not match the config.
    """
    values = _network_config(directory, network.kind)
    module = network(build(network.config_class, values["config"], f"{directory}: model"))
    missing, foreign = set(module.state_dict()), set()
    try:
        for shard in _read_shards(directory, values["sha256"]):
            foreign.update(module.load_state_dict(shard, strict=False).unexpected_keys)
            missing -= shard.keys()
    except RuntimeError as error:
        raise ModelError(f"{directory}: weights do not fit its config.json: {error}") from None
    if missing or foreign:
        mismatches = [
            f"{problem} {', '.join(sorted(names)[:3])}"
            for problem, names in (("no", missing), ("unknown", foreign))
            if names
        ]
        raise ModelError(
            f"{directory}: weights do not fit its config.json: {'; '.join(mismatches)}"
        )
    return module


def fingerprint(directory: str | os.PathLike, prefixes: tuple[str, ...]) -> str:
    """First 16 hex digits of the SHA-256 of the weights whose names start with `prefixes`."""
    values, state = _network_config(directory, None), {}
    for shard in _read_shards(directory, values["sha256"], prefixes):
        state.update(shard)
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode() + state[name].numpy().tobytes())
    return digest.hexdigest()[:16]


def tokenizer_fingerprint(directory: str | os.PathLike) -> str:
    """Fingerprint of encoder and quantizer: tokenizers that share it give the same tokens."""
    return fingerprint(directory, ("encoder.", "quantizer."))


def assemble_model(
    tokenizer: str | os.PathLike,
    language_model: str | os.PathLike,
    output: str | os.PathLike,
    card: str,
    packer: str | os.PathLike | None = None,
    backmapping: str | os.PathLike | None = None,
    motions: str | os.PathLike | None = None,
    segments: str | os.PathLike | None = None,
    move: bool = False,
) -> Path:
    """Combine trained networks into one model directory.

    Parameters
    ----------
    tokenizer, language_model, packer, backmapping, motions, segments : path
        Directories exported by the trainers. Without one of the last four, the model uses that of
        the default model.
    output : path
        Model directory to write.
    card : str
        Model card, written to ``README.md``: data, split, results, licence.
    move : bool
        Move the directories instead of copying them.

    Returns
    -------
    Path
        `output`.

    Raises
    ------
    ModelError
        The language model was trained on the tokens of another tokenizer.
    """
    trained_on = read_config(language_model).get("tokenizer")
    tokens_of = tokenizer_fingerprint(tokenizer)
    if trained_on != tokens_of:
        raise ModelError(
            f"{language_model} was trained on the tokens of tokenizer {trained_on}, but "
            f"{tokenizer} is {tokens_of}; tokenize the data with it and train again"
        )
    output = Path(output)
    parts = {"tokenizer": tokenizer, "language_model": language_model}
    optional = {
        "packer": packer, "backmapping": backmapping, "motions": motions, "segments": segments,
    }  # fmt: skip
    for name, part in optional.items():
        if part is not None:
            load_network(part, name)  # raises if it is damaged or another network
            parts[name] = part
    for name, source in parts.items():
        shutil.rmtree(output / name, ignore_errors=True)
        if move:
            output.mkdir(parents=True, exist_ok=True)
            shutil.move(source, output / name)
        else:
            shutil.copytree(source, output / name)
    (output / "README.md").write_text(card, encoding="utf-8")
    write_json(output / "config.json", {"format": FORMAT, "kind": "model", "parts": list(parts)})
    return output

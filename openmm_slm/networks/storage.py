"""Weights on disk: a JSON config with checksums beside sharded half-precision safetensors."""

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
from ..files.json_file import write_json
from ..files.json_settings import build

if TYPE_CHECKING:
    import torch

N = TypeVar("N", bound="torch.nn.Module")
SHARD_BYTES = 15 * 2**20
LARGE_SHARD_BYTES = 2**29  # of models that no repository holds
FORMAT = 1


def _checksum(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


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
    """Write one network (`kind` names its class, `config` its sizes, `extra` goes beside them).

    Matrices are stored as float16; vectors and small buffers (norms, quantizer statistics), whose
    rounding would cost more than the bytes it saves, as float32. Without `half` all stay as they
    are.
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
        checksums[path.name] = _checksum(path)
    write_json(
        directory / "config.json",
        {"format": FORMAT, "kind": kind, **extra, "config": config, "sha256": checksums},
    )


def read_config(directory: str | os.PathLike) -> dict:
    """The `config.json` of a model directory."""
    path = Path(directory) / "config.json"
    if not path.is_file():
        raise ModelError(f"{directory}: not a model directory (no config.json)")
    try:
        values = json.loads(path.read_text())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelError(f"{path}: not readable as JSON ({error}); fetch the model again") from None
    found = values.get("format") if isinstance(values, dict) else None
    if found != FORMAT:
        raise ModelError(
            f"{path}: model format {found!r}, this version reads {FORMAT}; "
            "upgrade openmm_slm or export the model again"
        )
    return values


def load_network(
    directory: str | os.PathLike, kind: str | None = None
) -> tuple[dict, dict[str, torch.Tensor]]:
    """Config and float32 weights of one network, checksums verified.

    Raises
    ------
    ModelError
        A shard is missing or altered, or the directory holds another kind of network.
    """
    values = _network_config(directory, kind)
    state = {}
    for shard in _read_shards(directory, values["sha256"]):
        state.update(shard)
    return values["config"], state


def _network_config(directory: str | os.PathLike, kind: str | None) -> dict:
    """`read_config` of a single network, of a certain kind if one is given."""
    values = read_config(directory)
    if kind is not None and values.get("kind") != kind:
        raise ModelError(f"{directory}: holds {values.get('kind')!r}, expected {kind!r}")
    if not isinstance(values.get("config"), dict) or not isinstance(values.get("sha256"), dict):
        raise ModelError(f"{directory}: config.json has no config and sha256 of a network")
    return values


def _read_shards(
    directory: str | os.PathLike, checksums: dict[str, str], prefixes: tuple[str, ...] = ("",)
) -> Iterator[dict[str, torch.Tensor]]:
    """Weights whose names start with `prefixes`, in float32, a verified shard at a time."""
    from safetensors import safe_open

    for name, checksum in checksums.items():
        path = Path(directory) / name
        if not path.is_file():
            raise ModelError(f"{path}: missing; the model directory is incomplete")
        if _checksum(path) != checksum:
            raise ModelError(f"{path}: checksum differs from config.json; fetch the model again")
        with safe_open(path, "pt") as shard:
            read = {key: shard.get_tensor(key) for key in shard.keys() if key.startswith(prefixes)}  # noqa: SIM118
        yield {k: v.float() if v.is_floating_point() else v for k, v in read.items()}


def save_module(directory: str | os.PathLike, module: torch.nn.Module, **extra: object) -> None:
    """`save_network` of a module with a ``kind`` and a ``config`` dataclass."""
    save_network(directory, module.kind, asdict(module.config), module.state_dict(), **extra)


def load_module(directory: str | os.PathLike, network: type[N]) -> N:
    """The network of a model directory, in float32; its weights are in memory once.

    Raises
    ------
    ModelError
        As `load_network`; or the weights do not fit the config.
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
        told = [
            f"{what} {', '.join(sorted(names)[:3])}"
            for what, names in (("no", missing), ("unknown", foreign))
            if names
        ]
        raise ModelError(f"{directory}: weights do not fit its config.json: {'; '.join(told)}")
    return module


def fingerprint(directory: str | os.PathLike, prefixes: tuple[str, ...]) -> str:
    """Short hash of the weights whose names start with `prefixes`."""
    values, state = _network_config(directory, None), {}
    for shard in _read_shards(directory, values["sha256"], prefixes):
        state.update(shard)
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode() + state[name].numpy().tobytes())
    return digest.hexdigest()[:16]


def tokenizer_fingerprint(directory: str | os.PathLike) -> str:
    """What decides the tokens of a tokenizer: two with the same value give the same tokens."""
    return fingerprint(directory, ("encoder.", "quantizer."))


def assemble_model(
    tokenizer: str | os.PathLike,
    language_model: str | os.PathLike,
    output: str | os.PathLike,
    card: str,
    packer: str | os.PathLike | None = None,
    move: bool = False,
) -> Path:
    """Put a trained tokenizer, language model and packer into one model directory.

    Parameters
    ----------
    tokenizer, language_model, packer : path
        Directories the trainers exported; without a packer the default model's is used.
    output : path
    card : str
        Text of ``README.md``: data, split, figures, licence.
    move : bool
        Move the directories instead of copying them.

    Raises
    ------
    ModelError
        The language model was trained on another tokenizer's tokens.
    """
    trained_on = read_config(language_model).get("tokenizer")
    tokens_of = tokenizer_fingerprint(tokenizer)
    if trained_on != tokens_of:
        raise ModelError(
            f"{language_model} was trained on the tokens of tokenizer {trained_on}, {tokenizer} "
            f"is {tokens_of}; tokenize the data again and train on that"
        )
    output = Path(output)
    parts = {"tokenizer": tokenizer, "language_model": language_model}
    if packer is not None:
        load_network(packer, "packer")  # whole, and no other network
        parts["packer"] = packer
    for name, source in parts.items():
        shutil.rmtree(output / name, ignore_errors=True)
        if move:
            output.mkdir(parents=True, exist_ok=True)
            shutil.move(source, output / name)
        else:
            shutil.copytree(source, output / name)
    (output / "README.md").write_text(card)
    write_json(output / "config.json", {"format": FORMAT, "kind": "model", "parts": list(parts)})
    return output

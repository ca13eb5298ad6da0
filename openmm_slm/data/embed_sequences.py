"""Embeddings of sequences by ESM-C and ESM3, as the condition of a small language model.

The states after the last layer's norm, one for each residue, of the sequence alone. They are
computed with the ``esm`` package's own layers, once: a file for each model and sequence in the
user's cache (`cache_folder`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ModelError, require
from ..language.condition import SequenceCondition
from ..models.esm3_import import FOLDER, read_tensors
from ..models.esm3_weights import cache_folder
from ..models.fitting import check_weights
from ..models.registry import find_part
from ..networks.esm3_tokens import MASK, esm3_layout
from ..networks.storage import load_module, read_config

if TYPE_CHECKING:
    import torch

    States = Callable[[tuple[str, ...]], torch.Tensor]

#: ESM-C by name: the repository that has the weights, and the file there, in `FOLDER`.
HUB = {
    "esmc_300m": ("EvolutionaryScale/esmc-300m-2024-12", "esmc_300m_2024_12_v0.pth"),
    "esmc_600m": ("EvolutionaryScale/esmc-600m-2024-12", "esmc_600m_2024_12_v0.pth"),
}
_HEAD_CHANNELS = 64  # of an attention head, in all of ESM-C
_BLOCK, _BLOCKS = 2**16, 64  # of a file, that tell it from others


def condition_of(given: object, sequence: str) -> SequenceCondition:
    """The condition of a sequence from an array, a ``.npy`` file, or a model that computes it.

    Raises
    ------
    ValueError
        See `SequenceCondition.of` and `Embedder`.
    """
    if is_model(given):
        return Embedder(given).embed(sequence)
    return SequenceCondition.of(given, sequence)


def is_model(condition: object) -> bool:
    """Whether a condition is computed for any sequence, and not the numbers of one."""
    path = isinstance(condition, (str, os.PathLike))
    return path and Path(condition).suffix != ".npy"


class Embedder:
    """A large model that embeds sequences; it is loaded when something is to be computed.

    Parameters
    ----------
    model : str or path
        A name of `HUB`, whose weights are in the hub's cache; a file of weights of ESM-C, or a
        folder that has it; ``"esm3"`` or another model of ESM3 (see `find_model`).
    device : str
    cache : path, optional
        Default: `cache_folder`.

    Raises
    ------
    ModelError
        No weights there; the message says which file goes where.
    """

    def __init__(
        self,
        model: str | os.PathLike,
        device: str = "cpu",
        cache: str | os.PathLike | None = None,
    ) -> None:
        self.weights, self.device, self.source = find_weights(model), device, str(model)
        #: What tells its embeddings from those of other weights.
        self.identity = _identity(self.weights)
        self.directory = Path(cache or cache_folder()) / "embeddings" / self.identity

    def embed(self, sequence: str) -> SequenceCondition:
        """Embeddings float32 [L, D] (rounded to half precision) of the residues of a sequence."""
        chains = tuple("".join(sequence.split()).upper().split(":"))  # training data has X
        name = hashlib.sha256(":".join(chains).encode()).hexdigest()[:32]
        path = self.directory / f"{name}.npy"
        values = _read(path, sum(map(len, chains)))
        if values is None:
            values = self._compute(chains).astype(np.float16)
            if not np.isfinite(values).all():
                raise ModelError(f"{self.weights}: embeddings that are no numbers; wrong weights?")
            _write(path, values)
        return SequenceCondition(values.astype(np.float32), self.identity, self.source)

    def _compute(self, chains: tuple[str, ...]) -> np.ndarray:
        torch = require("torch")
        with torch.inference_mode():
            states = _loaded(self.weights, self.identity, self.device)(chains)
            return states.float().cpu().numpy()


@lru_cache(maxsize=1)
def _loaded(weights: Path, identity: str, device: str) -> States:
    """What makes states of chains: kept, for many sequences in a row."""
    return (_esm3 if weights.is_dir() else _esmc)(weights, device)


def find_weights(model: str | os.PathLike) -> Path:
    """Where the weights of a model are (see `Embedder`): a file, or the directory of ESM3."""
    path = Path(model)
    if path.is_file():
        return path
    found = [file for _, file in HUB.values() for file in (path / FOLDER / file, path / file)]
    if file := next(filter(Path.is_file, found), None):
        return file
    if str(model) not in HUB:
        try:
            return _esm3_directory(model)
        except ModelError as error:
            names = ", ".join(HUB)
            raise ModelError(
                f"{str(model)!r} is neither a .npy file, one of {names}, nor weights of ESM-C "
                f"or ESM3: {error}"
            ) from None
    repository, name = HUB[str(model)]
    file = require("huggingface_hub", "esm3").try_to_load_from_cache(repository, f"{FOLDER}/{name}")
    if not isinstance(file, str):
        raise ModelError(
            f"{model}: no weights in the hub's cache; accept the licence at huggingface.co/"
            f"{repository} and run `hf download {repository}`, or give the path of {name}"
        )
    return Path(file)


def _esm3_directory(model: str | os.PathLike) -> Path:
    directory = find_part(model, "language_model")
    kind = read_config(directory).get("kind")
    if kind != "esm3":
        raise ModelError(f"{directory} holds {kind!r}")
    return directory


def _identity(weights: Path) -> str:
    """A name, and a hash of checksums, or of blocks all over a file: any training changes it."""
    if weights.is_dir():
        checksums = json.dumps(read_config(weights)["sha256"], sort_keys=True)
        return f"esm3-{hashlib.sha256(checksums.encode()).hexdigest()[:16]}"
    size = weights.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with weights.open("rb") as file:
        for number in range(_BLOCKS):
            file.seek(max(0, size - _BLOCK) * number // (_BLOCKS - 1))
            digest.update(file.read(_BLOCK))
    return f"{weights.stem}-{digest.hexdigest()[:16]}"


def _esmc(weights: Path, device: str) -> States:
    """What makes states [L, D] of chains with ESM-C, of the sizes that a file's weights have."""
    torch, esmc = require("torch"), require("esm.models.esmc", "esm3")
    state = read_tensors(weights)
    if "embed.weight" not in state or "transformer.norm.weight" not in state:
        raise ModelError(f"{weights}: these are not the weights of ESM-C")
    width = state["embed.weight"].shape[1]
    layers = {name.split(".")[2] for name in state if name.startswith("transformer.blocks.")}
    network = esmc.ESMC(width, max(1, width // _HEAD_CHANNELS), len(layers), None, False)
    check_weights(state, network, weights)
    network.load_state_dict(state)
    network.to(device).eval()

    def states(chains: tuple[str, ...]) -> torch.Tensor:
        tokens, positions = (torch.as_tensor(x, device=device) for x in esm3_layout(chains))
        tokens = tokens.unsqueeze(0)
        made = network(tokens, torch.ones_like(tokens, dtype=torch.bool))
        return made.embeddings[0, positions]

    return states


def _esm3(weights: Path, device: str) -> States:
    """The same with ESM3; all structure tokens are masked."""
    from ..language.esm3_network import ESM3Network

    torch = require("torch")
    network = load_module(weights, ESM3Network).to(device).eval()

    def states(chains: tuple[str, ...]) -> torch.Tensor:
        tokens, positions = (torch.as_tensor(x, device=device) for x in esm3_layout(chains))
        tokens = tokens.unsqueeze(0)
        return network.hidden(tokens, torch.full_like(tokens, MASK))[0, positions]

    return states


def _read(path: Path, length: int) -> np.ndarray | None:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None  # not there, or half of it: computed anew
    return values if values.ndim == 2 and len(values) == length else None


def _write(path: Path, values: np.ndarray) -> None:
    """Through a name of its own: several processes may compute the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.stem}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        np.save(file, values)
    temporary.replace(path)

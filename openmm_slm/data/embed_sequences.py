"""Sequence embeddings from ESM-C and ESM3, used to condition a smaller language model.

An embedding is the state of each residue after the final layer norm, computed from the sequence
alone with the layers of the ``esm`` package. Embeddings are cached, one file per model and
sequence, in the user's cache folder (`cache_folder`).
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
from ..models.fitting import check_weights
from ..models.registry import find_part
from ..networks.esm3_tokens import MASK, esm3_layout
from ..networks.storage import load_module, read_config
from ..protein.cache_folder import cache_folder

if TYPE_CHECKING:
    import torch

    States = Callable[[tuple[str, ...]], torch.Tensor]

#: ESM-C models: the repository of the weights, and the file in its `FOLDER`.
HUB = {
    "esmc_300m": ("EvolutionaryScale/esmc-300m-2024-12", "esmc_300m_2024_12_v0.pth"),
    "esmc_600m": ("EvolutionaryScale/esmc-600m-2024-12", "esmc_600m_2024_12_v0.pth"),
}
_HEAD_CHANNELS = 64  # per attention head, in all ESM-C models
_BLOCK, _BLOCKS = 2**16, 64  # size and number of the blocks that are hashed to identify a file


def condition_of(given: object, sequence: str) -> SequenceCondition:
    """Condition of a sequence, from an array, a ``.npy`` file or an embedding model.

    Raises
    ------
    ValueError
        See `SequenceCondition.of` and `Embedder`.
    """
    if is_model(given):
        return Embedder(given).embed(sequence)
    return SequenceCondition.of(given, sequence)


def is_model(condition: object) -> bool:
    """Whether a condition names an embedding model, and not the array of one sequence."""
    path = isinstance(condition, (str, os.PathLike))
    return path and Path(condition).suffix != ".npy"


class Embedder:
    """Embed sequences with a large model, which is loaded on the first sequence not in the cache.

    Parameters
    ----------
    model : str or path
        A name in `HUB`, if its weights are in the Hugging Face cache; an ESM-C weight file, or a
        folder that contains one; ``"esm3"`` or another ESM3 model (see `find_model`).
    device : str
    cache : path, optional
        Default: `cache_folder`.

    Raises
    ------
    ModelError
        The weights were not found; the message says which file to put where.
    """

    def __init__(
        self,
        model: str | os.PathLike,
        device: str = "cpu",
        cache: str | os.PathLike | None = None,
    ) -> None:
        self.weights, self.device, self.source = find_weights(model), device, str(model)
        #: Identifies the weights, and so the embeddings.
        self.identity = _identity(self.weights)
        self.directory = Path(cache or cache_folder()) / "embeddings" / self.identity

    def embed(self, sequence: str) -> SequenceCondition:
        """Embeddings float32 [L, D] of a sequence, rounded to half precision."""
        chains = tuple("".join(sequence.split()).upper().split(":"))  # X is allowed, as in training
        name = hashlib.sha256(":".join(chains).encode()).hexdigest()[:32]
        path = self.directory / f"{name}.npy"
        values = _read(path, sum(map(len, chains)))
        if values is None:
            values = self._compute(chains).astype(np.float16)
            if not np.isfinite(values).all():
                raise ModelError(
                    f"{self.weights}: embeddings are not finite; check that the weights are right"
                )
            _write(path, values)
        return SequenceCondition(values.astype(np.float32), self.identity, self.source)

    def _compute(self, chains: tuple[str, ...]) -> np.ndarray:
        torch = require("torch")
        with torch.inference_mode():
            states = _loaded(self.weights, self.identity, self.device)(chains)
            return states.float().cpu().numpy()


@lru_cache(maxsize=1)
def _loaded(weights: Path, identity: str, device: str) -> States:
    """Embedding function of a model; the last one is cached for runs of many sequences."""
    return (_esm3 if weights.is_dir() else _esmc)(weights, device)


def find_weights(model: str | os.PathLike) -> Path:
    """Path of the weights of a model (see `Embedder`): a file, or the directory of ESM3."""
    path = Path(model)
    if path.is_file():
        return path
    possible = [file for _, file in HUB.values() for file in (path / FOLDER / file, path / file)]
    if file := next(filter(Path.is_file, possible), None):
        return file
    if str(model) not in HUB:
        try:
            return _esm3_directory(model)
        except ModelError as error:
            names = ", ".join(HUB)
            raise ModelError(
                f"{str(model)!r} is neither a .npy file, nor one of {names}, nor a path to "
                f"weights of ESM-C or ESM3: {error}"
            ) from None
    repository, name = HUB[str(model)]
    file = require("huggingface_hub", "esm3").try_to_load_from_cache(repository, f"{FOLDER}/{name}")
    if not isinstance(file, str):
        raise ModelError(
            f"{model}: the weights are not in the Hugging Face cache; accept the licence at "
            f"huggingface.co/{repository} and run `hf download {repository}`, or give the path of "
            f"{name}"
        )
    return Path(file)


def _esm3_directory(model: str | os.PathLike) -> Path:
    directory = find_part(model, "language_model")
    kind = read_config(directory).get("kind")
    if kind != "esm3":
        raise ModelError(f"{directory}: kind is {kind!r}, expected 'esm3'")
    return directory


def _identity(weights: Path) -> str:
    """Name and hash of weights: of the checksums of ESM3, or of blocks spread over a file.

    Any training step changes all blocks, so a few of them identify the weights.
    """
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
    """Function from chains to ESM-C states [L, D]; layer sizes are read from the weights."""
    torch, esmc = require("torch"), require("esm.models.esmc", "esm3")
    state = read_tensors(weights)
    if "embed.weight" not in state or "transformer.norm.weight" not in state:
        raise ModelError(f"{weights}: not weights of ESM-C; give one of {', '.join(HUB)}")
    width = state["embed.weight"].shape[1]
    layers = {name.split(".")[2] for name in state if name.startswith("transformer.blocks.")}
    network = esmc.ESMC(width, max(1, width // _HEAD_CHANNELS), len(layers), None, False)
    check_weights(state, network, weights)
    network.load_state_dict(state)
    network.to(device).eval()

    def states(chains: tuple[str, ...]) -> torch.Tensor:
        tokens, positions = (torch.as_tensor(x, device=device) for x in esm3_layout(chains))
        tokens = tokens.unsqueeze(0)
        output = network(tokens, torch.ones_like(tokens, dtype=torch.bool))
        return output.embeddings[0, positions]

    return states


def _esm3(weights: Path, device: str) -> States:
    """Function from chains to ESM3 states [L, D], with all structure tokens masked."""
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
        return None  # absent or truncated: compute it again
    return values if values.ndim == 2 and len(values) == length else None


def _write(path: Path, values: np.ndarray) -> None:
    """Write under a name unique to the process: several processes may write the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.stem}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        np.save(file, values)
    temporary.replace(path)

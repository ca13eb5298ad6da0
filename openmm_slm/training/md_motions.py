"""Springs of one protein, tuned to the fluctuations in simulations of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ..analysis.fluctuations import deviations, mean_structure
from ..data.motion_data import Observation
from ..protein.sequence import encode_sequence
from ..protein.superposition import superpose
from .early_stopping import HELD_BACK
from .md_frames import MDFrames
from .motion_batches import stack_observations
from .train_motions import motion_loss

#: Weights of the terms of `motion_loss`. Simulated RMSF takes the place of B-factors; it has no
#: rigid motion, and the springs of thermal motion learn it.
LOSS = {
    "bfactors": 1.0, "pair": 0.5, "profile": 0.0, "size": 1.0, "rigid": 0.0, "noise_nm": 0.0,
    "crystal": False,
}  # fmt: skip
_B = 800 / 3 * np.pi**2  # Å^2 / nm^2: B-factor of a mean square fluctuation
_GRAPHS = 2  # frames of a batch whose springs are predicted
_PAIRS = 4  # displacements of a batch
_MEASURED = 16  # held-back displacements that are measured


class MDMotions:
    """Observed motions of frames: RMSF of each residue, its size, and displacements.

    Parameters
    ----------
    frames : MDFrames
    seed : int
    """

    def __init__(self, frames: MDFrames, seed: int) -> None:
        self.frames, self.seed = frames, seed
        self.letters = encode_sequence(frames.sequence.replace(":", "")).astype(np.int64)
        self._square = mean_square(frames.train[:, :, 1])

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """Arrays of `stack_observations` for a training step."""
        rng, train = np.random.default_rng([self.seed, step]), self.frames.train
        graphs = train[rng.integers(len(train), size=_GRAPHS)]
        pairs = train[rng.integers(len(train), size=(_PAIRS, 2))]
        return self._arrays(graphs, self._square, pairs)

    def validation(self, loss: dict) -> Callable[[torch.nn.Module], dict[str, float]]:
        """Function that measures a network on the held-back frames."""
        train, held = self.frames.train, self.frames.held
        rows = np.linspace(0, len(held) - 1, _MEASURED).round().astype(int)
        pairs = np.stack([np.broadcast_to(train[0], held[rows].shape), held[rows]], 1)
        arrays = self._arrays(train[:1], mean_square(held[:, :, 1]), pairs)

        def evaluate(model: torch.nn.Module) -> dict[str, float]:
            device = next(model.parameters()).device
            batch = {k: torch.as_tensor(v, device=device) for k, v in arrays.items()}
            value, terms = motion_loss(model, batch, loss)
            terms.pop("residues")
            return {HELD_BACK: float(value), **{k: float(v) for k, v in terms.items()}}

        return evaluate

    def _arrays(
        self, graphs: np.ndarray, square: np.ndarray, pairs: np.ndarray
    ) -> dict[str, np.ndarray]:
        found = []
        rmsf = np.sqrt(square)
        size = [rmsf.mean(), np.median(rmsf), max(rmsf.std(), 1e-4)]
        for backbone in graphs:
            each = np.full((2, len(square), 3), np.nan, np.float32)
            each[0, :, 0], each[1, 0] = _B * square, size
            found += [self._observation(0, backbone, each[0])]
            found += [self._observation(2, backbone, each[1])]
        for first, second in pairs:
            moved, _, _ = superpose(second[:, 1], first[:, 1])
            move = (moved - first[:, 1]).astype(np.float32)
            if np.abs(move).max() > 1e-4:  # not a frame with itself
                found.append(self._observation(1, first, move))
        return stack_observations(found)

    def _observation(self, kind: int, backbone: np.ndarray, target: np.ndarray) -> Observation:
        index = self.frames.index.astype(np.int64)
        return Observation("md", "md", kind, backbone, self.letters, index, target)


def mean_square(ca: np.ndarray) -> np.ndarray:
    """Mean square fluctuation [L] (nm^2) of CA [F, L, 3] (nm) about their mean structure."""
    ca = ca.astype(np.float64)
    even = np.full(len(ca), 1 / len(ca))
    off = deviations(ca, mean_structure(ca, even))
    return (off**2).mean(0).reshape(-1, 3).sum(-1)

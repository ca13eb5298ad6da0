"""Disordered chains for training: stretches of coil from known structures, joined at random.

Known structures hold disordered residues in short stretches only. A language model trained on
joined stretches also learns what a whole disordered chain is like. Each chain keeps the sequence
and the torsions of its stretches, with ideal bond lengths and angles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..protein.chain_building import backbone_of, chain_frames, links
from ..protein.coil import coil
from ..protein.geometry import backbone_torsions
from .shards import Entry, ShardDataset

#: Start of the ids of such chains in a shard directory, and of the names of their shards.
MADE_OF_COIL = "coil"
LENGTHS = (20, 160)  # residues of a chain
_CA_APART = 0.4  # nm: closest CA of residues 3 or more apart
_TRIES = 40  # stretches tried for one place before the chain is begun anew


@dataclass(frozen=True)
class Stretch:
    """Consecutive coil residues: sequence, and torsions [3, n] (phi, psi, omega; radians)."""

    sequence: str
    torsions: np.ndarray


def coil_stretches(dataset: ShardDataset, per_cluster: int = 3) -> list[Stretch]:
    """Stretches of coil in the first entries of each cluster, with all torsions defined."""
    found = []
    for group in dataset.clusters():
        for number in group[:per_cluster]:
            found += _stretches_of(dataset[int(number)])
    return found


def _stretches_of(entry: Entry) -> Iterator[Stretch]:
    torsions = np.stack(backbone_torsions(entry.backbone, entry.chain_break))
    inside = coil(entry.backbone, entry.residue_index) & np.isfinite(torsions).all(0)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], inside.astype(int), [0]])))
    for first, end in edges.reshape(-1, 2):
        yield Stretch(entry.sequence[first:end], torsions[:, first:end])


def coil_chain(
    rng: np.random.Generator, stretches: list[Stretch], lengths: tuple[int, int] = LENGTHS
) -> tuple[str, np.ndarray]:
    """Draw a chain: its sequence, and N, CA, C, O [L, 4, 3] (nm).

    The length is log-uniform over `lengths`. No CA is within 0.4 nm of another one three or more
    residues away.
    """
    length = int(np.exp(rng.uniform(*np.log(lengths))))
    while (found := _grown(rng, stretches, length)) is None:
        pass
    return found


def _grown(
    rng: np.random.Generator, stretches: list[Stretch], length: int
) -> tuple[str, np.ndarray] | None:
    """A chain of `length` residues, or None if it runs into itself."""
    sequence, torsions, origin = "", np.empty((3, 0)), np.empty((0, 3))
    rotation = np.eye(3)
    while len(sequence) < length:
        for _ in range(_TRIES):
            new = stretches[rng.integers(len(stretches))]
            turns, places = chain_frames(*new.torsions)
            if sequence:
                turn, shift = links(torsions[1, -1], new.torsions[2, 0], new.torsions[0, 0])
                places = places @ (rotation @ turn).T + origin[-1] + rotation @ shift
                turns = rotation @ turn @ turns
            if not _too_close(origin, places):
                break
        else:
            return None
        sequence, rotation = sequence + new.sequence, turns[-1]
        torsions = np.concatenate([torsions, new.torsions], 1)
        origin = np.concatenate([origin, places])
    kept = torsions[:, :length]
    chain_break = np.arange(length) == 0
    return sequence[:length], backbone_of(*chain_frames(*kept), chain_break)


def _too_close(before: np.ndarray, after: np.ndarray) -> bool:
    apart = np.linalg.norm(before[:, None] - after, axis=-1)
    rows, columns = np.indices(apart.shape)
    return bool((apart[columns + len(before) - rows > 2] < _CA_APART).any())

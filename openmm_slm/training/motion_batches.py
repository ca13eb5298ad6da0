"""Batches of observed motions for the spring network."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from ..data.motion_data import KINDS, MotionData, Observation
from ..errors import StructureError
from ..motions.residue_graph import ResidueGraph, residue_graph

_TRIES = 50


class MotionSampler:
    """Draw observations of a kind uniformly over clusters, then within the cluster.

    Parameters
    ----------
    data : MotionData
    per_batch : dict of int
        Observations of each of `KINDS` in a batch. Kinds without data are left out.
    """

    def __init__(self, data: MotionData, per_batch: dict[str, int]) -> None:
        self.data, self.per_batch = data, per_batch
        self._groups: list[list[list[tuple]]] = []
        for kind in range(len(KINDS)):
            groups: dict[str, list[tuple]] = {}
            for row in data.part(kind, "fit"):
                groups.setdefault(data.cluster(row), []).append(row)
            self._groups.append(list(groups.values()))
        if not any(self._groups):
            raise StructureError(
                f"{data.directory}: no motions to fit; the clusters of all chains with motions are "
                "left out of training (a fifth of all clusters is)"
            )

    def batch(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Arrays of `stack_observations`."""
        found = []
        for kind, name in enumerate(KINDS):
            for _ in range(self.per_batch[name] if self._groups[kind] else 0):
                if (one := self._draw(kind, rng)) is not None:
                    found.append(one)
        return stack_observations(found)

    def _draw(self, kind: int, rng: np.random.Generator) -> Observation | None:
        groups = self._groups[kind]
        for _ in range(_TRIES):  # structures of a pair may not fit each other
            group = groups[rng.integers(len(groups))]
            found = self.data.observation(kind, group[rng.integers(len(group))])
            if found is not None:
                return found
        return None


def stack_observations(observations: list[Observation]) -> dict[str, np.ndarray]:
    """Arrays of all observations, one after the other.

    ``backbone``, ``amino_acids``, ``index`` and ``target`` have a row per residue (see
    `Observation`), ``lengths`` and ``kind`` one per observation.
    """
    names = ("backbone", "amino_acids", "index", "target")
    out = {name: np.concatenate([getattr(o, name) for o in observations]) for name in names}
    out["lengths"] = np.array([len(o.index) for o in observations], np.int64)
    out["kind"] = np.array([o.kind for o in observations], np.int64)
    return out


def each_observation(
    batch: dict[str, torch.Tensor],
) -> Iterator[tuple[int, ResidueGraph, torch.Tensor]]:
    """Kind, graph and target of each observation of a batch of tensors."""
    lengths = batch["lengths"].tolist()
    names = ("backbone", "amino_acids", "index", "target")
    parts = zip(*(batch[name].split(lengths) for name in names), strict=True)
    for kind, (backbone, amino_acids, index, target) in zip(
        batch["kind"].tolist(), parts, strict=True
    ):
        yield kind, residue_graph(backbone, amino_acids, index), target

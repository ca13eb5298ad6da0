"""Structure contexts with segments that the model sampled itself.

In a second step, the model samples segments again and sees its first samples
(`openmm_slm.sampling.segment_sampling`). Random displacements of a true segment keep its local
geometry, but that of a sample is often wrong. A network that has seen displacements alone keeps
what it is shown.
"""

from __future__ import annotations

import os

import numpy as np

from ..data.segment_decoys import read_decoys
from ..data.shards import Entry, ShardDataset
from ..errors import StructureError
from ..language.masking import SAMPLED_LEVEL, with_rim
from .structure_contexts import DrawnContext

_SAMPLED, _ABSENT = 0.7, 0.15  # shares of segments; the others are exact


class SampledSegments:
    """Samples of segments of some chains of a dataset, as `tools/make_segment_decoys.py` writes.

    Parameters
    ----------
    directory : path
        Folder with ``decoys_*.npz``.
    dataset : ShardDataset
    longest : int
        Longer chains are left out.

    Attributes
    ----------
    numbers : ndarray, int
        Row numbers in the dataset of the chains that have samples.
    """

    def __init__(
        self, directory: str | os.PathLike, dataset: ShardDataset, longest: int = 512
    ) -> None:
        self._of: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
        for each in read_decoys(directory):
            rows = each.index[each.segment]  # the chains have no gaps
            self._of.setdefault(each.id, []).append((rows, each.sampled))
        fits = (row["id"] in self._of and int(row["length"]) <= longest for row in dataset.rows)
        self.numbers = np.flatnonzero(list(fits))
        if not len(self.numbers):
            raise StructureError(f"{directory}: no segments of the chains of this dataset")

    def context(self, rng: np.random.Generator, entry: Entry) -> DrawnContext:
        """Draw a context of a chain.

        Most of its segments are as a sample has them, some are absent or exact, and all other
        residues are exact.
        """
        backbone = entry.backbone
        told, level = backbone.copy(), np.zeros(len(backbone), np.float32)
        every = self._of[entry.id]
        draw, first = rng.random(), rng.integers(len(every))
        for number, (rows, sampled) in enumerate(every):
            if rows[-1] >= len(backbone):
                raise StructureError(f"{entry.id}: sampled residue {rows[-1]} of {len(backbone)}")
            kind = 0.0 if number == first else rng.random()
            if kind < _SAMPLED:  # samples of one number were made together
                told[rows], level[rows] = sampled[int(draw * len(sampled))], SAMPLED_LEVEL
            elif kind < _SAMPLED + _ABSENT:
                told[rows], level[rows] = np.nan, np.inf
        return DrawnContext(told, level, with_rim(level > 0, entry.chain_index), True, "sampled")

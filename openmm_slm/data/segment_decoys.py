"""Sampled segments of known structures, from which their ranking is learned.

A folder of files ``decoys_*.npz``. Each has, for its segments one after the other::

    id [S]                            entry of the structure
    residues, size, samples [S]       numbers M, K, D of each segment
    letters, index, segment [sum M]   amino acids, residue index, which residues are the segment
    backbone [sum M, 4, 3]            true N, CA, C and O of the segment and residues near it, nm
    sidechains [sum M, 10, 3]         true side chains of residues near it, NaN where absent
    sampled [sum D K, 4, 3]           samples of the segment, their peptide bonds closed
    strain [sum D, 2]                 how far the closure moved an atom (nm); clashing pairs
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import StructureError

_COUNTS = ("residues", "size", "samples")
_ARRAYS = ("letters", "index", "segment", "backbone", "strain", "sidechains")


@dataclass(frozen=True, eq=False)
class SegmentDecoys:
    """Samples of one segment of K residues.

    Attributes
    ----------
    id : str
        Entry of the structure.
    letters, index : ndarray, int [M]
        Amino acid numbers, and residue index, of the segment and residues near it.
    segment : ndarray, bool [M]
    backbone : ndarray, float32 [M, 4, 3]
        The true structure, nm.
    sampled : ndarray, float32 [D, K, 4, 3]
    strain : ndarray, float32 [D, 2]
        How far the closure of the chain moved an atom (nm), and clashing pairs of atoms.
    sidechains : ndarray, float32 [M, 10, 3]
        Heavy atoms of side chains, slots 4 to 13 of atom14; NaN where absent, and for the segment.
    """

    id: str
    letters: np.ndarray
    index: np.ndarray
    segment: np.ndarray
    backbone: np.ndarray
    sampled: np.ndarray
    strain: np.ndarray
    sidechains: np.ndarray

    def deviations(self) -> tuple[np.ndarray, np.ndarray]:
        """Deviation [D, K] of each CA, and RMSD [D] of N, CA and C; nm, not superposed."""
        apart = ((self.sampled - self.backbone[self.segment]) ** 2).sum(-1)
        return np.sqrt(apart[:, :, 1]), np.sqrt(apart[:, :, :3].mean((1, 2)))


def write_decoys(path: str | os.PathLike, decoys: list[SegmentDecoys]) -> None:
    """Write the segments of one file."""
    np.savez_compressed(
        path,
        id=np.array([each.id for each in decoys]),
        residues=np.array([len(each.letters) for each in decoys]),
        size=np.array([each.sampled.shape[1] for each in decoys]),
        samples=np.array([len(each.sampled) for each in decoys]),
        sampled=np.concatenate([each.sampled.reshape(-1, 4, 3) for each in decoys]),
        **{name: np.concatenate([getattr(each, name) for each in decoys]) for name in _ARRAYS},
    )


def read_decoys(directory: str | os.PathLike) -> list[SegmentDecoys]:
    """All segments of a folder.

    Raises
    ------
    StructureError
        There are none, or a file is of another kind.
    """
    found: list[SegmentDecoys] = []
    for path in sorted(Path(directory).glob("decoys_*.npz")):
        with np.load(path, allow_pickle=False) as data:
            try:
                arrays = {name: data[name] for name in (*_ARRAYS, "sampled")}
                ids, counts = data["id"], np.stack([data[name] for name in _COUNTS])
            except (KeyError, ValueError) as error:
                raise StructureError(f"{path}: not a file of sampled segments ({error})") from None
        residues, size, samples = counts.astype(int)
        per_segment = {"strain": samples, "sampled": size * samples}
        split = {
            name: np.split(values, np.cumsum(per_segment.get(name, residues))[:-1])
            for name, values in arrays.items()
        }
        for k, id in enumerate(ids.tolist()):
            mine = {name: values[k] for name, values in split.items()}
            mine["sampled"] = mine["sampled"].reshape(samples[k], size[k], 4, 3)
            found.append(SegmentDecoys(id, **mine))
    if not found:
        raise StructureError(
            f"{directory}: no files decoys_*.npz; tools/make_segment_decoys.py makes them"
        )
    return found

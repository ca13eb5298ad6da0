"""Make the contact potential the package ships, from a shard directory.

    python tools/make_contact_potential.py SHARDS openmm_slm/protein/contact_potential.npz

The longest chain of each cluster of the training split is read, up to 350 residues.
"""

from __future__ import annotations

import sys

import numpy as np
from scipy.spatial import cKDTree

from openmm_slm.data.shards import ShardDataset
from openmm_slm.protein.contact_potential import (
    APART,
    ATOMS,
    BOUNDS,
    KINDS,
    atoms_and_kinds,
    distance_bins,
)

LONGEST = 350
PSEUDO = 4000  # pairs of average distances that are added to those of each kind


def count(directory: str) -> tuple[np.ndarray, int]:
    """Pairs of each kind and distance, float [100, 100, bins], and the number of chains."""
    data = ShardDataset(directory, "train", ("backbone", "heavy"))
    counts = np.zeros(KINDS * KINDS * len(BOUNDS), np.int64)
    chains = 0
    for group in data.clusters():
        group = group[data.lengths[group] <= LONGEST]
        if not len(group):
            continue
        entry = data[int(group[data.lengths[group].argmax()])]
        (atoms,), kinds = atoms_and_kinds(entry.backbone[None], entry.sequence)
        kept = (kinds >= 0) & np.isfinite(atoms).all(-1)
        x, kinds = atoms[kept], kinds[kept]
        residue = np.repeat(entry.residue_index, ATOMS)[kept]
        a, b = cKDTree(x).query_pairs(BOUNDS[-1] - 1e-6, output_type="ndarray").T
        apart = np.abs(residue[a] - residue[b]) >= APART
        a, b = a[apart], b[apart]
        bins = distance_bins(np.linalg.norm(x[a] - x[b], axis=-1)).clip(max=len(BOUNDS) - 1)
        pair = (kinds[a] * KINDS + kinds[b]) * len(BOUNDS) + bins
        counts += np.bincount(pair, minlength=len(counts))
        chains += 1
    seen = counts.reshape(KINDS, KINDS, len(BOUNDS)).astype(float)
    return seen + seen.swapaxes(0, 1), chains


def energies(seen: np.ndarray) -> np.ndarray:
    """Energies [100, 100, bins] (kT) of counted pairs."""
    share = seen.sum((0, 1)) / seen.sum()
    expected = seen.sum(-1, keepdims=True) * share
    return -np.log((seen + PSEUDO * share) / (expected + PSEUDO * share))


def main(directory: str, path: str) -> None:
    seen, chains = count(directory)
    half = energies(seen)[np.triu_indices(KINDS)].astype(np.float16)
    np.savez_compressed(path, energy=half)
    print(
        f"{seen.sum() / 2:.3g} pairs of {chains} chains; energies {half.min()} to {half.max()} kT"
    )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])

"""Make the residue potential the package ships, from a shard directory.

    python tools/make_residue_potential.py SHARDS openmm_slm/protein/residue_potential.npz

The longest chain of each cluster of the training split is read, up to 350 residues.
"""

from __future__ import annotations

import sys

import numpy as np
from scipy.spatial import cKDTree

from openmm_slm.data.shards import ShardDataset
from openmm_slm.protein.chain_building import residue_axes
from openmm_slm.protein.geometry import backbone_torsions, cb_position
from openmm_slm.protein.ramachandran import grid_cell
from openmm_slm.protein.residue_potential import APART, BOUNDS, CELLS, SHAPE, STEP, pair_bins
from openmm_slm.protein.sequence import AMINO_ACIDS, encode_sequence

LONGEST = 350
#: Pairs of average geometry that are added to those of each pair of amino acids: to each bin of
#: distances, and so many more, that lie as pairs of this distance do, to each bin of directions.
OF_DISTANCE, OF_DIRECTION = 200, 60
OF_TORSIONS = 50  # residues of average torsions that are added to those of each amino acid


def count(directory: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Ordered pairs [`SHAPE`], residues [20, 36, 36], and the number of chains."""
    data = ShardDataset(directory, "train", ("backbone", "heavy"))
    pairs, torsions = np.zeros(SHAPE, np.int64), np.zeros((SHAPE[0], CELLS, CELLS), np.int64)
    chains = 0
    for group in data.clusters():
        group = group[data.lengths[group] <= LONGEST]
        if not len(group):
            continue
        entry = data[int(group[data.lengths[group].argmax()])]
        letters = encode_sequence(entry.sequence)
        known = np.isfinite(entry.backbone).all((1, 2)) & (letters < len(AMINO_ACIDS))
        phi, psi, _ = backbone_torsions(entry.backbone, entry.chain_break)
        whole = known & np.isfinite(phi) & np.isfinite(psi)
        cells = (grid_cell(angle[whole], CELLS) for angle in (phi, psi))
        np.add.at(torsions, (letters[whole], *cells), 1)
        x, letters = entry.backbone[known].astype(np.float64), letters[known]
        axes, cb, residue = residue_axes(x), cb_position(x), entry.residue_index[known]
        a, b = cKDTree(cb).query_pairs(BOUNDS[-1] - 1e-6, output_type="ndarray").T
        apart = np.abs(residue[a] - residue[b]) >= APART
        a, b = a[apart], b[apart]
        distance, there, back = pair_bins(axes, cb, a, b)
        np.add.at(pairs, (letters[a], letters[b], distance, there, back), 1)
        np.add.at(pairs, (letters[b], letters[a], distance, back, there), 1)
        chains += 1
    return pairs, torsions, chains


def pair_energies(seen: np.ndarray) -> np.ndarray:
    """Energies `SHAPE` (kT) of counted pairs."""
    share = seen.sum((0, 1)) / seen.sum()
    of_kinds = seen.sum((2, 3, 4))[..., None]
    near, near_share = seen.sum((3, 4)), share.sum((1, 2))
    added = OF_DISTANCE * near_share
    ratio = ((near + added) / (of_kinds * near_share + added))[..., None, None]
    expected = of_kinds[..., None, None] * share
    return -np.log((seen + OF_DIRECTION * ratio) / (expected + OF_DIRECTION))


def torsion_energies(seen: np.ndarray) -> np.ndarray:
    """Energies [20, 36, 36] (kT) of counted torsions, smoothed over neighbouring squares."""
    average = seen.sum(0) / seen.sum()
    share = (seen + OF_TORSIONS * average) / (seen.sum((1, 2), keepdims=True) + OF_TORSIONS)
    for axis in (1, 2):
        share = (np.roll(share, 1, axis) + 2 * share + np.roll(share, -1, axis)) / 4
    return -np.log(share * CELLS**2 + 1e-3)


def stored(energy: np.ndarray) -> np.ndarray:
    """Energies in steps, int16."""
    return np.rint(energy / STEP).astype(np.int16)


def main(directory: str, path: str) -> None:
    pairs, torsions, chains = count(directory)
    half = stored(pair_energies(pairs)[np.triu_indices(SHAPE[0])])
    np.savez_compressed(path, pairs=half, torsions=stored(torsion_energies(torsions)))
    print(f"{pairs.sum() / 2:.3g} pairs of {chains} chains")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])

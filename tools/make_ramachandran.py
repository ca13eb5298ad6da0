"""Make the Ramachandran maps the package ships, from a shard directory.

    python tools/make_ramachandran.py SHARDS openmm_slm/protein/ramachandran.npz [PICTURE.png]

One chain of each cluster of the training split (the longest) is read; residues count whose two
peptide bonds are whole. Counts in squares of 5 by 5 degrees are smoothed with a periodic Gaussian,
and squares taken from the densest on until 98 % (favoured) and 99.8 % (allowed) of the residues of
a class lie in them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from openmm_slm.data.shards import ShardDataset
from openmm_slm.protein.geometry import backbone_torsions, peptide_bond_lengths
from openmm_slm.protein.ramachandran import ALLOWED, CLASSES, FAVOURED, grid_cell, residue_classes

CELLS = 72
SHARES = {ALLOWED: 0.998, FAVOURED: 0.98}
WIDTHS = {"general": 5.0, "glycine": 7.5, "pre-proline": 7.5, "proline": 5.0}  # degrees
C_N = (0.123, 0.143)  # nm; a peptide bond outside is a modelling error, and its torsions too


def count(directory: str) -> tuple[np.ndarray, int]:
    """Residues in each square, int [4, 72, 72], and the number of chains they are from."""
    data = ShardDataset(directory, "train", ("backbone", "heavy"))
    counts = np.zeros((len(CLASSES), CELLS, CELLS), np.int64)
    chains = [int(group[data.lengths[group].argmax()]) for group in data.clusters()]
    for number in chains:
        entry = data[number]
        with np.errstate(invalid="ignore"):
            phi, psi, _ = backbone_torsions(entry.backbone, entry.chain_break)
            bond = peptide_bond_lengths(entry.backbone, entry.chain_break)
            whole = (bond > C_N[0]) & (bond < C_N[1])
        kinds = residue_classes(entry.sequence)
        kept = whole & np.append(whole[1:], False) & (kinds >= 0) & np.isfinite(phi + psi)
        where = kinds[kept], grid_cell(phi[kept], CELLS), grid_cell(psi[kept], CELLS)
        np.add.at(counts, where, 1)
    return counts, len(chains)


def smooth(counts: np.ndarray, width: float) -> np.ndarray:
    """Periodic Gaussian of standard deviation `width` (degrees) over counts [72, 72]."""
    distance = np.minimum(np.arange(CELLS), CELLS - np.arange(CELLS)) * 360 / CELLS
    kernel = np.exp(-0.5 * (distance / width) ** 2)
    kernel = np.fft.fft(kernel / kernel.sum())
    return np.fft.ifft2(np.fft.fft2(counts) * kernel[:, None] * kernel[None]).real


def to_levels(counts: np.ndarray, density: np.ndarray) -> np.ndarray:
    """uint8 [72, 72]: squares in order of `density` until they hold the shares of `counts`."""
    order = np.argsort(-density, axis=None, kind="stable")
    before = np.cumsum(counts.ravel()[order]) - counts.ravel()[order]
    out = np.zeros(counts.size, np.uint8)
    for level, share in SHARES.items():
        out[order[before < share * counts.sum()]] = level
    return out.reshape(counts.shape)


def plot(levels: np.ndarray, density: np.ndarray, path: str) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 4, figsize=(18, 9), layout="constrained")
    for k, name in enumerate(CLASSES):
        options = {"origin": "lower", "extent": (-180, 180, -180, 180)}
        axes[0, k].imshow(levels[k].T, **options)
        axes[1, k].imshow(np.log10(np.maximum(density[k].T, 1e-2)), **options)
        axes[0, k].set(title=name, xlabel="phi (degrees)", ylabel="psi (degrees)")
    figure.savefig(path, dpi=60)


def main(directory: str, output: str, picture: str | None = None) -> None:
    counts, chains = count(directory)
    density = np.stack([smooth(c, WIDTHS[n]) for c, n in zip(counts, CLASSES, strict=True)])
    levels = np.stack([to_levels(c, d) for c, d in zip(counts, density, strict=True)])
    temporary = Path(output).with_suffix(".tmp.npz")
    residues = counts.sum((1, 2))
    np.savez_compressed(temporary, levels=levels, residues=residues, chains=chains)
    temporary.replace(output)
    for name, number, level in zip(CLASSES, residues, levels, strict=True):
        areas = [round(100 * float((level >= k).mean()), 1) for k in SHARES]
        print(f"{name}: {number} residues; allowed, favoured: {areas} % of the plane")
    print(f"{residues.sum()} residues of {chains} chains")
    if picture:
        plot(levels, density, picture)


if __name__ == "__main__":
    main(*sys.argv[1:])

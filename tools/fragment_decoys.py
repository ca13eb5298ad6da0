"""Library fragments in loops of training chains, for `make_segment_decoys.py --fragments`.

Each stretch gets the 6 fragments of other training chains that fit best, 12 others, and 6 smooth
displacements of its true structure; then the peptide bonds are closed.
"""

from __future__ import annotations

import numpy as np

from openmm_slm.data.shards import Entry
from openmm_slm.library.fragments import ANCHORS, Fragments, find_fragments
from openmm_slm.library.registry import load_library
from openmm_slm.projection.close_peptides import close_peptide_bonds
from openmm_slm.protein.geometry import place_oxygen
from openmm_slm.protein.protein import Protein
from openmm_slm.sampling.segment_surroundings import part_of

BEST, OTHERS, NEAR_TRUE = 6, 12, 6
BENT, ROUGH = 0.25, 0.03  # nm: largest smooth displacement, largest noise of atoms
NEAR = 1.0  # nm from a stretch: residues that count for the closure
RESOLVED = 0.4  # share of the chains whose clashes are resolved, which takes longer


class FragmentDecoys:
    """Fragments of the shipped library."""

    def __init__(self) -> None:
        self.library = load_library()
        self.train = np.array([chain.split == "train" for chain in self.library.chains])
        self.ids = np.array([chain.id for chain in self.library.chains])

    def __call__(
        self, entry: Entry, chosen: list[np.ndarray], rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        true, placed = entry.backbone.astype(np.float32), BEST + OTHERS
        x, every = np.repeat(true[None], placed + NEAR_TRUE, 0), np.concatenate(chosen)
        for rows in chosen:
            found = self._fragments(entry, rows)
            best = np.arange(min(BEST, len(found)))
            more = rng.permutation(np.arange(len(best), len(found)))[:OTHERS]
            mine = np.r_[best, more]
            x[np.ix_(range(len(mine)), rows, range(3))] = found.backbone[mine]
            x[len(mine) :, rows] = bent(true[rows], len(x) - len(mine), rng)
        protein, moved = Protein(entry.sequence, entry.chain_break), np.zeros(x.shape[:2])
        x[:, every, 3] = place_oxygen(x, protein.chain_break)[:, every]
        far = np.linalg.norm(true[:, None, 1] - true[every, 1], axis=-1).min(1)
        near = np.flatnonzero(far < NEAR)
        x[:, near], moved[:, near] = close_peptide_bonds(
            x[:, near], part_of(protein, near), np.isin(near, every).astype(float),
            atoms=bool(rng.random() < RESOLVED), sweeps=200, tolerance=2e-3,
        )  # fmt: skip
        return x, moved

    def _fragments(self, entry: Entry, rows: np.ndarray) -> Fragments:
        """Fragments of other training chains for a stretch, best first."""
        x, first, end = entry.backbone, rows[0], rows[-1] + 1
        letters = entry.sequence[first:end]
        found = find_fragments(
            self.library, letters, x[first - ANCHORS : first], x[end : end + ANCHORS]
        )
        kept = self.train[found.chain] & (self.ids[found.chain] != entry.id)
        return Fragments(
            found.backbone[kept], found.fit[kept], found.chain[kept], found.first[kept]
        )


def bent(x: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """Backbones of a stretch [K, 4, 3], displaced smoothly and by noise: [number, K, 4, 3]."""
    along = np.pi * (np.arange(len(x)) + 1) / (len(x) + 1)
    waves = [np.sin(k * along)[:, None] * rng.normal(size=(number, 1, 3)) / k for k in (1, 2, 3)]
    smooth = np.sum(waves, 0) * BENT * rng.random((number, 1, 1))
    noise = rng.normal(size=(number, len(x), 4, 3)) * ROUGH * rng.random((number, 1, 1, 1))
    return (x + smooth[:, :, None] + noise).astype(np.float32)

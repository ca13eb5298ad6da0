"""Loops rebuilt on test chains: python tools/measure_loops.py DATA [CHAINS] [SAMPLES].

One coil stretch of 8 to 12 residues a cluster (gap-free chains of 60 to 250 residues) is resampled
with all else held; RMSD of N, CA and C of the stretch where it stands, beside the same one drawn
as a random arc between its ends and made a chain by the projection alone.
"""

from __future__ import annotations

import logging
import sys

import mdtraj as md
import numpy as np

import openmm_slm
from openmm_slm.projection import close_peptide_bonds
from openmm_slm.structure import from_backbone
from openmm_slm.training.shards import Entry, ShardDataset


def loop(entry: Entry, rng: np.random.Generator) -> np.ndarray | None:
    """Rows of a stretch that is coil but for two residues, at least five from the ends."""
    trajectory = from_backbone(entry.backbone[None], entry.sequence).to_trajectory("backbone")
    coil = md.compute_dssp(trajectory, simplified=True)[0] == "C"
    size = int(rng.integers(8, 13))
    starts = [
        first
        for first in range(5, len(coil) - size - 5)
        if coil[first : first + size].sum() >= size - 2
    ]
    return np.arange(size) + rng.choice(starts) if starts else None


def random_closure(native: np.ndarray, entry: Entry, rows: np.ndarray, n: int, seed: int):
    """The stretch on random arcs between its ends, made a chain by the projection."""
    rng = np.random.default_rng(seed)
    frames = np.repeat(native[None], n, 0)
    ends = native[[rows[0] - 1, rows[-1] + 1], 1]
    share = np.linspace(0, 1, len(rows) + 2)[1:-1, None]
    line = ends[0] * (1 - share) + ends[1] * share
    bulge = np.sqrt(share * (1 - share)) * 0.38 * np.sqrt(len(rows))
    for frame in range(n):
        walk = line + bulge * rng.normal(0, 0.6, (1, 3)) + rng.normal(0, 0.1, line.shape)
        offset = native[rows] - native[rows, 1:2]
        frames[frame, rows] = offset + walk[:, None]
    weight = np.isin(np.arange(len(native)), rows).astype(float)
    first = np.arange(len(native)) == 0
    return close_peptide_bonds(frames.astype(np.float32), entry.sequence, first, weight)[0]


def main(data: str, chains: int = 30, n: int = 50) -> None:
    logging.disable(logging.WARNING)
    generator = openmm_slm.EnsembleGenerator.from_pretrained("default", device="cpu")
    dataset = ShardDataset(data, "test", ("backbone", "heavy", "shard"))
    found = []
    for group in dataset.clusters():
        entry = dataset[int(group[0])]
        whole = np.isfinite(entry.backbone).all() and not entry.chain_break[1:].any()
        if not whole or "X" in entry.sequence or not 60 <= len(entry.sequence) <= 250:
            continue
        rows = loop(entry, np.random.default_rng(len(found)))
        if rows is None:
            continue
        native = entry.backbone
        ensemble = generator.sample(
            entry.sequence, n, template=from_backbone(native[None], entry.sequence),
            resample=rows, seed=0, sidechains=None, progress=False,
        )  # fmt: skip
        x = ensemble.trajectory.xyz.reshape(n, -1, 4, 3)
        closed = random_closure(native, entry, rows, n, len(found))
        joined = np.linalg.norm(x[:, 1:, 0] - x[:, :-1, 2], axis=-1)[:, rows[0] - 1 : rows[-1] + 1]
        off = [
            10 * np.sqrt(((y[:, rows, :3] - native[rows, :3]) ** 2).sum(-1).mean((1, 2)))
            for y in (x, closed)
        ]
        found.append(
            [
                off[0].min(), np.median(off[0]), off[1].min(), np.median(off[1]),
                100 * ensemble.report["valid"].mean(), 10 * np.abs(joined - 0.133).max(),
            ]
        )  # fmt: skip
        print(
            f"{entry.id} {rows[0] + 1}-{rows[-1] + 1} of {len(native)}: best of {n} "
            f"{off[0].min():.2f} A, median {np.median(off[0]):.2f} A",
            flush=True,
        )
        if len(found) == chains:
            break
    names = (
        f"best of {n}, A", "median sample, A", f"random closure: best of {n}, A",
        "random closure: median, A", "valid backbones, %", "C-N at worst off by, A",
    )  # fmt: skip
    print(f"{len(found)} loops; medians and quartiles")
    for name, values in zip(names, np.array(found).T, strict=True):
        low, middle, high = np.percentile(values, [25, 50, 75])
        print(f"{name:32} {middle:7.3f}  ({low:.3f} to {high:.3f})")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3, 4):
        sys.exit(__doc__)
    main(sys.argv[1], *map(int, sys.argv[2:]))

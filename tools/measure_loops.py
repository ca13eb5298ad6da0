"""Loops rebuilt: python tools/measure_loops.py DATA [CHAINS] [SAMPLES] [MODEL].

One coil stretch of 8 to 12 residues of a test chain a cluster (gap-free, 60 to 250 residues), then
CDR-H3 (after C-x-x to before W-G-x-G) of the distinct Fv of test antibodies without a chain in
training. It is resampled with all else held; RMSD of N, CA and C of the stretch where it stands,
beside the same one drawn as a random arc between its ends and made a chain by the projection alone.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator

import mdtraj as md
import numpy as np

import openmm_slm
from openmm_slm.data.shards import Entry, ShardDataset
from openmm_slm.projection.close_peptides import close_peptide_bonds
from openmm_slm.protein.protein import Protein
from openmm_slm.protein.structure import ProteinStructure, from_backbone
from openmm_slm.protein.trajectory import from_trajectory


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


def coil_loops(data: str, chains: int) -> Iterator[tuple[str, ProteinStructure, np.ndarray]]:
    """Name, structure and rows of a loop of each chain."""
    dataset = ShardDataset(data, "test", ("backbone", "heavy", "shard"))
    found = 0
    for group in dataset.clusters():
        entry = dataset[int(group[0])]
        whole = np.isfinite(entry.backbone).all() and not entry.chain_break[1:].any()
        if not whole or "X" in entry.sequence or not 60 <= len(entry.sequence) <= 250:
            continue
        rows = loop(entry, np.random.default_rng(found))
        if rows is not None:
            yield entry.id, from_backbone(entry.backbone[None], entry.sequence), rows
            found += 1
        if found == chains:
            return


def antibodies(data: str) -> Iterator[tuple[str, ProteinStructure, np.ndarray]]:
    """Name, Fv (heavy chain first) and rows of CDR-H3 of each distinct one."""
    dataset = ShardDataset(data, "test_antibody", ("complex", "shard"))
    seen = set()
    for number, row in enumerate(dataset.rows):
        entry, parts, first = dataset[number], {}, 0
        for sequence in row["sequence"].split(":"):
            end = re.search("W[GA].G" if "H" not in parts else "$^", sequence)
            light = re.search("FG.GT", sequence)
            for name, match in (("H", end), ("L", light)):
                if match and name not in parts and len(sequence) > 90:
                    parts[name] = np.arange(first, first + min(match.end() + 8, len(sequence)))
            first += len(sequence)
        if len(parts) < 2 or row["has_train_chain"] != "0":
            continue
        letters = row["sequence"].replace(":", "")
        heavy, light = ("".join(letters[i] for i in parts[name]) for name in "HL")
        stop = re.search("W[GA].G", heavy).start()
        start = heavy.rfind("C", 0, stop) + 3
        rows = np.concatenate([parts["H"], parts["L"]])
        backbone = entry.backbone[rows]
        if (
            heavy in seen
            or not np.isfinite(backbone).all()
            or stop - start < 3
            or "X" in heavy + light
        ):
            continue
        seen.add(heavy)
        name = f"{row['pdb']} H3 {heavy[start:stop]}"
        yield (
            name,
            from_backbone(backbone[None], f"{heavy}:{light}", ("H", "L")),
            np.arange(start, stop),
        )


def random_closure(native: ProteinStructure, rows: np.ndarray, n: int, seed: int) -> np.ndarray:
    """The stretch on random arcs between its ends, made a chain by the projection."""
    rng, x = np.random.default_rng(seed), native.backbone[0]
    frames = np.repeat(x[None], n, 0)
    ends = x[[rows[0] - 1, rows[-1] + 1], 1]
    share = np.linspace(0, 1, len(rows) + 2)[1:-1, None]
    line = ends[0] * (1 - share) + ends[1] * share
    bulge = np.sqrt(share * (1 - share)) * 0.38 * np.sqrt(len(rows))
    for frame in range(n):
        walk = line + bulge * rng.normal(0, 0.6, (1, 3)) + rng.normal(0, 0.1, line.shape)
        offset = x[rows] - x[rows, 1:2]
        frames[frame, rows] = offset + walk[:, None]
    weight = np.isin(np.arange(len(x)), rows).astype(float)
    first = native.chain_break
    sequence = native.chain_sequences.replace(":", "")
    return close_peptide_bonds(frames.astype(np.float32), Protein(sequence, first), weight)[0]


def measured(
    generator: openmm_slm.EnsembleGenerator, native: ProteinStructure, rows: np.ndarray, n: int
) -> list[float]:
    ensemble = generator.sample(
        native.chain_sequences, n, template=native, resample=rows, seed=0, sidechains=None,
        progress=False,
    )  # fmt: skip
    true = native.backbone[0]
    x = from_trajectory(ensemble.trajectory).backbone
    kept = np.isin(np.arange(len(true)), rows, invert=True)
    joined = np.linalg.norm(x[:, 1:, 0] - x[:, :-1, 2], axis=-1)[:, rows[0] - 1 : rows[-1] + 1]
    off = [
        10 * np.sqrt(((y[:, rows, :3] - true[rows, :3]) ** 2).sum(-1).mean((1, 2)))
        for y in (x, random_closure(native, rows, n, int(rows[0])))
    ]
    return [
        off[0].min(), np.median(off[0]), off[1].min(), np.median(off[1]),
        100 * ensemble.report["valid"].mean(), 10 * np.abs(joined - 0.133).max(),
        float((x[:, kept, :3] == true[kept, :3]).all()),
    ]  # fmt: skip


def main(data: str, chains: int = 30, n: int = 50, model: str = "default") -> None:
    logging.disable(logging.WARNING)
    generator = openmm_slm.EnsembleGenerator.from_pretrained(model, device="cpu")
    names = (
        f"best of {n}, A", "median sample, A", f"random closure: best of {n}, A",
        "random closure: median, A", "valid backbones, %", "C-N at worst off by, A",
        "kept N, CA, C bit for bit (1: all)",
    )  # fmt: skip
    for title, loops in (("coil loops", coil_loops(data, chains)), ("CDR-H3", antibodies(data))):
        found = []
        for name, native, rows in loops:
            found.append(measured(generator, native, rows, n))
            where = f"{rows[0] + 1}-{rows[-1] + 1} of {native.backbone.shape[1]}"
            print(
                f"{name} {where}: best {found[-1][0]:.2f}, median {found[-1][1]:.2f} A", flush=True
            )
        print(f"{len(found)} {title}; medians and quartiles")
        for name, values in zip(names, np.array(found).T, strict=True):
            low, middle, high = np.percentile(values, [25, 50, 75])
            print(f"{name:34} {middle:7.3f}  ({low:.3f} to {high:.3f})")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3, 4, 5):
        sys.exit(__doc__)
    main(sys.argv[1], *map(int, sys.argv[2:4]), *sys.argv[4:])

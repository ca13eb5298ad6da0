"""Sample segments of training chains, from which `openmm-slm train segments` learns to rank them.

    python tools/make_segment_decoys.py SHARDS DECOYS [MINUTES] [PART/PARTS]

One chain of each cluster of the training split is taken, 50 to 220 residues, in random order. Up to
four coil stretches of 4 to 14 residues in it, which do not touch, are sampled together with all
others held: 24 tries, 6 samples that see one of these, and 6 samples near the true structure.
`openmm_slm.data.segment_decoys` describes the files. PART/PARTS divides the chains between
processes. Chains that the folder has already are left out, so a second run adds to the first.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from openmm_slm import EnsembleGenerator
from openmm_slm.benchmarks.samples import secondary_structure
from openmm_slm.data.segment_decoys import SegmentDecoys, read_decoys, write_decoys
from openmm_slm.data.shards import Entry, ShardDataset
from openmm_slm.language.segment_ranker import SEEN
from openmm_slm.protein.structure import from_backbone
from openmm_slm.sampling.block_making import Networks, resolved
from openmm_slm.sampling.request import make_request
from openmm_slm.sampling.segment_clashes import segment_clashes
from openmm_slm.sampling.segment_sampling import SegmentSampler

TRIES, REFINED, NEAR_TRUE = 24, 6, 6
LENGTHS, SIZES = (50, 220), (4, 14)
SEGMENTS, FROM_ENDS = 4, 4
COIL = 0.7  # share of coil residues in a segment, at least
APART = 1.2  # nm between CA of two segments
OFF = 0.1  # nm: the true structure is displaced by up to so much
IN_A_FILE = 100


def segments(entry: Entry, rng: np.random.Generator) -> list[np.ndarray]:
    """Rows of coil stretches that do not touch."""
    (states,) = secondary_structure(entry.backbone[None], entry.sequence)
    ca, chosen = entry.backbone[:, 1], []
    for size in rng.integers(SIZES[0], SIZES[1] + 1, 3 * SEGMENTS):
        last = len(states) - size - FROM_ENDS
        coil = [
            first
            for first in range(FROM_ENDS, last)
            if (states[first : first + size] == "C").mean() >= COIL
        ]
        if not coil or len(chosen) == SEGMENTS:
            continue
        rows = np.arange(size) + rng.choice(coil)
        distances = [np.linalg.norm(ca[rows, None] - ca[other], axis=-1).min() for other in chosen]
        if min(distances, default=np.inf) > APART:
            chosen.append(rows)
    return chosen


def sampler_of(generator: EnsembleGenerator, entry: Entry, rows: np.ndarray) -> SegmentSampler:
    """Sampler of some residues of a chain, with all others held."""
    native = from_backbone(entry.backbone[None], entry.sequence)
    request = make_request(
        entry.sequence, 1, template=native, relatives=None, msa=None, resample=rows,
        condition=None, disordered="none", folds=False,
        labels=generator.language_model.sees_disorder,
        settings={"seed": len(entry.sequence), "sidechains": None, "fragments": None},
    )  # fmt: skip
    request = resolved(request, generator.language_model)
    networks = Networks(generator.tokenizer, generator.language_model, None, None, None)
    return networks.sampler(request).segments


def decoys(
    generator: EnsembleGenerator, entry: Entry, rng: np.random.Generator
) -> list[SegmentDecoys]:
    """Samples of the segments of a chain."""
    chosen = segments(entry, rng)
    if not chosen:
        return []
    every = np.sort(np.concatenate(chosen))
    sampler = sampler_of(generator, entry, every)
    tries, moved = sampler.tries(0, np.arange(TRIES))
    near_true = np.repeat(entry.backbone[None], NEAR_TRUE, 0).astype(np.float32)
    off = rng.normal(size=(NEAR_TRUE, len(every), 1, 3)) * rng.random((NEAR_TRUE, 1, 1, 1)) * OFF
    near_true[:, every] += off.astype(np.float32)
    start = np.concatenate([tries[:REFINED], near_true])
    numbers = np.arange(len(start))
    _, refined, _ = sampler.refined(numbers, np.zeros(len(start), int), start)
    refined, shift = sampler.closed(refined, 0)
    x, moved = np.concatenate([tries, refined]), np.concatenate([moved, shift])
    held = np.full((len(entry.sequence), 14, 3), np.nan, np.float32)
    found = []
    for rows in chosen:
        alone = np.repeat(entry.backbone[None], len(x), 0)
        alone[:, rows] = x[:, rows]
        clashes = segment_clashes(alone, sampler.protein, rows, held)
        seen = surroundings(alone[:, :, 1], rows)
        found.append(
            SegmentDecoys(
                entry.id, sampler.letters[seen], sampler.index[seen], np.isin(seen, rows),
                entry.backbone[seen], x[:, rows],
                np.stack([moved[:, rows].max(1), clashes], -1).astype(np.float32),
            )
        )  # fmt: skip
    return found


def surroundings(ca: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows of a segment, its neighbours in the chain, and others near its samples [F, L, 3]."""
    points = ca[:, rows].reshape(-1, 3)
    weight = np.exp(-((np.linalg.norm(ca[0, :, None] - points, axis=-1) / 0.8) ** 2)).sum(1)
    weight[max(0, rows[0] - 3) : rows[-1] + 4] = np.inf
    return np.sort(np.argsort(-weight, kind="stable")[: len(rows) + SEEN])


def main() -> None:
    data, output = sys.argv[1], Path(sys.argv[2])
    seconds = 60 * float(sys.argv[3]) if len(sys.argv) > 3 else np.inf
    part, parts = map(int, sys.argv[4].split("/")) if len(sys.argv) > 4 else (1, 1)
    output.mkdir(parents=True, exist_ok=True)
    dataset = ShardDataset(data, "train", ("backbone", "heavy", "shard"))
    rng, start = np.random.default_rng(part), time.monotonic()
    generator = EnsembleGenerator.from_pretrained("default")
    waiting: list[SegmentDecoys] = []
    there = {each.id for each in read_decoys(output)} if any(output.iterdir()) else set()
    clusters = list(dataset.clusters())
    order = np.random.default_rng(0).permutation(len(clusters))[part - 1 :: parts]
    for file, number in enumerate(order):
        if time.monotonic() - start > seconds:
            break
        entry = dataset[int(clusters[number][0])]
        whole = np.isfinite(entry.backbone).all() and not entry.chain_break[1:].any()
        fits = LENGTHS[0] <= len(entry.sequence) <= LENGTHS[1] and "X" not in entry.sequence
        if whole and fits and entry.id not in there:
            waiting += decoys(generator, entry, rng)
        if len(waiting) >= IN_A_FILE:
            write_decoys(output / f"decoys_{part}_{file:05d}.npz", waiting)
            waiting = []
    if waiting:
        write_decoys(output / f"decoys_{part}_{file:05d}.npz", waiting)


if __name__ == "__main__":
    main()

"""Sample segments of training chains, from which `openmm-slm train segments` learns to rank them.

    python tools/make_segment_decoys.py SHARDS DECOYS [MINUTES] [PART/PARTS]
    python tools/make_segment_decoys.py SHARDS DECOYS --fragments [MINUTES] [PART/PARTS]
    python tools/make_segment_decoys.py SHARDS DECOYS --tries [MINUTES] [PART/PARTS]

One chain of each cluster of the training split is taken, 50 to 220 residues and if possible with
side chains, in random order. Up to four coil stretches of 4 to 14 residues in it, which do not
touch, are sampled together with all others held: 24 tries, 6 samples that see one of these, and 6
samples near the true structure. With --fragments, `fragment_decoys` makes other samples, six times
as fast. With --tries, there are 16 tries of up to six stretches of up to 16 residues and nothing
else; `tools/train_structure.py` learns from these. `openmm_slm.data.segment_decoys` describes the
files. PART/PARTS divides the chains between processes. Chains that the folder has
already are left out, so a second run adds to the first.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from fragment_decoys import FragmentDecoys

from openmm_slm import EnsembleGenerator
from openmm_slm.benchmarks.samples import secondary_structure
from openmm_slm.data.segment_decoys import SegmentDecoys, read_decoys, write_decoys
from openmm_slm.data.shards import Entry, ShardDataset
from openmm_slm.language.masking import SAMPLED_LEVEL
from openmm_slm.language.segment_ranker import SEEN
from openmm_slm.protein.protein import Protein
from openmm_slm.protein.sequence import encode_sequence
from openmm_slm.protein.structure import from_backbone
from openmm_slm.sampling.block_making import Networks, resolved
from openmm_slm.sampling.request import make_request
from openmm_slm.sampling.segment_clashes import segment_clashes
from openmm_slm.sampling.segment_sampling import SegmentSampler

TRIES, REFINED, NEAR_TRUE = 24, 6, 6
TRIES_ALONE = 16
LENGTHS, FROM_ENDS = (50, 220), 4
# Most residues of a stretch, and most stretches of a chain; with --tries.
LONGEST, MOST = 14, 4
LONGEST_ALONE, MOST_ALONE = 16, 6
SHORTEST = 4
COIL = 0.7  # share of coil residues in a segment, at least
APART = 1.2  # nm between CA of two segments
OFF = 0.1  # nm: the true structure is displaced by up to so much
IN_A_FILE = 100

#: Backbones [F, L, 4, 3] of a chain with some stretches changed, and how far the closure moved each
#: residue [F, L]; takes the chain, the rows of the stretches and a random generator.
Maker = Callable[[Entry, list[np.ndarray], np.random.Generator], tuple[np.ndarray, np.ndarray]]


def segments(
    entry: Entry, rng: np.random.Generator, longest: int = LONGEST, most: int = MOST
) -> list[np.ndarray]:
    """Rows of coil stretches that do not touch."""
    (states,) = secondary_structure(entry.backbone[None], entry.sequence)
    ca, chosen = entry.backbone[:, 1], []
    for size in rng.integers(SHORTEST, longest + 1, 3 * most):
        last = len(states) - size - FROM_ENDS
        coil = [
            first
            for first in range(FROM_ENDS, last)
            if (states[first : first + size] == "C").mean() >= COIL
        ]
        if not coil or len(chosen) == most:
            continue
        rows = np.arange(size) + rng.choice(coil)
        distances = [np.linalg.norm(ca[rows, None] - ca[other], axis=-1).min() for other in chosen]
        if min(distances, default=np.inf) > APART:
            chosen.append(rows)
    return chosen


class ModelDecoys:
    """Samples of the shipped model; with `alone`, tries alone."""

    def __init__(self, alone: bool = False) -> None:
        self.alone = alone
        self.generator = EnsembleGenerator.from_pretrained("default")

    def __call__(
        self, entry: Entry, chosen: list[np.ndarray], rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        every = np.sort(np.concatenate(chosen))
        sampler = self._sampler(entry, every)
        if self.alone:
            return sampler.tries(0, np.arange(TRIES_ALONE))
        tries, moved = sampler.tries(0, np.arange(TRIES))
        near_true = np.repeat(entry.backbone[None], NEAR_TRUE, 0).astype(np.float32)
        off = rng.normal(size=(NEAR_TRUE, len(every), 1, 3)) * OFF
        near_true[:, every] += (off * rng.random((NEAR_TRUE, 1, 1, 1))).astype(np.float32)
        start = np.concatenate([tries[:REFINED], near_true])
        numbers = np.arange(len(start))
        level = np.where(numbers < REFINED, SAMPLED_LEVEL, OFF)[:, None]
        _, refined, _ = sampler.refined(numbers, np.zeros(len(start), int), start, level=level)
        refined, shift = sampler.closed(refined, 0)
        return np.concatenate([tries, refined]), np.concatenate([moved, shift])

    def _sampler(self, entry: Entry, rows: np.ndarray) -> SegmentSampler:
        """Sampler of some residues of a chain, with all others held."""
        native, model = from_backbone(entry.backbone[None], entry.sequence), self.generator
        request = make_request(
            entry.sequence, 1, template=native, relatives=None, msa=None, resample=rows,
            condition=None, disordered="none", folds=False,
            labels=model.language_model.sees_disorder,
            settings={"seed": len(entry.sequence), "sidechains": None, "fragments": None},
        )  # fmt: skip
        networks = Networks(model.tokenizer, model.language_model, None, None, None)
        return networks.sampler(resolved(request, model.language_model)).segments


def decoys(
    entry: Entry, rng: np.random.Generator, make: Maker, alone: bool = False
) -> list[SegmentDecoys]:
    """Samples of the segments of a chain, each with the true structure of all others."""
    chosen = segments(entry, rng, *((LONGEST_ALONE, MOST_ALONE) if alone else ()))
    if not chosen:
        return []
    x, moved = make(entry, chosen, rng)
    protein, letters = Protein(entry.sequence, entry.chain_break), encode_sequence(entry.sequence)
    absent = np.full((len(entry.sequence), 14, 3), np.nan, np.float32)
    atoms = entry.atoms if entry.atoms.shape[1] == 14 else absent
    found = []
    for rows in chosen:
        alone = np.repeat(entry.backbone[None], len(x), 0)
        alone[:, rows] = x[:, rows]
        clashes = segment_clashes(alone, protein, rows, absent)
        seen = surroundings(alone[:, :, 1], rows)
        segment = np.isin(seen, rows)
        found.append(
            SegmentDecoys(
                entry.id, letters[seen], protein.residue_index[seen], segment,
                entry.backbone[seen], x[:, rows],
                np.stack([moved[:, rows].max(1), clashes], -1).astype(np.float32),
                np.where(segment[:, None, None], np.nan, atoms[seen, 4:]).astype(np.float32),
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
    given = [word for word in sys.argv[1:] if not word.startswith("--")]
    alone = "--tries" in sys.argv
    name = "fragments" if "--fragments" in sys.argv else "tries" if alone else "model"
    seconds = 60 * float(given[2]) if len(given) > 2 else np.inf
    part, parts = map(int, given[3].split("/")) if len(given) > 3 else (1, 1)
    output = Path(given[1])
    output.mkdir(parents=True, exist_ok=True)
    dataset = ShardDataset(given[0], "train", ("backbone", "heavy", "shard"))
    rng, start = np.random.default_rng(part), time.monotonic()
    make = FragmentDecoys() if name == "fragments" else ModelDecoys(alone)
    waiting: list[SegmentDecoys] = []
    older = any(output.glob("decoys_*.npz"))
    there = {each.id for each in read_decoys(output)} if older else set()
    clusters = list(dataset.clusters())

    def share_of_atoms(number: int) -> float:
        return float(dataset.rows[number]["complete"] or 0)

    def write(number: int) -> None:
        write_decoys(output / f"decoys_{name}_{part}_{number:05d}.npz", waiting)
        waiting.clear()

    order = np.random.default_rng(0).permutation(len(clusters))[part - 1 :: parts]
    for place, number in enumerate(order):
        if time.monotonic() - start > seconds:
            break
        entry = dataset[int(max(clusters[number], key=share_of_atoms))]
        whole = np.isfinite(entry.backbone).all() and not entry.chain_break[1:].any()
        fits = LENGTHS[0] <= len(entry.sequence) <= LENGTHS[1] and "X" not in entry.sequence
        if whole and fits and entry.id not in there:
            waiting += decoys(entry, rng, make, alone)
        if len(waiting) >= IN_A_FILE:
            write(place)
    if waiting:
        write(place)


if __name__ == "__main__":
    main()

"""Template settings on training conformers: tools/measure_conformers.py DATA [PAIRS] [MODEL].

One pair of structures of one sequence a cluster (1.5 to 10 A apart, 40 to 220 residues, whole) of
the training split; five samples from the first. Correlation of their flexibility with the distance
of the two (mean over pairs, and pooled), gain of TM-score to the second, valid backbones. The
defaults of noise and deform were chosen with it, so that no benchmark was.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator

import numpy as np

import openmm_slm
from openmm_slm.benchmarks.pairs import pooled_correlation, score_pair
from openmm_slm.benchmarks.sources import BASELINES
from openmm_slm.data.shards import Entry, ShardDataset
from openmm_slm.protein.structure import from_backbone
from openmm_slm.protein.superposition import rmsd
from openmm_slm.protein.trajectory import from_trajectory

N = 5
SETTINGS = [(0.02, 1, 0.1), (0.05, 1, 0.1), (0.1, 1, 0.1), (0.3, 1, 0.1), (0.05, 1, 0.0),
            (0.05, 1, 0.05), (0.05, 1, 0.2), (0.05, 3, 0.1)]  # fmt: skip


def pairs(data: str, most: int) -> Iterator[tuple[Entry, Entry]]:
    dataset = ShardDataset(data, "train", ("backbone", "heavy", "shard"))
    groups: dict[str, list[int]] = {}
    for number, row in enumerate(dataset.rows):
        if 40 <= len(row["sequence"]) <= 220 and not {":", "X"} & set(row["sequence"]):
            groups.setdefault(row["sequence"], []).append(number)
    seen: set[str] = set()
    for numbers in groups.values():
        cluster = dataset.rows[numbers[0]]["cluster"]
        entries = [dataset[number] for number in numbers[:6]]
        entries = [each for each in entries if np.isfinite(each.backbone).all()]
        if len(entries) < 2 or cluster in seen:
            continue
        first, *others = entries
        apart = [float(rmsd(first.backbone[:, 1], each.backbone[:, 1])) for each in others]
        if 0.15 < max(apart) < 1.0:
            seen.add(cluster)
            yield first, others[int(np.argmax(apart))]
        if len(seen) == most:
            return


def main(data: str, most: int = 20, model: str = "default") -> None:
    logging.disable(logging.WARNING)
    generator = openmm_slm.EnsembleGenerator.from_pretrained(model, device="cpu")
    rows: dict[str, list[dict[str, float]]] = {}
    for one, two in pairs(data, most):
        template = from_backbone(one.backbone[None], one.sequence)
        ca = [each.backbone[:, 1].astype(np.float64) for each in (one, two)]
        for noise, rounds, deform in SETTINGS:
            ensemble = generator.sample(
                one.sequence, N, template=template, noise=noise, rounds=rounds, deform=deform,
                seed=0, sidechains=None, progress=False,
            )  # fmt: skip
            made = from_trajectory(ensemble.trajectory).backbone[:, :, 1].astype(np.float64)
            row = score_pair(*ca, made) | {"valid": float(ensemble.report["valid"].mean())}
            rows.setdefault(f"{noise:5g} {rounds:6d} {deform:6g}", []).append(row)
        for amplitude in (0.05, 0.1):
            made = BASELINES["ANM"](template.to_trajectory("backbone"), N, amplitude, 0)
            moved = from_trajectory(made).backbone[:, :, 1].astype(np.float64)
            rows.setdefault(f"{'ANM':>12} {amplitude:6g}", []).append(
                score_pair(*ca, moved) | {"valid": float("nan")}
            )
    print(f"{len(next(iter(rows.values())))} pairs, {N} samples each")
    print("noise rounds deform   r, mean  r, pooled     gain  valid, %")
    for name, found in rows.items():
        r, gain, valid = (
            np.nanmean([row[key] for row in found])
            if key != "valid"
            else np.mean([row[key] for row in found])
            for key in ("r", "gain", "valid")
        )
        print(f"{name} {r:9.3f} {pooled_correlation(found):10.3f} {gain:8.4f} {100 * valid:9.0f}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3, 4):
        sys.exit(__doc__)
    main(sys.argv[1], *map(int, sys.argv[2:3]), *sys.argv[3:])

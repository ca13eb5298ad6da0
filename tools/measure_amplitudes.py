"""Measure what the multiples of `deform` stand for.

    python tools/measure_amplitudes.py SHARDS MOTIONS [--model MODEL]

Of clusters that are left out of the fit of the springs for choices (and B-factors of the validation
split), one chain each, the medians of

- the mean RMSF of B-factors over that of the learned springs (`openmm_slm.motions.springs.NEAR`);
- the mean RMSF of MD over that of the springs, in units of NEAR (``md`` of
  `openmm_slm.sampling.deformation`);
- the displacement between two conformers over thermal motion, of all pairs (``conformers``);

and the upper quartile of the same of pairs over 0.1 nm (``far``).
"""

from __future__ import annotations

import argparse

import numpy as np

from openmm_slm.data.motion_data import MotionData, Observation
from openmm_slm.data.shards import ShardDataset
from openmm_slm.models.registry import load_springs
from openmm_slm.motions.result import bfactors_of
from openmm_slm.motions.springs import NEAR, unconnected
from openmm_slm.motions.thermal_motion import ThermalMotion
from openmm_slm.protein.sequence import AMINO_ACIDS

LONGEST = 300  # residues
PREFIX = ("backbone", "heavy", "shard")


def one_a_cluster(data: MotionData, kind: int, rows: list[tuple]) -> list[Observation]:
    seen: dict[str, Observation] = {}
    for row in rows:
        if (cluster := data.cluster(row)) in seen or not (one := data.observation(kind, row)):
            continue
        if not unconnected(one.backbone[:, 1]).any():
            seen[cluster] = one
    return list(seen.values())


def letters(one: Observation) -> str:
    return "".join((AMINO_ACIDS + "X")[k] for k in one.amino_acids)


def main(shards: str, motions: str, model: str) -> None:
    springs = load_springs(model)
    fitted = MotionData(motions, ShardDataset(shards, "train", PREFIX), LONGEST)
    chosen = MotionData(motions, ShardDataset(shards, "val", PREFIX), LONGEST)

    def predicted(one: Observation) -> np.ndarray:
        covariance = springs.covariance(one.backbone.astype(float), letters(one), one.index)
        return np.sqrt(np.einsum("iaia->i", covariance))

    crystals = one_a_cluster(fitted, 0, fitted.part(0, "choose"))
    crystals += one_a_cluster(chosen, 0, chosen.rows[0])
    ratio = []
    for one in crystals:
        known = np.isfinite(one.target[:, 0])
        b = np.maximum(one.target[known, 0], 0).astype(float)
        ratio.append(np.sqrt(b / bfactors_of(1.0)).mean() / predicted(one)[known].mean())
    print(f"NEAR: {np.median(ratio):.2f} (B-factors of {len(ratio)} chains; now {NEAR:g})")
    sizes = one_a_cluster(fitted, 2, fitted.part(2, "choose"))
    ratio = [one.target[0, 0] / predicted(one).mean() / NEAR for one in sizes]
    print(f"md: {np.median(ratio):.2f} (MD of {len(ratio)} chains)")
    moved, ratio = [], []
    for one in one_a_cluster(fitted, 1, fitted.part(1, "choose")):
        known = np.isfinite(one.target[:, 0])
        motion = ThermalMotion(one.backbone.astype(float), letters(one), one.index, springs)
        moved.append(np.sqrt((one.target[known].astype(float) ** 2).sum(1).mean()))
        ratio.append(moved[-1] / np.sqrt(motion.mean_square()[known].mean()))
    far = np.array(moved) > 0.1
    print(f"conformers: {np.median(ratio):.2f} ({len(ratio)} pairs of conformers)")
    print(f"far: {np.quantile(np.array(ratio)[far], 0.75):.2f} ({far.sum()} pairs over 0.1 nm)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards")
    parser.add_argument("motions")
    parser.add_argument("--model", default="default")
    main(**vars(parser.parse_args()))

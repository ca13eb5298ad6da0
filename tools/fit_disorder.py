"""Fit the numbers of disordered chains to measured radii of gyration.

    python tools/fit_disorder.py PROTEINS.csv SHARDS OUT [--model MODEL] [-n 64]

PROTEINS.csv has the columns name, sequence and exp_rg_nm. Two fits, each with its error when every
protein is left out in turn:

- `Compactness` of `disorder/bead_energy.py`: each protein is sampled at several values. The
  logarithm of its size is interpolated between them, and the values of the smallest mean squared
  logarithm of the error are printed. OUT (.npz) keeps the samples; with it, the fit is repeated
  without sampling.
- the weights of `disorder/prediction.py`, against training chains of SHARDS.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize

from openmm_slm.benchmarks.coil_torsions import backbone_sampler
from openmm_slm.benchmarks.disordered import read_proteins
from openmm_slm.data.shards import ShardDataset
from openmm_slm.disorder.bead_energy import BeadEnergy, Compactness
from openmm_slm.disorder.prediction import features
from openmm_slm.disorder.wished_size import radius_of_gyration
from openmm_slm.sampling.disordered_backbones import number_of_moves
from openmm_slm.sampling.ensemble import EnsembleGenerator

ATTRACTION, NEUTRAL = (0.15, 0.25, 0.35), (0.0, 0.15, 0.3)
FOLDED = 400  # training chains of the second fit


def sizes(proteins, model: str, n: int) -> np.ndarray:
    """Radii of gyration [proteins, attraction, neutral] (nm)."""
    generator = EnsembleGenerator.from_pretrained(model)
    out = np.empty((len(proteins), len(ATTRACTION), len(NEUTRAL)))
    for number, one in enumerate(proteins):
        chains = backbone_sampler(generator, one.sequence, 1).chains
        moves, length = chains.moves, len(one.sequence)
        nothing = np.full((n, length, 3, 3), np.nan)
        for i, attraction in enumerate(ATTRACTION):
            for j, neutral in enumerate(NEUTRAL):
                chosen = Compactness(attraction, neutral)
                moves.energy = BeadEnergy(one.sequence, chains.index, chains.parts.body, chosen)
                ca = moves.run(np.arange(n), nothing, number_of_moves(length), 1)[1]
                out[number, i, j] = np.sqrt((radius_of_gyration(ca) ** 2).mean())
        print(one.name, length, one.rg, out[number].round(2).tolist(), flush=True)
    return out


def fit_compactness(found: np.ndarray, measured: np.ndarray) -> None:
    a, c = (x.ravel() for x in np.meshgrid(ATTRACTION, NEUTRAL, indexing="ij"))

    def terms(x, y):
        return np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], -1)

    surface = np.linalg.lstsq(terms(a, c), np.log(found.reshape(len(found), -1)).T, rcond=None)[0]

    def fitted(kept: np.ndarray) -> np.ndarray:
        def loss(x: np.ndarray) -> float:
            return (((terms(*x) @ surface - np.log(measured)) ** 2)[kept]).mean()

        bounds = [(ATTRACTION[0], ATTRACTION[-1]), (NEUTRAL[0], NEUTRAL[-1])]
        return minimize(loss, [0.25, 0.15], bounds=bounds, method="L-BFGS-B").x

    everything = np.ones(len(measured), bool)
    best = fitted(everything)
    left_out = np.empty(len(measured))
    for one in range(len(measured)):
        left_out[one] = np.exp(terms(*fitted(np.arange(len(measured)) != one)) @ surface[:, one])
    for name, values in (("fitted", np.exp(terms(*best) @ surface)), ("left out", left_out)):
        error = values - measured
        print(f"{name}: error {np.abs(error).mean():.3f}, bias {error.mean():+.3f} nm")
    print(f"attraction {best[0]:.3f}, neutral {best[1]:.3f}")


def regression(positive: list[np.ndarray], negative: list[np.ndarray], penalty: float = 0.01):
    """Logistic regression with equal weight for both classes: mean, spread, weights, offset."""
    x = np.concatenate([*positive, *negative])
    target = np.arange(len(x)) < sum(map(len, positive))
    weight = np.where(target, 0.5 / target.mean(), 0.5 / (1 - target.mean())) / len(x)
    mean, spread = x.mean(0), x.std(0)
    z = np.column_stack([(x - mean) / spread, np.ones(len(x))])

    def loss(b: np.ndarray) -> tuple[float, np.ndarray]:
        value = weight @ np.logaddexp(0, np.where(target, -1, 1) * (z @ b))
        slope = z.T @ (weight * (1 / (1 + np.exp(-z @ b)) - target))
        shrunk = np.append(b[:-1], 0)
        return value + penalty / 2 * shrunk @ shrunk, slope + penalty * shrunk

    b = minimize(loss, np.zeros(z.shape[1]), jac=True, method="L-BFGS-B").x
    return mean, spread, b[:-1], b[-1]


def fit_prediction(proteins, shards: Path) -> None:
    def folded(split: str, number: int) -> list[np.ndarray]:
        data = ShardDataset(shards, split, ("backbone", "heavy"))
        chains = (data.rows[int(group[0])]["sequence"] for group in data.clusters())
        return [features(x) for x in chains if 50 <= len(x) <= 400 and "X" not in x][:number]

    def score(found, x: np.ndarray) -> np.ndarray:
        mean, spread, weights, offset = found
        return (x - mean) / spread @ weights + offset

    disordered, train = [features(one.sequence) for one in proteins], folded("train", FOLDED)
    found = regression(disordered, train)
    test = np.concatenate([score(found, x) for x in folded("test", 300)])
    left_out = [
        score(regression(disordered[:i] + disordered[i + 1 :], train), x)
        for i, x in enumerate(disordered)
    ]
    ours = np.concatenate(left_out)
    rank = np.concatenate([ours, test]).argsort().argsort()[: len(ours)]
    area = (rank.sum() - len(ours) * (len(ours) - 1) / 2) / len(ours) / len(test)
    print(f"left out: area under the ROC curve of residues {area:.3f}; score over 1:")
    print(f"  {(ours > 1).mean():.3f} of residues of disordered proteins, "
          f"{np.mean([x.mean() > 1 for x in left_out]):.2f} of these proteins by their mean, "
          f"{(test > 1).mean():.3f} of residues of folded test chains")  # fmt: skip
    print("mean, spread, weights, offset:", *(np.round(x, 3).tolist() for x in found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("proteins", type=Path)
    parser.add_argument("shards", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("-n", type=int, default=64)
    options = parser.parse_args()
    torch.set_num_threads(1)
    proteins = read_proteins(options.proteins)
    fit_prediction(proteins, options.shards)
    if not options.output.exists():
        np.savez(options.output, sizes=sizes(proteins, options.model, options.n))
    with np.load(options.output) as kept:
        fit_compactness(kept["sizes"], np.array([one.rg for one in proteins]))


if __name__ == "__main__":
    main()

"""What noise, rounds and deform do: python tools/measure_templates.py REFERENCES [FRAMES].

For each MD set, samples whose template is the first frame: RMSD (CA) from it, correlation of their
RMSF with that of the MD, their mean RMSF over that of the MD, and the share of valid backbones;
then the means over the sets. ANM has the mean RMSF of the MD, which the sampler is not told.
"""

from __future__ import annotations

import itertools
import logging
import sys

import mdtraj as md
import numpy as np

import openmm_slm
from openmm_slm.benchmarks.references import load_ensemble, read_references
from openmm_slm.benchmarks.samplers_and_baselines import BASELINES
from openmm_slm.comparison.baselines import mean_rmsf
from openmm_slm.protein.superposition import rmsd, superpose
from openmm_slm.protein.trajectory import from_trajectory

SETTINGS = [
    *((noise, 1, 0.1) for noise in (0.02, 0.05, 0.1, 0.3, 0.6, 1.0)),
    *((0.1, 1, deform) for deform in (0.0, 0.05, 0.2)),
    *((noise, 3, 0.1) for noise in (0.1, 0.3)),
    (0.3, 1, 0.0),
]


def profile(ca: np.ndarray) -> np.ndarray:
    """Root mean square fluctuation [L] of CA [F, L, 3] about their mean."""
    centre = ca[0]
    for _ in range(3):
        ca = superpose(ca, centre)[0]
        centre = ca.mean(0)
    return np.sqrt(((ca - centre) ** 2).sum(-1).mean(0))


def figures(ca: np.ndarray, start: np.ndarray, reference: np.ndarray) -> list[float]:
    own = profile(ca)
    return [
        10 * np.median(rmsd(ca, start)),
        np.corrcoef(own, reference)[0, 1],
        own.mean() / reference.mean(),
    ]


def ca_of(trajectory: md.Trajectory) -> np.ndarray:
    return trajectory.xyz[:, [a.index for a in trajectory.topology.atoms if a.name == "CA"]]


def main(references: str, n: int = 100) -> None:
    logging.disable(logging.WARNING)
    generator = openmm_slm.EnsembleGenerator.from_pretrained("default", device="cpu")
    sets = [each for each in read_references(references) if each.is_md]
    rows: dict[str, list[list[float]]] = {}
    for each in sets:
        whole = load_ensemble(each)
        structure = from_trajectory(whole[0])
        reference = profile(ca_of(whole).astype(np.float64))
        start = structure.backbone[0, :, 1]
        for noise, rounds, deform in SETTINGS:
            ensemble = generator.sample(
                structure.chain_sequences, n, template=structure, noise=noise, rounds=rounds,
                deform=deform, seed=0, sidechains=None, progress=False,
            )  # fmt: skip
            found = figures(ca_of(ensemble.trajectory), start, reference)
            name = f"{noise:5g} {rounds:6d} {deform:6g}"
            rows.setdefault(name, []).append([*found, 100 * ensemble.report["valid"].mean()])
        made = BASELINES["ANM"](structure.to_trajectory("backbone"), n, mean_rmsf(whole), 0)
        rows.setdefault(f"{'ANM':>19}", []).append([*figures(ca_of(made), start, reference), 0])
    columns = itertools.chain([each.id for each in sets], ["mean"])
    print(f"{n} frames; RMSD from the template (A), RMSF r, RMSF / that of the MD, valid (%)")
    print("noise rounds deform" + "".join(f"{name:>27}" for name in columns))
    for name, values in rows.items():
        shown = [*values, np.mean(values, 0)]
        print(
            name + "".join(f"   {a:7.2f} {b:5.2f} {c:5.2f} {d:3.0f}" for a, b, c, d in shown),
            flush=True,
        )


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(sys.argv[1], *map(int, sys.argv[2:]))

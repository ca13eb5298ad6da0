"""Figures of docs/ligands.md: samples of the pocket of a globin with haem, CO and a zinc ion.

python tools/measure_kept_groups.py [FRAMES]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from holo import GLOBIN, atom_line, between, write_chain

import openmm_slm


def distances(x: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.linalg.norm(x[one][:, None] - x[other], axis=-1)


def main(n: int) -> None:
    path = Path(tempfile.mkdtemp()) / "globin.pdb"
    write_chain(path, GLOBIN)
    zinc = atom_line(1, "ZN", "ZN", between(path, (45, "ND1"), (41, "OD1"), 0.22), "ZN")
    sequence = write_chain(path, GLOBIN, zinc, numbers=(26, 103))
    generator = openmm_slm.EnsembleGenerator.from_pretrained("default", device="cpu")
    made = generator.sample(sequence, n, template=str(path), seed=1, relax=True, progress=False)
    topology = made.trajectory.topology
    heavy = topology.select("not element H")
    protein = np.intersect1d(heavy, topology.select("protein"))
    ligand = topology.select("resname HEM CMO and not element Fe")
    zinc, iron = topology.select("resname ZN"), topology.select("element Fe")
    nitrogens = topology.select("resname HIS and name NE2")
    site = topology.select("(residue 45 and name ND1) or (residue 41 and name OD1)")
    frames = made.trajectory.xyz
    close = [int((distances(x, ligand, protein) < 0.25).sum()) for x in frames]
    print(f"{n} frames of {len(sequence)} residues, valid: {int(made.report['valid'].sum())}")
    print(f"pairs of ligand and protein under 0.25 nm: {sum(close)}")
    iron = [distances(x, iron, nitrogens).min() for x in frames]
    print(f"iron to the histidine that binds it: {min(iron):.3f} to {max(iron):.3f} nm (0.203)")
    zinc = np.array([distances(x, zinc, site) for x in frames])
    print(f"zinc to ND1 and OD1: {zinc.min():.3f} to {zinc.max():.3f} nm (0.220)")
    (simulation,) = openmm_slm.seed_simulations(
        made, n=1, solvent="implicit", keep="resname ZN", equilibration=0.2, platform="CPU"
    )
    simulation.step(1000)
    energy = simulation.context.getState(getEnergy=True).getPotentialEnergy()
    print(f"energy after 1,000 steps of MD with zinc: {energy}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)

"""Picture of an ensemble folder: superposed CA traces and the Ramachandran plot.

`python tools/plot_ensemble.py FOLDER` reads topology.pdb and samples.xtc and writes ensemble.png.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import mdtraj as md
import numpy as np


def main(folder: str, shown: int = 10) -> None:
    directory = Path(folder)
    traj = md.load(str(directory / "samples.xtc"), top=str(directory / "topology.pdb"))
    ca = traj.atom_slice(traj.topology.select("name CA"))
    # Superpose on the most central frame: RMSDs are what a reader compares.
    distances = np.array([md.rmsd(ca, ca, i) for i in range(ca.n_frames)])
    ca.superpose(ca, int(distances.mean(1).argmin()))
    phi, psi = (np.degrees(f(traj)[1]).ravel() for f in (md.compute_phi, md.compute_psi))

    figure = plt.figure(figsize=(13, 5.5))
    left = figure.add_subplot(1, 2, 1, projection="3d")
    for frame in ca.xyz[:shown]:
        left.plot(*(10 * (frame - ca.xyz.mean((0, 1)))).T, lw=1)
        left.scatter(*(10 * (frame - ca.xyz.mean((0, 1)))).T, c=np.arange(len(frame)), s=6)
    upper = distances[np.triu_indices(len(distances), 1)]
    spread = f"{10 * np.median(upper):.1f}" if len(upper) else "-"
    left.set_title(f"{min(shown, ca.n_frames)} frames, CA; median pair RMSD {spread} Å")
    left.set_box_aspect((1, 1, 1))
    right = figure.add_subplot(1, 2, 2)
    right.scatter(phi, psi, s=3, alpha=0.4)
    right.set(xlim=(-180, 180), ylim=(-180, 180), xlabel="phi / degrees", ylabel="psi / degrees")
    right.set_title(f"Ramachandran, all {traj.n_frames} frames")
    right.set_aspect("equal")
    figure.tight_layout()
    figure.savefig(directory / "ensemble.png", dpi=90)
    print(f"{directory / 'ensemble.png'}: superposed frames and Ramachandran plot")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])

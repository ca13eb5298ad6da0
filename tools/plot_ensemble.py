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

    pairs = 10 * distances[np.triu_indices(len(distances), 1)]
    figures = f"median Rg {10 * np.median(md.compute_rg(ca)):.1f} Å"
    if len(pairs):
        figures += f", median RMSD between frames {np.median(pairs):.1f} Å (CA)"

    figure = plt.figure(figsize=(12, 5.5))
    left = figure.add_subplot(1, 2, 1, projection="3d")
    xyz = 10 * (ca.xyz[:shown] - ca.xyz[:shown].mean((0, 1)))
    for frame in xyz:
        left.plot(*frame.T, lw=0.8, color="0.6")
        left.scatter(*frame.T, c=np.arange(len(frame)), cmap="turbo", s=8)
    reach = np.abs(xyz).max()
    left.set(xlim=(-reach, reach), ylim=(-reach, reach), zlim=(-reach, reach))
    left.set_title(f"{len(xyz)} frames, CA, N terminus blue\n{figures}", fontsize=10)
    left.set_box_aspect((1, 1, 1))
    left.set_axis_off()
    right = figure.add_subplot(1, 2, 2)
    right.scatter(phi, psi, s=3, alpha=0.4)
    right.set(xlim=(-180, 180), ylim=(-180, 180), xlabel="phi / degrees", ylabel="psi / degrees")
    right.set_title(f"Ramachandran, all {traj.n_frames} frames")
    right.set_aspect("equal")
    figure.tight_layout()
    figure.savefig(directory / "ensemble.png", dpi=90)
    print(f"{directory / 'ensemble.png'}: superposed frames and Ramachandran plot; {figures}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])

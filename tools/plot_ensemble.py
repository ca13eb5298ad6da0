"""Picture of an ensemble folder: superposed CA traces and the Ramachandran plot.

`python tools/plot_ensemble.py FOLDER [PNG]` reads topology.pdb and samples.xtc and writes
FOLDER/ensemble.png, or PNG.
"""

from __future__ import annotations

import sys
from pathlib import Path

import mdtraj as md
import numpy as np

from openmm_slm.plots import plot_ensemble, plot_ramachandran
from openmm_slm.plots.drawing import new_figure


def main(folder: str, picture: str | None = None) -> None:
    directory = Path(folder)
    traj = md.load(str(directory / "samples.xtc"), top=str(directory / "topology.pdb"))
    ca = traj.atom_slice(traj.topology.select("name CA"))
    figures = f"median Rg {10 * np.median(md.compute_rg(ca)):.1f} Å"
    if ca.n_frames > 1:
        distances = np.array([md.rmsd(ca, ca, i) for i in range(ca.n_frames)])
        pairs = 10 * distances[np.triu_indices(len(distances), 1)]
        figures += f", median RMSD between frames {np.median(pairs):.1f} Å (CA)"
    figure = new_figure(11, 4.8)
    left, right = figure.subplots(1, 2, width_ratios=(1.3, 1))
    plot_ensemble(traj, left, shown=10)
    left.set_title(f"{min(10, traj.n_frames)} of {traj.n_frames} frames; {figures}", fontsize=9)
    plot_ramachandran(traj, right)
    right.set_title(f"all {traj.n_frames} frames", fontsize=9)
    picture = picture or directory / "ensemble.png"
    figure.savefig(picture, dpi=90)
    print(f"{picture}: superposed frames and Ramachandran plot; {figures}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])

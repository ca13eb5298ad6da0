"""The picture of README and of the first page: python tools/plot_docs.py [docs/ensembles.png].

Villin headpiece, from a frame of MD that comes with OpenMM: 20 conformations of the whole chain, 20
of one stretch, and the fluctuation of each residue in both ensembles.
"""

from __future__ import annotations

import sys
from importlib.resources import files

import mdtraj as md
from matplotlib.figure import Figure

import openmm_slm
from openmm_slm.plots import plot_ensemble, plot_rmsf

STRETCH = range(15, 21)  # rows from 0: the end of the second helix and the turn after it


def main(output: str = "docs/ensembles.png", n: int = 20) -> None:
    native = md.load(str(files("openmm") / "app" / "data" / "test.pdb"))
    native = native.atom_slice(native.topology.select("protein"))
    sequence = native.topology.to_fasta()[0]
    settings = {"n": n, "seed": 1, "relax": True, "template": native}
    first, last = STRETCH[0] + 1, STRETCH[-1] + 1
    ensembles = {
        "Conformations around a structure": {},
        f"Residues {first}-{last} sampled, the rest kept": {"resample": list(STRETCH)},
    }
    figure = Figure((13, 4), layout="constrained")
    *views, right = figure.subplots(1, 3, width_ratios=(1.15, 1.15, 1))
    for axes, (title, sampled) in zip(views, ensembles.items(), strict=True):
        traj = openmm_slm.generate_ensemble(sequence, **settings, **sampled)
        valid = int(openmm_slm.geometry_report(traj)["valid"].sum())
        plot_ensemble(traj, ax=axes, shown=n)
        axes.set_title(f"{title}\n{n} all-atom frames, {valid} valid", fontsize=11)
        plot_rmsf(traj, ax=right)
    whole, stretch = right.get_lines()
    whole.set_label("whole chain")
    stretch.set(label=f"residues {first}-{last} only", color="C1")
    right.set_ylim(0, 1.25 * max(line.get_ydata().max() for line in (whole, stretch)))
    right.legend(frameon=False)
    right.set_title("Fluctuation of each residue", fontsize=11)
    figure.savefig(output, dpi=110)
    print(f"{output}: {sequence}, {n} frames each, relaxed")


if __name__ == "__main__":
    main(*sys.argv[1:])

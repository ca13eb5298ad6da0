"""The picture on the documentation's first page: python tools/plot_docs.py [docs/ensembles.png].

Villin headpiece (from a frame of MD that OpenMM brings along), as this package samples it: from its
structure, with one loop sampled, and from its sequence alone.
"""

from __future__ import annotations

import sys
from importlib.resources import files

import mdtraj as md
from matplotlib.figure import Figure

import openmm_slm
from openmm_slm.plots import plot_ensemble


def main(output: str = "docs/ensembles.png", n: int = 20) -> None:
    native = md.load(str(files("openmm") / "app" / "data" / "test.pdb"))
    native = native.atom_slice(native.topology.select("protein"))
    sequence = native.topology.to_fasta()[0]
    loop = list(range(15, 21))
    made = {
        "From a structure": {"template": native},
        "One loop of it": {"template": native, "resample": loop},
        "From the sequence alone": {},
    }
    figure = Figure((12, 4.2), layout="constrained")
    for number, (title, settings) in enumerate(made.items(), 1):
        traj = openmm_slm.generate_ensemble(sequence, n=n, seed=1, relax=True, **settings)
        valid = int(openmm_slm.geometry_report(traj)["valid"].sum())
        axes = figure.add_subplot(1, 3, number)
        plot_ensemble(traj, ax=axes, shown=n)
        axes.set_title(f"{title}\n{n} frames, {valid} valid", fontsize=11)
    figure.savefig(output, dpi=110)
    print(f"{output}: {sequence}, {n} frames each, relaxed")


if __name__ == "__main__":
    main(*sys.argv[1:])

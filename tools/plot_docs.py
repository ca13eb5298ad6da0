"""The picture of README and of the first page: python tools/plot_docs.py [docs/ensembles.png].

20 conformations of BPTI from its sequence, around known structures of its relatives; 20 of one
stretch of villin, from a frame of MD that comes with OpenMM; and the fluctuation of each residue in
both ensembles.
"""

from __future__ import annotations

import sys
from importlib.resources import files

import mdtraj as md
from matplotlib.figure import Figure

import openmm_slm
from openmm_slm.plots import plot_ensemble, plot_rmsf

STRETCH = range(15, 21)  # rows from 0: the end of the second helix and the turn after it


BPTI = "RPDFCLEPPYTGPCKARIIRYFYNAKAGLCQTFVYGGCRAKRNNFKSAEDCMRTCGGA"


def main(output: str = "docs/ensembles.png", n: int = 20) -> None:
    native = md.load(str(files("openmm") / "app" / "data" / "test.pdb"))
    native = native.atom_slice(native.topology.select("protein"))
    first, last = STRETCH[0] + 1, STRETCH[-1] + 1
    ensembles = {
        "BPTI from its sequence": {"sequence": BPTI},
        f"Residues {first}-{last} of villin sampled, the rest kept": {
            "sequence": native.topology.to_fasta()[0],
            "template": native,
            "resample": list(STRETCH),
        },
    }
    figure = Figure((13, 4), layout="constrained")
    *views, right = figure.subplots(1, 3, width_ratios=(1.15, 1.15, 1))
    for axes, (title, sampled) in zip(views, ensembles.items(), strict=True):
        traj = openmm_slm.generate_ensemble(**sampled, n=n, seed=1, relax=True)
        valid = int(openmm_slm.geometry_report(traj)["valid"].sum())
        plot_ensemble(traj, ax=axes, shown=n)
        axes.set_title(f"{title}\n{n} all-atom frames, {valid} valid", fontsize=11)
        plot_rmsf(traj, ax=right)
    whole, stretch = right.get_lines()
    whole.set_label("BPTI")
    stretch.set(label="villin", color="C1")
    right.set_ylim(0, 1.25 * max(line.get_ydata().max() for line in (whole, stretch)))
    right.set_xlim(1, len(BPTI))
    right.set_xticks([1, *range(10, len(BPTI), 10)])
    right.legend(frameon=False)
    right.set_title("Fluctuation of each residue", fontsize=11)
    figure.savefig(output, dpi=110)
    print(f"{output}: {n} frames each, relaxed")


if __name__ == "__main__":
    main(*sys.argv[1:])

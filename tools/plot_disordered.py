"""The picture of docs/disordered.md: python tools/plot_disordered.py [docs/disordered.png] [n].

A model as AlphaFold writes them, made by the package: ubiquitin, a linker of 20 residues, ubiquitin
and a tail, with low pLDDT in linker and tail. `openmm-slm sample` with this file as template gives
the ensemble that is drawn, and the distance of the two domains in it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import mdtraj as md
import numpy as np
from matplotlib.figure import Figure

import openmm_slm
from openmm_slm.plots import plot_ensemble
from openmm_slm.protein.structure import from_backbone

DOMAIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
LINKER, TAIL = "SGSETPGTSESATPESGSPG", "GSEPATSGSETPGTSESATPESGPGTSTEP"
SEQUENCE = DOMAIN + LINKER + DOMAIN + TAIL


def write_model(path: Path) -> None:
    """Write the model: domains with pLDDT 90, linker and tail with 30."""
    fold = openmm_slm.generate_ensemble(DOMAIN, n=1, seed=1, sidechains=None, progress=False)
    size, domain = len(DOMAIN), fold.xyz[0].reshape(-1, 4, 3)
    backbone = np.full((1, len(SEQUENCE), 4, 3), np.nan, np.float32)
    first, second = slice(0, size), slice(size + len(LINKER), 2 * size + len(LINKER))
    backbone[0, first], backbone[0, second] = domain, domain + 5.0
    known = np.zeros(len(SEQUENCE), bool)
    known[first] = known[second] = True
    model = openmm_slm.generate_ensemble(
        SEQUENCE, n=1, template=from_backbone(backbone, SEQUENCE), seed=1, hydrogens=False,
        disordered=np.flatnonzero(~known).tolist(), progress=False,
    )  # fmt: skip
    sure = [90.0 if known[atom.residue.index] else 30.0 for atom in model.topology.atoms]
    model.save_pdb(str(path), bfactors=sure)
    title = "TITLE     ALPHAFOLD MONOMER V2.0 PREDICTION FOR TWO UBIQUITINS\n"
    path.write_text(title + path.read_text())


def main(output: str = "docs/disordered.png", n: str = "50") -> None:
    with tempfile.TemporaryDirectory() as folder:
        template, made = Path(folder) / "model.pdb", Path(folder) / "ensemble"
        write_model(template)
        subprocess.run(
            ["openmm-slm", "sample", SEQUENCE, "--template", template, "-n", n, "--seed", "1",
             "-o", made], check=True,
        )  # fmt: skip
        traj = md.load(made / "samples.xtc", top=made / "topology.pdb")
        valid = int(openmm_slm.geometry_report(traj)["valid"].sum())
    ca = traj.xyz[:, traj.topology.select("name CA")]
    size = len(DOMAIN)
    centres = ca[:, :size].mean(1), ca[:, size + len(LINKER) : 2 * size + len(LINKER)].mean(1)
    apart = np.linalg.norm(centres[0] - centres[1], axis=-1)
    figure = Figure((11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.4, 1))
    plot_ensemble(traj, ax=left, shown=20)
    left.set_title(f"{n} all-atom frames, {valid} valid before relaxation; 20 shown", fontsize=11)
    right.hist(apart, bins=15, color="C0")
    right.set_xlabel("distance of the domains' centres, nm")
    right.set_ylabel("frames")
    right.set_title(f"{apart.mean():.1f} nm, SD {apart.std():.1f} nm", fontsize=11)
    figure.savefig(output, dpi=110)
    print(
        f"{output}: {valid} of {n} frames valid; domains {apart.mean():.2f} nm apart, SD", end=" "
    )
    print(f"{apart.std():.2f} nm")


if __name__ == "__main__":
    main(*sys.argv[1:])

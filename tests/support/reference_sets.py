"""A small references directory, and two conformers of a helix."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from builders import ideal_backbone

from openmm_slm.comparison.baselines import elastic_network, jitter
from openmm_slm.protein.trajectory import backbone_trajectory

SEQUENCE = "ACDEFGHIKLMNPQRSTVWY"


def bent(angle: float) -> np.ndarray:
    """A helix of 20 residues with another psi in the middle: two conformers of one protein."""
    psi = np.full(20, -45.0)
    psi[9] += angle
    return ideal_backbone(np.radians(np.full(20, -60.0)), np.radians(psi), np.full(20, np.pi))


def write_references(folder: Path) -> Path:
    """Three pairs (one lacks residues), MD in two pieces, an NMR ensemble of CA atoms."""
    folder.mkdir()
    rows = []
    for name, angle in (("a", 40.0), ("b", 80.0), ("c", 120.0)):
        for suffix, backbone in (("1", bent(0)), ("2", bent(angle))):
            part = slice(0, 17) if name + suffix == "c2" else slice(None)
            backbone_trajectory(backbone[None, part], SEQUENCE[part]).save_pdb(
                str(folder / f"{name}{suffix}.pdb")
            )
        rows.append([name, "pair", SEQUENCE, f"{name}1.pdb;{name}2.pdb"])
    md = elastic_network(backbone_trajectory(bent(0)[None], SEQUENCE), 60, 0.05)
    md.save_xtc(str(folder / "md.xtc"))
    md[0].save_pdb(str(folder / "md.pdb"))
    (folder / "trajectory_lengths.txt").write_text("40\n20\n")
    rows.append(["md", "MD, backbone", SEQUENCE, "md.xtc;md.pdb"])
    (folder / "nmr").mkdir()
    nmr = jitter(md[0].atom_slice(md.topology.select("name CA")), 8, 0.1)
    nmr.save_pdb(str(folder / "nmr" / "nmr.pdb"))
    rows.append(["nmr", "NMR ensemble", "", "nmr/nmr.pdb"])
    with open(folder / "targets.csv", "w", newline="") as handle:
        csv.writer(handle).writerows([["id", "kind", "sequence", "reference_files"], *rows])
    return folder


def quick_sampler(generator, sequence, start, n, seed):
    """Samples that cost nothing, where what is tested is what is done with them."""
    return jitter(start, n, 0.2, seed=seed + 7)

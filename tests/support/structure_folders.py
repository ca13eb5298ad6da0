"""Folders of structure files with random chains, and what is in an output folder."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import gemmi
import numpy as np
from builders import ideal_backbone

from openmm_slm.protein.sequence import AMINO_ACIDS
from openmm_slm.protein.trajectory import backbone_trajectory


def sequence(seed: int, length: int = 30) -> str:
    return "".join(np.random.default_rng(seed).choice(list(AMINO_ACIDS), length))


def backbone(seed: int, length: int) -> np.ndarray:
    """float32 [L, 4, 3]; places within a few nm, so that PDB columns hold them."""
    torsions = np.random.default_rng(seed).uniform(-1.5, -0.5, (2, length))
    return ideal_backbone(*torsions, np.full(length, np.pi))


def write(path: Path, text: str | None = None, seed: int = 0) -> np.ndarray:
    """A PDB or mmCIF file (.gz too) of `text` (``:`` between chains); its backbone."""
    text = sequence(seed) if text is None else text
    chains = text.split(":")
    x = np.concatenate([backbone(seed + i, len(c)) + 5 * i for i, c in enumerate(chains)])
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = path.with_name("plain.tmp.pdb")
    backbone_trajectory(x[None], text).save_pdb(str(plain))
    content = plain.read_bytes()
    if ".cif" in path.name:
        structure = gemmi.read_structure(str(plain))
        structure.setup_entities()
        content = structure.make_mmcif_document().as_string().encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    plain.unlink()
    return x


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def report(folder: Path) -> dict[str, dict[str, str]]:
    with open(folder / "report.csv", newline="") as handle:
        return {row["id"]: row for row in csv.DictReader(handle)}

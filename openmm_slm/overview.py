"""What a page shows of an ensemble on disk, from its frames a chunk at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .comparison.features import radius_of_gyration
from .comparison.fluctuations import mean_structure
from .comparison.rotation import superposed
from .drawing import TORSION_BINS, Rows, torsion_counts
from .errors import require
from .plots.contact_maps import contact_counts
from .plots.planes import phi_psi
from .plots.residues import ca_rows
from .plots.superposition import evenly_spaced
from .structure import load_structure

if TYPE_CHECKING:
    import mdtraj

_FOR_MEAN = 500  # frames of which the mean structure is taken
_CHUNK = 1_000_000  # atoms in memory at once


@dataclass(frozen=True, eq=False)
class Overview:
    """Sums over the F finite frames of an ensemble of L residues.

    Attributes
    ----------
    rows : Rows
    frame : ndarray, int [F]
        Numbers of the frames in ``report.csv``.
    rg : ndarray [F]
        Radius of gyration of CA (nm).
    rmsf : ndarray [L]
        Of CA (nm), superposed on the mean structure of at most 500 evenly spaced frames.
    contacts : ndarray [L, L]
        Share of frames in which CA are within 0.8 nm.
    torsions : ndarray [B, B]
        Numbers of (phi, psi).
    few : ndarray [K, L, 3]
        CA (nm) of those at most 500 frames.
    few_frames : ndarray, int [K]
        Their numbers.
    """

    rows: Rows
    frame: np.ndarray
    rg: np.ndarray
    rmsf: np.ndarray
    contacts: np.ndarray
    torsions: np.ndarray
    few: np.ndarray
    few_frames: np.ndarray


def overview(directory: Path, frames: int) -> Overview | None:
    """Read ``topology.pdb`` and ``samples.xtc`` of so many frames; None if none is finite."""
    topology = require("mdtraj").load_topology(str(directory / "topology.pdb"))
    backbone = topology.select("protein and name N CA C O")
    rows, ca_atoms = ca_rows(topology.subset(backbone))
    wanted = set(evenly_spaced(frames, _FOR_MEAN).tolist())
    number, rg, few, few_frames = [], [], [], []
    contacts = np.zeros((len(rows),) * 2, np.int64)
    torsions = np.zeros((TORSION_BINS,) * 2)
    for first, chunk in _chunks(directory, topology, backbone):
        own = np.rint(chunk.time).astype(int)
        finite = np.isfinite(chunk.xyz).all((1, 2))
        ca = chunk.xyz[:, ca_atoms]
        kept = [k for k in range(len(ca)) if finite[k] and first + k in wanted]
        few.append(ca[kept])
        few_frames.append(own[kept])
        if finite.any():
            ca = ca[finite]
            number.append(own[finite])
            rg.append(radius_of_gyration(ca))
            contacts += contact_counts(ca)
            if len(rows) > 1:
                torsions += torsion_counts(*phi_psi(load_structure(chunk[finite])))
    if not sum(map(len, few)):
        return None
    few = np.concatenate(few)
    mean = mean_structure(few, np.ones(len(few)))
    if frames > _FOR_MEAN:
        chunks = (chunk.xyz[:, ca_atoms] for _, chunk in _chunks(directory, topology, backbone))
    else:
        chunks = iter([few])
    number = np.concatenate(number)
    return Overview(
        rows,
        number,
        np.concatenate(rg),
        _rmsf(chunks, mean),
        contacts / len(number),
        torsions,
        few,
        np.concatenate(few_frames),
    )


def _chunks(
    directory: Path, topology: mdtraj.Topology, atoms: np.ndarray
) -> Iterator[tuple[int, mdtraj.Trajectory]]:
    """Number of the first frame in the file, and the frames."""
    path, size = str(directory / "samples.xtc"), max(1, _CHUNK // topology.n_atoms)
    first = 0
    for chunk in require("mdtraj").iterload(path, top=topology, chunk=size, atom_indices=atoms):
        yield first, chunk
        first += chunk.n_frames


def _rmsf(chunks: Iterator[np.ndarray], mean: np.ndarray) -> np.ndarray:
    """sqrt(<|x - <x>|^2>) [L] of CA [F, L, 3] superposed on `mean`, finite frames alone."""
    count, first, second = 0, np.zeros_like(mean), np.zeros(len(mean))
    for ca in chunks:
        moved = superposed(ca[np.isfinite(ca).all((1, 2))], mean) - mean
        count += len(moved)
        first += moved.sum(0)
        second += (moved**2).sum((0, 2))
    return np.sqrt(np.maximum(second / count - ((first / count) ** 2).sum(1), 0))

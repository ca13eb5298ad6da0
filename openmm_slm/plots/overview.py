"""Statistics of an ensemble on disk for its report page, read in chunks of frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..analysis.features import radius_of_gyration
from ..analysis.fluctuations import mean_structure
from ..errors import require
from ..files.frame_reader import read_topology
from ..protein.loading import load_structure
from ..protein.superposition import superposed
from .contact_maps import contact_counts
from .drawing import TORSION_BINS, Rows, torsion_counts
from .planes import phi_psi
from .residues import ca_rows
from .superposition import evenly_spaced

if TYPE_CHECKING:
    import mdtraj

_FOR_MEAN = 500  # most frames in the mean structure
_CHUNK = 1_000_000  # atoms per chunk, over all its frames


@dataclass(frozen=True, eq=False)
class Overview:
    """Statistics of the F finite frames of an ensemble of L residues.

    Attributes
    ----------
    rows : Rows
    frame : ndarray, int [F]
        Numbers of the frames in ``report.csv``.
    rg : ndarray [F]
        Radius of gyration of CA (nm).
    rmsf : ndarray [L]
        RMSF of CA (nm), superposed on the mean structure of `few`.
    contacts : ndarray [L, L]
        Share of frames in which CA are within 0.8 nm.
    torsions : ndarray [B, B]
        Counts of (phi, psi).
    few : ndarray [K, L, 3]
        CA (nm) of at most 500 evenly spaced frames.
    few_frames : ndarray, int [K]
        Numbers of these frames.
    """

    rows: Rows
    frame: np.ndarray
    rg: np.ndarray
    rmsf: np.ndarray
    contacts: np.ndarray
    torsions: np.ndarray
    few: np.ndarray
    few_frames: np.ndarray


def overview(directory: Path, frames: np.ndarray) -> Overview | None:
    """Compute the statistics of ``samples.xtc``; None if `frames` is empty.

    `frames` [F] are the numbers of the finite frames in the file, since XTC cannot store NaN.
    """
    topology = read_topology(directory / "topology.pdb")
    backbone = topology.select("protein and name N CA C O")
    rows, ca_atoms = ca_rows(topology.subset(backbone))
    wanted = frames[evenly_spaced(len(frames), _FOR_MEAN)]
    rg, few = [], []
    contacts = np.zeros((len(rows),) * 2, np.int64)
    torsions = np.zeros((TORSION_BINS,) * 2)
    for chunk in _chunks(directory, topology, backbone, frames):
        ca = chunk.xyz[:, ca_atoms]
        few.append(ca[np.isin(chunk.time, wanted)])
        rg.append(radius_of_gyration(ca))
        contacts += contact_counts(ca)
        if len(rows) > 1:
            torsions += torsion_counts(*phi_psi(load_structure(chunk)))
    if not rg:
        return None
    few = np.concatenate(few)
    mean = mean_structure(few, np.ones(len(few)))
    if len(frames) > _FOR_MEAN:
        chunks = _chunks(directory, topology, backbone, frames)
        rmsf = _rmsf((chunk.xyz[:, ca_atoms] for chunk in chunks), mean)
    else:
        rmsf = _rmsf(iter([few]), mean)
    rg = np.concatenate(rg)
    return Overview(rows, frames, rg, rmsf, contacts / len(rg), torsions, few, wanted)


def _chunks(
    directory: Path, topology: mdtraj.Topology, atoms: np.ndarray, frames: np.ndarray
) -> Iterator[mdtraj.Trajectory]:
    """Yield the frames with these numbers; the file stores the number as the time."""
    path, size = str(directory / "samples.xtc"), max(1, _CHUNK // topology.n_atoms)
    for chunk in require("mdtraj").iterload(path, top=topology, chunk=size, atom_indices=atoms):
        kept = np.isin(np.rint(chunk.time), frames)
        if kept.any():
            yield chunk[kept]


def _rmsf(chunks: Iterator[np.ndarray], mean: np.ndarray) -> np.ndarray:
    """RMSF sqrt(<|x - <x>|^2>) [L] of chunks of CA [F, L, 3], superposed on `mean`."""
    count, first, second = 0, np.zeros_like(mean), np.zeros(len(mean))
    for ca in chunks:
        moved = superposed(ca, mean) - mean
        count += len(moved)
        first += moved.sum(0)
        second += (moved**2).sum((0, 2))
    return np.sqrt(np.maximum(second / count - ((first / count) ** 2).sum(1), 0))

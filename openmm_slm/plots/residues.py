"""CA positions and residue labels for plots."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

import numpy as np

from ..analysis.matching import match
from ..errors import StructureError, counted
from ..protein.chains import divided, protein_chains
from ..protein.structure import chain_names
from .drawing import Rows

if TYPE_CHECKING:
    import mdtraj

logger = logging.getLogger(__name__)


def frames_of(source: object) -> mdtraj.Trajectory:
    """Trajectory of `source` (an Ensemble or a Trajectory), without frames that are not finite.

    Raises
    ------
    StructureError
        `source` is of another type or has no finite frame.
    """
    traj = getattr(source, "trajectory", source)
    if not (hasattr(traj, "topology") and hasattr(traj, "xyz")):
        raise StructureError(
            f"{type(source).__name__} is not an ensemble; give an Ensemble or an mdtraj.Trajectory"
        )
    finite = np.isfinite(traj.xyz).all((1, 2))
    if not finite.any():
        raise StructureError(f"{traj}: no frame with finite coordinates, nothing to plot")
    if not finite.all():
        logger.warning("left out: %s with coordinates that are not finite",
                       counted((~finite).sum(), "frame"))  # fmt: skip
        traj = traj[finite]
    return divided(traj)


def ca_rows(topology: mdtraj.Topology) -> tuple[Rows, np.ndarray]:
    """Protein residues with CA, and the indices [L] of their CA atoms.

    Raises
    ------
    StructureError
        No protein residue has CA.
    """
    labels, atoms, chain, names = [], [], [], []
    for name, residues in protein_chains(topology):
        found = [(r, a.index) for r in residues for a in r.atoms if a.name == "CA"]
        if found:
            labels += [str(residue.resSeq) for residue, _ in found]
            atoms += [index for _, index in found]
            chain += [len(names)] * len(found)
            names.append(name.strip())
    if not atoms:
        raise StructureError(f"{topology}: no protein residue with CA, nothing to plot")
    return Rows(labels, np.array(chain), chain_names(names)), np.array(atoms)


def ca_of(traj: mdtraj.Trajectory) -> tuple[Rows, np.ndarray]:
    """Protein residues and their CA [F, L, 3] (nm)."""
    rows, atoms = ca_rows(traj.topology)
    return rows, traj.xyz[:, atoms]


def matched_ca(samples: object, reference: object) -> tuple[Rows, np.ndarray, np.ndarray]:
    """Residues shared by both ensembles, and their CA [N, L, 3] and [M, L, 3] (nm)."""
    samples, reference = frames_of(samples), frames_of(reference)
    found = match(samples, reference)
    labels = [re.search(r"-?\d+$", label).group() for label in found.labels]
    names = ca_rows(samples.topology)[0].names
    if len(names) <= found.chain.max():
        names = ()
    return Rows(labels, found.chain, names), found.samples, found.reference

"""`flexibility` tells how a known structure moves, without sampling."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from ..allatom.completer import with_oxygens
from ..errors import StructureError, counted
from ..files.frame_reader import StructureReader
from ..models.registry import load_backmapper, load_springs
from ..motions.result import Flexibility, bfactors_of
from ..motions.springs import Springs, check_connected
from ..networks.forks import one_thread_if_forked
from ..protein.ca_trace import lone_ca
from ..protein.structure import ProteinStructure
from ..protein.unmodelled import check_units, residue_label

if TYPE_CHECKING:
    import mdtraj


def flexibility(
    structure: mdtraj.Trajectory | ProteinStructure | str | os.PathLike,
    *,
    frame: int = 0,
    top: str | os.PathLike | mdtraj.Topology | None = None,
    model: str | os.PathLike = "default",
    device: str = "auto",
) -> Flexibility:
    """Thermal motion of a structure at 300 K: RMSF, covariance and modes of CA.

    The covariance is that of an elastic network whose springs a trained network chooses. It takes
    less than a second for a few hundred residues.

    Parameters
    ----------
    structure : mdtraj.Trajectory, ProteinStructure, or path
        A path is a PDB or mmCIF file, or a trajectory file with `top`. CA alone are enough: then N,
        C and O are built. All chains move together as one complex. Waters, ions and ligands are
        left out.
    frame : int
        Number of the frame, from 0.
    top : path or mdtraj.Topology, optional
        Topology for trajectory files without one, such as XTC and DCD.
    model : str or path
        Model whose networks are used.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ...

    Returns
    -------
    Flexibility
        ``rmsf`` [L] and ``covariance`` [L, 3, L, 3] in nm and nm^2; ``modes()``, ``correlation()``,
        ``bfactors``, ``save(folder)``.

    Raises
    ------
    ValueError
        Fewer than 4 residues have CA, parts of the structure touch nowhere, the units are not
        nm, or there is no such frame.

    Examples
    --------
    >>> import openmm_slm
    >>> traj = openmm_slm.generate_ensemble("GYDPETGTWG", n=1, seed=1, progress=False)
    >>> openmm_slm.flexibility(traj).rmsf.shape
    (10,)
    """
    one_thread_if_forked()
    reader = StructureReader(structure, top)
    if not 0 <= frame < reader.n_frames:
        raise StructureError(
            f"frame is {frame}; the structure has {counted(reader.n_frames, 'frame')}, counted "
            "from 0"
        )
    chosen = next(reader.blocks(frame, 1)).frames(slice(0, 1))
    return motions_of(chosen, load_springs(model, device), model, device)


def motions_of(
    structure: ProteinStructure,
    springs: Springs,
    model: str | os.PathLike = "default",
    device: str = "auto",
) -> Flexibility:
    """`flexibility` of the only frame of a structure, with loaded springs."""
    check_units(structure)
    known = np.isfinite(structure.atom14[0, :, 1]).all(-1)
    names = [residue_label(structure, row) for row in np.flatnonzero(known)]
    check_connected(structure.atom14[0, known, 1].astype(np.float64), names)
    whole = structure
    if lone_ca(structure).any():
        whole = load_backmapper(model, device).complete(structure)
    backbone = with_oxygens(whole).backbone[0, known].copy()
    # Springs join the CA that were given; building backbones moves CA a little.
    backbone += (structure.atom14[0, known, 1] - backbone[:, 1])[:, None]
    sequence = "".join(np.array(list(structure.sequence))[known])
    index = whole.residue_index[known]
    stiffness, covariance, square = springs.motions(backbone, sequence, index)
    size = structure.n_residues
    rmsf, crystal = np.full((2, size), np.nan)
    rmsf[known] = np.sqrt(np.einsum("iaia->i", covariance))
    crystal[known] = square
    wide = np.full((size, 3, size, 3), np.nan)
    wide[np.ix_(known, range(3), known, range(3))] = covariance
    joined = np.zeros((2, size, size))
    joined[np.ix_((True, True), known, known)] = stiffness
    return Flexibility(structure, rmsf, wide, joined, bfactors_of(crystal))

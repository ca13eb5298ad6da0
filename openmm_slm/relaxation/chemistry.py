"""Chemistry of input frames that force fields do not check: cyclic chains, D residues, protonation.

What a force field is given it keeps: caps, and the hydrogens that make up the protonation. Only
chirality is restrained (`openmm_slm.relaxation.system`), so D amino acids have to be known.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from ..protein.trajectory import structure_of
from ..protein.unmodelled import (
    check_units,
    d_residues,
    refuse_cyclic,
    residue_label,
    warn_of_d_residues,
)
from ..protein.variants import usual_variants

if TYPE_CHECKING:
    import mdtraj

logger = logging.getLogger(__name__)

_PH = 7.0


def chemistry(trajectory: mdtraj.Trajectory, advice: str | None = "") -> list[int]:
    """Rows of D amino acids of the frames; a residue is one if its name says so, or every frame.

    A warning names them and a message names residues with another protonation than that of pH 7.
    Frames that are not finite are ignored.

    Parameters
    ----------
    trajectory : mdtraj.Trajectory
    advice : str, optional
        End of the warning. None: no warning.

    Raises
    ------
    StructureError
        A chain is cyclic (the message has the distance of its ends), or the units are not nm.
    """
    finite = np.isfinite(trajectory.xyz).all((1, 2))
    if not finite.any():
        return []
    structure = structure_of(trajectory if finite.all() else trajectory[finite])
    check_units(structure)
    refuse_cyclic(structure)
    unusual = [
        f"{residue_label(structure, row)} is {variant}"
        for row, variant in enumerate(structure.variants)
        if variant and variant not in usual_variants(structure.sequence[row], _PH)
    ]
    if unusual:
        logger.info("protonation of the input is kept: %s", ", ".join(unusual))
    if advice is None:
        return d_residues(structure)
    return warn_of_d_residues(structure, f"of the input stay D{advice}")

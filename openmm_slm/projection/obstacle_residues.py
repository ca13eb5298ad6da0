"""Obstacles as residues that do not move, so that residues are pushed away from them.

Ten obstacles at a time are the side chain of a residue X behind the protein. Its backbone serves as
a frame of reference; it has no sites.
"""

from __future__ import annotations

import numpy as np

from ..protein.geometry import CA_C, N_CA, N_CA_C_ANGLE
from ..protein.keep_selection import is_metal
from ..protein.obstacles import Obstacles
from ..protein.protein import Protein
from ..validity.criteria import CONTACT_RADII, METAL_CLASH

_FIRST, _EACH = 4, 10  # the slots of atom14 beyond the backbone
_LARGE = 0.16  # nm; contact radius of elements other than C, N, O and S
_FRAME = np.array([
    (N_CA, 0, 0), (0, 0, 0),
    (CA_C * np.cos(N_CA_C_ANGLE), CA_C * np.sin(N_CA_C_ANGLE), 0),
    (CA_C * np.cos(N_CA_C_ANGLE), CA_C * np.sin(N_CA_C_ANGLE) + 0.123, 0),
])  # fmt: skip


def with_obstacles(
    atom14: np.ndarray, protein: Protein, weight: np.ndarray, obstacles: Obstacles
) -> tuple[np.ndarray, Protein, np.ndarray, np.ndarray]:
    """Frames, protein and weights with G residues for K obstacles behind those of the protein.

    Also returns the elements in these residues, str [G, 14]. Obstacles that are bonded to the
    protein are left out.
    """
    bound = set(obstacles.bonded[:, 0].tolist())
    chosen = [k for k in range(len(obstacles.elements)) if k not in bound]
    count = -(-len(chosen) // _EACH)
    elements = np.full((count, 14), "", "<U2")
    extra = np.full((len(atom14), count, 14, 3), np.nan, np.float32)
    for number in range(count):
        part = chosen[number * _EACH : (number + 1) * _EACH]
        here = slice(_FIRST, _FIRST + len(part))
        elements[number, here] = [obstacles.elements[k] for k in part]
        extra[:, number, here] = obstacles.xyz[:, part]
        extra[:, number, :_FIRST] = _FRAME + obstacles.xyz[:, part].mean(1)[:, None]
    longer = Protein(
        protein.sequence + "X" * count,
        np.append(protein.chain_break, np.ones(count, bool)),
        disulfides=protein.disulfides,
        cis_allowed=np.append(protein.cis_allowed, np.zeros(count, bool)),
        d_residues=np.append(protein.d_residues, np.zeros(count, bool)),
    )
    whole = np.concatenate([atom14, extra], 1)
    return whole, longer, np.append(weight, np.zeros(count)), elements


def obstacle_radii(elements: np.ndarray) -> np.ndarray:
    """Contact radii [G, 14] (nm) of elements; NaN where there is none.

    Metals have one at which N, O and S may bind them.
    """
    bound = METAL_CLASH + 0.04 - CONTACT_RADII["N"]
    return np.array([
        [np.nan if not symbol else bound if is_metal(symbol) else CONTACT_RADII.get(symbol, _LARGE)
         for symbol in row] for row in elements
    ], np.float32).reshape(elements.shape)  # fmt: skip

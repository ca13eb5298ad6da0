"""Place the domains of a chain, and chains, whose arrangement is unknown (NumPy, nm).

Each part has its own fold. The parts follow each other along the chain. Their orientations are
random and differ from frame to frame; of 100 arrangements, the first without overlap is taken, or
else the one with most room.
"""

from __future__ import annotations

import numpy as np

from ..errors import require

STEP = 0.38  # nm, CA to CA along a chain
SPACE = 1.0  # nm between chains
NEAREST = 0.6  # nm between CA of two parts
JOINT = 2  # residues sampled anew on each side of a joint of two parts
TRIES = 100


def joined(parts: list[np.ndarray], chain: np.ndarray, frame: int) -> np.ndarray:
    """Combine parts of a protein into one frame.

    Parameters
    ----------
    parts : list of ndarray [L, 14, 3]
        In the order of the sequence; NaN outside of the part.
    chain : ndarray, int [L]
        Chain of each residue.
    frame : int
        Number of the frame; determines the orientations.

    Returns
    -------
    ndarray, float32 [L, 14, 3]
        The first part stays where it is. NaN where no part has the residue, and beside a joint.
    """
    rng = np.random.default_rng([frame, len(parts)])
    made = parts[0].copy()
    for part in parts[1:]:
        before = np.flatnonzero(np.isfinite(made[:, 1, 0]))
        mine = np.flatnonzero(np.isfinite(part[:, 1, 0]))
        mine = mine[mine > before[-1]]
        if not len(mine):
            continue
        linked = chain[before[-1]] == chain[mine[0]]
        if linked and mine[0] - before[-1] <= 2 * JOINT and len(mine) > JOINT:
            made[before[-JOINT:]] = np.nan
            before, mine = before[:-JOINT], mine[JOINT:]
        if not len(before):
            made[mine] = part[mine]
            continue
        made[mine] = beside(rng, made[before], part[mine], mine[0] - before[-1], linked)
    return made


def beside(
    rng: np.random.Generator, there: np.ndarray, part: np.ndarray, steps: int, linked: bool
) -> np.ndarray:
    """A part [M, 14, 3] beside others [N, 14, 3], as far as `steps` residues of a linker reach."""
    rotations = require("scipy.spatial.transform").Rotation
    others, ca = there[:, 1], part[:, 1]
    centre = others.mean(0)
    best, room = part, -1.0
    for _ in range(TRIES):
        turned = (part - ca.mean(0)) @ rotations.random(None, rng).as_matrix().T
        away = rng.normal(size=3)
        away /= np.linalg.norm(away)
        if linked:
            # A linker is a random coil: its root mean square length rises with a power of 0.6.
            length = min(STEP * steps, STEP * steps**0.6 * np.sqrt(rng.chisquare(3) / 3) + 0.1)
            shift = others[-1] + away * length - turned[0, 1]
        else:
            radii = [np.linalg.norm(x - x.mean(0), axis=-1).max() for x in (others, ca)]
            shift = centre + away * (sum(radii) + SPACE)
        moved = turned + shift
        distance = np.linalg.norm(moved[:, None, 1] - others, axis=-1)
        if linked:
            distance[0, -1] = np.inf
        if distance.min() > room:
            best, room = moved, distance.min()
        if room >= NEAREST:
            break
    return best.astype(np.float32)

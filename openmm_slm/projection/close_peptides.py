"""Close the peptide bonds of decoded backbones: the nearest chain with ideal geometry (NumPy).

A decoder places residues as rigid bodies, so that C-N distances are off by tenths of an Å, and some
residues lie on each other. Distances fix a planar peptide: C-N, the two across its angles (CA-N,
C-CA) and CA-CA for omega; three more fix each residue. They are satisfied by position-based
dynamics (Müller et al., 2007): every constraint in turn moves its two atoms along their line by
just what is missing, in proportion to their weights; atoms that lie on each other push their
residues apart in the same way (`overlaps`). All frames and every second peptide are done at once.
"""

from __future__ import annotations

import numpy as np

from ..protein.geometry import backbone_torsions, place_oxygen
from ..protein.protein import Protein
from ..protein.superposition import superpose
from .backbone_sites import Overlaps
from .constraints import Peptides, largest_error, pull
from .separate_segments import untangle
from .verlet_list import NearPairs

_TOGETHER = 10  # sweeps between two searches for overlaps
_TRACES = 0.5  # strength of pushes of CA alone: just what is missing
_BETWEEN = 3  # sweeps between two steps of untangling
_LAST = 30  # sweeps without pushes but those of CA, to leave the peptides closed
_TWISTED = np.sin(np.radians(28))  # of omega; 30 degrees are not valid


def close_peptide_bonds(
    backbone: np.ndarray,
    protein: Protein,
    weight: np.ndarray | None = None,
    *,
    separation: float = 0.34,
    atoms: bool = True,
    overlaps: Overlaps | None = None,
    tolerance: float = 1e-3,
    sweeps: int = 600,
) -> tuple[np.ndarray, np.ndarray]:
    """Move atoms as little as it takes to join the residues of each chain and to part clashes.

    Parameters
    ----------
    backbone : ndarray, float32 [F, L, 4, 3]
        N, CA, C, O; nm.
    protein : Protein
        A peptide that is cis stays so before proline, and becomes trans elsewhere.
    weight : ndarray [L], optional
        How readily a residue moves; 0 keeps it where it is. Default 1.
    separation : float
        CA atoms two or more residues apart are pushed to this distance (nm) where they are closer;
        0 leaves them, and all other atoms. Under 0.3 a frame is not valid; in native chains they
        rarely come under 0.38, but the further they are pushed, the more phi and psi suffer.
    atoms : bool
        Where N, CA, C, O or CB of a frame are under 0.25 nm from those of another residue, part
        them, and make room for side chains (see `overlaps`); False parts CA only. Frames for which
        peptides would stay open, since segments of them lie on one another, are tried again with
        these drawn apart (see `untangling`); if that fails, they are done as with False.
    overlaps : Overlaps, optional
        What is parted instead, where `atoms`: side chains that are known (see `crowding`).
    tolerance : float
        Largest error of a distance (nm) at which a frame is done.
    sweeps : int
        At most so many; frames with non-finite coordinates are returned as they are.

    Returns
    -------
    closed : ndarray, float32 [F, L, 4, 3]
        O follows: in the new peptide plane, or with its residue where none comes after it.
    moved : ndarray, float32 [F, L]
        Largest displacement of N, CA or C of each residue (nm).
    """
    backbone = np.asarray(backbone, np.float32)
    frames, length = backbone.shape[:2]
    sequence, chain_break = protein.sequence, protein.chain_break
    weight = np.ones(length) if weight is None else np.asarray(weight, np.float64)
    cis = np.zeros((frames, length), bool)
    with np.errstate(invalid="ignore"):
        cis[:] = np.abs(backbone_torsions(backbone, chain_break)[2]) < np.pi / 2
    cis &= np.array([letter == "P" for letter in sequence])
    peptides = Peptides(chain_break, weight, cis)
    movable = weight > 0
    joined = np.flatnonzero(~chain_break[1:] & (movable[1:] | movable[:-1])) + 1

    x = backbone[:, :, :3].copy()
    everything = overlaps or Overlaps(sequence, chain_break, weight, separation)
    traces = Overlaps(sequence, chain_break, weight, separation, traces=True)

    def relax(active: np.ndarray, overlaps: Overlaps) -> np.ndarray:
        """Move the `active` frames of `x`; returns those that are not done."""
        part = peptides.laid_out(x[active])
        near = NearPairs(overlaps, active, peptides.row)
        contacts = near.contacts(part)
        strength = _TRACES
        for sweep in range(0, sweeps, _TOGETHER):
            if not len(active):
                break
            if overlaps is everything and sweep >= sweeps - _LAST:
                overlaps, strength = traces, _TRACES
                near = NearPairs(traces, active, peptides.row, near.marked)
                contacts = near.contacts(part)
            elif overlaps is everything:
                # Pushes weaken in the second half, for peptides to close where there is no room.
                strength = min(1.0, 2 * (1 - sweep / sweeps))
            joints, shapes = peptides.joints(part, active), peptides.shapes(part)
            for _ in range(_TOGETHER):
                pull(joints)
                contacts.part(part, strength)
                pull(shapes)
            contacts = near.contacts(part)
            unfinished = largest_error(joints + shapes) > tolerance
            unfinished[contacts.bodies[0]] = True
            if not unfinished.all():
                x[active[~unfinished]] = peptides.frames(part[..., ~unfinished])
                part, active = part.compress(unfinished, 3), active[unfinished]
                near.among(unfinished)
                contacts = contacts.among(unfinished)
        x[active] = peptides.frames(part)
        return active

    def open_among(left: np.ndarray) -> np.ndarray:
        """Which of the frames `left` have a peptide that is open or twisted, bool."""
        omega = np.nan_to_num(backbone_torsions(x[left], chain_break)[2])[:, joined]
        twisted = (np.abs(np.sin(omega)) > _TWISTED).any(1)
        part = peptides.laid_out(x[left])
        return twisted | (largest_error(peptides.joints(part, left)) > 5 * tolerance)

    def untangled(stuck: np.ndarray) -> np.ndarray:
        """The frames `stuck` as given, segments that lie on one another drawn apart."""

        def close(part: np.ndarray, which: np.ndarray) -> None:
            laid = peptides.laid_out(part)
            pulls = peptides.joints(laid, stuck[which]) + peptides.shapes(laid)
            for _ in range(_BETWEEN):
                pull(pulls)
            part[:] = peptides.frames(laid)

        part = backbone[stuck, :, :3]
        untangle(part, chain_break, weight, close)
        return part

    atoms = atoms and separation > 0
    left = relax(np.flatnonzero(np.isfinite(x).all((1, 2, 3))), everything if atoms else traces)
    stuck = left[open_among(left)]
    if atoms and overlaps is None and len(stuck):
        x[stuck] = untangled(stuck)
        left = relax(stuck, everything)
        stuck = left[open_among(left)]
    if atoms and len(stuck):
        x[stuck] = backbone[stuck, :, :3]
        relax(stuck, traces)
    closed = backbone.copy()
    closed[:, :, :3] = x
    closed[:, :, 3] = _oxygens(backbone, closed, chain_break, weight)
    moved = np.linalg.norm(closed[:, :, :3] - backbone[:, :, :3], axis=-1).max(-1)
    return closed, moved


def _oxygens(
    before: np.ndarray, after: np.ndarray, chain_break: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """O [F, L, 3]: in the peptide plane; at chain ends carried along with N, CA, C."""
    oxygen = place_oxygen(after, chain_break).astype(np.float32)
    ends = np.append(np.asarray(chain_break, bool)[1:], True)
    with np.errstate(invalid="ignore"):
        _, rotation, shift = superpose(before[:, ends, :3], after[:, ends, :3])
    carried = (before[:, ends, 3][..., None, :] @ np.swapaxes(rotation, -1, -2))[..., 0, :] + shift
    oxygen[:, ends] = carried
    # A residue that stays keeps its O, unless the residue after it moved.
    stays = (weight == 0) & (ends | (np.append(weight[1:], 0) == 0))
    oxygen[:, stays] = before[:, stays, 3]
    return oxygen

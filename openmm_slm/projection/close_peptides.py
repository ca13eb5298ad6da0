"""Close the peptide bonds of decoded backbones, with ideal geometry and small moves (NumPy).

A decoder places residues as rigid bodies. C-N distances are then wrong by tenths of an Å, and some
residues overlap. Position-based dynamics (Müller et al., 2007) corrects this. Each distance
constraint (`constraints`) in turn moves its two atoms along their connecting line to the ideal
distance, in proportion to their weights. Overlapping residues are pushed apart in the same way
(`rigid_body_step`). All frames and every second peptide are processed at once.
"""

from __future__ import annotations

import numpy as np

from ..protein.geometry import backbone_torsions, place_oxygen
from ..protein.protein import Protein
from ..protein.superposition import superpose
from .backbone_sites import BackboneSites
from .constraints import Peptides, largest_error, satisfy
from .disulfide_bridges import DisulfideBridges
from .end_oxygens import turn_end_oxygens
from .separate_segments import separate_segments
from .verlet_list import VerletList

_TOGETHER = 10  # sweeps between two searches for overlaps
_TRACES = 0.5  # strength of pushes between CA only: without over-relaxation
_BONDS = 0.5  # the same for bonded cysteines
_BETWEEN = 3  # sweeps after each step of `separate_segments`
_LAST = 30  # last sweeps, with pushes between CA only, so that peptides end up closed
_TWISTED = np.sin(np.radians(28))  # limit for |sin(omega)|; frames are invalid from 30 degrees


def close_peptide_bonds(
    backbone: np.ndarray,
    protein: Protein,
    weight: np.ndarray | None = None,
    *,
    separation: float = 0.34,
    atoms: bool = True,
    sites: BackboneSites | None = None,
    tolerance: float = 1e-3,
    sweeps: int = 600,
) -> tuple[np.ndarray, np.ndarray]:
    """Close the peptide bonds of each chain and resolve clashes, moving atoms as little as needed.

    Parameters
    ----------
    backbone : ndarray, float32 [F, L, 4, 3]
        N, CA, C, O; nm. Frames with non-finite coordinates are returned unchanged.
    protein : Protein
        Cis peptides stay cis before proline and become trans elsewhere.
    weight : ndarray [L], optional
        Mobility of each residue; 0 fixes it. Default 1.
    separation : float
        Distance (nm) to which CA atoms two or more residues apart are pushed; 0 turns off all
        pushes. Below 0.3 a frame is invalid. In native chains they are rarely closer than 0.38, but
        larger values distort phi and psi more.
    atoms : bool
        Also separate residues of frames in which N, CA, C, O or CB of two residues are closer than
        0.25 nm, and reserve space for side chains (see `backbone_sites`). False: push CA only.
        Frames whose peptides stay open are repeated after `separate_segments`; if that fails, they
        are treated as with False.
    sites : BackboneSites, optional
        Sites to separate instead with `atoms`, for known side chains (see `all_atom_sites`).
    tolerance : float
        A frame is finished once its largest error of a distance (nm) is below this.
    sweeps : int
        Largest number of sweeps over all constraints.

    Returns
    -------
    closed : ndarray, float32 [F, L, 4, 3]
        O is placed in the new peptide plane; at chain ends it moves with its residue, and turns
        about CA-C where it overlaps.
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
    pairs = protein.disulfides
    bridges = DisulfideBridges(pairs, peptides.row, weight)
    everything = sites or BackboneSites(sequence, chain_break, weight, separation, pairs)
    traces = BackboneSites(sequence, chain_break, weight, separation, traces=True)

    def relax(active: np.ndarray, pushed: BackboneSites) -> np.ndarray:
        """Relax the `active` frames of `x` in place; return those that are not finished."""
        part = peptides.coordinates(x[active])
        near = VerletList(pushed, active, peptides.row)
        contacts, bonds = near.contacts(part), bridges.contacts(part)
        strength = _TRACES
        for sweep in range(0, sweeps, _TOGETHER):
            if not len(active):
                break
            if pushed is everything and sweep >= sweeps - _LAST:
                pushed, strength = traces, _TRACES
                near = VerletList(traces, active, peptides.row, near.marked)
                contacts = near.contacts(part)
            elif pushed is everything:
                # Pushes weaken in the second half so that peptides close where space is short.
                strength = min(1.0, 2 * (1 - sweep / sweeps))
            joints, shapes = peptides.joints(part, active), peptides.shapes(part)
            for _ in range(_TOGETHER):
                satisfy(joints)
                contacts.separate(part, strength)
                if pushed is everything:
                    bonds.separate(part, _BONDS)
                satisfy(shapes)
            contacts, bonds = near.contacts(part), bridges.contacts(part)
            unfinished = largest_error(joints + shapes) > tolerance
            unfinished[contacts.bodies[0]] = True
            if pushed is everything:
                unfinished[bonds.bodies[0]] = True
            if not unfinished.all():
                x[active[~unfinished]] = peptides.frames(part[..., ~unfinished])
                part, active = part.compress(unfinished, 3), active[unfinished]
                near.select(unfinished)
                contacts, bonds = contacts.select(unfinished), bonds.select(unfinished)
        x[active] = peptides.frames(part)
        return active

    def still_open(left: np.ndarray) -> np.ndarray:
        """Which of the frames `left` have an open or twisted peptide, bool."""
        omega = np.nan_to_num(backbone_torsions(x[left], chain_break)[2])[:, joined]
        twisted = (np.abs(np.sin(omega)) > _TWISTED).any(1)
        part = peptides.coordinates(x[left])
        return twisted | (largest_error(peptides.joints(part, left)) > 5 * tolerance)

    def with_separate_segments(stuck: np.ndarray) -> np.ndarray:
        """The input frames `stuck` with overlapping segments separated."""

        def close(part: np.ndarray, which: np.ndarray) -> None:
            points = peptides.coordinates(part)
            constraints = peptides.joints(points, stuck[which]) + peptides.shapes(points)
            for _ in range(_BETWEEN):
                satisfy(constraints)
            part[:] = peptides.frames(points)

        part = backbone[stuck, :, :3]
        separate_segments(part, chain_break, weight, close)
        return part

    atoms = atoms and separation > 0
    left = relax(np.flatnonzero(np.isfinite(x).all((1, 2, 3))), everything if atoms else traces)
    stuck = left[still_open(left)]
    if atoms and sites is None and len(stuck):
        x[stuck] = with_separate_segments(stuck)
        left = relax(stuck, everything)
        stuck = left[still_open(left)]
    if atoms and len(stuck):
        x[stuck] = backbone[stuck, :, :3]
        relax(stuck, traces)
    closed = backbone.copy()
    closed[:, :, :3] = x
    closed[:, :, 3] = _oxygens(backbone, closed, chain_break, weight)
    if atoms and sites is None:
        turn_end_oxygens(closed, chain_break, movable)
    moved = np.linalg.norm(closed[:, :, :3] - backbone[:, :, :3], axis=-1).max(-1)
    return closed, moved


def _oxygens(
    before: np.ndarray, after: np.ndarray, chain_break: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """O [F, L, 3]: in the peptide plane; at chain ends rigid with N, CA, C."""
    oxygen = place_oxygen(after, chain_break).astype(np.float32)
    ends = np.append(np.asarray(chain_break, bool)[1:], True)
    with np.errstate(invalid="ignore"):
        _, rotation, shift = superpose(before[:, ends, :3], after[:, ends, :3])
    carried = (before[:, ends, 3][..., None, :] @ np.swapaxes(rotation, -1, -2))[..., 0, :] + shift
    oxygen[:, ends] = carried
    # A fixed residue keeps its O, unless the next residue moved.
    stays = (weight == 0) & (ends | (np.append(weight[1:], 0) == 0))
    oxygen[:, stays] = before[:, stays, 3]
    return oxygen

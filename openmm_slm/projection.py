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

from .geometry import backbone_torsions, place_oxygen, superpose
from .overlaps import Overlaps
from .untangling import untangle

# Bonds (nm) and angles of Engh & Huber (2001); a cis peptide opens its angles.
_N_CA, _CA_C, _C_N = 0.1459, 0.1525, 0.1329
_N_CA_C = np.radians(111.0)
_ANGLES = {False: np.radians([116.6, 121.7]), True: np.radians([120.0, 127.0])}  # at C, at N


def _peptide(cis: bool) -> tuple[float, float, float]:
    """CA-N, C-CA and CA-CA over a planar peptide: C at the origin, N on the x axis."""
    at_c, at_n = _ANGLES[cis]
    before = _CA_C * np.array([np.cos(at_c), np.sin(at_c)])
    side = 1 if cis else -1
    after = np.array([_C_N, 0]) - _N_CA * np.array([np.cos(at_n), -side * np.sin(at_n)])
    nitrogen = np.array([_C_N, 0])
    return tuple(float(np.linalg.norm(v)) for v in (before - nitrogen, after, after - before))


_TRANS, _CIS = _peptide(False), _peptide(True)
_N_C = float(np.sqrt(_N_CA**2 + _CA_C**2 - 2 * _N_CA * _CA_C * np.cos(_N_CA_C)))
_N, _CA, _C = range(3)
_TOGETHER = 10  # sweeps between two searches for overlaps
_TRACES = 0.5  # strength of pushes of CA alone: just what is missing
_BETWEEN = 3  # sweeps between two steps of untangling
_LAST = 30  # sweeps without pushes but those of CA, to leave the peptides closed
_TWISTED = np.sin(np.radians(28))  # of omega; 30 degrees are not valid


def close_peptide_bonds(
    backbone: np.ndarray,
    sequence: str,
    chain_break: np.ndarray,
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
    sequence : str
        L letters: a peptide that is cis stays so before proline, and becomes trans elsewhere.
    chain_break : ndarray, bool [L]
        True where residue i is not bonded to residue i - 1.
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
    weight = np.ones(length) if weight is None else np.asarray(weight, np.float64)
    movable = weight > 0
    bonded = np.flatnonzero(~np.asarray(chain_break, bool)[1:] & (movable[1:] | movable[:-1]))
    cis = np.zeros((frames, length), bool)
    with np.errstate(invalid="ignore"):
        cis[:] = np.abs(backbone_torsions(backbone, chain_break)[2]) < np.pi / 2
    cis &= np.array([letter == "P" for letter in sequence])
    span = np.where(cis[:, 1:, None], _CIS, _TRANS).astype(np.float32)  # [F, L - 1, 3]

    x = backbone[:, :, :3].astype(np.float32).copy()
    everything = overlaps or Overlaps(sequence, chain_break, weight, separation)
    traces = Overlaps(sequence, chain_break, weight, separation, traces=True)

    def relax(active: np.ndarray, overlaps: Overlaps) -> np.ndarray:
        """Move the `active` frames of `x`; returns those that are not done."""
        marked = np.zeros(len(active), bool)
        contacts = overlaps.find(x[active], marked, active)
        strength = _TRACES
        for sweep in range(0, sweeps, _TOGETHER):
            if not len(active):
                break
            if overlaps is everything and sweep >= sweeps - _LAST:
                overlaps, strength = traces, _TRACES
                contacts = traces.find(x[active], marked, active)
            elif overlaps is everything:
                # Pushes weaken in the second half, for peptides to close where there is no room.
                strength = min(1.0, 2 * (1 - sweep / sweeps))
            part = x[active]
            for _ in range(_TOGETHER):
                for parity in (0, 1):
                    _join(part, bonded[bonded % 2 == parity], span[active], weight)
                overlaps.part(part, contacts, strength)
                _shape(part, weight)
            x[active] = part
            contacts = overlaps.find(part, marked, active)
            unfinished = _peptide_error(part, bonded, span[active], movable) > tolerance
            unfinished[contacts.bodies[0]] = True
            active, marked = active[unfinished], marked[unfinished]
            contacts = contacts.among(unfinished)
        return active

    def open_among(left: np.ndarray) -> np.ndarray:
        """Which of the frames `left` have a peptide that is open or twisted, bool."""
        omega = np.nan_to_num(backbone_torsions(x[left], chain_break)[2])[:, bonded + 1]
        twisted = (np.abs(np.sin(omega)) > _TWISTED).any(1)
        return twisted | (_peptide_error(x[left], bonded, span[left], movable) > 5 * tolerance)

    def untangled(stuck: np.ndarray) -> np.ndarray:
        """The frames `stuck` as given, segments that lie on one another drawn apart."""

        def close(part: np.ndarray, which: np.ndarray) -> None:
            for _ in range(_BETWEEN):
                for parity in (0, 1):
                    _join(part, bonded[bonded % 2 == parity], span[stuck[which]], weight)
                _shape(part, weight)

        part = backbone[stuck, :, :3].astype(np.float32)
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


def _pull(a: np.ndarray, b: np.ndarray, distance, wa: np.ndarray, wb: np.ndarray) -> None:
    """Move points a and b [F, P, 3] in place towards their `distance`; weights [P, 1]."""
    delta = b - a
    length = np.sqrt(np.einsum("fpx,fpx->fp", delta, delta))[..., None] + np.float32(1e-9)
    delta *= (1 - distance / length) / np.maximum(wa + wb, np.float32(1e-9))
    a += wa * delta
    b -= wb * delta


def _join(x: np.ndarray, first: np.ndarray, span: np.ndarray, weight: np.ndarray) -> None:
    """The four distances of the peptides after residues `first`, which share no residue."""
    if not len(first):
        return
    wi, wj = (weight[i][:, None].astype(np.float32) for i in (first, first + 1))
    ca, c, n, after = x[:, first, _CA], x[:, first, _C], x[:, first + 1, _N], x[:, first + 1, _CA]
    across, behind, whole = (span[:, first, i, None] for i in range(3))
    _pull(c, n, _C_N, wi, wj)
    _pull(ca, n, across, wi, wj)
    _pull(c, after, behind, wi, wj)
    _pull(ca, after, whole, wi, wj)
    x[:, first, _CA], x[:, first, _C], x[:, first + 1, _N], x[:, first + 1, _CA] = ca, c, n, after


def _shape(x: np.ndarray, weight: np.ndarray) -> None:
    """The three distances inside every residue that may move."""
    w = (weight > 0)[:, None].astype(np.float32)
    for a, b, distance in ((_N, _C, _N_C), (_N, _CA, _N_CA), (_CA, _C, _CA_C)):
        _pull(x[:, :, a], x[:, :, b], distance, w, w)


def _peptide_error(
    x: np.ndarray, first: np.ndarray, span: np.ndarray, movable: np.ndarray
) -> np.ndarray:
    """Largest error of a distance in each frame (nm), where something may move."""
    pairs = [
        (x[:, first, _C], x[:, first + 1, _N], _C_N),
        (x[:, first, _CA], x[:, first + 1, _N], span[:, first, 0]),
        (x[:, first, _C], x[:, first + 1, _CA], span[:, first, 1]),
        (x[:, first, _CA], x[:, first + 1, _CA], span[:, first, 2]),
        (x[:, movable, _N], x[:, movable, _CA], _N_CA),
        (x[:, movable, _CA], x[:, movable, _C], _CA_C),
    ]
    errors = [np.abs(np.linalg.norm(a - b, axis=-1) - d) for a, b, d in pairs]
    return np.concatenate(errors, 1).max(1, initial=0)


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

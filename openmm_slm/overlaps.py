"""Part residues whose atoms lie on each other: one step of the projection (NumPy).

Judged are the atoms that a backbone decides: N, CA, C, O and CB, CD of proline, and one *bead* in
the place of the rest of a side chain, since a rotamer can use room but not make it. Residues that
overlap are pushed apart as rigid bodies, until they are as far from each other as in an ordinary
contact. Frames in which no two atoms clash are left alone: in a native chain, hydrogen bonds and
packed side chains overlap here and there by these distances.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

# Kinds of sites. Each residue has the first seven: its bead may be the _RING of a proline, and any
# may be _ABSENT.
_N, _CA, _C, _O, _CB, _BEAD, _CD, _RING, _ABSENT = range(9)
SITES = 7
# Distances (nm) of sites of residues that are not neighbours: to which they are parted where any
# two sites of the residues are under the distance of an overlap.
_KINDS = (_N, _CA, _C, _O, _CB, _BEAD, _RING)
_CONTACT = np.array([
    # N     CA    C     O     CB   bead  ring
    [0.29, 0.31, 0.31, 0.275, 0.33, 0.36, 0.36],
    [0.31, 0.34, 0.32, 0.30, 0.34, 0.36, 0.36],
    [0.31, 0.32, 0.32, 0.30, 0.34, 0.36, 0.36],
    [0.275, 0.30, 0.30, 0.28, 0.32, 0.36, 0.36],
    [0.33, 0.34, 0.34, 0.32, 0.38, 0.40, 0.40],
    [0.36, 0.36, 0.36, 0.36, 0.40, 0.42, 0.42],
    [0.36, 0.36, 0.36, 0.36, 0.40, 0.42, 0.42],
])  # fmt: skip
_OVERLAP = np.array([
    [0.27, 0.27, 0.27, 0.26, 0.27, 0.28, 0.31],
    [0.27, 0.31, 0.27, 0.27, 0.27, 0.28, 0.31],
    [0.27, 0.27, 0.27, 0.27, 0.27, 0.28, 0.31],
    [0.26, 0.27, 0.27, 0.27, 0.27, 0.28, 0.31],
    [0.27, 0.27, 0.27, 0.27, 0.27, 0.28, 0.31],
    [0.28, 0.28, 0.28, 0.28, 0.28, 0.28, 0.31],
    [0.31, 0.31, 0.31, 0.31, 0.31, 0.31, 0.31],
])  # fmt: skip
_CLASH = 0.25  # as in `validity`: pairs of atoms under it mark a frame
# Neighbours: the pairs that phi and psi decide, and to which distance they are parted. It counts
# little whether they could come as far, much that they come over 0.25 soon.
_NEAR_OVERLAP = 0.256
_NEAR = {
    (_N, _N): 0.265, (_N, _C): 0.30, (_N, _O): 0.30, (_N, _CB): 0.30, (_N, _CD): 0.30,
    (_CA, _CD): 0.285, (_C, _C): 0.30, (_C, _O): 0.30, (_C, _CB): 0.30,
    (_O, _C): 0.285, (_O, _O): 0.30, (_O, _CB): 0.30, (_O, _CD): 0.30,
    (_CB, _N): 0.30, (_CB, _C): 0.30, (_CB, _O): 0.30, (_CB, _CB): 0.30, (_CB, _CD): 0.30,
}  # fmt: skip
# Sites are CA + p b + q k + r (b x k) of b = CA - N and k = C - CA (nm).
_CB_PLACE = np.array([0.56802827, -0.54067466, -5.8273431])
_BEAD_PLACE = _CB_PLACE * (0.25 / 0.153)  # 0.25 nm from CA: in the midst of most rotamers
_RING_PLACE = np.array([-0.741, -0.663, -7.46])  # between CG and CD of proline
_CD_PLACE = np.array([-1.189, -0.457, -5.82])
_O_PLACE = -0.757, -0.893  # O - C in CA - C and N - C, N that of the next residue
_FARTHEST = 0.25  # nm from CA to a site
_MARGIN = 1.15  # pairs at so many times their contact distance may come under it in ten sweeps
_BODY = 0.15  # nm, radius of gyration of a residue as a body: the smaller, the more it turns
_BEYOND = 2.0  # over-relaxation of the mean push
_BLOCK = 4_000_000  # numbers in one array


@dataclass(frozen=True, eq=False)
class Contacts:
    """P pairs of sites of residues that overlap, and the B residues they belong to.

    Attributes
    ----------
    bodies : ndarray, int [2, B]
        Frames and residues, each once.
    body : ndarray, int [2, P]
        Bodies of the first and the second site of a pair.
    site : ndarray, int [2, P]
    distance : ndarray, float32 [P]
        To which they are to be parted (nm).
    place : ndarray, float32 [B, S, 3]
        Of the sites after O, in each body: multiples of b, k and b x k.
    """

    bodies: np.ndarray
    body: np.ndarray
    site: np.ndarray
    distance: np.ndarray
    place: np.ndarray

    def among(self, kept: np.ndarray) -> Contacts:
        """The same where only some frames are left, bool [F], all with a pair among them."""
        frame, residue = self.bodies
        return replace(self, bodies=np.stack([np.cumsum(kept)[frame] - 1, residue]))


class Overlaps:
    """Finds and parts overlaps in frames of one protein.

    Parameters
    ----------
    sequence : str
        L letters.
    chain_break : ndarray, bool [L]
        True where residue i is not bonded to residue i - 1.
    weight : ndarray [L]
        How readily a residue moves.
    separation : float
        CA atoms two or more residues apart come to this distance (nm).
    traces : bool
        Judge CA only.
    """

    def __init__(
        self,
        sequence: str,
        chain_break: np.ndarray,
        weight: np.ndarray,
        separation: float,
        *,
        traces: bool = False,
    ) -> None:
        self.weight = np.asarray(weight, np.float32)
        self.bonded = np.append(~np.asarray(chain_break, bool)[1:], False)  # to the residue after
        tables = _distances(separation)
        kind, self.place = _sites(sequence, self.bonded)
        if traces:
            kind[:, np.arange(SITES) != _CA] = _ABSENT
        # Residues with the same kinds of sites share a row of the tables [2, C, C, 7, 7].
        kinds, self.row = np.unique(kind, axis=0, return_inverse=True)
        self.row = self.row.ravel()
        pick = slice(None), kinds[:, None, :, None], kinds[None, :, None, :]
        self.contact, self.overlap, self.clash = (t[pick].astype(np.float32) for t in tables)
        self.reach = self.overlap.max() + (0 if traces else 2 * _FARTHEST)

    def find(self, x: np.ndarray, marked: np.ndarray, frames: np.ndarray) -> Contacts:
        """Contacts of the residues that overlap in some frames.

        Parameters
        ----------
        x : ndarray, float32 [F, L, 3, 3]
            N, CA and C; nm.
        marked : ndarray, bool [F]
            Frames that had a clash; the others have no contacts. Those that have one now are added.
        frames : ndarray, int [F]
            Their numbers among all; of no account here, where places are those of every frame.
        """
        count, length = x.shape[:2]
        everywhere = np.indices((count, length)).reshape(2, -1)
        sites = place_sites(x, everywhere, self.place[everywhere[1]])
        sites = sites.reshape(count, length, SITES, 3)
        movable = self.weight > 0
        wanted = np.triu(movable[:, None] | movable, 1)
        none = np.zeros((5, 0), int)
        found = [(*none, np.zeros(0, np.float32))]
        step = max(1, _BLOCK // length**2)
        for first in range(0, count, step):
            ca = x[first : first + step, :, _CA]
            ca = ca - ca.mean(1, keepdims=True)
            square = np.einsum("flx,flx->fl", ca, ca)
            distance = square[:, :, None] + square[:, None] - 2 * ca @ ca.swapaxes(1, 2)
            frame, i, j = np.nonzero((distance < self.reach**2) & wanted)
            for start in range(0, len(frame), _BLOCK // 100):
                part = slice(start, start + _BLOCK // 100)
                pairs = first + frame[part], i[part], j[part]
                found.append(self._touching(sites, *pairs, marked))
        frame, i, a, j, b, distance = (np.concatenate(part) for part in zip(*found, strict=True))
        frame, i, a, j, b, distance = (y[marked[frame]] for y in (frame, i, a, j, b, distance))
        bodies, body = bodies_of_pairs(frame, i, j, length)
        return Contacts(bodies, body, np.stack([a, b]), distance, self.place[bodies[1]])

    def _touching(
        self, sites: np.ndarray, frame: np.ndarray, i: np.ndarray, j: np.ndarray, marked: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """Frame, i, a, j, b, distance of the sites to push, of the residue pairs that overlap."""
        first, second = (np.ravel_multi_index((frame, k), sites.shape[:2]) for k in (i, j))
        square = np.zeros((len(frame), SITES, SITES), np.float32)
        for axis in range(3):
            along = np.ascontiguousarray(sites[..., axis]).reshape(-1, SITES)
            delta = along[first][:, :, None] - along[second][:, None]
            square += delta * delta
        rows = ((j - i == 1) & self.bonded[i]).astype(int), self.row[i], self.row[j]
        hit = np.flatnonzero((square < self.overlap[rows] ** 2).any((1, 2)))
        clash = (square[hit] < self.clash[tuple(row[hit] for row in rows)] ** 2).any((1, 2))
        marked[frame[hit[clash]]] = True
        contact = self.contact[tuple(row[hit] for row in rows)]
        pair, a, b = np.nonzero(square[hit] < (contact * _MARGIN) ** 2)
        distance, pair = contact[pair, a, b], hit[pair]
        return frame[pair], i[pair], a, j[pair], b, distance

    def part(self, x: np.ndarray, contacts: Contacts, strength: float = 1.0) -> None:
        """Push the residues of frames [F, L, 3, 3] apart in place, once, as rigid bodies."""
        if not len(contacts.distance):
            return
        frame, residue = contacts.bodies
        sites = place_sites(x, contacts.bodies, contacts.place)
        point = sites[contacts.body, contacts.site]  # [2, P, 3]
        away = point[1] - point[0]
        length = np.sqrt(np.einsum("px,px->p", away, away))
        missing = np.maximum(contacts.distance - length, 0)
        away[length < 1e-6] = [1e-6, 0, 0]  # on top of each other: any way will do
        away /= np.maximum(length, np.float32(1e-6))[:, None]
        atoms = x[frame, residue]
        centre = atoms.mean(1)
        # Position-based dynamics of rigid bodies: a push that has an arm also turns.
        push = np.stack([-away, away])
        twist = _cross(point - centre[contacts.body], push) / np.float32(_BODY)
        weight = self.weight[residue][contacts.body]
        ready = (weight * (1 + np.einsum("spx,spx->sp", twist, twist))).sum(0)
        # A body takes the mean of its pushes, in which the wider overlaps count more: the sum
        # would throw out residues that overlap in many sites.
        share = weight * (missing * missing / np.maximum(ready, np.float32(1e-9)))
        pushes = (np.concatenate([push, twist], -1) * share[..., None]).reshape(-1, 6)
        body, bodies = contacts.body.ravel(), len(atoms)
        total = np.bincount(body, np.tile(missing, 2), bodies)
        move = np.stack([np.bincount(body, column, bodies) for column in pushes.T], 1)
        move *= strength * _BEYOND / np.maximum(total, 1e-12)[:, None]
        move = move.astype(np.float32)[:, None]
        arm = (atoms - centre[:, None]) / np.float32(_BODY)
        x[frame, residue] = atoms + move[..., :3] + _cross(move[..., 3:], arm)


def place_sites(x: np.ndarray, bodies: np.ndarray, place: np.ndarray) -> np.ndarray:
    """N, CA, C, O and the sites at `place` [B, S, 3] of bodies [2, B] of frames [F, L, 3, 3].

    Returns [B, 4 + S, 3]; O where the peptide puts it, of chain ends anywhere.
    """
    frame, residue = bodies
    atoms = x[frame, residue]
    n, ca, c = atoms[:, _N], atoms[:, _CA], atoms[:, _C]
    after = x[frame, np.minimum(residue + 1, x.shape[1] - 1), _N]
    out = np.empty((len(atoms), 4 + place.shape[1], 3), np.float32)
    out[:, :3] = atoms
    out[:, _O] = c + np.float32(_O_PLACE[0]) * (ca - c) + np.float32(_O_PLACE[1]) * (after - c)
    b, k = ca - n, c - ca
    place = place[..., None]
    out[:, _CB:] = ca[:, None] + place[:, :, 0] * b[:, None] + place[:, :, 1] * k[:, None]
    out[:, _CB:] += place[:, :, 2] * _cross(b, k)[:, None]
    return out


def bodies_of_pairs(frame: np.ndarray, i: np.ndarray, j: np.ndarray, length: int) -> tuple:
    """`Contacts.bodies` and `Contacts.body` of P pairs of residues i and j of frames."""
    key = np.concatenate([frame * length + i, frame * length + j])
    bodies, body = np.unique(key, return_inverse=True)
    return np.stack(np.divmod(bodies, length)), body.reshape(2, -1)


def _distances(separation: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Contact, overlap and clash of kinds of sites: [1 for neighbours, kind, kind]."""
    contact, overlap = np.zeros((2, 2, _ABSENT + 1, _ABSENT + 1))
    touching = np.ix_([0], _KINDS, _KINDS)
    contact[touching], overlap[touching] = _CONTACT, _OVERLAP
    contact[0, _CA, _CA], overlap[0, _CA, _CA] = separation, 0.92 * separation
    for pair, distance in _NEAR.items():
        contact[(1, *pair)], overlap[(1, *pair)] = distance, _NEAR_OVERLAP
    clash = np.minimum(overlap, _CLASH)
    clash[:, [_BEAD, _RING]] = clash[:, :, [_BEAD, _RING]] = 0
    clash[0, _CA, _CA] = overlap[0, _CA, _CA]
    return contact, overlap, clash


def _sites(sequence: str, bonded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kinds of the sites [L, 7], and the places [L, 3, 3] of the last three."""
    letter = np.array(list(sequence), "<U1")
    proline = letter == "P"
    kind = np.tile(np.arange(SITES), (len(letter), 1))
    kind[~bonded, _O] = _ABSENT  # O lies in the plane of a peptide
    kind[letter == "G", _CB] = _ABSENT
    kind[np.isin(letter, ("G", "A", "X")), _BEAD] = _ABSENT
    kind[proline, _BEAD] = _RING
    kind[~proline, _CD] = _ABSENT
    bead = np.where(proline[:, None], _RING_PLACE, _BEAD_PLACE)
    cb, cd = (np.broadcast_to(place, bead.shape) for place in (_CB_PLACE, _CD_PLACE))
    return kind, np.stack([cb, bead, cd], 1).astype(np.float32)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross product of [..., 3]; np.cross spends its time on axes."""
    out = np.empty(np.broadcast_shapes(a.shape, b.shape), np.float32)
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        out[..., axis] = a[..., u] * b[..., v] - a[..., v] * b[..., u]
    return out

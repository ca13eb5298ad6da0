"""Place the sulfurs of disulfides at bond distance (torch)."""

from __future__ import annotations

import math

import torch

from ..networks.rigid_frames import torsion_angle
from ..protein.sequence import AMINO_ACIDS
from ..validity.criteria import CLASH
from .builder import AtomBuilder, place_atom

_CYSTEINE = AMINO_ACIDS.index("C")
_CB, _SG = 4, 5
_BACKBONE = [0, 2, 3]  # N, C, O
_BOND, _ANGLE = 0.2033, math.radians(104)  # SG-SG, nm; CB-SG-SG
_CROWDED = CLASH + 0.01  # nm between SG and N, C and O of its residue
_STEPS = 72  # grid points of chi1


def bond_sulfurs(
    atoms: torch.Tensor, pairs: tuple[tuple[int, int], ...], builder: AtomBuilder, limit: float
) -> torch.Tensor:
    """Place CB and SG of cysteine pairs so that SG-SG is as close to an ideal bond as possible.

    A grid search over the chi1 angles of both residues optimises the bond length, the CB-SG-SG
    angles and the torsion about the bond (near +-90 degrees), and keeps SG away from N, C and O of
    its own residue.

    Parameters
    ----------
    atoms : Tensor [B, L, 14, 3]
        nm; NaN where absent. A CB that is present is kept.
    pairs : tuple of (int, int)
        Rows of the cysteines. A pair is skipped if an SG is present or its CB are more than
        `limit` apart.
    builder : AtomBuilder
        Side-chain geometry.
    limit : float
        nm.

    Returns
    -------
    Tensor [B, L, 14, 3]
        `atoms` with CB and SG of the pairs filled in.
    """
    out = atoms.clone()
    b = len(atoms)
    chi = torch.linspace(-math.pi, math.pi, _STEPS + 1, device=atoms.device)[:-1]

    def geometry(name: str, slot: int, shape: tuple[int, ...]) -> torch.Tensor:
        return getattr(builder, name)[_CYSTEINE, slot].expand(shape)

    def sulfurs(row: int) -> tuple[torch.Tensor, torch.Tensor]:
        n, ca, c = (atoms[:, row, i] for i in range(3))
        values = (geometry(name, _CB, (b,)) for name in ("length", "angle", "torsion"))
        cb = torch.where(
            torch.isfinite(atoms[:, row, _CB]), atoms[:, row, _CB], place_atom(n, c, ca, *values)
        )
        wide = (x.unsqueeze(1).expand(b, _STEPS, 3) for x in (n, ca, cb))
        values = (geometry(name, _SG, (b, _STEPS)) for name in ("length", "angle"))
        return cb, place_atom(*wide, *values, chi.expand(b, _STEPS))

    def crowded(row: int, sg: torch.Tensor) -> torch.Tensor:
        """Cost [B, steps] of places [B, steps, 3] of SG near the backbone of its residue."""
        away = (sg.unsqueeze(2) - atoms[:, row, None, _BACKBONE]).norm(dim=-1)
        return (((_CROWDED - away) / 0.001).clamp(min=0) ** 2).nan_to_num().sum(-1)

    for i, j in pairs:
        (cb_i, sg_i), (cb_j, sg_j) = sulfurs(i), sulfurs(j)
        one, other = sg_i.unsqueeze(2), sg_j.unsqueeze(1)
        one, other = torch.broadcast_tensors(one, other)
        cb_one, cb_other = (x.view(b, 1, 1, 3).expand_as(one) for x in (cb_i, cb_j))
        length = (one - other).norm(dim=-1)
        cost = ((length - _BOND) / 0.005) ** 2
        cost = cost + crowded(i, sg_i).unsqueeze(2) + crowded(j, sg_j).unsqueeze(1)
        for sg, partner, cb in ((one, other, cb_one), (other, one, cb_other)):
            cosine = torch.cosine_similarity(cb - sg, partner - sg, dim=-1)
            cost = cost + ((torch.acos(cosine.clamp(-1, 1)) - _ANGLE) / 0.1) ** 2
        cost = cost + 4 * torsion_angle(cb_one, one, other, cb_other).cos() ** 2
        best = cost.flatten(1).argmin(1)
        frames = torch.arange(b, device=atoms.device)
        absent = ~torch.isfinite(atoms[:, [i, j], _SG]).all(-1).any(1)
        fits = ((cb_i - cb_j).norm(dim=-1) <= limit) & absent
        for row, cb, sg in (
            (i, cb_i, sg_i[frames, best // _STEPS]),
            (j, cb_j, sg_j[frames, best % _STEPS]),
        ):
            out[fits, row, _CB], out[fits, row, _SG] = cb[fits], sg[fits]
    return out

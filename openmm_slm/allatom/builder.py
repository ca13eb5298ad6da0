"""Build heavy atoms from backbones and chi angles by internal coordinates (torch)."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

from ..networks.rigid_frames import full_precision, torsion_angle
from ..protein.sequence import AMINO_ACIDS
from .ideal import TREE, SideChainGeometry

_PROLINE = AMINO_ACIDS.index("P")
_RING_BOND = 0.1473  # nm; CD-N of proline


def place_atom(
    a: torch.Tensor,
    b: torch.Tensor,
    c: torch.Tensor,
    length: torch.Tensor,
    angle: torch.Tensor,
    torsion: torch.Tensor,
) -> torch.Tensor:
    """Place d [..., 3] from |cd|, the angle bcd and the torsion abcd [...] (radians, IUPAC)."""
    axis = F.normalize(c - b, dim=-1)
    normal = F.normalize(torch.cross(b - a, axis, dim=-1), dim=-1)
    across = torch.cross(normal, axis, dim=-1)
    # In float64: as float32 they differ in the last digit with their place in an array.
    cosine, sine = (f(torsion.double()).to(c.dtype).unsqueeze(-1) for f in (torch.cos, torch.sin))
    out = cosine * across + sine * normal
    out = torch.sin(angle).unsqueeze(-1) * out - torch.cos(angle).unsqueeze(-1) * axis
    return c + length.unsqueeze(-1) * out


class AtomBuilder(nn.Module):
    """Build heavy atoms; the geometry is in buffers, stored with the weights of a packer.

    Parameters
    ----------
    geometry : SideChainGeometry, optional
        If not given, the buffers are zero until weights are loaded or `set_geometry` is called.
    """

    def __init__(self, geometry: SideChainGeometry | None = None) -> None:
        super().__init__()
        for name in ("present", "reference", "chi"):
            value = torch.as_tensor(getattr(TREE, name))
            self.register_buffer(name, value, persistent=False)
        for name in ("length", "angle", "torsion"):
            self.register_buffer(name, torch.zeros(21, 14))
        if geometry is not None:
            self.set_geometry(geometry)

    def set_geometry(self, geometry: SideChainGeometry) -> None:
        """Copy a geometry into the buffers."""
        for name in ("length", "angle", "torsion"):
            getattr(self, name).copy_(torch.as_tensor(getattr(geometry, name)))

    def forward(
        self,
        backbone: torch.Tensor,
        amino_acids: torch.Tensor,
        chi: torch.Tensor,
        known: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Build the heavy atoms of residues.

        Parameters
        ----------
        backbone : Tensor [..., >=4, 3]
            N, CA, C, O, nm; not changed.
        amino_acids : Tensor, int64 [...]
            Rows of `AMINO_ACIDS`, 20 for X.
        chi : Tensor [..., 4]
            Radians; angles that a residue does not have are ignored.
        known : Tensor [..., 14, 3], optional
            Known side-chain atoms, nm; NaN where absent. They are kept, and the other atoms are
            placed relative to them.

        Returns
        -------
        Tensor [..., 14, 3]
            nm; 0 where the residue has no atom (see `present`). chi2 of proline is replaced by the
            value that closes the ring, with CD bonded to N.
        """
        shape = amino_acids.shape
        aa = amino_acids.reshape(-1)
        chi = F.pad(chi.reshape(-1, 4).float(), (0, 1))  # -1 picks the zero
        with full_precision(backbone):
            atoms = backbone.new_zeros((len(aa), 14, 3), dtype=torch.float32)
            atoms[:, :4] = backbone.reshape(len(aa), -1, 3)[:, :4]
            for slot in range(4, 14):
                rows = torch.nonzero(self.present[:, slot][aa]).squeeze(1)
                if not len(rows):
                    continue
                kind = aa[rows]
                where = self.reference[kind, slot]
                a, b, c = (atoms[rows, where[:, i]] for i in range(3))
                torsion = self.torsion[kind, slot] + chi[rows, self.chi[kind, slot]]
                length, angle = self.length[kind, slot], self.angle[kind, slot]
                if slot == 6:
                    pro = kind == _PROLINE
                    torsion[pro] = _ring_torsion(
                        atoms[rows[pro], 0], a[pro], b[pro], c[pro],
                        length[pro], angle[pro], torsion[pro],
                    )  # fmt: skip
                placed = place_atom(a, b, c, length, angle, torsion)
                if known is not None:
                    given = known.reshape(-1, 14, 3)[rows, slot]
                    placed = torch.where(torch.isfinite(given), given, placed)
                atoms[rows, slot] = placed
        return atoms.view(*shape, 14, 3)

    def without_gaps(self, atoms: torch.Tensor, amino_acids: torch.Tensor) -> torch.Tensor:
        """Set atoms of [..., 14, 3] to NaN if their parent atom is NaN, from CB outwards."""
        atoms = atoms.clone()
        for slot in range(4, 14):
            parent = self.reference[amino_acids, slot, 2]
            index = parent[..., None, None].expand(*parent.shape, 1, 3)
            there = torch.isfinite(atoms.gather(-2, index)[..., 0, :])
            atoms[..., slot, :] = torch.where(there, atoms[..., slot, :], torch.nan)
        return atoms

    def known_chi(self, atoms: torch.Tensor, amino_acids: torch.Tensor) -> torch.Tensor:
        """Chi angles [R, 4] from the atoms present in [R, 14, 3] (NaN: absent); NaN if unknown.

        Any atom that rotates with a chi determines it, such as CG2 of Val if CG1 is absent.
        """
        out = atoms.new_full((len(atoms), 4), torch.nan)
        for slot in range(13, 4, -1):  # the atom that defines chi comes last and takes precedence
            number = self.chi[amino_acids, slot]
            rows = torch.nonzero((number >= 0) & torch.isfinite(atoms[:, slot]).all(-1)).squeeze(1)
            where = self.reference[amino_acids[rows], slot]
            a, b, c = (atoms[rows, where[:, i]] for i in range(3))
            chi = torsion_angle(a, b, c, atoms[rows, slot])
            chi = chi - self.torsion[amino_acids[rows], slot]
            before = out[rows, number[rows]]
            out[rows, number[rows]] = torch.where(torch.isfinite(chi), chi, before)
        return out


def _ring_torsion(n, ca, cb, cg, length, angle, wanted):
    """chi2 [P] of proline nearest to `wanted` at which CD is `_RING_BOND` from N.

    |CD - N|^2 = const - 2 r s cos(chi2 - t), where r and s are the distances of CD and N from the
    axis CB-CG, and t is the torsion of N about it. This has two solutions; if it has none, the
    result is the closest approach.
    """
    axis = F.normalize(cg - cb, dim=-1)
    along = ((n - cg) * axis).sum(-1)
    off = (n - cg) - along.unsqueeze(-1) * axis
    s = off.norm(dim=-1).clamp(min=1e-6)
    r, height = length * torch.sin(angle), -length * torch.cos(angle)
    cosine = (r**2 + s**2 + (height - along) ** 2 - _RING_BOND**2) / (2 * r * s)
    spread = torch.acos(cosine.clamp(-1, 1))
    normal = F.normalize(torch.cross(cb - ca, axis, dim=-1), dim=-1)
    across = torch.cross(normal, axis, dim=-1)
    t = torch.atan2((off * normal).sum(-1), (off * across).sum(-1))
    nearer = torch.cos(t + spread - wanted) > torch.cos(t - spread - wanted)
    return torch.where(nearer, t + spread, t - spread)

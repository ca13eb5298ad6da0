"""Rigid residue frames in torch: construction, composition, and placement of atoms.

A frame is ``(rotation [..., 3, 3], origin [..., 3])``. The columns of the rotation are the axes
e1 = CA->C, e2 in the N-CA-C plane towards N, and e3 = e1 x e2; the origin is CA. Lengths are in
nm. Everything here runs in float32: call it outside autocast (`full_precision`).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from ..protein.geometry import C_O, CA_C, CA_C_O_ANGLE, N_CA, N_CA_C_ANGLE

# N, CA, C of a residue in its own frame (nm); Engh & Huber bond lengths and angle.
IDEAL_BACKBONE = (
    (N_CA * math.cos(N_CA_C_ANGLE), N_CA * math.sin(N_CA_C_ANGLE), 0.0),
    (0.0, 0.0, 0.0),
    (CA_C, 0.0, 0.0),
)

RigidFrames = tuple[torch.Tensor, torch.Tensor]


def full_precision(tensor: torch.Tensor) -> torch.autocast:
    """Context that disables autocast on the device of `tensor`: products stay in float32."""
    return torch.autocast(tensor.device.type, enabled=False)


def _orthonormal(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Rotation [..., 3, 3] from two vectors [..., 3] by Gram-Schmidt; its columns are the axes."""
    e1 = F.normalize(first, dim=-1)
    e2 = F.normalize(second - (e1 * second).sum(-1, keepdim=True) * e1, dim=-1)
    return torch.stack([e1, e2, torch.cross(e1, e2, dim=-1)], -1)


def frames_from_backbone(backbone: torch.Tensor) -> RigidFrames:
    """Residue frames from N, CA and C, the first three atoms of [..., A, 3]."""
    n, ca, c = backbone[..., 0, :], backbone[..., 1, :], backbone[..., 2, :]
    return _orthonormal(c - ca, n - ca), ca


def rotation_from_6d(values: torch.Tensor) -> torch.Tensor:
    """Rotation from two unnormalised axes [..., 6] (Zhou et al., CVPR 2019)."""
    return _orthonormal(values[..., :3], values[..., 3:])


def rotation_from_vector(vector: torch.Tensor) -> torch.Tensor:
    """Rotation of the normalised quaternion (1, v), v [..., 3]; the identity at v = 0."""
    quaternion = F.normalize(torch.cat([torch.ones_like(vector[..., :1]), vector], -1), dim=-1)
    a, b, c, d = quaternion.unbind(-1)
    rows = [
        a * a + b * b - c * c - d * d,
        2 * (b * c - a * d),
        2 * (b * d + a * c),
        2 * (b * c + a * d),
        a * a - b * b + c * c - d * d,
        2 * (c * d - a * b),
        2 * (b * d - a * c),
        2 * (c * d + a * b),
        a * a - b * b - c * c + d * d,
    ]
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def compose(outer: RigidFrames, inner: RigidFrames) -> RigidFrames:
    """Composition `outer` o `inner`: `inner` is given in the local coordinates of `outer`."""
    (r1, t1), (r2, t2) = outer, inner
    # Broadcast products: batched matmul is slow for 3 x 3 matrices.
    rotation = (r1.unsqueeze(-1) * r2.unsqueeze(-3)).sum(-2)
    return rotation, (r1 * t2.unsqueeze(-2)).sum(-1) + t1


def invert(frames: RigidFrames) -> RigidFrames:
    """Inverse frames: ``compose(frames, invert(frames))`` is the identity."""
    rotation, origin = frames
    back = rotation.transpose(-1, -2)
    return back, -(back * origin.unsqueeze(-2)).sum(-1)


def chain_frames(relative: RigidFrames) -> RigidFrames:
    """Absolute frames from relative ones: inclusive prefix composition along dim 1.

    Takes log2(L) steps.
    """
    rotation, origin = relative
    step = 1
    while step < rotation.shape[1]:
        r, t = compose(
            (rotation[:, :-step], origin[:, :-step]), (rotation[:, step:], origin[:, step:])
        )
        rotation = torch.cat([rotation[:, :step], r], 1)
        origin = torch.cat([origin[:, :step], t], 1)
        step *= 2
    return rotation, origin


def to_local(frames: RigidFrames, points: torch.Tensor) -> torch.Tensor:
    """Global points [..., P, 3] in the local coordinates of the frames [...]."""
    rotation, origin = frames
    delta = points - origin.unsqueeze(-2)
    return (rotation.unsqueeze(-3) * delta.unsqueeze(-1)).sum(-2)


def to_global(frames: RigidFrames, points: torch.Tensor) -> torch.Tensor:
    """Inverse of `to_local`."""
    rotation, origin = frames
    return (rotation.unsqueeze(-3) * points.unsqueeze(-2)).sum(-1) + origin.unsqueeze(-2)


def torsion_angle(
    a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, d: torch.Tensor
) -> torch.Tensor:
    """Torsion angle a-b-c-d of points [..., 3], in (-pi, pi], with the IUPAC sign."""
    axis = F.normalize(c - b, dim=-1)
    u, v = torch.cross(b - a, axis, dim=-1), torch.cross(axis, d - c, dim=-1)
    sine = (torch.cross(u, v, dim=-1) * axis).sum(-1)
    return torch.atan2(sine, (u * v).sum(-1))


def oxygen_torsion(backbone: torch.Tensor) -> torch.Tensor:
    """(cos, sin) [..., 2] of the angle of O about the CA-C axis in the residue frame."""
    o = to_local(frames_from_backbone(backbone), backbone[..., 3:4, :])[..., 0, :]
    return F.normalize(o[..., 1:], dim=-1)


def place_backbone(
    frames: RigidFrames, end_torsion: torch.Tensor, bonded_next: torch.Tensor
) -> torch.Tensor:
    """N, CA, C, O of residues from their frames.

    Parameters
    ----------
    frames : (rotation [B, L, 3, 3], origin [B, L, 3])
    end_torsion : Tensor [B, L, 2]
        Unnormalised (cos, sin) of the angle of O about CA-C, for residues without a successor.
    bonded_next : Tensor, bool [B, L]
        True where residue i is bonded to residue i + 1.

    Returns
    -------
    Tensor [B, L, 4, 3]
        N, CA and C with ideal geometry; O in the plane of CA, C and the next N, if bonded.
    """
    rotation, _ = frames
    ideal = rotation.new_tensor(IDEAL_BACKBONE)
    ncac = to_global(frames, ideal.expand(*rotation.shape[:-2], 3, 3))
    ca, c = ncac[..., 1, :], ncac[..., 2, :]
    next_n = torch.cat([ncac[:, 1:, 0], ncac[:, -1:, 0]], 1)
    axis = F.normalize(ca - c, dim=-1)
    away = next_n - c
    away = F.normalize(away - (away * axis).sum(-1, keepdim=True) * axis, dim=-1)
    in_plane = c + C_O * (math.cos(CA_C_O_ANGLE) * axis - math.sin(CA_C_O_ANGLE) * away)
    direction = F.normalize(end_torsion, dim=-1)
    x = IDEAL_BACKBONE[2][0] - C_O * math.cos(CA_C_O_ANGLE)
    local = torch.cat(
        [torch.full_like(direction[..., :1], x), C_O * math.sin(CA_C_O_ANGLE) * direction], -1
    )
    at_end = to_global(frames, local.unsqueeze(-2))[..., 0, :]
    oxygen = torch.where(bonded_next.unsqueeze(-1), in_plane, at_end)
    return torch.cat([ncac, oxygen.unsqueeze(-2)], -2)

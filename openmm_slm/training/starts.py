"""Starting frames for decoder training: imitated templates, missing loops and other conformations.

NumPy only, lengths in nm, one crop at a time. The level of a start is its root mean square CA
displacement from the true structure, multiplied by a random factor because users only know it
roughly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..protein.elastic_network import ElasticNetwork, displace
from ..protein.superposition import superpose

ABSENT = np.inf


@dataclass(frozen=True)
class StartConfig:
    """Shares of crops with each kind of start; the remaining crops have none.

    Attributes
    ----------
    exact : float
        True frames at level 0, some of them absent.
    noised : float
        Random displacements and rotations of 0.02 to 0.3 nm, independent or smoothed along the
        chain. In half of these crops one part is displaced more and has its own level.
    deformed : float
        Displacement of 0.05 to 0.4 nm along soft modes of an elastic network.
    alternative : float
        Another structure of the same sequence if the data have one, else deformed.
    absent : float
        Share of the inexact starts in which some residues are absent.
    """

    exact: float = 0.15
    noised: float = 0.1
    deformed: float = 0.25
    alternative: float = 0.1
    absent: float = 0.4


def draw_start(
    rng: np.random.Generator,
    backbone: np.ndarray,
    mask: np.ndarray,
    config: StartConfig,
    alternative: Callable[[], np.ndarray | None],
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the start of a crop.

    Parameters
    ----------
    rng : Generator
    backbone : ndarray [L, 4, 3]
        True coordinates, nm.
    mask : ndarray, bool [L]
        Residues with coordinates.
    config : StartConfig
    alternative : callable
        Returns the backbone [L, 4, 3] of the same residues in another structure (NaN where
        absent), or None.

    Returns
    -------
    start : ndarray, float32 [L, 4, 3]
        Starting coordinates, nm.
    level : ndarray, float32 [L]
        Level in nm; infinite where the start is absent.
    """
    level = np.full(len(mask), ABSENT, np.float32)
    start = np.array(backbone, np.float32)
    if mask.sum() < 8:
        return start, level
    kinds = ("exact", "noised", "deformed", "alternative")
    shares = [getattr(config, kind) for kind in kinds]
    kind = rng.choice([*kinds, "none"], p=[*shares, 1 - sum(shares)])
    if kind == "none":
        return start, level
    kept = mask.copy()
    if kind == "exact" or rng.random() < config.absent:
        kept &= ~_left_out(rng, backbone[:, 1], mask)
    if kind == "exact":
        level[kept] = 0
        return start, level
    if kind == "alternative":
        found = alternative()
        common = None if found is None else mask & np.isfinite(found).all((1, 2))
        if common is None or common.sum() < 8:
            kind = "deformed"
        else:
            _, turn, shift = superpose(found[common, 1], backbone[common, 1])
            start = (found @ turn.T + shift).astype(np.float32)
            start[~common], kept = 0, kept & common
    parts = [kept]
    if kind == "noised":
        start[mask] = noised(rng, backbone[mask], log_uniform(rng, 0.02, 0.3))
        if rng.random() < 0.5:
            more = kept & _left_out(rng, backbone[:, 1], mask)
            start[mask] = np.where(
                more[mask][:, None, None],
                noised(rng, backbone[mask], log_uniform(rng, 0.1, 0.4)),
                start[mask],
            )
            parts = [kept & ~more, more]
    elif kind == "deformed":
        start[mask] = deformed(rng, backbone[mask], log_uniform(rng, 0.05, 0.4))
    for part in parts:
        if part.any():
            off = np.sqrt(((start - backbone)[part, 1] ** 2).sum(-1).mean())
            level[part] = max(0.01, off * np.exp(rng.normal(0, 0.25)))
    return start, level


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def deformed(
    rng: np.random.Generator, backbone: np.ndarray, rms: float, turn: bool | None = None
) -> np.ndarray:
    """Displace a backbone [L, 4, 3] by `rms` nm (CA root mean square) along soft modes.

    Residues move as rigid bodies. With `turn` they also rotate with the CA atoms around them;
    None: in half of the draws.
    """
    move = ElasticNetwork(backbone[:, 1]).displacement(rng, rms)
    if turn is None:
        turn = rng.random() < 0.5
    return displace(backbone, move, turn)


def noised(
    rng: np.random.Generator, backbone: np.ndarray, sigma: float, turn: float | None = None
) -> np.ndarray:
    """Add displacements of `sigma` nm (rms) and rotations, smoothed along the chain.

    `turn` is the standard deviation of the rotation about each axis in radians; by default it
    follows from `sigma`.
    """
    length, ca = len(backbone), backbone[:, 1:2]
    width = rng.choice([1, 3, 9])
    noise = rng.normal(size=(length + width - 1, 2, 3))
    noise = np.stack([noise[k : k + length] for k in range(width)]).sum(0) / np.sqrt(width)
    shift = noise[:, 0] * sigma / np.sqrt(3)
    turn = min(0.6, sigma / 0.3) if turn is None else turn
    angle = noise[:, 1] * turn  # a rotation vector, radians
    size = np.linalg.norm(angle, axis=-1, keepdims=True) + 1e-9
    axis, local = angle / size, backbone - ca
    axis, size = axis[:, None], size[:, None]
    turned = (
        local * np.cos(size)
        + np.cross(axis, local) * np.sin(size)
        + axis * (axis * local).sum(-1, keepdims=True) * (1 - np.cos(size))
    )
    return (turned + ca + shift[:, None]).astype(np.float32)


def _left_out(rng: np.random.Generator, ca: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mask [L] of residues to leave out: stretches of the chain, or all around one residue."""
    out = np.zeros(len(mask), bool)
    if rng.random() < 0.3:
        centre = ca[rng.choice(np.flatnonzero(mask))]
        near = np.argsort(np.linalg.norm(np.where(mask[:, None], ca, 1e3) - centre, axis=-1))
        out[near[: rng.integers(6, max(7, int(0.5 * mask.sum())))]] = True
        return out
    for _ in range(rng.integers(1, 4)):
        span = min(int(np.exp(rng.uniform(np.log(3), np.log(30)))), int(0.6 * mask.sum()))
        begin = rng.integers(0, max(1, len(mask) - span + 1))
        out[begin : begin + span] = True
    return out

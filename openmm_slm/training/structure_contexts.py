"""Random structure contexts for training a language model (NumPy, nm).

Each kind of context stands for a use: segments and patches to rebuild, missing termini, interfaces
with a known partner, templates with noise, earlier rounds of sampling, CA traces, and no structure.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from ..language.masking import masked_residues, with_rim
from ..language.structure_context import stretches
from .starts import deformed, log_uniform, noised


@dataclass(frozen=True)
class ContextShares:
    """Shares of chains with each kind of context; the rest has no structure.

    Attributes
    ----------
    spans : float
        One or more absent segments of 4 to 20 residues; all other frames are exact.
    patch : float
        Absent residues around a point in space.
    ends : float
        Absent N or C terminus, or both.
    interface : float
        Absent residues of one chain close to another chain; a segment if there is one chain.
    noised : float
        All frames displaced by 0.02 to 0.3 nm, along soft modes or by random noise. Tokens are
        partly or all hidden.
    soft : float
        Segments displaced by 0.03 to 0.6 nm, most in the middle; all other frames are exact, as
        after a round of sampling.
    trace : float
        CA only, exact or displaced; all tokens hidden.
    """

    spans: float = 0.28
    patch: float = 0.08
    ends: float = 0.07
    interface: float = 0.05
    noised: float = 0.13
    soft: float = 0.1
    trace: float = 0.1


@dataclass(frozen=True)
class DrawnContext:
    """A context and the tokens to predict.

    Attributes
    ----------
    backbone : ndarray [L, 4, 3]
        NaN where absent. CA-only residues have NaN for N, C and O.
    level : ndarray, float32 [L]
    hidden : ndarray, bool [L]
        Tokens to predict; all others are known.
    encoded : bool
        True: known tokens are encoded from the exact frames only, as in a template with missing
        residues; `hidden` then includes the rim (`masking.RIM`), whose encoded tokens the network
        sees as hints. False: known tokens are those of the true structure, as with `noise`.
    kind : str
    disordered : ndarray, bool [L], optional
        Residues whose label says disordered. Default: none.
    """

    backbone: np.ndarray
    level: np.ndarray
    hidden: np.ndarray
    encoded: bool
    kind: str
    disordered: np.ndarray | None = None


def draw_context(
    rng: np.random.Generator,
    backbone: np.ndarray,
    present: np.ndarray,
    chains: np.ndarray,
    shares: ContextShares,
    kind: str | None = None,
) -> DrawnContext:
    """Draw a context.

    Parameters
    ----------
    backbone : ndarray [L, 4, 3]
    present : ndarray, bool [L]
        Residues with coordinates.
    chains : ndarray, int [L]
    kind : str, optional
        An attribute of `ContextShares` or "nothing"; drawn by default.
    """
    if kind is None:
        names = [*asdict(shares), "nothing"]
        each = np.array([*asdict(shares).values(), 0.0])
        each[-1] = max(0.0, 1 - each.sum())
        kind = str(rng.choice(names, p=each / each.sum()))
    if present.sum() < 12:
        kind = "nothing"
    if kind in ("noised", "trace"):
        drawn = displaced(rng, backbone, present, kind, _how_far(rng, kind))
        if kind == "trace":
            return drawn
        return partly_hidden(rng, drawn, _ca(backbone, present), chains)
    if kind == "soft":
        rms = log_uniform(rng, 0.03, 0.6)
        return softened(rng, backbone, present, chains, absent_spans(rng, present), rms)
    absent = np.ones(len(present), bool)
    if kind == "spans":
        absent = absent_spans(rng, present)
    elif kind == "ends":
        absent = _ends(rng, len(present))
    elif kind in ("patch", "interface"):
        absent = _patch(rng, backbone[:, 1], present, chains, kind == "interface")
    hidden, encoded = with_rim(absent, chains), True
    if kind == "nothing" and rng.random() < 0.3:  # known tokens, but no frames
        share = log_uniform(rng, 0.05, 1.0)
        hidden, encoded = masked_residues(rng, _ca(backbone, present), share, chains), False
    level = np.where(absent | ~present, np.inf, 0.0).astype(np.float32)
    told = np.where(np.isfinite(level)[:, None, None], backbone, np.nan)
    return DrawnContext(told, level, hidden, encoded, kind)


def absent_spans(
    rng: np.random.Generator, present: np.ndarray, number: int | None = None
) -> np.ndarray:
    """Segments of 4 to 20 residues, bool [L]: one in 20 % of draws, else up to half the chain."""
    absent = np.zeros(len(present), bool)
    share = 0.0 if number or rng.random() < 0.2 else log_uniform(rng, 0.1, 0.5)
    while not absent.any() or absent.sum() < share * len(present):
        size = min(int(rng.integers(4, 21)), len(present) // 2)
        first = int(rng.integers(len(present) - size + 1))
        absent[first : first + size] = True
    return absent


def _ca(backbone: np.ndarray, present: np.ndarray) -> np.ndarray:
    return np.where(present[:, None], backbone[:, 1], np.nan)


def _ends(rng: np.random.Generator, length: int) -> np.ndarray:
    absent, which = np.zeros(length, bool), rng.integers(3)
    for end, part in ((0, absent), (1, absent[::-1])):
        if which in (end, 2):
            part[: min(int(log_uniform(rng, 3, 40)), length // 3)] = True
    return absent


def _patch(
    rng: np.random.Generator,
    ca: np.ndarray,
    present: np.ndarray,
    chains: np.ndarray,
    interface: bool,
) -> np.ndarray:
    """Residues near a random one, bool [L]; with `interface`, of one chain, close to another."""
    free = np.flatnonzero(present)
    mine = present
    if interface:
        apart = np.linalg.norm(ca[free, None] - ca[free], axis=-1)
        apart[chains[free, None] == chains[free]] = np.inf
        touching = free[apart.min(1) < 1.0]
        if not len(touching):
            return absent_spans(rng, present, 1)
        free = touching
    centre = int(rng.choice(free))
    if interface:
        mine = present & (chains == chains[centre])
    away = np.linalg.norm(ca - ca[centre], axis=-1)
    if interface and rng.random() < 0.5:  # a segment of the chain instead
        away = np.abs(np.arange(len(ca)) - centre).astype(float)
    away = np.where(mine, away, np.inf)
    size = min(int(log_uniform(rng, 5, 40)), max(1, int(mine.sum()) // 2))
    absent = np.zeros(len(ca), bool)
    absent[np.argsort(away, kind="stable")[:size]] = True
    return absent


def _how_far(rng: np.random.Generator, kind: str) -> float:
    """Random displacement of the frames, or of the CA of a trace (nm)."""
    if kind == "noised":
        return log_uniform(rng, 0.02, 0.3)
    return 0.0 if rng.random() < 0.6 else log_uniform(rng, 0.01, 0.1)


def displaced(
    rng: np.random.Generator, backbone: np.ndarray, present: np.ndarray, kind: str, rms: float
) -> DrawnContext:
    """All frames ("noised") or CA only ("trace"), displaced by `rms` nm; all tokens hidden."""
    told = np.full_like(backbone, np.nan)
    told[present] = backbone[present]
    level = np.where(present, 0.0, np.inf).astype(np.float32)
    if rms:
        soft = kind == "noised" and rng.random() < 0.5
        told[present] = (deformed if soft else noised)(rng, backbone[present], rms)
        off = np.sqrt(((told - backbone)[present, 1] ** 2).sum(-1).mean())
        level[present] = max(0.005, off * np.exp(rng.normal(0, 0.25)))
    if kind == "trace":
        told[:, [0, 2, 3]] = np.nan
    return DrawnContext(told, level, np.ones(len(present), bool), False, kind)


def softened(
    rng: np.random.Generator,
    backbone: np.ndarray,
    present: np.ndarray,
    chains: np.ndarray,
    inside: np.ndarray,
    rms: float,
) -> DrawnContext:
    """Displace the segments `inside` by `rms` nm, most in the middle, and rotate their frames."""
    told = np.full_like(backbone, np.nan)
    told[present] = backbone[present]
    level = np.where(present, 0.0, np.inf).astype(np.float32)
    for first, end in stretches(inside, chains):
        rows = np.arange(first, end)[present[first:end]]
        if not len(rows):
            continue
        share = (rows - first + 1) / (end - first + 1)
        waves = np.stack([np.sin(np.pi * share), np.sin(2 * np.pi * share)], 1)
        move = waves @ rng.normal(size=(2, 3)) + rng.normal(0, 0.1, (len(rows), 3))
        move *= rms / np.sqrt((move**2).sum(-1).mean())
        told[rows] = noised(rng, backbone[rows], 0.15 * rms, min(0.8, 3 * rms))
        told[rows] += move[:, None].astype(np.float32)
        off = np.sqrt(((told - backbone)[rows, 1] ** 2).sum(-1).mean())
        level[rows] = max(0.005, off * np.exp(rng.normal(0, 0.25)))
    return DrawnContext(told, level, with_rim(inside, chains), True, "soft")


def partly_hidden(
    rng: np.random.Generator, drawn: DrawnContext, ca: np.ndarray, chains: np.ndarray
) -> DrawnContext:
    """Reveal some tokens in half of the draws, and remove a segment in 30 %."""
    hidden, level, told = drawn.hidden, drawn.level.copy(), drawn.backbone.copy()
    if rng.random() < 0.5:
        hidden = masked_residues(rng, ca, log_uniform(rng, 0.05, 1.0), chains)
    if rng.random() < 0.3:
        level[absent_spans(rng, np.isfinite(ca[:, 0]), 1) & hidden] = np.inf
    told[~np.isfinite(level)] = np.nan
    return DrawnContext(told, level, hidden, False, drawn.kind)

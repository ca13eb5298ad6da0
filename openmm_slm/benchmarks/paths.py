"""``openmm-slm benchmark paths``: paths between the two conformers of a protein."""

from __future__ import annotations

import logging
import os

import numpy as np

from ..errors import SLMError, StructureError
from ..language.interface import check_integer
from ..protein.superposition import rmsd
from ..protein.trajectory import from_trajectory
from ..relaxation.relaxing import relax
from ..sampling.ensemble import EnsembleGenerator
from .conformer_pairs import on_sequence, present
from .references import Reference, load_pair, read_references
from .text_table import Column, text_table

logger = logging.getLogger(__name__)

_COLUMNS = {
    "pair (nm)": Column("pair", 2),
    "to first": Column("first", 3),
    "to last": Column("last", 3),
    "in order": Column("ordered", 2),
    "valid": Column("valid", 2),
    "relaxed": Column("relaxed", 2),
}


def benchmark_paths(
    references: str | os.PathLike,
    model: str | os.PathLike = "default",
    device: str = "auto",
    *,
    targets: tuple[str, ...] = (),
    n: int = 50,
    every: int = 10,
    seed: int = 0,
) -> str:
    """Table of paths between pairs of conformers, without relaxation.

    Parameters
    ----------
    references : path
        See `openmm_slm.benchmarks.references`; the rows of kind "pair" are used.
    targets : tuple of str
        Ids of pairs; default all.
    n, seed : int
        Frames of a path, and its seed.
    every : int
        Only each so-manieth frame is relaxed, the first included.

    Returns
    -------
    str
        For each pair: CA RMSD of the conformers, smallest CA RMSD of a frame from the first and
        from the last (nm), share of steps that come closer to the last relative to the first, share
        of valid frames, and of valid ones among the relaxed frames.
    """
    check_integer("n", n, 3, "frames of a path")
    check_integer("every", every, 1, "of so many frames one is relaxed")
    pairs = [each for each in read_references(references) if each.is_pair]
    unknown = sorted(set(targets) - {each.id for each in pairs})
    if unknown or not pairs:
        raise StructureError(
            f"{references}: no pair {unknown[0]!r} in targets.csv; leave --target out for all pairs"
            if unknown
            else f"{references}: no row of kind 'pair' in targets.csv; nothing to do"
        )
    generator = EnsembleGenerator.from_pretrained(model, device)
    rows = {
        each.id: _path(generator, each, n, every, seed)
        for each in pairs
        if not targets or each.id in targets
    }
    return text_table(f"paths of {n} frames, every {every}th relaxed", rows, _COLUMNS)


def _path(
    generator: EnsembleGenerator, pair: Reference, n: int, every: int, seed: int
) -> dict[str, float]:
    """Row of one pair; empty, with a warning, if the conformers are not of one sequence."""
    states = list(load_pair(pair))
    options = {"template": states, "path": True, "seed": seed, "progress": False}
    try:
        made = generator.sample(pair.sequence, n, **options)
    except SLMError as error:
        logger.warning("%s has no path: %s", pair.id, error)
        return {}
    ca = from_trajectory(made.trajectory).backbone[:, :, 1].astype(np.float64)
    ends = [
        on_sequence(each.backbone[0, :, 1].astype(np.float64), each.sequence, pair.sequence)
        for each in states
    ]
    common = present(np.stack(ends))
    first, last = (end[common] for end in ends)
    away = np.stack([rmsd(ca[:, common], end) for end in (first, last)])
    progress = (away[0] - away[1]) / (away[0] + away[1])
    relaxed = relax(made.trajectory[::every], progress=False).report["valid"]
    return {
        "pair": float(rmsd(first, last)),
        "first": away[0].min(),
        "last": away[1].min(),
        "ordered": (np.diff(progress) > 0).mean(),
        "valid": made.report["valid"].mean(),
        "relaxed": relaxed.mean(),
    }

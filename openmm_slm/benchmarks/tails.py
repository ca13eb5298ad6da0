"""Disordered tails on folds of shards: is the fold held, is the tail as a free peptide."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from ..data.shards import Entry, ShardDataset
from ..disorder.wished_size import radius_of_gyration
from ..errors import StructureError
from ..relaxation.relaxing import relax
from ..sampling.ensemble import EnsembleGenerator
from .samples import native_structure
from .text_table import Column, text_table

if TYPE_CHECKING:
    import mdtraj

TAIL = "GSSGSEPTRKDNAQESTPGLKDEYRANGSPTEHDKLSQAV"
_LENGTHS = 80, 130  # residues of the folds
_COLUMNS = {
    "fold moved, A": Column("moved", 4, 10),
    "valid, %": Column("valid", 0, 100),
    "relaxed, %": Column("relaxed", 0, 100),
    "tail Rg, nm": Column("rg", 2),
    "free, nm": Column("free", 2),
}


def tails_table(
    generator: EnsembleGenerator,
    data: str | os.PathLike,
    *,
    split: str = "test",
    folds: int = 3,
    n: int = 50,
    seed: int = 1,
) -> str:
    """Table of a tail of 40 residues at either end of whole chains with side chains.

    Largest displacement of CA of the fold, valid frames before and after relaxation, and the radius
    of gyration of the tail (CA, root mean square) beside that of the peptide alone.
    """
    free = generator.sample(TAIL, n, disordered="all", sidechains=None, seed=seed, progress=False)
    alone = _mean_size(_ca(free.trajectory))
    table = {}
    for entry in _folds(ShardDataset(data, split, "heavy"), folds):
        length = len(entry.sequence)
        template = native_structure(entry.atoms, entry.sequence)
        for end, sequence, fold in (
            ("N", TAIL + entry.sequence, slice(len(TAIL), None)),
            ("C", entry.sequence + TAIL, slice(0, length)),
        ):
            tail = np.ones(len(sequence), bool)
            tail[fold] = False
            made = generator.sample(
                sequence, n, template=template, disordered=np.flatnonzero(tail).tolist(),
                seed=seed, progress=False,
            )  # fmt: skip
            ca = _ca(made.trajectory)
            away = np.linalg.norm(ca[:, fold] - entry.backbone[:, 1], axis=-1)
            table[f"{entry.id}, {length} residues, {end}"] = {
                "moved": away.max(),
                "valid": made.report["valid"].mean(),
                "relaxed": relax(made.trajectory, progress=False).report["valid"].mean(),
                "rg": _mean_size(ca[:, tail]),
                "free": alone,
            }
    title = f"tail of {len(TAIL)} residues at either end of {split} chains, {n} frames each"
    return text_table(title, table, _COLUMNS)


def _folds(dataset: ShardDataset, number: int) -> list[Entry]:
    """The first whole chains of 80 to 130 residues, of different clusters."""
    found = []
    for group in dataset.clusters():
        entry = dataset[int(group[0])]
        whole = entry.chain_break.sum() == 1 and np.isfinite(entry.backbone).all()
        if whole and _LENGTHS[0] < len(entry.sequence) < _LENGTHS[1]:
            found.append(entry)
        if len(found) == number:
            return found
    raise StructureError(
        f"{dataset.directory}: {len(found)} whole chains of {_LENGTHS[0]} to {_LENGTHS[1]} "
        f"residues with side chains, {number} are needed"
    )


def _ca(trajectory: mdtraj.Trajectory) -> np.ndarray:
    return trajectory.xyz[:, trajectory.topology.select("name CA")]


def _mean_size(ca: np.ndarray) -> float:
    return float(np.sqrt((radius_of_gyration(ca) ** 2).mean()))

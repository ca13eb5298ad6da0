"""``openmm-slm benchmark complexes``: complexes sampled from their own structure."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import numpy as np

from ..data.shards import Entry, ShardDataset
from ..errors import StructureError
from ..language.interface import check_integer
from ..models.registry import model_identity
from ..protein.structure import find_chain_breaks, from_backbone
from ..protein.superposition import rmsd, superpose
from ..protein.trajectory import from_trajectory
from ..sampling.ensemble import EnsembleGenerator
from .apo_holo import rows_of
from .benchmark_workers import Workers
from .results import ResultTable, hold_folder
from .samplers_and_baselines import sample_quietly, template_settings
from .text_table import Column, text_table

CONTACT = 0.8  # nm, between CA atoms of two chains
PEPTIDE = 30  # residues of a chain, at most, that is called a peptide
_COLUMNS = {
    "RMSD, A": Column("rmsd_nm", 2, 10),
    "last chain, A": Column("last_chain_nm", 2, 10),
    "contacts, %": Column("contacts", 0, 100),
    "valid, %": Column("valid", 0, 100),
}


def benchmark_complexes(
    data: str | os.PathLike,
    output: str | os.PathLike | None = None,
    model: str | os.PathLike = "default",
    device: str = "auto",
    *,
    splits: Sequence[str] = ("test_antibody", "test"),
    of_each: int = 2,
    longest: int = 450,
    n: int = 10,
    seed: int = 0,
    noise: Sequence[float] = (0.05, 0.3),
    rounds: Sequence[int] = (1,),
    processes: int = 1,
    progress: bool = True,
) -> str:
    """Table of complexes sampled with their own structure as template, with all atoms.

    Parameters
    ----------
    data : path
        Shard directory with entries of several chains.
    output : path, optional
        Folder for ``targets.csv`` (one row for each finished complex) and ``run.json``.
    splits : sequence of str
        Searched in this order; those that the data lack are passed over.
    of_each : int
        Antibodies, homodimers, complexes with a peptide, and others.
    longest : int
        Residues of a complex.
    n, seed : int
        Samples at each setting.
    noise, rounds : sequence of numbers
        Settings of the sampler, all combinations.
    processes : int
        Complexes measured at a time, each with one thread.

    Returns
    -------
    str
        Median CA RMSD from the template; that of the last chain, the other chains superposed;
        share of contacts between chains (CA within 0.8 nm) that samples keep; valid frames.
    """
    check_integer("of_each", of_each, 1, "complexes of each kind")
    check_integer("n", n, 1, "samples at each setting")
    check_integer("processes", processes, 1, "complexes at a time")
    targets = choose_complexes(data, splits, of_each, longest)
    settings = template_settings(noise, rounds)
    run = {"model": model_identity(model), "n": n, "seed": seed, "settings": list(settings)}
    with hold_folder(output), Workers(model, device, processes) as workers:
        table = ResultTable(output, run)
        rows = workers.rows(
            table, score_complex, targets, settings, n, seed, unit="complex", progress=progress
        )
    shown = {
        f"{name}, {len(targets[name].sequence)}, {setting}": rows_of(setting, [row])[0]
        for name, row in rows.items()
        for setting in settings
    }
    for setting in settings:
        found = rows_of(setting, list(rows.values()))
        shown[f"median, {setting}"] = {
            figure: float(np.median([row[figure] for row in found])) for figure in found[0]
        }
    return text_table(
        f"{len(rows)} complexes with their residues, {n} samples each", shown, _COLUMNS
    )


def choose_complexes(
    data: str | os.PathLike, splits: Sequence[str], of_each: int, longest: int
) -> dict[str, Entry]:
    """Complexes without gaps and without a chain in training, by name and kind."""
    present = {row["split"] for row in ShardDataset(data).rows}
    chosen: dict[str, Entry] = {}
    counts: dict[str, int] = {}
    for split in (split for split in splits if split in present):
        dataset = ShardDataset(data, split)
        for number, row in enumerate(dataset.rows):
            chains = row["sequence"].split(":")
            if len(chains) < 2 or dataset.lengths[number] > longest or "X" in row["sequence"]:
                continue
            kind = kind_of(chains)
            if row.get("has_train_chain", "0") != "0" or counts.get(kind, 0) == of_each:
                continue
            entry = dataset[number]
            if not np.isfinite(entry.backbone).all():
                continue
            if find_chain_breaks(entry.backbone, entry.chain_index).sum() == len(chains):
                counts[kind] = counts.get(kind, 0) + 1
                name = f"{row['pdb']} {row['chain']}" if row.get("pdb") else entry.id
                chosen[f"{name} ({kind})"] = entry
    if not chosen:
        raise StructureError(
            f"{data}: no complete entries of several chains and at most {longest} residues in the "
            f"splits {', '.join(splits)}; prepare some with `openmm-slm prepare --complexes`"
        )
    return chosen


def kind_of(chains: Sequence[str]) -> str:
    """``peptide``, ``antibody`` (a chain with W-G-x-G), ``homodimer`` or ``other``."""
    if min(map(len, chains)) <= PEPTIDE:
        return "peptide"
    if any(re.search("WG.G", chain) for chain in chains):
        return "antibody"
    return "homodimer" if len(set(chains)) < len(chains) else "other"


def score_complex(
    generator: EnsembleGenerator,
    entry: Entry,
    settings: dict[str, dict[str, float]],
    n: int,
    seed: int,
) -> dict[str, float]:
    """Figures of one complex at all settings, named ``<setting> <figure>``."""
    chains = np.split(
        np.array(list(entry.sequence)), np.flatnonzero(np.diff(entry.chain_index)) + 1
    )
    sequence = ":".join("".join(chain) for chain in chains)
    template = from_backbone(entry.backbone[None], sequence)
    row = {}
    for name, chosen in settings.items():
        made = sample_quietly(generator, sequence, n, seed, template=template, **chosen)
        ca = from_trajectory(made.trajectory).backbone[:, :, 1]
        found = complex_figures(ca, entry.backbone[:, 1], entry.chain_index)
        found["valid"] = float(made.report["valid"].mean())
        row |= {f"{name} {figure}": value for figure, value in found.items()}
    return row


def complex_figures(ca: np.ndarray, true: np.ndarray, chain_index: np.ndarray) -> dict[str, float]:
    """Figures of samples [F, L, 3] of CA and the template [L, 3] (nm) with chains int [L]."""
    ca, true = ca.astype(np.float64), true.astype(np.float64)
    last = chain_index == chain_index.max()
    moved, _, _ = superpose(ca, true, ~last)
    off = np.sqrt(((moved - true)[:, last] ** 2).sum(-1).mean(-1))
    between = chain_index[:, None] < chain_index
    touching = between & (np.linalg.norm(true[:, None] - true, axis=-1) < CONTACT)
    apart = np.linalg.norm(ca[:, :, None] - ca[:, None], axis=-1)[:, touching]
    return {
        "rmsd_nm": float(np.median(rmsd(ca, true))),
        "last_chain_nm": float(np.median(off)),
        "contacts": float((apart < CONTACT).mean()) if touching.any() else float("nan"),
    }

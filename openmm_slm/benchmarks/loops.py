"""``openmm-slm benchmark loops``: loops resampled with the rest of the protein held fixed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..data.shards import Entry, ShardDataset
from ..errors import StructureError
from ..language.interface import check_integer
from ..models.registry import model_identity
from ..projection.close_peptides import close_peptide_bonds
from ..protein.protein import Protein
from ..protein.structure import ProteinStructure, find_chain_breaks, from_backbone
from ..protein.trajectory import from_trajectory
from ..sampling.ensemble import EnsembleGenerator
from .benchmark_workers import Workers
from .results import ResultTable, hold_folder
from .samplers_and_baselines import sample_quietly
from .samples import choose_chains, secondary_structure
from .text_table import Column, text_table

LONGEST = 250  # residues of a chain
SHORTEST_LOOP, LONGEST_LOOP = 8, 12  # residues of a coil loop
FROM_ENDS = 5  # residues of the chain on either side of a coil loop, at least
PEPTIDE = 0.133  # nm, C-N
_FIGURES = {  # label: figure and the factor to what is shown
    "best sample, A": ("best_nm", 10),
    "median sample, A": ("median_nm", 10),
    "sample that the projection moved least, A": ("least_moved_nm", 10),
    "random closure: best, A": ("random_best_nm", 10),
    "random closure: median, A": ("random_median_nm", 10),
    "valid backbones, %": ("valid", 100),
    "largest C-N deviation, A": ("bond_nm", 10),
    "fixed atoms unchanged (1: all)": ("fixed", 1),
}
_QUARTILES = {"median": 50, "25 %": 25, "75 %": 75}


@dataclass(frozen=True, eq=False)
class Loop:
    """A stretch of a protein.

    Attributes
    ----------
    native : ProteinStructure
    rows : ndarray, int [K]
        Residues of the loop, consecutive.
    """

    native: ProteinStructure
    rows: np.ndarray


def benchmark_loops(
    data: str | os.PathLike,
    output: str | os.PathLike | None = None,
    model: str | os.PathLike = "default",
    device: str = "auto",
    *,
    split: str = "test",
    antibodies: str = "test_antibody",
    chains: int = 30,
    n: int = 50,
    seed: int = 0,
    processes: int = 1,
    progress: bool = True,
) -> str:
    """Table of loops resampled with all other residues fixed, beside random closures.

    Parameters
    ----------
    data : path
        Shard directory.
    output : path, optional
        Folder for ``targets.csv`` (one row for each finished loop) and ``run.json``.
    split : str
        Split of the chains with a coil loop, of 8 to 12 residues.
    antibodies : str
        Split of antibodies, of which CDR-H3 is resampled; left out where there is no such split.
    chains : int
        Chains with a coil loop; see `openmm_slm.benchmarks.samples.choose_chains`.
    n, seed : int
        Samples of a loop.
    processes : int
        Loops measured at a time, each with one thread.

    Returns
    -------
    str
        Medians and quartiles over loops. RMSD is of N, CA and C of the loop, the fixed residues
        superposed. A random closure is an arc between the ends of the loop that the projection
        makes a chain.
    """
    check_integer("chains", chains, 1, "chains with a loop")
    check_integer("n", n, 1, "samples of a loop")
    check_integer("processes", processes, 1, "loops at a time")
    kinds = {"coil": dict(coil_loops(data, split, chains)), "CDR-H3": {}}
    if any(row["split"] == antibodies for row in ShardDataset(data).rows):
        kinds["CDR-H3"] = dict(cdr_h3_loops(data, antibodies))
    targets = {
        f"{kind} {name}": loop for kind, loops in kinds.items() for name, loop in loops.items()
    }
    if not targets:
        raise StructureError(f"{data}: no loops in the splits {split} and {antibodies}")
    run = {"model": model_identity(model), "n": n, "seed": seed}
    with hold_folder(output), Workers(model, device, processes) as workers:
        table = ResultTable(output, run)
        rows = workers.rows(table, score_loop, targets, n, seed, unit="loop", progress=progress)
    tables = []
    for kind, loops in kinds.items():
        found = [rows[f"{kind} {name}"] for name in loops]
        if found:
            tables.append(_table(f"{len(found)} loops ({kind}), {n} samples each", found))
    return "\n\n".join(tables)


def coil_loops(data: str | os.PathLike, split: str, chains: int) -> Iterator[tuple[str, Loop]]:
    """Name and coil loop of so many chains."""
    dataset = ShardDataset(data, split, ("backbone", "heavy", "shard"))
    for entry in choose_chains(dataset, chains, LONGEST, lambda x: len(coil_stretch(x)) > 0):
        native = from_backbone(entry.backbone[None], entry.sequence)
        yield entry.id, Loop(native, coil_stretch(entry))


def coil_stretch(entry: Entry) -> np.ndarray:
    """Rows of a stretch drawn among those that are coil but for at most two residues, or none."""
    rng = np.random.default_rng(len(entry.sequence))
    (states,) = secondary_structure(entry.backbone[None], entry.sequence)
    size = int(rng.integers(SHORTEST_LOOP, LONGEST_LOOP + 1))
    starts = [
        first
        for first in range(FROM_ENDS, len(states) - size - FROM_ENDS)
        if (states[first : first + size] == "C").sum() >= size - 2
    ]
    return np.arange(size) + rng.choice(starts) if starts else np.empty(0, int)


def cdr_h3_loops(data: str | os.PathLike, split: str) -> Iterator[tuple[str, Loop]]:
    """Name and CDR-H3 of the Fv of each distinct heavy chain without a chain in training."""
    dataset = ShardDataset(data, split, ("complex", "shard"))
    seen = set()
    for number, row in enumerate(dataset.rows):
        parts = variable_domains(row["sequence"].split(":"))
        if len(parts) < 2 or row.get("has_train_chain", "0") != "0":
            continue
        letters, backbone = row["sequence"].replace(":", ""), dataset[number].backbone
        heavy, light = ("".join(letters[i] for i in parts[name]) for name in "HL")
        loop = cdr_h3(heavy)
        whole = np.concatenate([parts["H"], parts["L"]])
        complete = np.isfinite(backbone[whole]).all() and "X" not in heavy + light
        if heavy in seen or len(loop) < 3 or not complete:
            continue
        native = from_backbone(backbone[whole][None], f"{heavy}:{light}", ("H", "L"))
        if find_chain_breaks(native.backbone[0], native.chain_index).sum() > 2:
            continue  # residues are missing
        seen.add(heavy)
        yield f"{row['pdb']} {heavy[loop[0] : loop[-1] + 1]}", Loop(native, loop)


def variable_domains(sequences: list[str]) -> dict[str, np.ndarray]:
    """Rows of the variable domains ``H`` and ``L`` of the first heavy and light chain found."""
    parts: dict[str, np.ndarray] = {}
    first = 0
    for sequence in sequences:
        for name, motif in (("H", "W[GA].G"), ("L", "FG.GT")):
            match = re.search(motif, sequence)
            if match and name not in parts and len(sequence) > 90:
                parts[name] = np.arange(first, first + min(match.end() + 8, len(sequence)))
        first += len(sequence)
    return parts


def cdr_h3(heavy: str) -> np.ndarray:
    """Rows of CDR-H3: after C-x-x, before W-G-x-G."""
    stop = re.search("W[GA].G", heavy).start()
    return np.arange(heavy.rfind("C", 0, stop) + 3, stop)


def score_loop(generator: EnsembleGenerator, loop: Loop, n: int, seed: int) -> dict[str, float]:
    """Figures of one loop; see `benchmark_loops`."""
    native, rows = loop.native, loop.rows
    made = sample_quietly(
        generator, native.chain_sequences, n, seed, template=native, resample=rows, sidechains=None
    )
    true, x = native.backbone[0], from_trajectory(made.trajectory).backbone
    fixed = np.isin(np.arange(len(true)), rows, invert=True)
    bonds = np.linalg.norm(x[:, 1:, 0] - x[:, :-1, 2], axis=-1)[:, rows[0] - 1 : rows[-1] + 1]
    closed = random_closures(native, rows, n, int(rows[0]))
    sampled, random = (
        np.sqrt(((y[:, rows, :3] - true[rows, :3]) ** 2).sum(-1).mean((1, 2))) for y in (x, closed)
    )
    return {
        "best_nm": float(sampled.min()),
        "median_nm": float(np.median(sampled)),
        "least_moved_nm": float(sampled[np.argmin(made.report["projection_moved_nm"])]),
        "random_best_nm": float(random.min()),
        "random_median_nm": float(np.median(random)),
        "valid": float(made.report["valid"].mean()),
        "bond_nm": float(np.abs(bonds - PEPTIDE).max()),
        "fixed": float((x[:, fixed, :3] == true[fixed, :3]).all()),
    }


def random_closures(native: ProteinStructure, rows: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Backbones [n, L, 4, 3] whose loop is a random arc between its ends, closed by projection."""
    rng, x = np.random.default_rng(seed), native.backbone[0]
    frames = np.repeat(x[None], n, 0)
    ends = x[[rows[0] - 1, rows[-1] + 1], 1]
    share = np.linspace(0, 1, len(rows) + 2)[1:-1, None]
    line = ends[0] * (1 - share) + ends[1] * share
    bulge = np.sqrt(share * (1 - share)) * 0.38 * np.sqrt(len(rows))
    for frame in range(n):
        walk = line + bulge * rng.normal(0, 0.6, (1, 3)) + rng.normal(0, 0.1, line.shape)
        frames[frame, rows] = x[rows] - x[rows, 1:2] + walk[:, None]
    weight = np.isin(np.arange(len(x)), rows).astype(float)
    protein = Protein(native.sequence, native.chain_break)
    return close_peptide_bonds(frames.astype(np.float32), protein, weight)[0]


def _table(title: str, rows: list[dict[str, float]]) -> str:
    shown = {}
    for label, (figure, factor) in _FIGURES.items():
        values = np.percentile([factor * row[figure] for row in rows], list(_QUARTILES.values()))
        shown[label] = dict(zip(_QUARTILES, map(float, values), strict=True))
    return text_table(title, shown, {name: Column(name, 3) for name in _QUARTILES})

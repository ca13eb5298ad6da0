"""``openmm-slm benchmark loops``: loops resampled with the rest of the protein held fixed."""

from __future__ import annotations

import os
import time

import numpy as np

from ..data.shards import ShardDataset
from ..errors import StructureError
from ..language.interface import check_integer
from ..library.library import Library
from ..library.registry import load_library
from ..models.registry import model_identity
from ..projection.close_peptides import close_peptide_bonds
from ..protein.protein import Protein
from ..protein.sequence import encode_sequence
from ..protein.structure import ProteinStructure
from ..protein.trajectory import from_trajectory
from ..sampling.ensemble import EnsembleGenerator
from ..sampling.segment_pool import best_frames
from .benchmark_workers import Workers
from .loop_targets import Loop, cdr_h3_loops, coil_loops, interface_loops
from .results import ResultTable, hold_folder
from .samplers_and_baselines import sample_quietly
from .text_table import Column, text_table

LENGTHS = range(4, 17, 2)  # residues of the loops of `by_length`
TRAINING = "train"  # split of the library whose fragments are used
SIMILAR = 0.7  # share of identical letters of a loop in relatives that are left out
PEPTIDE = 0.133  # nm, C-N
_FIGURES = {  # label: figure and the factor to what is shown
    "best sample, A": ("best_nm", 10),
    "median sample, A": ("median_nm", 10),
    "sample with the highest score, A": ("top_nm", 10),
    "best of five (best=5), A": ("top5_nm", 10),
    "random closure: best, A": ("random_best_nm", 10),
    "random closure: median, A": ("random_median_nm", 10),
    "valid backbones, %": ("valid", 100),
    "seconds a loop": ("seconds", 1),
    "largest C-N deviation, A": ("bond_nm", 10),
    "fixed atoms unchanged (1: all)": ("fixed", 1),
}
_QUARTILES = {"median": 50, "25 %": 25, "75 %": 75}


def benchmark_loops(
    data: str | os.PathLike,
    output: str | os.PathLike | None = None,
    model: str | os.PathLike = "default",
    device: str = "auto",
    *,
    split: str = "test",
    antibodies: str = "test_antibody",
    chains: int = 30,
    by_length: int = 0,
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
    by_length : int
        Chains with a coil loop of each length from 4 to 16, and spans of 10 residues of one chain
        that touch another, sampled with and without the other chain. 0: neither.
    n, seed : int
        Samples of a loop.
    processes : int
        Loops measured at a time, each with one thread.

    Returns
    -------
    str
        Medians and quartiles over loops. RMSD is of N, CA and C of the loop, the fixed residues
        superposed. Fragments are those of training chains in the shipped library, without the
        entry of the loop. Training chains are no relatives of a coil loop; for CDR-H3 and
        interfaces, chains with 70 % of the letters of the loop are left out too. A random closure
        is an arc between the ends of the loop that the projection makes a chain.
    """
    check_integer("chains", chains, 1, "chains with a loop")
    check_integer("n", n, 1, "samples of a loop")
    check_integer("processes", processes, 1, "loops at a time")
    kinds = {"coil": dict(coil_loops(data, split, chains)), "CDR-H3": {}}
    if any(row["split"] == antibodies for row in ShardDataset(data).rows):
        kinds["CDR-H3"] = dict(cdr_h3_loops(data, antibodies))
    for size in LENGTHS if by_length else ():
        kinds[f"coil of {size}"] = dict(coil_loops(data, split, by_length, size))
    if by_length:
        both = list(interface_loops(data, split))
        kinds["span at an interface"] = {name: loop for name, loop, _ in both}
        kinds["the same without the other chain"] = {name: loop for name, _, loop in both}
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


def score_loop(generator: EnsembleGenerator, loop: Loop, n: int, seed: int) -> dict[str, float]:
    """Figures of one loop; see `benchmark_loops`."""
    native, rows = loop.native, loop.rows
    start = time.perf_counter()
    known = {"splits": [TRAINING], "exclude": [loop.entry]}  # no loop may find itself
    if loop.related:
        letters = "".join(native.sequence[row] for row in rows)
        known["exclude"] += similar_chains(load_library(), letters)
    made = sample_quietly(
        generator, native.chain_sequences, n, seed, template=native, resample=rows, sidechains=None,
        fragments=known,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    true, x = native.backbone[0], from_trajectory(made.trajectory).backbone
    fixed = np.isin(np.arange(len(true)), rows, invert=True)
    bonds = np.linalg.norm(x[:, 1:, 0] - x[:, :-1, 2], axis=-1)[:, rows[0] - 1 : rows[-1] + 1]
    closed = random_closures(native, rows, n, int(rows[0]))
    sampled, random = (
        np.sqrt(((y[:, rows, :3] - true[rows, :3]) ** 2).sum(-1).mean((1, 2))) for y in (x, closed)
    )
    score = made.report["segment_score"]
    five = best_frames(score, x[:, rows, :3], 5)
    return {
        "best_nm": float(sampled.min()),
        "median_nm": float(np.median(sampled)),
        "top_nm": float(sampled[score.argmax()]),
        "top5_nm": float(sampled[five].min()),
        "random_best_nm": float(random.min()),
        "random_median_nm": float(np.median(random)),
        "valid": float(made.report["valid"].mean()),
        "seconds": seconds,
        "bond_nm": float(np.abs(bonds - PEPTIDE).max()),
        "fixed": float((x[:, fixed, :3] == true[fixed, :3]).all()),
    }


def similar_chains(library: Library, letters: str) -> list[str]:
    """Ids of library chains that have 70 % or more of the letters of a loop in one stretch."""
    every, wanted = library.files.array("letters"), encode_sequence(letters)
    count = len(every) - len(wanted) + 1
    same = np.zeros(count, np.int16)
    for place, letter in enumerate(wanted):
        same += every[place : place + count] == letter
    first = np.flatnonzero(same >= SIMILAR * len(wanted))
    numbers = np.unique(np.searchsorted(library.begin, first, "right") - 1)
    return [library.chains[number].id for number in numbers]


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

"""Loops that ``openmm-slm benchmark loops`` resamples."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..data.shards import Entry, ShardDataset
from ..protein.structure import ProteinStructure, find_chain_breaks
from .samples import choose_chains, native_structure, secondary_structure

LONGEST = 250  # residues of a chain
SHORTEST_LOOP, LONGEST_LOOP = 8, 12  # residues of a coil loop
FROM_ENDS = 5  # residues of the chain on either side of a coil loop, at least
TOUCHING = 0.8  # nm, CA of two chains
INTERFACE = 10  # residues of a span at an interface
LARGEST_COMPLEX = 600  # residues


@dataclass(frozen=True, eq=False)
class Loop:
    """A stretch of a protein.

    Attributes
    ----------
    native : ProteinStructure
    rows : ndarray, int [K]
        Residues of the loop, consecutive.
    entry : str
        Id or PDB entry.
    related : bool
        Chains of the training split may be relatives, as with antibodies.
    """

    native: ProteinStructure
    rows: np.ndarray
    entry: str = ""
    related: bool = False


def coil_loops(
    data: str | os.PathLike, split: str, chains: int, size: int | None = None
) -> Iterator[tuple[str, Loop]]:
    """Name and coil loop, of 8 to 12 or `size` residues, of so many chains."""
    dataset = ShardDataset(data, split, ("backbone", "heavy", "shard"))
    for entry in choose_chains(dataset, chains, LONGEST, lambda x: len(coil_stretch(x, size)) > 0):
        native = native_structure(entry.atoms, entry.sequence)
        yield entry.id, Loop(native, coil_stretch(entry, size), entry.id)


def coil_stretch(entry: Entry, size: int | None = None) -> np.ndarray:
    """Rows of a stretch drawn among those that are coil but for at most two residues, or none."""
    rng = np.random.default_rng(len(entry.sequence))
    (states,) = secondary_structure(entry.backbone[None], entry.sequence)
    size = size or int(rng.integers(SHORTEST_LOOP, LONGEST_LOOP + 1))
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
        letters, atoms = row["sequence"].replace(":", ""), dataset[number].atoms
        heavy, light = ("".join(letters[i] for i in parts[name]) for name in "HL")
        loop = cdr_h3(heavy)
        whole = np.concatenate([parts["H"], parts["L"]])
        complete = np.isfinite(atoms[whole, :4]).all() and "X" not in heavy + light
        if heavy in seen or len(loop) < 3 or not complete:
            continue
        native = native_structure(atoms[whole], f"{heavy}:{light}", ("H", "L"))
        if find_chain_breaks(native.backbone[0], native.chain_index).sum() > 2:
            continue  # residues are missing
        seen.add(heavy)
        name = f"{row['pdb']} {heavy[loop[0] : loop[-1] + 1]}"
        yield name, Loop(native, loop, row["pdb"], related=True)


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


def interface_loops(data: str | os.PathLike, split: str) -> Iterator[tuple[str, Loop, Loop]]:
    """Name of a complex, and the span of a chain with most contacts to others: with these, alone.

    One span of each complex without a chain in training.
    """
    dataset = ShardDataset(data, split, ("complex",))
    for number, row in enumerate(dataset.rows):
        if row.get("has_train_chain", "0") != "0" or int(row["length"]) > LARGEST_COMPLEX:
            continue
        atoms, chains = dataset[number].atoms, row["sequence"].split(":")
        backbone = atoms[:, :4]
        chain = np.repeat(np.arange(len(chains)), [len(x) for x in chains])
        if not np.isfinite(backbone).all() or "X" in row["sequence"]:
            continue
        native = native_structure(atoms, row["sequence"])
        if find_chain_breaks(native.backbone[0], native.chain_index).sum() > len(chains):
            continue  # residues are missing
        rows = interface_span(backbone[:, 1], chain)
        if not len(rows):
            continue
        mine = np.flatnonzero(chain == chain[rows[0]])
        alone = native_structure(atoms[mine], chains[chain[rows[0]]])
        entry = row.get("pdb") or row["id"]
        yield row["id"], Loop(native, rows, entry, True), Loop(alone, rows - mine[0], entry, True)


def interface_span(ca: np.ndarray, chain: np.ndarray) -> np.ndarray:
    """Rows of the span of one chain with most residues close to another chain, or none."""
    distance = np.linalg.norm(ca[:, None] - ca, axis=-1)
    distance[chain[:, None] == chain] = np.inf
    touching = (distance.min(1) < TOUCHING).astype(float)
    best, rows = 0.0, np.empty(0, int)
    for first in range(FROM_ENDS, len(ca) - INTERFACE - FROM_ENDS):
        whole = slice(first - FROM_ENDS, first + INTERFACE + FROM_ENDS)
        inside = touching[first : first + INTERFACE].sum()
        if inside > best and len(set(chain[whole])) == 1:
            best, rows = inside, np.arange(first, first + INTERFACE)
    return rows

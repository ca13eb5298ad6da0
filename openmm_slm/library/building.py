"""Make a structure library from a shard directory."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..data.shards import ShardDataset
from ..errors import StructureError
from ..protein.sequence import AMINO_ACIDS, encode_sequence
from .backbone_blocks import pack_block
from .codebook import encode_columns, train_codebook
from .library import LONGEST, SHORTEST
from .registry import load_library
from .significance import Significance
from .storage import BLOCK, write_library

ERROR = 0.01  # nm, largest displacement of an atom

_CARD = """\
# Structure library

{chains} chains with {residues} residues from the shard directory `{source}`; {profiles} of them
have a sequence profile.
"""


class _Chain(NamedTuple):
    """A chain to put in the library: its row in the dataset, and its residues there."""

    row: int
    id: str
    sequence: str
    part: slice


def build_library(
    shards: str | os.PathLike,
    output: str | os.PathLike,
    *,
    profiles: str | os.PathLike | None = None,
    codebook: str | os.PathLike | None = None,
    one_per: str | None = None,
    complexes: bool = False,
    card: str | None = None,
) -> dict[str, int]:
    """Make a structure library from a shard directory.

    Chains of fewer than 20 or more than 2,000 residues are left out, as are chains that repeat the
    sequence of an earlier one (with `complexes`: complexes that repeat all sequences).

    Parameters
    ----------
    shards : path
        Shard directory. The columns ``pdb`` and ``chain`` of its index are kept. Chains of a
        complex become chains of their own.
    output : path
        Library directory to write.
    profiles : path, optional
        ``.npz`` file with ``id`` (of the shard entries), ``lens`` (their lengths) and ``q``, uint8
        [sum of lengths, 20]: square roots of the frequencies of the amino acids, in the order of
        their letters, times 255. Chains without a profile have the mean columns of their letters.
    codebook : str or path, optional
        Library whose codebook encodes the profiles. The default is a new codebook, trained on the
        profiles of the split ``train`` (of all chains if there is none), or without profiles that
        of the default library.
    one_per : str, optional
        Keep one chain per value of this column of the index, in each split: one that has a profile,
        and of these the longest. Entries without a value are left out.
    complexes : bool
        Keep entries of several chains only, whole. A query of several chains is threaded on one
        that has all of them (`openmm_slm.library.complexes`).
    card : str, optional
        Markdown text for the card.

    Returns
    -------
    dict
        Numbers of ``chains``, ``residues`` and ``profiles``.

    Raises
    ------
    StructureError
        No chain is left, the column is absent, or the profiles cannot be read or do not fit.
    """
    dataset = ShardDataset(shards)
    known = {} if profiles is None else read_profiles(profiles)
    chains = list(_chains(dataset, complexes))
    if one_per is not None:
        chains = _representatives(dataset, chains, one_per, set(known))
    if not chains:
        raise StructureError(
            f"{shards}: no {'complexes' if complexes else 'chains'} of {SHORTEST} to {LONGEST} "
            "residues for a library"
        )
    for chain in chains:
        if chain.id in known and len(known[chain.id]) != len(chain.sequence):
            raise StructureError(
                f"{profiles}: the profile of {chain.id} has {len(known[chain.id])} columns, but "
                f"the chain has {len(chain.sequence)} residues"
            )
    letters = encode_sequence("".join(chain.sequence for chain in chains)).astype(np.uint8)
    if known and codebook is None:
        book, significance = _trained(dataset, chains, known), Significance()
    else:
        other = load_library("default" if codebook is None else codebook)
        book, significance = other.codebook, other.significance
    counts = {
        "chains": len(chains),
        "residues": len(letters),
        "profiles": sum(chain.id in known for chain in chains),
    }
    write_library(
        output,
        [_row(dataset, chain) for chain in chains],
        {"letters": letters, "codes": _codes(chains, known, letters, book), "codebook": book},
        _blocks(dataset, chains),
        {**counts, "error": ERROR, "significance": significance.about()},
        card or _CARD.format(source=Path(shards).resolve().name, **counts),
    )
    return counts


def _chains(dataset: ShardDataset, complexes: bool) -> Iterator[_Chain]:
    """Chains of suitable lengths, each sequence once per split; or all chains of complexes."""
    seen = set()
    for number, row in enumerate(dataset.rows):
        parts, first = row["sequence"].split(":"), 0
        if complexes:
            whole = row["split"], row["sequence"]
            if len(parts) == 1 or whole in seen:
                continue
            seen.add(whole)
        for place, sequence in enumerate(parts, 1):
            name = row["id"] if len(parts) == 1 else f"{row['id']}:{place}"
            part = slice(first, first + len(sequence))
            first = part.stop
            key = row["split"], sequence
            if SHORTEST <= len(sequence) <= LONGEST and (complexes or key not in seen):
                seen.add(key)
                yield _Chain(number, name, sequence, part)


def _representatives(
    dataset: ShardDataset, chains: list[_Chain], column: str, known: set[str]
) -> list[_Chain]:
    if column not in dataset.rows[0]:
        raise StructureError(
            f"{dataset.directory}: the index has no column {column!r}; it has "
            f"{', '.join(dataset.rows[0])}"
        )
    best: dict[tuple[str, str], _Chain] = {}
    for chain in chains:
        row = dataset.rows[chain.row]
        key = row["split"], row[column]
        if row[column] and (key not in best or _worth(chain, known) > _worth(best[key], known)):
            best[key] = chain
    return sorted(best.values(), key=lambda chain: (chain.row, chain.part.start))


def _worth(chain: _Chain, known: set[str]) -> tuple[bool, int]:
    return chain.id in known, len(chain.sequence)


def _row(dataset: ShardDataset, chain: _Chain) -> dict[str, object]:
    row = dataset.rows[chain.row]
    names, parts = row.get("chain") or "", row["sequence"].count(":") + 1
    if parts > 1 and len(names) == parts:  # of a complex: one letter per chain
        names = names[int(chain.id.rpartition(":")[2]) - 1]
    return {
        "id": chain.id,
        "pdb": row.get("pdb") or "",
        "chain": names,
        "split": row["split"],
        "cluster": row["cluster"],
        "length": len(chain.sequence),
    }


def read_profiles(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Profile columns uint8 [L, 20] by id (see `build_library`)."""
    try:
        with np.load(path, allow_pickle=False) as file:
            names, lengths, columns = (file[key] for key in ("id", "lens", "q"))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise StructureError(
            f"{path}: not a file of profiles ({error}); it needs the arrays id, lens and q"
        ) from None
    ends = np.cumsum(lengths.astype(np.int64))
    shape = (int(ends[-1]) if len(ends) else 0, len(AMINO_ACIDS))
    if columns.dtype != np.uint8 or columns.shape != shape or len(names) != len(lengths):
        raise StructureError(
            f"{path}: q is {columns.dtype} {columns.shape}, but id and lens need uint8 {shape}"
        )
    return dict(zip(names.tolist(), np.split(columns, ends[:-1]), strict=True))


def _trained(
    dataset: ShardDataset, chains: list[_Chain], known: dict[str, np.ndarray]
) -> np.ndarray:
    chosen = [chain for chain in chains if chain.id in known]
    chosen = [c for c in chosen if dataset.rows[c.row]["split"] == "train"] or chosen
    if not chosen:
        raise StructureError("no profile is of a chain of the library; check the ids of the file")
    letters = encode_sequence("".join(chain.sequence for chain in chosen))
    return train_codebook(letters, np.concatenate([known[chain.id] for chain in chosen]))


def _codes(
    chains: list[_Chain], known: dict[str, np.ndarray], letters: np.ndarray, book: np.ndarray
) -> np.ndarray:
    codes = np.zeros(len(letters), np.uint8)
    first = 0
    for group in (chains[k : k + 512] for k in range(0, len(chains), 512)):
        places, columns = [], []
        for chain in group:
            if chain.id in known:
                places.append(np.arange(first, first + len(chain.sequence)))
                columns.append(known[chain.id])
            first += len(chain.sequence)
        if places:
            here = np.concatenate(places)
            codes[here] = encode_columns(letters[here], np.concatenate(columns), book)
    return codes


def _blocks(dataset: ShardDataset, chains: list[_Chain]) -> Iterator[bytes]:
    for first in range(0, len(chains), BLOCK):
        group = chains[first : first + BLOCK]
        yield pack_block(
            [dataset[chain.row].backbone[chain.part] for chain in group],
            [dataset.residue_numbers(chain.row)[chain.part] for chain in group],
            ERROR,
        )

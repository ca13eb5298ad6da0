"""``openmm-slm benchmark search``: folds found in a structure library, and how sure they are."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

import numpy as np
from tqdm.auto import tqdm

from ..data.shards import ShardDataset
from ..errors import StructureError
from ..library.building import read_profiles
from ..library.codebook import frequencies
from ..library.library import LONGEST, SHORTEST, Library
from ..library.registry import find_library
from ..library.scoring import letter_table
from ..protein.sequence_search import SequenceLibrary
from .conformer_pairs import tm_to
from .memory import peak_memory
from .results import ResultTable, hold_folder
from .text_table import Column, text_table

RIGHT = 0.5  # TM-score of the right fold
HITS = 10
_TRAINING = "train"
_BINS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
_COUNTS = {
    "queries": Column("queries", 0),
    "top 1": Column("first", 0),
    "top 10": Column("any", 0),
    "p > 0.5": Column("given", 0),
    "right": Column("given_right", 0),
    "p > 0.9": Column("sure", 0),
    "wrong": Column("sure_wrong", 0),
    "CPU s/query": Column("cpu_seconds", 2),
}
_BIN_COLUMNS = {
    "hits": Column("hits", 0),
    "mean p, %": Column("mean", 0, 100),
    "right, %": Column("right", 0, 100),
}
#: Searches whose hits have a probability.
PROBABLE = {"sequence", "query profile"}
#: A hit of any search: aligned places, library chain, probability (NaN: none is given).
Found = list[tuple[np.ndarray, int, float]]


def benchmark_search(
    data: str | os.PathLike,
    output: str | os.PathLike | None = None,
    library: str | os.PathLike = "default",
    device: str = "cpu",
    *,
    profiles: str | os.PathLike | None = None,
    splits: tuple[str, ...] = ("test", "test_related"),
    against: tuple[str, ...] = (),
    chains: int = 150,
    shuffled: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> str:
    """Tables of folds found among the training chains of a library.

    Parameters
    ----------
    data : path
        Shard directory with the queries: one chain per cluster.
    output : path, optional
        Folder for finished queries; an interrupted run continues from them.
    library : str or path
        Only its chains of the split ``train`` are searched.
    device : str
        Not used; the search runs on one CPU core.
    profiles : path, optional
        Profiles of the chains (as for `openmm_slm.library.building.build_library`). With them, the
        tables also have a search with the profiles of the queries.
    splits : tuple of str
        Splits of the queries.
    against : tuple of str
        Further searches: ``"blosum62"``, or ``"no-codes"``, against the profiles of the library
        before they became codes (needs `profiles`).
    chains : int
        Largest number of queries of a split.
    shuffled : int
        Number of shuffled sequences.
    seed : int

    Returns
    -------
    str
        A fold is right if the query threaded on the hit has a TM-score of at least 0.5 over the
        length of the query.
    """
    directory = find_library(library)
    opened = Library(directory)
    if "no-codes" in against and profiles is None:
        raise StructureError("a search without codes needs the profiles of the chains; give them")
    queries = {split: _queries(data, split, chains) for split in splits}
    run = {"library": opened.about["sha256"], "seed": seed, "chains": chains}
    searches: dict[str, Callable[[str, str], Found | None]] = {
        "sequence": lambda name, sequence: _hits(opened, sequence),
    }
    known = {} if profiles is None else read_profiles(profiles)
    if known:
        searches["query profile"] = lambda name, sequence: _profile_hits(
            opened, sequence, known.get(name)
        )
    if "no-codes" in against:
        full = _with_full_profiles(directory, known)
        searches["no codes"] = lambda name, sequence: _hits(full, sequence)
    if "blosum62" in against:
        searches["BLOSUM62"] = _Blosum(opened)
    tables = {}
    with hold_folder(output):
        for name, search in searches.items():
            for split, targets in queries.items():
                table = tables[split, name] = ResultTable(output, run, f"{split} {name}")
                _measure(table, search, targets, opened, f"{split}, {name}", progress)
        parts: list[str] = []
        given: dict[str, list[dict[str, float]]] = {}
        for split, targets in queries.items():
            rows = {
                name: [tables[split, name].rows[target] for target in targets] for name in searches
            }
            for name in PROBABLE & rows.keys():
                given.setdefault(name, []).extend(r for r in rows[name] if r["searched"])
            counts = {name: _count(found) for name, found in rows.items()}
            parts.append(text_table(f"{split}: right folds", counts, _COUNTS))
        for name, found in sorted(given.items(), reverse=True):
            title = f"probability of hits by {name}, all splits"
            parts.append(text_table(title, _bins(found), _BIN_COLUMNS))
        if shuffled:
            table = ResultTable(output, run, "shuffled")
            sequences = [values[0] for targets in queries.values() for values in targets.values()]
            parts.append(_shuffled(table, opened, sequences, shuffled, seed, progress))
    parts.append(f"peak memory of this process: {peak_memory():.0f} MiB")
    return "\n\n".join(parts)


def _queries(data: str | os.PathLike, split: str, chains: int) -> dict[str, tuple[str, np.ndarray]]:
    """Sequence and CA positions by id: the first single chain of each cluster."""
    dataset = ShardDataset(data, split)
    first: dict[str, int] = {}
    for number, row in enumerate(dataset.rows):
        if ":" not in row["sequence"] and SHORTEST <= len(row["sequence"]) <= LONGEST:
            first.setdefault(row["cluster"], number)
    numbers = list(first.values())[:chains]
    if not numbers:
        raise StructureError(f"{data}: no single chains of split {split!r}")
    return {
        dataset.rows[n]["id"]: (dataset.rows[n]["sequence"], dataset[n].backbone[:, 1])
        for n in numbers
    }


def _hits(library: Library, sequence: str, profile: np.ndarray | None = None) -> Found:
    found = library.search(sequence, profile, splits=(_TRAINING,), limit=HITS)
    return [(hit.places, hit.number, hit.probability) for hit in found]


def _profile_hits(library: Library, sequence: str, columns: np.ndarray | None) -> Found | None:
    """None for a query without a profile."""
    if columns is None:
        return None
    return _hits(library, sequence, frequencies(columns))


def _with_full_profiles(directory: os.PathLike, known: Mapping[str, np.ndarray]) -> Library:
    """The library with a kind of its own for each residue, so that nothing is lost to codes."""
    library = Library(directory)
    total = int(library.about["residues"])
    columns = np.array(library.codebook[:, 0][library.files.array("letters")])
    first = 0
    for chain in library.chains:
        if chain.id in known:
            columns[first : first + chain.length] = frequencies(known[chain.id])
        first += chain.length
    library.kinds = np.arange(total, dtype=np.int32)
    library.table = letter_table(columns, library.background)
    return library


class _Blosum:
    """Search of the same chains with BLOSUM62."""

    def __init__(self, library: Library) -> None:
        self._numbers = [
            number for number, chain in enumerate(library.chains) if chain.split == _TRAINING
        ]
        self._library = SequenceLibrary([library.sequence(number) for number in self._numbers])

    def __call__(self, name: str, sequence: str) -> Found:
        found = sorted(self._library.search(sequence), key=lambda hit: -hit.bits)[:HITS]
        return [(hit.places, self._numbers[hit.number], np.nan) for hit in found]


def _measure(
    table: ResultTable,
    search: Callable[[str, str], Found | None],
    targets: Mapping[str, tuple[str, np.ndarray]],
    library: Library,
    label: str,
    progress: bool,
) -> None:
    """Add the probability and the TM-score of each hit of each query to the table."""
    for name, (sequence, native) in tqdm(targets.items(), label, disable=not progress):
        if name in table.rows:
            continue
        begin = time.process_time()
        found = search(name, sequence)
        row = {"searched": float(found is not None), "cpu_seconds": time.process_time() - begin}
        for place in range(HITS):
            here = found[place : place + 1] if found else []
            row[f"p{place}"] = here[0][2] if here else np.nan
            row[f"tm{place}"] = _tm(library, native, *here[0][:2]) if here else np.nan
        table.add(name, row)


def _tm(library: Library, native: np.ndarray, places: np.ndarray, number: int) -> float:
    """TM-score over the length of the query; 0 where too little is aligned for the right fold."""
    ours, theirs = places
    threaded = np.full((1, *native.shape), np.nan, np.float32)
    threaded[0, ours] = library.backbone(number)[theirs, 1]
    common = np.isfinite(threaded[0]).all(-1) & np.isfinite(native).all(-1)
    if common.sum() < max(5, RIGHT * len(native)):
        return 0.0
    return float(tm_to(native, threaded, len(native))[0])


def _values(rows: list[dict[str, float]], name: str) -> np.ndarray:
    """Figures [queries, 10] of the hits."""
    return np.array([[row[f"{name}{k}"] for k in range(HITS)] for row in rows]).reshape(-1, HITS)


def _count(rows: list[dict[str, float]]) -> dict[str, float]:
    rows = [row for row in rows if row["searched"]]
    p, right = _values(rows, "p"), _values(rows, "tm") >= RIGHT
    counts = {
        "queries": len(rows),
        "first": right[:, 0].sum(),
        "any": right.any(1).sum(),
        "cpu_seconds": _mean([row["cpu_seconds"] for row in rows]),
    }
    if np.isfinite(p).any():
        counts |= {
            "given": (p[:, 0] > 0.5).sum(),
            "given_right": (right & (p > 0.5))[:, 0].sum(),
            "sure": (p[:, 0] > 0.9).sum(),
            "sure_wrong": (~right & (p > 0.9))[:, 0].sum(),
        }
    return counts


def _mean(values: list[float]) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else np.nan


def _bins(rows: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Hits with a probability in each range: mean probability, and share with the right fold."""
    p, right = _values(rows, "p").ravel(), (_values(rows, "tm") >= RIGHT).ravel()
    found = {}
    for low, high in zip(_BINS, _BINS[1:], strict=False):
        here = (p > low) & (p <= high)
        found[f"{low:.1f}-{high:.1f}"] = {
            "hits": here.sum(),
            "mean": p[here].mean() if here.any() else np.nan,
            "right": right[here].mean() if here.any() else np.nan,
        }
    return found


def _shuffled(
    table: ResultTable,
    library: Library,
    sequences: list[str],
    count: int,
    seed: int,
    progress: bool,
) -> str:
    """Line on shuffled sequences that get a fold."""
    rng = np.random.default_rng(seed)
    for number in tqdm(range(count), "shuffled", disable=not progress):
        letters = list(sequences[number % len(sequences)])
        sequence = "".join(rng.permutation(letters))
        if str(number) not in table.rows:
            found = _hits(library, sequence)
            table.add(str(number), {"p": max((p for *_, p in found), default=0.0)})
    best = np.array([table.rows[str(number)]["p"] for number in range(count)])
    return (
        f"{count} shuffled sequences: {(best > 0.5).sum()} get a fold (p > 0.5), largest p "
        f"{best.max():.2f}"
    )

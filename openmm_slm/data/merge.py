"""Merge the parts of `prepare` into a shard directory."""

from __future__ import annotations

import csv
import os
import shutil
from collections import Counter
from pathlib import Path

from ..errors import StructureError
from .clusters import assign_clusters, split_of
from .preparation_workers import read_entries, read_rows
from .shards import ShardWriter

RESIDUES_PER_SHARD = 500_000  # 84 MB
REPORT = ("id", "file", "chain", "status", "reason", "detail")


def merge(
    output: Path, parts: list[Path], settings: dict, threads: int, absent: list[dict[str, str]]
) -> None:
    """Write report, shards with clusters and splits, and last the index.

    Rows of `absent` appear in the report only.
    """
    rows = [row for part in parts for row in read_rows(part)] + absent
    taken: set[str] = set()
    for row in rows:  # ids can collide: chain B of 1abc_A.pdb and chain A_B of 1abc.pdb
        while row["id"] in taken:
            row["id"] += "+"
        taken.add(row["id"])
    _report(output / "report.csv", rows)
    kept = [row for row in rows if not row["reason"]]
    if not kept:
        _give_up(output, rows)
    sequences = [row["sequence"] for row in kept]
    names = [row["id"] for row in kept]
    del rows, kept, taken
    identity = settings["identity"] if settings["cluster"] else None
    clusters = assign_clusters(sequences, identity, output / "parts" / "mmseqs", threads)
    shares = settings["validation_share"], settings["test_share"]
    writer = ShardWriter(output, atoms=14, residues_per_shard=RESIDUES_PER_SHARD)
    entries = (entry for part in parts for entry in read_entries(part))
    for i, (first, (row, atoms, residues)) in enumerate(zip(clusters, entries, strict=True)):
        writer.add(
            names[i],
            sequences[i],
            atoms,
            residues["chain_break"],
            residues["residue_number"],
            residues["chain_index"],
            **{
                "split": split_of(sequences[first], *shares),
                "cluster": names[first],
                **{name: row[name] for name in ("file", "chain", "resolution", "complete")},
                **row.get("listed", {}),
            },
        )
    writer.close()


def _report(path: Path, rows: list[dict[str, str]]) -> None:
    temporary = path.with_suffix(".tmp")
    with open(temporary, "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, REPORT, extrasaction="ignore")
        writer.writeheader()
        for row in rows:
            writer.writerow({**row, "status": "skipped" if row["reason"] else "kept"})
    temporary.replace(path)


def _give_up(output: Path, rows: list[dict[str, str]]) -> None:
    """Raise StructureError; only the report stays in the folder, so other settings can be tried."""
    shutil.rmtree(output / "parts")
    (output / "prepare.json").unlink()
    if len(rows) == 1:
        (row,) = rows
        line = row["detail"] if row["file"] in row["detail"] else f"{row['file']}: {row['detail']}"
        raise StructureError(f"nothing to keep: {line}")
    counts = summarise(output)
    counts.pop("kept")
    most = next(iter(counts))
    example = next(row for row in rows if row["reason"] == most)
    raise StructureError(
        f"nothing to keep of {len(rows)} chains or files: {format_counts(counts)} (such as "
        f"{example['file']}: {example['detail']}); see {output / 'report.csv'} for all"
    )


def summarise(directory: str | os.PathLike) -> dict[str, int]:
    """Number of entries kept, and number skipped for each reason, most frequent first."""
    with open(Path(directory) / "report.csv", newline="") as handle:
        counts = Counter(row["reason"] or row["status"] for row in csv.DictReader(handle))
    return {"kept": counts.pop("kept", 0), **dict(counts.most_common())}


def format_counts(counts: dict[str, int]) -> str:
    """Counts of `summarise` as one line of text."""
    return ", ".join(f"{number} {reason}" for reason, number in counts.items())

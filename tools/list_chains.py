"""The chains a model was trained and judged with, as a list that `openmm-slm prepare` follows.

    python tools/list_chains.py SHARDS openmm_slm/models/default/chains.csv.xz

SHARDS needs the columns ``pdb`` and ``chain`` in its index. One row for each chain or complex:

    pdb, chain    chains of a complex with spaces between
    split, cluster
    kind          backbone, heavy (side chains of its own: what the packer was trained on), complex
    length, begins   residues and the first five of them, for each chain: which stretch of the chain
                  it was, whatever numbers or name the chain has in the copy at hand

Entries that nobody trains with (split ``excluded``) or without a PDB id are left out, and copies of
one stretch are listed once, with side chains if one of them has these.
"""

from __future__ import annotations

import argparse
import csv
import io
import lzma
from collections import Counter
from pathlib import Path

from openmm_slm.data.shards import read_index

COLUMNS = ("pdb", "chain", "split", "cluster", "kind", "length", "begins")


def listed(row: dict[str, str]) -> dict[str, str]:
    """The row of the list for one row of an index."""
    parts = row["sequence"].split(":")
    named = row["chain"].replace("%", "").replace("_", "A")  # blank names are A in the archive
    return {
        "pdb": row["pdb"].lower(),
        "chain": " ".join(named) if len(parts) > 1 else named,
        "split": row["split"],
        "cluster": "" if row["cluster"] == row["id"] else row["cluster"],
        "kind": row["shard"].rsplit("_", 1)[0],
        "length": " ".join(str(len(part)) for part in parts),
        "begins": " ".join(part[:5] for part in parts),
    }


def number_clusters(rows: list[dict[str, str]]) -> None:
    """Clusters of one row become blank, the others numbers in the order in which they appear."""
    sizes = Counter(row["cluster"] for row in rows)
    numbers: dict[str, str] = {}
    for row in rows:
        name = row["cluster"]
        alone = not name or sizes[name] == 1
        row["cluster"] = "" if alone else numbers.setdefault(name, str(len(numbers) + 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shards", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    rows = [row for row in read_index(options.shards) if row["split"] != "excluded"]
    counts = Counter(rows=len(rows), without_id=sum(not row["pdb"] for row in rows))
    chosen: dict[tuple[str, ...], dict[str, str]] = {}
    for row in map(listed, (row for row in rows if row["pdb"])):
        key = tuple(row[name] for name in ("pdb", "chain", "length", "begins"))
        before = chosen.setdefault(key, row)
        if before["split"] != row["split"]:
            raise SystemExit(f"{key}: in split {before['split']} and in {row['split']}")
        if row["kind"] == "heavy":
            chosen[key] = row
    rows = [chosen[key] for key in sorted(chosen)]
    number_clusters(rows)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    options.output.write_bytes(
        lzma.compress(text.getvalue().encode(), preset=9 | lzma.PRESET_EXTREME)
    )
    counts["listed"] = len(chosen)
    print(dict(counts), dict(Counter(row["split"] for row in chosen.values())))
    print(f"{options.output}: {options.output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

"""The training chain nearest to each benchmark protein, by MMseqs2.

    python tools/nearest_training.py DATA REFERENCES

DATA is a shard directory, REFERENCES a folder with a ``targets.csv`` (`openmm-slm benchmark`).
Every benchmark sequence is searched among the chains of the split ``train``, those of complexes
too, at the highest sensitivity of MMseqs2. Of the alignments that cover half of the benchmark
protein at an E-value of at most 0.001 the one with the highest identity counts.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import tempfile
from pathlib import Path

from openmm_slm.data.clusters import find_mmseqs
from openmm_slm.data.shards import read_index
from openmm_slm.errors import SLMError

E_VALUE = 1e-3
COVERAGE = 0.5  # of the benchmark protein
LEVELS = (30, 50, 90)  # % identity


def training_chains(data: Path) -> dict[str, str]:
    """Name of the first chain with each training sequence, by sequence."""
    chains: dict[str, str] = {}
    for row in read_index(data):
        if row["split"] != "train":
            continue
        parts = row["sequence"].split(":")
        names = list(row.get("chain", "").replace(" ", "")) if len(parts) > 1 else [row["chain"]]
        pdb = row.get("pdb", "").lower()
        for part, name in zip(parts, names, strict=False):
            chains.setdefault(part, f"{pdb}_{name}" if pdb else row["id"])
    return chains


def nearest(
    queries: dict[str, str], chains: dict[str, str], threads: int = 1
) -> dict[str, tuple[str, float, float]]:
    """(chain, identity, coverage of the query) for each name of `queries` that has one."""
    by_number = list(chains)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for file, records in (("queries", queries.items()), ("chains", enumerate(by_number))):
            text = "".join(f">{name}\n{sequence}\n" for name, sequence in records)
            (work / f"{file}.fasta").write_text(text)
        command = [
            find_mmseqs(), "easy-search", work / "queries.fasta", work / "chains.fasta",
            work / "hits", work / "tmp", "-v", "1", "-s", "7.5",
            "--alignment-mode", "3", "-e", E_VALUE, "-c", COVERAGE, "--cov-mode", "2",
            "--max-seqs", len(chains), "--threads", threads,
            "--format-output", "query,target,fident,qcov",
        ]  # fmt: skip
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if done.returncode:
            raise SLMError(f"mmseqs ended with code {done.returncode}: {done.stdout[-500:]}")
        lines = (work / "hits").read_text().splitlines()
    best: dict[str, tuple[str, float, float]] = {}
    for query, target, identity, coverage in (line.split("\t") for line in lines):
        found = (chains[by_number[int(target)]], float(identity), float(coverage))
        if query not in best or found[1:] > best[query][1:]:
            best[query] = found
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("references", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    with open(options.references / "targets.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    chains = training_chains(options.data)
    queries = {row["id"]: row["sequence"].replace(":", "") for row in rows}
    best = nearest(queries, chains, options.threads)
    print(f"{len(chains):,} different training sequences")
    for level in LEVELS:
        found = sum(round(100 * identity) > level for _, identity, _ in best.values())
        print(f"above {level} % identity: {found} of {len(rows)} proteins")
    print(
        f"\n{'protein':<16} {'residues':>8}  {'nearest':<10} {'identity, %':>11} {'covered, %':>10}"
    )
    for row in sorted(rows, key=lambda row: (row["kind"] == "pair", row["id"])):
        label = f"{row['id']:<16} {len(queries[row['id']]):>8}"
        if row["id"] not in best:
            print(f"{label}  -")
            continue
        name, identity, coverage = best[row["id"]]
        print(f"{label}  {name:<10} {100 * identity:>11.0f} {100 * coverage:>10.0f}")


if __name__ == "__main__":
    main()

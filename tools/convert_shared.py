"""Bring the project's training collection (npz archives with their loader) into shards.

Not part of the installed package: `python tools/convert_shared.py SOURCE_DIR OUTPUT_DIR`.
Ångström become nm; splits, clusters and complexes are kept.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import sys
from pathlib import Path

import numpy as np

from openmm_slm.data.shards import ShardWriter


def load_module(path: Path):
    spec = importlib.util.spec_from_file_location("collection_loader", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def add_chain(writer: ShardWriter, row: dict, sequence: str, xyz, broken, numbers) -> None:
    writer.add(
        row["id"],
        sequence,
        xyz / 10.0,
        broken,
        numbers,
        split=row["split"],
        cluster=row["cluster30"] or row["bench_cluster30"] or row["id"],
        cluster90=row["cluster90"],
        complete=row["complete"],
        n_conformers=row["n_conformers"],
        source=row["source_repo"],
        pdb=row["pdb"],
        chain=row["chain"],
    )


def main(source: str, output: str) -> None:
    root = Path(source)
    loader = load_module(root / "loader.py")
    manifest: dict[str, list[dict]] = {}
    for row in loader.load_manifest(root / "manifest.csv.gz"):
        manifest.setdefault(row["shard"], []).append(row)

    heavy = ShardWriter(output, atoms=14, prefix="heavy", residues_per_shard=1_000_000)
    backbone = ShardWriter(output, atoms=4, prefix="backbone")
    for shard, rows in manifest.items():
        if shard.startswith("bb_"):
            chains = loader.load_backbone_shard(root / shard)
            for row in rows:
                xyz = chains[int(row["row"])]
                numbers = int(row["resnum0"] or 1) + np.arange(len(xyz))
                add_chain(backbone, row, row["seq"], xyz, np.zeros(len(xyz), bool), numbers)
        else:
            chains = loader.load_heavy_shard(root / shard)
            for row in rows:
                chain = chains[int(row["row"])]
                add_chain(heavy, row, chain["seq"], chain["xyz"], chain["brk"], chain["nums"])
    backbone.close()
    heavy.close()

    complexes = ShardWriter(output, atoms=14, prefix="complex")
    chains = loader.load_heavy_shard(root / "complexes.npz")
    with gzip.open(root / "complexes.csv.gz", "rt", newline="") as handle:
        for row in csv.DictReader(handle):
            entry = chains[int(row["row"])]
            lengths = [int(n) for n in row["lengths"].split()]
            complexes.add(
                row["id"],
                row["seq"],
                entry["xyz"] / 10.0,
                entry["brk"],
                entry["nums"],
                chain_index=np.repeat(np.arange(len(lengths)), lengths),
                split=row["split"],
                cluster=row["id"],
                has_train_chain=row["has_train_chain"],
                source=row["source_repo"],
                pdb=row["pdb"],
                chain=row["chains"],
            )
    complexes.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])

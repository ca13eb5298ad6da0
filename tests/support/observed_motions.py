"""Motions of the toy chains of `toys`, as a motions directory holds them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from openmm_slm.data.motion_data import BFACTORS, PAIRS, SIZES, bucket_of
from openmm_slm.data.shards import ShardDataset, ShardWriter
from openmm_slm.protein.elastic_network import PackedNetwork

TINY_MOTIONS = {
    "model": {"width": 16, "layers": 1, "edge_width": 16, "crystal": True},
    "training": {
        "steps": 24, "learning_rate": 0.04, "warmup": 2, "ema": 0.5, "bf16": False,
        "validate_every": 12,
    },
    "data": {"bfactors": 2, "pair": 1, "size": 1},
    "loss": {"size": 3.0, "pair": 0.1, "profile": 0.0, "noise_nm": 0.0},
}  # fmt: skip


def write_motions(shards: Path, directory: Path) -> Path:
    """B-factors that grow where the amino acid is G, a mean RMSF of 0.8 nm; returns `directory`."""
    directory.mkdir()
    dataset = ShardDataset(shards)
    rows = [row for row in dataset.rows if ":" not in row["sequence"]]
    values = [
        20 + 40 * np.array([letter == "G" for letter in row["sequence"]], np.float16)
        + np.arange(int(row["length"]), dtype=np.float16) / 10
        for row in rows
    ]  # fmt: skip
    np.savez(
        directory / BFACTORS,
        id=np.array([row["id"] for row in rows]),
        lens=np.array([len(v) for v in values]),
        B=np.concatenate(values),
    )
    with (directory / SIZES).open("w", newline="") as handle:
        lines = [[row["id"], 0.8, 0.7, 0.5] for row in rows]
        csv.writer(handle).writerows([["id", "mean", "median", "sd"], *lines])
    same: dict[str, list[str]] = {}
    for row in rows:
        same.setdefault(row["sequence"], []).append(row["id"])
    with (directory / PAIRS).open("w", newline="") as handle:
        both = [ids[:2] for ids in same.values() if len(ids) > 1]
        csv.writer(handle).writerows([["id_a", "id_b"], *both])
    return directory


def add_conformers(shards: Path) -> None:
    """Give some training chains of each bucket a second structure, moved along soft modes."""
    dataset, rng = ShardDataset(shards), np.random.default_rng(0)
    writer, done = ShardWriter(shards, atoms=4, prefix="backbone_moved"), set()
    for number, row in enumerate(dataset.rows):
        bucket = bucket_of(row["cluster"])
        entry = dataset[number]
        if row["split"] != "train" or bucket in done or not np.isfinite(entry.backbone).all():
            continue
        done.add(bucket)
        ca = entry.backbone[:, 1].astype(float)
        move = soft_displacement(ca, entry.residue_index, rng)
        writer.add(
            f"{row['id']}-moved",
            row["sequence"],
            entry.backbone + move[:, None],
            entry.chain_break,
            np.arange(1, len(ca) + 1),
            split="train",
            cluster=row["cluster"],
        )
    writer.close()


def soft_displacement(ca: np.ndarray, index: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Response [L, 3] of CA to random forces, of about 0.1 nm."""
    covariance = PackedNetwork(ca, index).covariance
    move = (covariance @ rng.standard_normal(len(covariance))).reshape(-1, 3)
    return 0.1 * move / np.sqrt((covariance**2).sum() / len(ca))

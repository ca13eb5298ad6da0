"""Complexes from their own structure: python tools/measure_chains.py DATA [SAMPLES] [MODEL].

Two each of antibodies, homodimers, complexes with a peptide and others among the test complexes
without a chain in training (at most 450 residues). Frames have all atoms. Median CA RMSD from the
template (A), and that of the last chain where the others are superposed; contacts between chains
(CA within 0.8 nm) that are kept; valid frames, side chains included.
"""

from __future__ import annotations

import logging
import re
import sys

import numpy as np

import openmm_slm
from openmm_slm.data.shards import ShardDataset
from openmm_slm.protein.structure import from_backbone
from openmm_slm.protein.superposition import rmsd, superpose
from openmm_slm.protein.trajectory import from_trajectory

SETTINGS = ({"noise": 0.05}, {"noise": 0.3}, {"noise": 0.3, "rounds": 3})


def kind(chains: list[str]) -> str:
    if min(map(len, chains)) <= 30:
        return "peptide"
    if any(re.search("WG.G", chain) for chain in chains):
        return "antibody"
    return "homodimer" if len(set(chains)) < len(chains) else "other"


def main(data: str, n: int = 10, model: str = "default") -> None:
    logging.disable(logging.WARNING)
    generator = openmm_slm.EnsembleGenerator.from_pretrained(model, device="cpu")
    print(f"{'complex':21} kind      residues    noise rounds  RMSD  last chain  contacts  valid")
    taken: dict[str, int] = {}
    for split in ("test_antibody", "test"):
        dataset = ShardDataset(data, split, ("complex", "shard"))
        for number, row in enumerate(dataset.rows):
            chains = row["sequence"].split(":")
            if len(chains) < 2 or row["has_train_chain"] != "0" or len("".join(chains)) > 450:
                continue
            entry, which = dataset[number], kind(chains)
            if not np.isfinite(entry.backbone).all() or "X" in entry.sequence:
                continue
            if taken.setdefault(which, 0) == 2:
                continue
            taken[which] += 1
            template = from_backbone(entry.backbone[None], row["sequence"])
            true, last = entry.backbone[:, 1].astype(float), entry.chain_index == len(chains) - 1
            between = entry.chain_index[:, None] < entry.chain_index
            touching = between & (np.linalg.norm(true[:, None] - true, axis=-1) < 0.8)
            for settings in SETTINGS:
                ensemble = generator.sample(
                    row["sequence"], n, template=template, seed=0, progress=False, **settings
                )
                ca = from_trajectory(ensemble.trajectory).backbone[:, :, 1].astype(float)
                _, turn, shift = superpose(ca[:, ~last], true[~last])
                placed = np.einsum("fij,flj->fli", turn, ca) + shift[:, None]
                moved = np.sqrt(((placed - true)[:, last] ** 2).sum(-1).mean(-1))
                apart = np.linalg.norm(ca[:, :, None] - ca[:, None], axis=-1)
                kept = (apart < 0.8)[:, touching].mean()
                print(
                    f"{row['pdb']} {row['chain']:16} {which:9} {len(true):8d} "
                    f"{settings['noise']:8g} {settings.get('rounds', 1):6d} "
                    f"{10 * np.median(rmsd(ca, true)):5.2f} {10 * np.median(moved):11.2f} "
                    f"{100 * kept:8.0f}% {100 * ensemble.report['valid'].mean():5.0f}%",
                    flush=True,
                )


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3, 4):
        sys.exit(__doc__)
    main(sys.argv[1], *map(int, sys.argv[2:3]), *sys.argv[3:])

"""Training of the network that builds backbones from CA traces."""

from __future__ import annotations

import csv

import numpy as np
from toys import TINY_BACKMAPPING as CONFIG
from toys import write_side_chains

from openmm_slm.allatom.backmapping import Backmapper
from openmm_slm.data.shards import ShardDataset
from openmm_slm.training.train_backmapping import train_backmapping


def test_it_learns_where_peptides_are_and_resumes_exactly(tmp_path):
    write_side_chains(tmp_path / "data")
    options = {"progress": False}
    train_backmapping(CONFIG, tmp_path / "data", tmp_path / "run", **options)
    with (tmp_path / "run" / "validation.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    error = [np.mean([float(row[name]) for name in "CON"]) for row in rows]
    assert error[-1] < 0.6 * error[0] and error[-1] < 0.09  # nm

    shorter = CONFIG | {"training": CONFIG["training"] | {"steps": 30}}
    train_backmapping(shorter, tmp_path / "data", tmp_path / "again", **options)
    made = train_backmapping(CONFIG, tmp_path / "data", tmp_path / "again", resume=True, **options)
    weights = [(tmp_path / run / "model" / "weights_000.safetensors") for run in ("run", "again")]
    assert weights[0].read_bytes() == weights[1].read_bytes()

    entry = ShardDataset(tmp_path / "data", "train")[0]
    index = np.asarray(entry.residue_index)
    built = Backmapper.load(made).backbones(entry.backbone[None, :, 1], entry.sequence, index)
    assert np.isfinite(built).all()

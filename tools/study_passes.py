"""What more passes of the decoder do, untrained for them: python tools/study_passes.py DATA.

One chain of every second cluster of the validation split, up to 200 residues, decoded by the
default model: as it is, with other numbers of refinements, and once more from its own answer as a
start at several levels. Prints medians, and the mean share of broken peptides.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import torch

from openmm_slm.cli.common import prepare_cpu
from openmm_slm.data.padding import pad_entries
from openmm_slm.data.shards import Entry, ShardDataset
from openmm_slm.models.registry import find_part
from openmm_slm.networks.storage import load_module
from openmm_slm.tokenizer.decoder import Decoded
from openmm_slm.tokenizer.dvae import DVAE
from openmm_slm.tokenizer.starts import Start
from openmm_slm.training.reconstruction import chain_metrics

LONGEST = 200  # residues
REFINEMENTS = (2, 8)
LEVELS = (0.1, 0.2, 0.4, 0.8)  # nm, of the answer as a start
COLUMNS = {"rmsd": 10, "local": 10, "lddt": 1, "broken": 1}  # factors to what is printed


def decoded(model: DVAE, entry: Entry) -> Iterator[tuple[str, Decoded]]:
    """A chain decoded in each way, by its name."""
    batch = {name: torch.as_tensor(values) for name, values in pad_entries([entry]).items()}
    mask, decoder = batch["mask"], model.decoder
    tokens = model.tokenize(batch["backbone"], mask, batch["index"])
    given, trained = (tokens, batch["amino_acids"], mask, batch["index"]), decoder.refinements
    once = model.reconstruct(*given)
    yield f"as it is ({trained} refinements)", once
    for decoder.refinements in REFINEMENTS:
        yield f"{decoder.refinements} refinements", model.reconstruct(*given)
    decoder.refinements = trained
    for level in LEVELS:
        levels = torch.full(mask.shape, level).masked_fill(~mask, torch.inf)
        start = Start.from_backbone(once.backbones[-1], levels)
        yield f"once more, start at {level} nm", model.reconstruct(*given, start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="shard directory")
    options = parser.parse_args()
    prepare_cpu(1)
    dataset = ShardDataset(options.data, "val", ("backbone", "heavy", "shard"))
    groups = [group[dataset.lengths[group] <= LONGEST] for group in dataset.clusters()]
    rows = [int(group[0]) for group in groups if len(group)][::2]
    model = load_module(find_part("default", "tokenizer"), DVAE).eval()
    found: dict[str, list[list[float]]] = {}
    with torch.inference_mode():
        for entry in (dataset[row] for row in rows):
            there = np.isfinite(entry.backbone).all((1, 2))
            for name, out in decoded(model, entry):
                made = out.backbones[-1][0, : len(there)].numpy()
                figures = chain_metrics(made, entry.backbone, there, entry.chain_break)
                values = [factor * figures[key] for key, factor in COLUMNS.items()]
                found.setdefault(name, []).append(values)
    print(f"{len(rows)} chains of val, up to {LONGEST} residues")
    print(f"{'':28}{'CA RMSD, A':>12}{'local, A':>10}{'lDDT':>8}{'broken':>8}")
    for name, values in found.items():
        rmsd, local, lddt, _ = np.median(values, 0)
        broken = np.mean(values, 0)[3]
        print(f"{name:28}{rmsd:12.2f}{local:10.3f}{lddt:8.3f}{broken:8.3f}")


if __name__ == "__main__":
    main()

"""Train a language model with structure input: python tools/train_structure.py CONFIG DATA OUT.

CONFIG is a JSON object: ``family``, ``model`` (sizes added to those of the start), ``training``,
``data`` (see `DATA`), ``contexts`` (`ContextShares`). Tokens are read from --tokens, or encoded on
the fly.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn

from openmm_slm.cli.common import prepare_cpu
from openmm_slm.data.coil_chains import MADE_OF_COIL
from openmm_slm.data.shards import ShardDataset
from openmm_slm.data.tokens import TokenStore
from openmm_slm.files.json_settings import build, merge
from openmm_slm.models.registry import find_part
from openmm_slm.networks.storage import (
    load_module,
    load_network,
    save_network,
    tokenizer_fingerprint,
)
from openmm_slm.tokenizer.dvae import DVAE
from openmm_slm.training.batches import ClusterSampler, pad_entries
from openmm_slm.training.language_nats import mean_and_error
from openmm_slm.training.loop import LoopConfig, Trainer
from openmm_slm.training.sampled_segments import SampledSegments
from openmm_slm.training.structure_batches import KINDS, structure_batch
from openmm_slm.training.structure_contexts import ContextShares
from openmm_slm.training.structure_losses import hidden_nats, pooled
from openmm_slm.training.structure_validation import (
    DISORDERED,
    MEASURED,
    fixed_batches,
    nats_of_batches,
)
from openmm_slm.training.warm_start import starting_network

DATA = {
    "residues": 2048, "max_length": 320, "complexes": 0.0, "no_sequence": 0.0, "maskings": 4,
    "told": True,  # False: no structure input (control)
    "measured": list(MEASURED), "clusters": 64, "repeats": 1,
    "sampled": 0.0,  # share of batches with segments of --decoys
}  # fmt: skip


class MadeTokens:
    """Like `TokenStore`, but encodes the entries of datasets when they are read."""

    def __init__(self, encoder: DVAE, *datasets: ShardDataset) -> None:
        self.encoder = encoder
        self.where = {
            (row["shard"], row["offset"]): (dataset, number)
            for dataset in datasets
            for number, row in enumerate(dataset.rows)
        }

    @torch.inference_mode()
    def read(self, row: dict[str, str]) -> np.ndarray:
        """Tokens int16 [L] of an index row, -1 where there are none."""
        dataset, number = self.where[row["shard"], row["offset"]]
        batch = {k: torch.as_tensor(v) for k, v in pad_entries([dataset[number]]).items()}
        tokens = self.encoder.tokenize(batch["backbone"], batch["mask"], batch["index"])
        return tokens[0, : int(row["length"])].numpy().astype(np.int16)


def project_embeddings(model: nn.Module, seed: int) -> None:
    """Initialise token embeddings and head of a small network from the default model.

    They are projected on their principal directions and rotated at random, so that a small network
    need not learn which tokens are similar.
    """
    torch.manual_seed(seed)
    _, known = load_network(find_part("default", "language_model"))
    with torch.no_grad():
        for key in ("token.weight", "known_token.weight", "head.1.weight"):
            if key in (own := model.state_dict()):
                centred = known[key] - known[key][: model.config.vocabulary].mean(0)
                values, scales, _ = torch.linalg.svd(centred, full_matrices=False)
                width = own[key].shape[1]
                turn, _ = torch.linalg.qr(torch.randn(width, width))
                own[key].copy_(values[:, :width] * scales[:width] @ turn)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--tokens", type=Path, help="output of `openmm-slm tokenize`")
    parser.add_argument("--decoys", type=Path, help="output of tools/make_segment_decoys.py")
    parser.add_argument("--init-from", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--decay", type=int)
    parser.add_argument("--time-limit", type=float, help="seconds")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    prepare_cpu(1)
    config = json.loads(options.config.read_text())
    loop = build(LoopConfig, config.get("training", {}), "training")
    data = merge(DATA, config.get("data", {}), "data")
    shares = build(ContextShares, config.get("contexts", {}), "contexts")
    prefix = ("backbone", "heavy", "shard", MADE_OF_COIL, "complex")
    sampler = ClusterSampler(
        ShardDataset(options.data, "train", prefix if data["complexes"] else prefix[:4]),
        max_length=data["max_length"],
        complexes=data["complexes"],
    )
    encoder = load_module(find_part("default", "tokenizer"), DVAE).eval()
    val = {
        name: ShardDataset(options.data, "val", MADE_OF_COIL if name == DISORDERED else prefix[:3])
        for name in data["measured"]
    }
    segments = None
    if bool(data["sampled"]) != bool(options.decoys):
        parser.error('"sampled" of the config and --decoys need each other')
    if options.decoys:
        segments = SampledSegments(options.decoys, sampler.dataset, data["max_length"])
    if options.tokens:
        store = TokenStore(options.tokens, options.data)
    else:
        store = MadeTokens(encoder, sampler.dataset, *val.values())
    torch.manual_seed(loop.seed)
    model = starting_network(config["family"], config.get("model", {}), 512, options.init_from)
    if options.init_from is None:
        project_embeddings(model, loop.seed)
    fixed = {
        name: fixed_batches(
            val[name],
            store,
            name,
            data["clusters"],
            repeats=data["repeats"] if name == "span" else 1,
        )
        for name in data["measured"]
    }

    def tokenize(*given: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", enabled=False):  # as the tokenizer has them elsewhere
            return encoder.tokenize(*given)

    def loss(network: nn.Module, batch: dict, step: int):
        nats, count = hidden_nats(network, batch, tokenize, data["maskings"], data["told"])
        each = nats.detach() / count.clamp(min=1)
        logged = {
            name: each[here].mean() if (here := batch["drawn"] == number).any() else float("nan")
            for number, name in enumerate(KINDS)
        }
        return pooled(nats, count), {"residues": batch["mask"].sum(), **logged}

    def validate(network: nn.Module) -> dict[str, float]:
        found = {}
        with torch.autocast("cpu", torch.bfloat16, enabled=loop.bf16):
            for name, batches in fixed.items():
                nats = nats_of_batches(network, batches, tokenize, data["told"])
                found[name], found[f"{name}_error"] = mean_and_error(nats)
                if name == "span" and config["family"] != "diffusion":
                    nats = nats_of_batches(network, batches, tokenize, data["told"], absent=True)
                    found["absent"], found["absent_error"] = mean_and_error(nats)
        return found

    def export(trained: nn.Module, where: Path) -> None:
        tokenizer = tokenizer_fingerprint(find_part("default", "tokenizer"))
        save_network(
            where, trained.kind, asdict(trained.config), trained.state_dict(),
            tokenizer=tokenizer, no_sequence=data["no_sequence"],
        )  # fmt: skip

    def make(step: int) -> dict:
        return structure_batch(
            sampler, store, data["residues"], loop.seed, step, shares, data["no_sequence"],
            segments, data["sampled"],
        )  # fmt: skip

    trainer = Trainer(
        model, loss, make, validate, export, options.output, loop, "cpu",
        {"model": asdict(model.config), "data": data, "contexts": asdict(shares)},
    )  # fmt: skip
    if options.resume:
        trainer.load_checkpoint()
    if not trainer.step and options.init_from:
        logging.info("at the start: %s", validate(model.eval()))
        model.train()
    trainer.run(options.time_limit, options.decay, progress=False)


if __name__ == "__main__":
    main()

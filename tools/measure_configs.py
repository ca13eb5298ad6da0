"""Size and work of the networks in configs/: python tools/measure_configs.py DATA TOKENS [NAME...].

For each config the number of parameters, and the floating-point operations of the matrix products
of a training step (backward pass included) for each residue, on one chain of at least 384 residues
of DATA, cropped as the config says. TOKENS are those of DATA. A deeper decoder is measured as the
tokenizer of `BEFORE` with its layers, on frozen tokens.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from openmm_slm.allatom.packer_network import PackerConfig, PackerNetwork
from openmm_slm.data.shards import ShardDataset
from openmm_slm.data.tokens import TokenStore
from openmm_slm.files.json_settings import build
from openmm_slm.language.families import FAMILIES
from openmm_slm.tokenizer.dvae import DVAE, DVAEConfig
from openmm_slm.training.batches import ClusterSampler, tokenizer_batch
from openmm_slm.training.language_losses import TERMS
from openmm_slm.training.starts import StartConfig
from openmm_slm.training.throughput import count_flops
from openmm_slm.training.token_batches import language_model_batch
from openmm_slm.training.tokenizer_loss import LOSS, tokenizer_loss
from openmm_slm.training.train_packer import LOSS as PACKER_LOSS
from openmm_slm.training.train_packer import packer_batch, packer_loss, side_chain_entries

CONFIGS = Path(__file__).parent.parent / "configs"
BEFORE = {"decoder": "tokenizer", "decoder_deep": "tokenizer", "decoder_gpu": "tokenizer_gpu"}
NAMES = ("tokenizer", "decoder_deep", "lm_t5", "packer", "tokenizer_gpu", "decoder_gpu", "lm_gpu")
SHORTEST = 384


def long_chains(dataset: ShardDataset) -> ClusterSampler:
    """Of chains from `SHORTEST` to 512 residues only."""
    kept = dataset.lengths >= SHORTEST
    dataset.rows = [row for row, keep in zip(dataset.rows, kept, strict=True) if keep]
    dataset.lengths = dataset.lengths[kept]
    return ClusterSampler(dataset, max_length=512)


def measure(name: str, data: str, tokens: str) -> tuple[int, float]:
    """Parameters, and operations a residue."""
    config = json.loads((CONFIGS / f"{name}.json").read_text())
    crop = config["data"].get("crop", 0)
    if name.startswith("packer"):
        model = PackerNetwork(build(PackerConfig, config["model"], "model"))
        batch = packer_batch(long_chains(side_chain_entries(data, "train")), 512, 0, 0)

        def loss():
            return packer_loss(model, batch, 0, {**PACKER_LOSS, **config["loss"]})
    elif "crop" in config["data"]:
        sizes = json.loads((CONFIGS / f"{BEFORE.get(name, name)}.json").read_text())["model"]
        model = DVAE(build(DVAEConfig, {**sizes, **config["model"]}, "model"))
        store = TokenStore(tokens, data) if name in BEFORE else None
        sampler = long_chains(ShardDataset(data, "train", ("backbone", "heavy", "shard")))
        batch = tokenizer_batch(sampler, crop, crop, 0, 0, store, StartConfig())
        weights = {**LOSS, "soft_steps": 0, "ramp_steps": 0}

        def loss():
            return tokenizer_loss(model, batch, 0, crop, weights)
    else:
        family = FAMILIES[config.get("family", "diffusion")].network
        model = family(family.config_class(**{**config["model"], "vocabulary": 512}))
        sampler = long_chains(ShardDataset(data, "train", ("backbone", "heavy", "shard")))
        batch = language_model_batch(sampler, [TokenStore(tokens, data)], 512, 0, 0)

        def loss():
            terms = TERMS[model.kind](model, batch, 4, config["data"].get("infilling", 0.25))
            total = sum(nats.sum() for nats, _ in terms.values())
            return total, {"residues": (batch["tokens"] >= 0).sum()}

    batch = {key: torch.as_tensor(value) for key, value in batch.items()}
    residues = 0

    def step() -> None:
        nonlocal residues
        value, metrics = loss()
        value.backward()
        residues = int(metrics["residues"])

    torch.manual_seed(0)
    work = count_flops(step)
    return sum(each.numel() for each in model.parameters()), work / residues


def main(data: str, tokens: str, *names: str) -> None:
    print(f"{'config':<14} {'parameters, M':>13} {'MFLOP a residue':>15}")
    for name in names or NAMES:
        size, work = measure(name, data, tokens)
        print(f"{name:<14} {size / 1e6:>13.1f} {work / 1e6:>15.0f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

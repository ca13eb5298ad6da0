"""FSQ, Gumbel or VQ; 512 or 4,096 codes: python tools/study_quantizers.py DATA OUTPUT.

Trains four small tokenizers on the same batches for the same number of steps, and one of them with
another seed (OUTPUT/<name>; one that is there is not trained again), then prints one table of the
validation split: reconstruction beside the entropy of a token given its neighbours.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
from pathlib import Path

import numpy as np
import torch

from openmm_slm.benchmarks.token_entropy import (
    NeighbourModel,
    TokenChain,
    fit_neighbour_model,
    neighbourhoods,
    score_neighbour_model,
    tokenize_chains,
)
from openmm_slm.cli.common import prepare_cpu
from openmm_slm.data.shards import ShardDataset
from openmm_slm.networks.storage import load_module
from openmm_slm.tokenizer.dvae import DVAE
from openmm_slm.training.checkpoint import read_meta
from openmm_slm.training.reconstruction import chain_metrics, reconstruct_chains, summarize
from openmm_slm.training.train_tokenizer import train_tokenizer

QUANTIZERS = {
    "fsq-512": {"quantizer": "fsq", "levels": [8, 8, 8]},
    "gumbel-512": {"quantizer": "gumbel", "codes": 512, "code_width": 6},
    "vq-512": {"quantizer": "vq", "codes": 512, "code_width": 6},
    "fsq-4096": {"quantizer": "fsq", "levels": [8, 8, 8, 8]},
    "fsq-512 again": {"quantizer": "fsq", "levels": [8, 8, 8]},  # another seed: what chance does
}
SIZES = {
    "encoder_width": 128, "encoder_layers": 2, "neighbours": 16, "decoder_width": 128,
    "decoder_heads": 4, "decoder_layers": 3, "pair": 16, "refinements": 2,
}  # fmt: skip
TRAINING = {
    "optimizer": "muon", "learning_rate": 2e-3, "weight_decay": 0.01, "warmup": 30, "ema": 0.97,
    "bf16": True, "log_every": 20, "validate_every": 100_000,
}  # fmt: skip
DATA = {"residues": 512, "crop": 64, "max_length": 256}
LOSS = {"soft_steps": 100, "ramp_steps": 100, "sharpness": 3.0}
LONGEST = 256  # of the chains that are measured; crops of 64 teach nothing about longer ones
PREFIX = ("backbone", "heavy", "shard")


def train(name: str, data: Path, where: Path, steps: int, decay: int) -> Path:
    """Train one tokenizer, the last `decay` of all steps with a falling learning rate."""
    if (where / "decayed" / "config.json").exists():
        return where / "decayed"
    config = {
        "model": SIZES | QUANTIZERS[name],
        "training": TRAINING | {"steps": steps - decay, "seed": 6 if "again" in name else 5},
        "data": DATA,
        "loss": LOSS | {"sharpness_steps": steps // 2},
    }
    resume = (where / "checkpoint.safetensors").exists()
    train_tokenizer(config, data, where, resume=resume, progress=False)
    if read_meta(where / "checkpoint.safetensors")["step"] < steps - decay:
        raise SystemExit(f"{name}: stopped; the same call continues")
    return train_tokenizer(config, data, where, resume=True, decay=decay, progress=False)


def one_per_cluster(dataset: ShardDataset, most: int) -> list[int]:
    """A chain of at most `LONGEST` residues of each of the first clusters that have one."""
    groups = [group[dataset.lengths[group] <= LONGEST] for group in dataset.clusters()]
    return [int(group[0]) for group in groups if len(group)][:most]


@torch.no_grad()
def redrawn(
    model: DVAE, network: NeighbourModel, dataset: ShardDataset, rows: list[int], seed: int = 0
) -> list[dict]:
    """`chain_metrics` where every fifth token is a draw from the network given its neighbours.

    Fifth tokens are no neighbours of each other, so that every draw is given true tokens: what a
    language model of this quality puts in the place of a token.
    """
    generator = torch.Generator().manual_seed(seed)
    table = []
    for row in rows:
        chain: TokenChain = tokenize_chains(model, dataset, [row])[0]
        entry = dataset[row]
        tokens, present = chain.tokens.copy(), np.flatnonzero(chain.tokens >= 0)
        _, around, letters = neighbourhoods(chain, network.vocabulary)
        chosen = np.arange(len(present)) % 5 == 2
        logits = network(*(torch.as_tensor(x[chosen]).long() for x in (around, letters)))
        drawn = torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(-1)
        tokens[present[chosen]] = drawn.numpy()
        mask = chain.tokens >= 0
        values = (tokens, chain.amino_acids, mask, chain.index)
        decoded = model.reconstruct(*(torch.as_tensor(x)[None] for x in values))
        backbone = decoded.backbones[-1][0].float().numpy()
        metrics = chain_metrics(backbone, entry.backbone, mask, entry.chain_break)
        table.append({"cluster": entry.cluster, "length": len(entry.sequence), **metrics})
    return table


def measure(directory: Path, data: Path, most: int) -> dict[str, float]:
    """All figures of one tokenizer."""
    model = load_module(directory, DVAE).eval()
    held_out = ShardDataset(data, "val", PREFIX)
    rows = one_per_cluster(held_out, most)
    table, counts = reconstruct_chains(model, held_out, rows)
    figures = {"chains": len(table), **summarize(table, counts)}
    training = ShardDataset(data, "train", PREFIX)
    known = tokenize_chains(model, training, one_per_cluster(training, most))
    scored = tokenize_chains(model, held_out, rows)
    size = model.quantizer.size
    half = score_neighbour_model(
        fit_neighbour_model(known[::2], size, bf16=True), known[::2], scored
    )
    network = fit_neighbour_model(known, size, bf16=True)
    entropy = score_neighbour_model(network, known, scored)
    changed = summarize(redrawn(model, network, held_out, rows), counts)
    return figures | {
        "uniform": float(np.log(size)),
        "unigram": entropy.unigram,
        "half": half.conditional,
        "conditional": entropy.conditional,
        "error": entropy.standard_error,
        "told": entropy.told,
        "trained": entropy.trained,
        "scored": entropy.scored,
        "redrawn_local": changed["local"],
        "redrawn_lddt": changed["lddt"],
    }


def budget(where: Path) -> dict[str, float]:
    """Steps, residues in crops and seconds, as the log of the decay ends."""
    with open(where / "decay_log.csv") as handle:
        last = list(csv.DictReader(handle))[-1]
    return {name: float(last[name]) for name in ("step", "residues", "seconds")}


LINES = (
    ("steps", "step", 1, 0),
    ("residues in crops, millions", "residues", 1e-6, 2),
    ("minutes on one shared core", "seconds", 1 / 60, 1),
    ("CA RMSD, L <= 64, A", "rmsd_64", 1, 2),
    ("CA RMSD, L <= 128, A", "rmsd_128", 1, 2),
    ("CA RMSD, L <= 256, A", "rmsd_256", 1, 2),
    ("local error (i-6..i+6), A", "local", 1, 3),
    ("lDDT (CA)", "lddt", 1, 3),
    ("codes used", "codes", 1, 0),
    ("perplexity of code usage", "perplexity", 1, 0),
    ("uniform, nats per token", "uniform", 1, 3),
    ("unigram", "unigram", 1, 3),
    ("given neighbours, half the data", "half", 1, 3),
    ("given neighbours", "conditional", 1, 3),
    ("  standard error over chains", "error", 1, 3),
    ("neighbours tell, bits", "told", 1, 2),
    ("every fifth token redrawn: local, A", "redrawn_local", 1, 3),
    ("every fifth token redrawn: lDDT", "redrawn_lddt", 1, 3),
)


def table(results: dict[str, dict[str, float]]) -> str:
    """One column a tokenizer."""
    some = next(iter(results.values()))
    lines = [
        f"val: {some['chains']} chains of at most {LONGEST} residues, one a cluster; medians. "
        f"Entropy: {some['trained']:,} training tokens, {some['scored']:,} scored",
        " " * 36 + "".join(f"{name:>15}" for name in results),
    ]
    for label, key, scale, digits in LINES:
        values = (f"{scale * figures[key]:15.{digits}f}" for figures in results.values())
        lines.append(f"{label:36}" + "".join(values))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="shard directory")
    parser.add_argument("output", type=Path, help="directory for the runs")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--decay", type=int, default=200, help="the last steps, annealed")
    parser.add_argument("--chains", type=int, default=1200, help="most training chains of entropy")
    parser.add_argument("--only", choices=list(QUANTIZERS), nargs="+", default=list(QUANTIZERS))
    options = parser.parse_args()
    prepare_cpu(1)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    results = {}
    for name in options.only:
        where = options.output / name
        model = train(name, options.data, where, options.steps, options.decay)
        kept = where / "figures.json"
        if not kept.exists():
            figures = measure(model, options.data, options.chains) | budget(where)
            kept.write_text(json.dumps(figures, indent=1))
        results[name] = json.loads(kept.read_text())
    print(table(results))


if __name__ == "__main__":
    main()

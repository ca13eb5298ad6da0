"""Small language models that differ in one setting: python tools/study_language.py DATA OUTPUT.

The data are one chain of each of 6,000 training clusters, all other structures of its sequence, and
the validation split. They are tokenized twice: by the mode of the posterior, and by a draw from it.
All models see the same number of residues; one differs in its seed alone. Finished models in
OUTPUT/runs/<name> are not trained again. The table has nats per token of the validation split: from
sequence, of spans given the rest, and of tokens in which two conformers differ given the others.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from openmm_slm.cli.common import prepare_cpu
from openmm_slm.data.shards import ShardDataset
from openmm_slm.data.tokens import TokenStore, tokenize
from openmm_slm.files.json_settings import build
from openmm_slm.language.autoregressive import token_nats
from openmm_slm.language.bound import negative_bound
from openmm_slm.language.families import FAMILIES, family_of
from openmm_slm.language.masked_diffusion import MaskedDiffusion
from openmm_slm.language.masking import masked_residues
from openmm_slm.models.registry import find_part
from openmm_slm.networks.storage import load_module, load_network, read_config, save_module
from openmm_slm.training.checkpoint import read_meta
from openmm_slm.training.token_batches import read_tokens
from openmm_slm.training.train_language_model import train_language_model

PREFIX = ("backbone", "heavy", "shard")
LONGEST = 256  # residues
SHARE = 0.3  # of the residues are spans
MASKINGS = 4  # of each chain, for masked diffusion
FIGURES = ("sequence", "spans", "conformers")
SIZES = {
    "trunk_width": 64, "trunk_layers": 3, "trunk_heads": 4, "width": 64, "layers": 2, "heads": 4,
    "pair": 8,
}  # fmt: skip
TRAINING = {
    "optimizer": "muon", "learning_rate": 6e-3, "weight_decay": 0.01, "warmup": 30, "ema": 0.97,
    "log_every": 20, "validate_every": 100_000, "seed": 5,
}  # fmt: skip
DATA = {"residues": 1024, "max_length": LONGEST}
AGAIN, SELF = {"training": {"seed": 6}}, {"model": {"self_condition": True}}
CHANGES = {
    "t5": {},
    "t5, another seed": AGAIN,
    "t5, no spans": {"data": {"infilling": 0.0}},
    "t5, conformers": {"data": {"conformers": 0.3}},
    "t5, draws": {"data": {"draws": True}},
    "t5, smaller": {"model": {"trunk_width": 32, "trunk_layers": 2}},
    "t5, larger": {"model": {"trunk_width": 96, "trunk_layers": 4}},
    "diffusion": {},
    "diffusion, no spans": {"data": {"infilling": 0.0}},
    "diffusion, self-conditioning": SELF,
    "diffusion, another seed": AGAIN,
    "diffusion, another seed, self-conditioning": AGAIN | SELF,
}


def choose_data(data: Path, where: Path, clusters: int, seed: int = 0) -> None:
    """Write an index of a subset of `data`; the arrays are links to those of `data`."""
    dataset = ShardDataset(data, prefix=PREFIX)
    rows, rng, groups, same = dataset.rows, np.random.default_rng(seed), {}, {}
    for row, length in zip(rows, dataset.lengths, strict=True):
        if row["split"] in ("train", "val") and 20 <= length <= LONGEST:
            same.setdefault((row["split"], row["sequence"]), []).append(row)
            if row["split"] == "train":
                groups.setdefault(row["cluster"], []).append(row)
    names = rng.permutation(sorted(groups))[:clusters]
    chosen = {groups[name][rng.integers(len(groups[name]))]["sequence"] for name in names}
    kept = [r for (split, s), each in same.items() if split == "val" or s in chosen for r in each]
    where.mkdir(parents=True, exist_ok=True)
    for shard in {row["shard"] for row in kept}:
        for suffix in ("atoms", "residues"):
            path = where / f"{shard}.{suffix}.npy"
            path.unlink(missing_ok=True)
            path.symlink_to((data / path.name).resolve())
    with open(where / "index.csv", "w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(kept)


def begin(family: str, sizes: dict, seed: int, where: Path) -> Path:
    """Save a new network whose token embeddings have the geometry of the default model's.

    Embeddings and head are projected on their principal directions and rotated at random. The small
    data set then need not teach which tokens are alike.
    """
    torch.manual_seed(seed)
    kind = FAMILIES[family].network
    model = kind(build(kind.config_class, sizes, "model"))
    torch.manual_seed(seed)  # the same turns, whatever has been added to the network
    _, known = load_network(find_part("default", "language_model"))
    with torch.no_grad():
        for key in ("token.weight", "known_token.weight", "head.1.weight"):
            if key in (own := model.state_dict()):
                centred = known[key] - known[key][: model.config.vocabulary].mean(0)
                values, scales, _ = torch.linalg.svd(centred, full_matrices=False)
                width = own[key].shape[1]
                turn, _ = torch.linalg.qr(torch.randn(width, width))
                own[key].copy_(values[:, :width] * scales[:width] @ turn)
    save_module(where, model)
    return where


def train(name: str, output: Path, steps: int, decay: int) -> Path:
    """Train one language model, the last `decay` of all steps with a falling learning rate."""
    where = output / "runs" / name.replace(",", "").replace(" ", "_")
    if (where / "decayed" / "config.json").exists():
        return where
    change, family = CHANGES[name], name.split(",")[0]
    training = TRAINING | change.get("training", {}) | {"steps": steps - decay}
    start = begin(family, SIZES | change.get("model", {}), training["seed"], where / "start")
    data = DATA | change.get("data", {})
    if data.pop("draws", False):
        data["posterior"] = [str(output / "draws")]
    config = {"family": family, "training": training, "data": data}
    given = (config, output / "shards", output / "tokens", where)
    checkpoint = where / "checkpoint.safetensors"
    train_language_model(*given, resume=checkpoint.exists(), init_from=start, progress=False)
    if read_meta(checkpoint)["step"] < steps - decay:
        raise SystemExit(f"{name}: stopped; the same call continues")
    train_language_model(*given, resume=True, init_from=start, decay=decay, progress=False)
    return where


def unknown_nats(
    network: torch.nn.Module, batch: dict[str, torch.Tensor], unknown: torch.Tensor
) -> torch.Tensor:
    """Nats [B] of the tokens where `unknown` bool [B, L], given all others.

    Exact, or of masked diffusion the bound over stratified maskings of those (always the same).
    """
    tokens, layout = batch["tokens"], (batch["amino_acids"], batch["mask"], batch["index"])
    if not isinstance(network, MaskedDiffusion):
        memory = network.read(*layout, torch.where(unknown, -1, tokens))
        return token_nats(network, memory, tokens, unknown)
    condition, total = network.condition(*layout), 0

    def denoise(masked: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
        known = torch.where(tokens < 0, network.config.vocabulary, tokens)
        return network.denoise(torch.where(unknown, masked, known), where, condition)

    torch.manual_seed(0)
    for number in range(MASKINGS):
        share = (number + torch.rand(len(tokens))) / MASKINGS
        total += negative_bound(denoise, tokens, unknown, share, network.config.vocabulary)
    return total / MASKINGS


@torch.no_grad()
def measure(model: Path, output: Path) -> dict:
    """Nats per token of each cluster: from sequence, of spans, and where conformers differ."""
    network = load_module(model, FAMILIES[family_of(read_config(model)["kind"])].network).eval()
    dataset = ShardDataset(output / "shards", "val", PREFIX)
    store = TokenStore(output / "tokens", output / "shards")
    found: dict[str, dict[str, list[float]]] = {figure: {} for figure in FIGURES}

    def add(figure: str, numbers: list[int], choose: Callable[[np.ndarray], np.ndarray]) -> None:
        batch = read_tokens(dataset, store, numbers)
        unknown = choose(batch["tokens"]) & (batch["tokens"] >= 0)
        if not unknown.any(1).all():  # conformers of the same tokens
            return
        batch = {key: torch.as_tensor(value) for key, value in batch.items()}
        nats = unknown_nats(network, batch, torch.as_tensor(unknown)).numpy() / unknown.sum(1)
        found[figure].setdefault(dataset.rows[numbers[0]]["cluster"], []).extend(nats)

    rng = np.random.default_rng(0)
    for group in dataset.clusters():
        entry = dataset[int(group[0])]
        masked = masked_residues(rng, entry.backbone[:, 1], SHARE, entry.chain_index)
        add("sequence", [int(group[0])], lambda tokens: tokens >= 0)
        # What `resize` repeats is padding, where there are no tokens.
        add("spans", [int(group[0])], lambda tokens, m=masked: np.resize(m, tokens.shape))
    for pair in conformers(dataset):
        add("conformers", pair, lambda tokens: (tokens != tokens[::-1]) & (tokens[::-1] >= 0))
    means = {key: [float(np.mean(v)) for v in each.values()] for key, each in found.items()}
    return means | {"parameters": sum(each.numel() for each in network.parameters())}


def conformers(dataset: ShardDataset) -> list[list[int]]:
    """Pairs of entries of one sequence, one a cluster."""
    same: dict[tuple[str, str], list[int]] = {}
    for number, row in enumerate(dataset.rows):
        same.setdefault((row["cluster"], row["sequence"]), []).append(number)
    return list({cluster: each[:2] for (cluster, _), each in same.items() if each[1:]}.values())


def table(results: dict[str, dict]) -> str:
    """One row a model."""
    number = [len(next(iter(results.values()))[figure]) for figure in FIGURES]
    lines = [
        f"nats per token; {number[0]} chains of val, {number[2]} pairs of conformers; in",
        "brackets the difference to the model without the last change, and its standard error",
        f"{'':43}{'M':>6}{'M seen':>8}" + "".join(f"{figure:>24}" for figure in FIGURES),
    ]
    for name, each in results.items():
        line = f"{name:43}{each['parameters'] / 1e6:6.2f}{each['residues'] / 1e6:8.2f}"
        before = results.get(name.rpartition(", ")[0])
        for figure in FIGURES:
            value = np.array(each[figure])
            change = value - np.array((before or each)[figure])
            error = change.std() / np.sqrt(len(change))
            shown = f"({change.mean():+.3f} {error:.3f})" if change.any() else ""
            line += f"{value.mean():9.3f} {shown:14}"
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="shard directory")
    parser.add_argument("output", type=Path, help="directory for data, tokens and runs")
    parser.add_argument("--clusters", type=int, default=6000)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--decay", type=int, default=200, help="the last steps, annealed")
    parser.add_argument("--only", choices=list(CHANGES), nargs="+", default=list(CHANGES))
    options = parser.parse_args()
    prepare_cpu(1)
    shards = options.output / "shards"
    if not (shards / "index.csv").exists():
        choose_data(options.data, shards, options.clusters)
    for name, sample in (("tokens", None), ("draws", 1)):
        if not (options.output / name / "tokens.json").exists():
            tokenizer = find_part("default", "tokenizer")
            tokenize(shards, tokenizer, options.output / name, sample=sample, progress=False)
    results = {}
    for name in options.only:
        where = train(name, options.output, options.steps, options.decay)
        kept = where / "figures.json"
        if not kept.exists():
            figures = measure(where / "decayed", options.output)
            with open(where / "decay_log.csv") as handle:
                figures["residues"] = float(list(csv.DictReader(handle))[-1]["residues"])
            kept.write_text(json.dumps(figures, indent=1))
        results[name] = json.loads(kept.read_text())
    print(table(results))


if __name__ == "__main__":
    main()

"""ESMDiff at its real size, with random weights, beside the default model: time and memory.

Writes 4 GB into a temporary folder (set TMPDIR for another place), loads them as a user's run
does, and samples BPTI from tokens to all atoms.

    python tools/measure_esm3.py -n 4 --threads 1
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import torch

from openmm_slm import EnsembleGenerator
from openmm_slm.cli_common import prepare_cpu
from openmm_slm.language.esm3_network import ESMDiffNetwork
from openmm_slm.models.storage import (
    LARGE_SHARD_BYTES,
    assemble_model,
    save_network,
    tokenizer_fingerprint,
)
from openmm_slm.tokenizer.esm3 import ESM3TokenizerNetwork

BPTI = "RPDFCLEPPYTGPCKARIIRYFYNAKAGLCQTFVYGGCRAKRNNFKSAEDCMRTCGGA"


def peak() -> float:
    """GiB of memory at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def write(network: torch.nn.Module, directory: Path, **extra: object) -> None:
    count = sum(parameter.numel() for parameter in network.parameters())
    print(f"{network.kind}: {count / 1e6:.0f} M parameters", flush=True)
    options = {"shard_bytes": LARGE_SHARD_BYTES, **extra}
    save_network(directory, network.kind, asdict(network.config), network.state_dict(), **options)


def measured(name: str, model: object, n: int, steps: int | None = None) -> None:
    start = time.perf_counter()
    generator = EnsembleGenerator.from_pretrained(model, "cpu")
    loaded = time.perf_counter() - start
    parts = {"tokens": generator.language_model, "backbones": generator.tokenizer}
    spent = dict.fromkeys(parts, 0.0)

    def timed(part: str, function):
        def run(*args, **options):
            start = time.perf_counter()
            out = function(*args, **options)
            spent[part] += time.perf_counter() - start
            return out

        return run

    parts["tokens"].sample = timed("tokens", parts["tokens"].sample)
    decode = parts["backbones"].decode_with_confidence
    parts["backbones"].decode_with_confidence = timed("backbones", decode)
    # Disulfides are none: to find them, 8 frames more would be sampled.
    options = {"n": n, "seed": 1, "steps": steps, "disulfides": None, "progress": False}
    start = time.perf_counter()
    ensemble = generator.sample(BPTI, **options)
    total = time.perf_counter() - start
    print(
        f"{name}: loaded in {loaded:.1f} s; {n} samples of BPTI in {total:.1f} s, {total / n:.2f} "
        f"s each (tokens {spent['tokens']:.1f} s, backbones {spent['backbones']:.1f} s); "
        f"{ensemble.trajectory.n_atoms} atoms; peak memory {peak():.1f} GiB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=4, help="samples")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    prepare_cpu(arguments.threads)
    torch.manual_seed(0)
    measured("default", "default", arguments.n)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write(ESM3TokenizerNetwork(), folder / "tokenizer")
        fingerprint = tokenizer_fingerprint(folder / "tokenizer")
        write(ESMDiffNetwork(), folder / "language_model", tokenizer=fingerprint)
        print(f"written; peak memory {peak():.1f} GiB", flush=True)
        model = folder / "model"
        parts = folder / "tokenizer", folder / "language_model"
        assemble_model(*parts, model, "Random weights.", move=True)
        measured("ESMDiff", model, arguments.n, arguments.steps)


if __name__ == "__main__":
    main()

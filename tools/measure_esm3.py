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
from openmm_slm.cli.common import prepare_cpu
from openmm_slm.language.esm3_network import ESMDiffNetwork
from openmm_slm.networks.storage import (
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
    print(f"{name}: loaded in {time.perf_counter() - start:.1f} s", flush=True)
    spent = {"sample": 0.0, "decode_with_confidence": 0.0}

    def timed(part: object, verb: str) -> None:
        function = getattr(part, verb)

        def run(*arguments: object, **options: object) -> object:
            start = time.process_time()
            out = function(*arguments, **options)
            spent[verb] += time.process_time() - start
            return out

        setattr(part, verb, run)

    timed(generator.language_model, "sample")
    timed(generator.tokenizer, "decode_with_confidence")
    # Disulfides are none: to decide on them, 8 frames are sampled, however few are wanted.
    options = {"n": n, "seed": 1, "steps": steps, "disulfides": None, "progress": False}
    wall, start = time.perf_counter(), time.process_time()
    ensemble = generator.sample(BPTI, **options)
    wall, total = time.perf_counter() - wall, time.process_time() - start
    tokens, backbones = spent.values()
    print(
        f"{name}: {n} samples of BPTI, {ensemble.trajectory.n_atoms} atoms: {total / n:.1f} "
        f"processor seconds each (tokens {tokens / n:.1f}, backbones {backbones / n:.1f}), "
        f"{wall / n:.1f} s on the clock; at most {peak():.1f} GiB of memory so far",
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

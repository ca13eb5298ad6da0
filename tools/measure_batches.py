"""Residues per second of processor time that one core makes into batches.

OPENBLAS_NUM_THREADS=1 python tools/measure_batches.py DATA TOKENS
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from openmm_slm.data.shards import ShardDataset
from openmm_slm.data.tokens import TokenStore
from openmm_slm.training.batches import ClusterSampler, tokenizer_batch
from openmm_slm.training.starts import StartConfig
from openmm_slm.training.token_batches import language_model_batch

CONFIGS = Path(__file__).parent.parent / "configs"


def report(name: str, make: Callable[[int], dict], count: Callable[[dict], int]) -> None:
    count(make(0))  # opens files
    begun = time.process_time()
    residues = sum(count(make(step)) for step in range(1, 26))
    print(f"{name:28}{residues / (time.process_time() - begun):10,.0f} residues/s")


def main(data: str, tokens: str) -> None:
    prefix = ("backbone", "heavy", "shard", "complex")
    store = TokenStore(tokens, data)
    crops = ClusterSampler(ShardDataset(data, "train", prefix), complexes=0.08)
    chains = ClusterSampler(ShardDataset(data, "train", prefix[:3]))

    def of(config: str, own: TokenStore | None, starts: bool) -> Callable[[int], dict]:
        values = json.loads((CONFIGS / config).read_text())
        size = (values["data"]["residues"], values["data"]["crop"])
        kinds = StartConfig(**values["starts"]) if starts else None
        return lambda step: tokenizer_batch(crops, *size, 1, step, own, kinds)

    def cropped(batch: dict) -> int:
        return int((batch["crop_rows"] >= 0).sum())

    report("decoder", of("decoder_deep.json", store, True), cropped)
    report("decoder, no starting frames", of("decoder_deep.json", store, False), cropped)
    report("tokenizer", of("tokenizer.json", None, True), cropped)
    report(
        "language model",
        lambda step: language_model_batch(chains, [store], 2048, 1, step),
        lambda batch: int((batch["tokens"] >= 0).sum()),
    )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])

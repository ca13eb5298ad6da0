"""Where the time of a training step goes: python tools/profile_training.py DATA [MODEL].

One thread, processor time (other work on the machine disturbs it least), medians of 8 steps.
"""

from __future__ import annotations

import sys
import time
from statistics import median

import torch

from openmm_slm.data.shards import ShardDataset
from openmm_slm.models.registry import load_tokenizer
from openmm_slm.training.batches import ClusterSampler, tokenizer_batch
from openmm_slm.training.optimizers import make_optimizers
from openmm_slm.training.starts import StartConfig
from openmm_slm.training.throughput import bf16_is_emulated
from openmm_slm.training.tokenizer_loss import LOSS, batch_codes, take_crops, tokenizer_loss

CROP, RESIDUES, STEPS = 128, 1792, 8
OPTIONS = {**LOSS, "soft_steps": 0, "ramp_steps": 0}


def main(data: str, name: str = "default") -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = load_tokenizer(name, "cpu").model.float().train()
    model.requires_grad_(True)
    dataset = ShardDataset(data, "train", ("backbone", "heavy", "shard"))
    sampler = ClusterSampler(dataset)
    emulated = bf16_is_emulated(torch.device("cpu"))
    named = dict(model.named_parameters())
    optimizers = make_optimizers(named, "muon", 1e-6, (0.9, 0.98), 0.01, float32=emulated)
    taken: dict[str, list[float]] = {}

    def timed(part: str, run):
        start = time.process_time()
        out = run()
        taken.setdefault(part, []).append(time.process_time() - start)
        return out

    def low():
        return torch.autocast("cpu", torch.bfloat16, enabled=not emulated)

    rate = []
    for step in range(STEPS + 1):
        batch = timed(
            "batch (loading, crops, starts)",
            lambda s=step: tokenizer_batch(sampler, RESIDUES, CROP, 0, s, None, StartConfig()),
        )
        batch = {key: torch.as_tensor(value) for key, value in batch.items()}

        def encoded(batch=batch):
            with low():
                codes, loss, _ = batch_codes(model, batch, 0, OPTIONS)
            (codes.sum() + loss).backward()
            return codes.detach()

        codes = timed("encoder, forward and backward", encoded)
        rows = batch["crop_chain"], batch["crop_rows"]
        inputs = [
            take_crops(x, *rows)
            for x in (codes, batch["amino_acids"], batch["mask"], batch["index"])
        ]

        def decoded(inputs=inputs):
            with low():
                out = model.decoder(*inputs)
            (out.backbones[-1].sum() + out.pair.float().sum()).backward()

        timed("decoder, forward and backward", decoded)
        model.zero_grad()

        def whole(batch=batch):
            with low():
                loss, metrics = tokenizer_loss(model, batch, 0, CROP, OPTIONS)
            loss.backward()
            return int(metrics["residues"])

        residues = timed("all of it with starts and losses", whole)
        timed("optimizer", lambda: [optimizer.step() for optimizer in optimizers])
        model.zero_grad()
        rate.append(residues / taken["all of it with starts and losses"][-1])
    for part, seconds in taken.items():
        print(f"{part:36} {1000 * median(seconds[1:]):8.0f} ms")
    print(f"{'residues per second of processor time':36} {median(rate[1:]):8,.0f}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])

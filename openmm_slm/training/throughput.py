"""Speed of a training run, as a share of the peak speed of the machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode


class Throughput:
    """Residues per second, and the share of the machine's measured peak.

    Parameters
    ----------
    flops : float
        Floating-point operations per residue (see `count_flops`).
    device : torch.device
    dtype : torch.dtype
        Type of the matrix products.
    """

    def __init__(self, flops: float, device: torch.device, dtype: torch.dtype) -> None:
        self.flops, self.dtype = flops, dtype
        self.peak = measured_peak(device, dtype)

    def row(self, residues: int, seconds: float) -> dict[str, float]:
        """Columns of a training log."""
        speed = residues / max(seconds, 1e-9)
        return {"residues_per_s": speed, "share_of_peak": speed * self.flops / self.peak}

    def text(self, residues: int, seconds: float) -> str:
        """Summary in one line."""
        row = self.row(residues, seconds)
        return (
            f"{row['residues_per_s']:,.0f} residues/s, {self.flops / 1e6:,.0f} MFLOP each: "
            f"{row['share_of_peak']:.1%} of the {self.peak / 1e9:,.0f} GFLOP/s that "
            f"{str(self.dtype).removeprefix('torch.')} matrix products reach here"
        )


def bf16_is_emulated(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 take more than twice as long as in float32.

    CPUs without bfloat16 instructions emulate them, 50 times slower: a run would take days instead
    of hours.
    """
    if device.type != "cpu":
        return False
    brain, single = (measured_peak(device, x, 256) for x in (torch.bfloat16, torch.float32))
    return brain < single / 2


def measured_peak(device: torch.device, dtype: torch.dtype, size: int | None = None) -> float:
    """FLOP/s of large matrix products on this machine, with torch's current thread count."""
    size = size or (1024 if device.type == "cpu" else 8192)
    a = torch.ones(size, size, dtype=dtype, device=device)
    seconds = []
    for _ in range(7):
        _synchronize(device)
        start = time.perf_counter()
        a @ a
        _synchronize(device)
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / median(seconds[2:])


def count_flops(run: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products in `run()`, backward passes included."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)

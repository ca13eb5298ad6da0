"""Data-parallel training with several processes, started by torchrun.

Gradients are averaged over the residues of all processes, so that N processes take the same steps
as one process with batches N times as large. Only rank 0 writes files.
"""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Iterable

import torch
import torch.distributed as dist

_PAUSE = 0.2  # s


class Processes:
    """The processes of a run, seen from one of them. Without torchrun there is only one.

    Parameters
    ----------
    device : torch.device

    Attributes
    ----------
    rank : int
        Number of this process.
    count : int
        Number of processes.
    """

    def __init__(self, device: torch.device) -> None:
        self.count = int(os.environ.get("WORLD_SIZE", 1))
        self.rank = int(os.environ.get("RANK", 0))
        self.device = device
        if self.count > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
            atexit.register(_leave)

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which writes the files."""
        return self.rank == 0

    def batch_number(self, step: int) -> int:
        """Number of this process's batch at a step; no two processes share a batch."""
        return step * self.count + self.rank

    @torch.no_grad()
    def average(self, parameters: Iterable[torch.Tensor], residues: int) -> int:
        """Replace gradients by their mean over processes, weighted by residues.

        Returns
        -------
        int
            Number of residues of all processes.
        """
        if self.count == 1:
            return residues
        total = torch.tensor(float(residues), device=self.device)
        dist.all_reduce(total)
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            parameter.grad.mul_(residues / total.clamp(min=1))
            dist.all_reduce(parameter.grad)
        return int(total)

    def agree(self, stop: bool) -> bool:
        """Whether any process wants to stop. All must stop at the same step, or some would hang."""
        if self.count == 1:
            return stop
        wanted = torch.tensor(float(stop), device=self.device)
        dist.all_reduce(wanted, dist.ReduceOp.MAX)
        return bool(wanted)

    def wait(self) -> None:
        """Wait until all processes have called this."""
        if self.count > 1:
            dist.barrier()


def _leave() -> None:
    """Leave the process group before the interpreter ends.

    Threads of gloo release tensors shortly after a collective operation has returned. The process
    aborts if one of them still needs the interpreter when it is gone.
    """
    time.sleep(_PAUSE)
    dist.destroy_process_group()
    time.sleep(_PAUSE)


def own_device(device: str) -> str:
    """Device of this process: under torchrun each process has its own GPU."""
    return f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if device == "cuda" else device

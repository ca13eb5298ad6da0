"""Several processes that train one model, each on batches of its own (started by torchrun).

Gradients are means over the residues of all processes, so that N of them take the steps that one
would with batches N times as large. Rank 0 alone writes files.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
import torch.distributed as dist


class Processes:
    """The processes of a run, of which this is one; without torchrun there is one.

    Parameters
    ----------
    device : torch.device

    Attributes
    ----------
    rank, count : int
    """

    def __init__(self, device: torch.device) -> None:
        self.count = int(os.environ.get("WORLD_SIZE", 1))
        self.rank = int(os.environ.get("RANK", 0))
        self.device = device
        if self.count > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def batch_number(self, step: int) -> int:
        """Which batch this process takes at a step: no two ever take the same."""
        return step * self.count + self.rank

    @torch.no_grad()
    def average(self, parameters: Iterable[torch.Tensor], residues: int) -> int:
        """Replace gradients by their mean over processes, weighted by residues.

        Returns
        -------
        int
            The residues of all processes.
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
        """Whether any process wants to stop: none may wait for one that has."""
        if self.count == 1:
            return stop
        wanted = torch.tensor(float(stop), device=self.device)
        dist.all_reduce(wanted, dist.ReduceOp.MAX)
        return bool(wanted)

    def wait(self) -> None:
        """Until all are here."""
        if self.count > 1:
            dist.barrier()


def own_device(device: str) -> str:
    """Under torchrun each process has a GPU of its own."""
    return f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if device == "cuda" else device

"""Where a condition enters a network: a linear map of it is added to the embedded amino acids.

The map starts at zero: a new network, and one that goes on from a model without condition, begin as
if there were none.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn as nn

from ..errors import SLMError


class ConditionInput(nn.Linear):
    """Condition [B, L, D] -> what is added to the embedded amino acids [B, L, W]; zero at first.

    Large numbers are scaled down, x / sqrt(1 + mean x^2), so that embeddings of any scale train
    alike. A LayerNorm would leave nothing of a single number, and less than all of a few.

    Rows that are NaN (padding, or a sequence that is hidden) add nothing.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__(size, width)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, condition: torch.Tensor) -> torch.Tensor:
        known = condition.isfinite().all(-1, keepdim=True)
        x = condition.float().where(known, 0.0)
        return super().forward(x * (1 + x.square().mean(-1, keepdim=True)).rsqrt()) * known


def condition_input(size: int | None, width: int) -> ConditionInput | None:
    """The layer of a network with `size` numbers a residue, if it has any.

    Raises
    ------
    SLMError
        Not a number from 1 on.
    """
    if size is None:
        return None
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise SLMError(f"model.condition is {size!r}; give the numbers of each residue, 1 or more")
    return ConditionInput(size, width)


def condition_tensor(values: np.ndarray | None, device: torch.device) -> torch.Tensor | None:
    """[1, L, D] of a condition [L, D], if there is one."""
    return None if values is None else torch.as_tensor(values, device=device).unsqueeze(0)

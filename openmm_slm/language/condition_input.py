"""Input layer of a condition: a linear map added to the amino-acid embedding.

The map starts at zero, so a network initialised from a model without condition gives the same
output at first.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn as nn

from ..errors import SLMError


class ConditionInput(nn.Linear):
    """Map a condition [B, L, D] to a term of the amino-acid embedding [B, L, W].

    Values are scaled by 1 / sqrt(1 + mean x^2), so that embeddings of any scale train alike. A
    LayerNorm would remove a single number entirely, and part of the information in a few. Rows
    with NaN (padding, or a hidden sequence) give zero.
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
    """Input layer for `size` numbers per residue; None without a condition.

    Raises
    ------
    SLMError
        `size` is not a positive integer.
    """
    if size is None:
        return None
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise SLMError(f"model.condition is {size!r}; give the numbers of each residue, 1 or more")
    return ConditionInput(size, width)


def condition_tensor(values: np.ndarray | None, device: torch.device) -> torch.Tensor | None:
    """Condition [L, D] as a tensor [1, L, D]; None without a condition."""
    return None if values is None else torch.as_tensor(values, device=device).unsqueeze(0)

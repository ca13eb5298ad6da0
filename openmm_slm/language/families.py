"""The families of structure language models: a network, and what runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn as nn

from .autoregressive import AutoregressiveModel
from .esm3 import ESM3Model, ESMDiffModel
from .esm3_network import ESM3Network, ESMDiffNetwork
from .gpt import GPT
from .gpt_model import GPTModel
from .interface import StructureLanguageModel
from .masked_diffusion import MaskedDiffusion, MaskedDiffusionModel
from .t5 import T5


@dataclass(frozen=True)
class Family:
    """One family.

    Attributes
    ----------
    network : type
        With a ``kind``, by which it is told on disk, and a ``config_class``.
    model : callable (network, device) -> StructureLanguageModel
    tokenizer : str
        Model that has its tokenizer, where its directory has none.
    """

    network: type[nn.Module]
    model: Callable[[nn.Module, str], StructureLanguageModel]
    tokenizer: str = "default"


#: By the name that ``openmm-slm train lm --family`` takes.
FAMILIES = {
    "diffusion": Family(MaskedDiffusion, MaskedDiffusionModel),
    "t5": Family(T5, AutoregressiveModel),
    "gpt": Family(GPT, GPTModel),
    "esm3": Family(ESMDiffNetwork, ESMDiffModel, "esm3"),
    "esm3-released": Family(ESM3Network, ESM3Model, "esm3"),
}


def family_of(kind: str) -> str | None:
    """Name of the family whose network is of a kind; None if there is none."""
    names = (name for name, family in FAMILIES.items() if family.network.kind == kind)
    return next(names, None)

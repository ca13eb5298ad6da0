"""Families of structure language models: a network and the model class that samples with it."""

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
    """A family of structure language models.

    Attributes
    ----------
    network : type
        Network class with a ``kind``, which identifies it in config.json, and a ``config_class``.
    model : callable (network, device) -> StructureLanguageModel
    tokenizer : str
        Model whose tokenizer is used if the model directory has none.
    """

    network: type[nn.Module]
    model: Callable[[nn.Module, str], StructureLanguageModel]
    tokenizer: str = "default"


#: Families by the name that ``openmm-slm train lm --family`` takes.
FAMILIES = {
    "diffusion": Family(MaskedDiffusion, MaskedDiffusionModel),
    "t5": Family(T5, AutoregressiveModel),
    "gpt": Family(GPT, GPTModel),
    "esm3": Family(ESMDiffNetwork, ESMDiffModel, "esm3"),
    "esm3-released": Family(ESM3Network, ESM3Model, "esm3"),
}


def family_of(kind: str) -> str | None:
    """Name of the family whose network has this kind; None for an unknown kind."""
    names = (name for name, family in FAMILIES.items() if family.network.kind == kind)
    return next(names, None)

"""Fine-tuning of large networks: what is trained of them, and with how much memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn as nn

from ..errors import SLMError, require

_ADAPTER = "default"


@dataclass(frozen=True)
class FineTuning:
    """The ``fine_tuning`` section of a config.

    Attributes
    ----------
    checkpointing : bool
        Layers are computed again in the backward pass: less memory, a third more time.
    lora_rank : int
        Above 0, matrices whose names end with one of `lora_targets` stay as they are and learn a
        change of this rank (Hu et al., 2022; needs peft). Of the rest, what `trained` begins is
        trained.
    lora_alpha : float
        The change is scaled by alpha / rank.
    """

    checkpointing: bool = False
    lora_rank: int = 0
    lora_alpha: float = 16.0
    lora_targets: tuple[str, ...] = ("attn.layernorm_qkv.1", "attn.out_proj", "ffn.1", "ffn.3")
    trained: tuple[str, ...] = ("structure_head", "sigma_embedder")


def prepare_network(network: nn.Module, settings: FineTuning) -> None:
    """Set up `network`, in place.

    Raises
    ------
    SLMError
        It has no layers to recompute, or none that are to be adapted.
    """
    if settings.checkpointing:
        if not hasattr(network, "checkpointing"):
            raise SLMError(
                f"fine_tuning.checkpointing is not there for {network.kind}; leave it out"
            )
        network.checkpointing = True
    if settings.lora_rank:
        try:
            peft = require("peft", "esm3")
        except RuntimeError as error:  # a torchvision of another torch build, for instance
            raise SLMError(f"peft cannot be imported: {error}") from None
        config = peft.LoraConfig(
            r=settings.lora_rank,
            lora_alpha=settings.lora_alpha,
            target_modules=list(settings.lora_targets),
        )
        try:
            peft.inject_adapter_in_model(config, network, _ADAPTER)
        except ValueError as error:
            raise SLMError(f"fine_tuning.lora_targets: {error}") from None
        for name, parameter in network.named_parameters():
            adapted = "lora_" in name
            parameter.requires_grad_(adapted or name.startswith(settings.trained))


@torch.no_grad()
def merged_state(network: nn.Module) -> dict[str, torch.Tensor]:
    """Weights of the network without adapters that computes the same."""
    state = {
        name.replace(".base_layer.", "."): value
        for name, value in network.state_dict().items()
        if "lora_" not in name
    }
    for name, module in network.named_modules():
        if hasattr(module, "get_delta_weight"):
            weight = f"{name}.weight"
            state[weight] = state[weight] + module.get_delta_weight(_ADAPTER)
    return state

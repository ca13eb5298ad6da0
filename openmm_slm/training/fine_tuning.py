"""Fine-tuning of large networks with less memory: LoRA adapters and gradient checkpointing."""

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
        Recompute layers in the backward pass: less memory, a third more time.
    lora_rank : int
        If above 0, matrices in `lora_targets` are frozen and get a trainable update of this rank
        (LoRA, Hu et al., 2022; needs peft). Other weights are frozen unless they are in `trained`.
    lora_alpha : float
        The update is scaled by alpha / rank.
    lora_targets : tuple of str
        Endings of the names of adapted matrices.
    trained : tuple of str
        Prefixes of the names of other trained weights.
    """

    checkpointing: bool = False
    lora_rank: int = 0
    lora_alpha: float = 16.0
    lora_targets: tuple[str, ...] = ("attn.layernorm_qkv.1", "attn.out_proj", "ffn.1", "ffn.3")
    trained: tuple[str, ...] = ("structure_head", "sigma_embedder")


def prepare_network(network: nn.Module, settings: FineTuning) -> None:
    """Set up `network` for fine-tuning, in place.

    Raises
    ------
    SLMError
        The network does not support checkpointing, or no matrix is in `lora_targets`.
    """
    if settings.checkpointing:
        if not hasattr(network, "checkpointing"):
            raise SLMError(
                f"{network.kind} does not support fine_tuning.checkpointing; leave it out"
            )
        network.checkpointing = True
    if settings.lora_rank:
        try:
            peft = require("peft", "esm3")
        except RuntimeError as error:  # for example torchvision for another build of torch
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
    """Weights of the equivalent network without adapters: LoRA updates are added to the weights."""
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

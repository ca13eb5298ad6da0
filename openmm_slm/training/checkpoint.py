"""Checkpoint of a training run: one safetensors file, replaced atomically.

It has the weights, EMA and optimizer state; step and settings are in its metadata. Batches and
random numbers depend on (seed, step), so the step also defines the data position and random state.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..errors import ModelError

logger = logging.getLogger(__name__)

_OPTIMIZER = ("step", "exp_avg", "exp_avg_sq", "momentum_buffer")


def write_checkpoint(
    path: Path,
    model: torch.nn.Module,
    ema: dict[str, torch.Tensor],
    optimizers: Sequence[torch.optim.Optimizer],
    meta: dict,
) -> None:
    """Write the complete state of a run."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"ema.{name}": value for name, value in ema.items()}
    for name, parameter in model.named_parameters():
        for optimizer in optimizers:
            for key, value in optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{key}.{name}"] = value
    write_tensors(path, tensors, meta)


def write_tensors(path: Path, tensors: dict[str, torch.Tensor], meta: dict) -> None:
    """Write a checkpoint under a temporary name and rename it, so that it is never partial."""
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    temporary = path.with_suffix(".tmp")
    save_file(tensors, temporary, {"meta": json.dumps(meta)})
    temporary.replace(path)


def read_meta(path: Path) -> dict:
    """Metadata of a checkpoint: step and settings.

    Raises
    ------
    ModelError
        The file does not exist or is not a checkpoint.
    """
    if not path.exists():
        raise ModelError(f"{path}: nothing to resume; start without --resume")
    try:
        with safe_open(path, "pt") as handle:
            return json.loads((handle.metadata() or {})["meta"])
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise ModelError(f"{path}: not a training checkpoint ({error}); start again") from None


def read_tensors(path: Path, device: str = "cpu") -> tuple[dict, dict[str, torch.Tensor]]:
    """Metadata and tensors of a checkpoint; raises like `read_meta`."""
    meta = read_meta(path)
    with safe_open(path, "pt", device=device) as handle:
        return meta, {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118


def read_checkpoint(
    path: Path,
    model: torch.nn.Module,
    ema: dict[str, torch.Tensor],
    optimizers: Sequence[torch.optim.Optimizer],
) -> dict:
    """Load a checkpoint into `model`, `ema` and `optimizers`; returns its metadata.

    Raises
    ------
    ModelError
        As `read_meta`, or the network has other layer sizes.
    """
    meta, tensors = read_tensors(path, str(next(model.parameters()).device))

    def part(prefix: str) -> dict[str, torch.Tensor]:
        return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}

    try:
        model.load_state_dict(part("model."))
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ModelError(
            f"{path}: belongs to another network ({reason}); resume with the config that started "
            "the run"
        ) from None
    ema.update(part("ema."))
    parameters = dict(model.named_parameters())
    mine = {
        parameter: optimizer
        for optimizer in optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    for key in _OPTIMIZER:
        for name, value in part(f"optimizer.{key}.").items():
            parameter = parameters[name]
            if parameter in mine:
                state = mine[parameter].state[parameter]
                state[key] = value.cpu() if key == "step" else value
    return meta


def compare_settings(path: Path, before: dict, now: dict) -> None:
    """Log one warning that names the settings that differ from those of a checkpoint.

    Raises
    ------
    ModelError
        The run was trained on tokens of another tokenizer, or with other embeddings.
    """
    if "tokens" in before and before["tokens"] != now.get("tokens"):
        raise ModelError(
            f"{path}: trained on the tokens of tokenizer {before['tokens']['tokenizer']}; resume "
            "with those tokens, or start again"
        )
    if "embeddings" in before and before["embeddings"] != now.get("embeddings"):
        raise ModelError(
            f"{path}: trained with embeddings of {before['embeddings']['embeddings']}; resume with "
            "those embeddings, or start again"
        )
    changed = [
        f"{section}.{name}: {old!r} -> {new!r}"
        for section in sorted(before.keys() & now.keys())
        for name in sorted(before[section].keys() | now[section].keys())
        if (old := before[section].get(name)) != (new := now[section].get(name))
    ]
    if changed:
        logger.warning(
            "%s: resumed with other settings, which changes the result of the run: %s",
            path, "; ".join(changed),
        )  # fmt: skip

"""The training loop both stages share: schedule, clipping, EMA, checkpoints, log.

A run is a function of its config: batch and random numbers of a step derive from (seed, step), so
a checkpoint needs no random state and a resumed run continues as if it had never stopped. The
learning rate warms up and stays (the *stable* checkpoint, which the next run continues); `decay`
anneals a copy to zero, and that copy ships.
"""

from __future__ import annotations

import csv
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tqdm.auto import tqdm

from ..errors import ModelError, SLMError
from .batches import prefetch

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoopConfig:
    """Settings of the loop; the same names in a training config's ``"training"`` section."""

    steps: int = 1_000_000
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    warmup: int = 200
    clip: float = 1.0
    ema: float = 0.999
    seed: int = 0
    bf16: bool = True
    log_every: int = 20
    validate_every: int = 500
    checkpoint_minutes: float = 3.0


class Trainer:
    """Minimise `loss(model, batch, step)`.

    Parameters
    ----------
    model : Module
    loss : callable (model, batch, step) -> (loss, dict of floats or scalar tensors)
    make_batch : callable step -> dict of arrays
        Runs in a thread ahead of the steps.
    validate : callable (model) -> dict of floats
        Called with the EMA weights in place.
    export : callable (model, directory)
        Writes a model directory; called with the EMA weights in place.
    directory : path
        Receives ``checkpoint.safetensors``, ``log.csv``, ``validation.csv``, ``model/``.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        loss: Callable,
        make_batch: Callable[[int], dict],
        validate: Callable | None,
        export: Callable,
        directory: str | os.PathLike,
        config: LoopConfig,
        device: str = "cpu",
    ) -> None:
        self.model, self.loss, self.make_batch = model.to(device), loss, make_batch
        self.validate, self.export, self.config = validate, export, config
        self.directory, self.device = Path(directory), torch.device(device)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.trained = {k: p for k, p in model.named_parameters() if p.requires_grad}
        self.optimizer = torch.optim.AdamW(
            self.trained.values(),
            lr=config.learning_rate,
            betas=config.betas,
            weight_decay=config.weight_decay,
        )
        self.step = self.residues = 0
        self.seconds = 0.0
        self.ema = {k: v.detach().clone() for k, v in model.state_dict().items()}

    # -- state ---------------------------------------------------------------------------------

    def save_checkpoint(self) -> None:
        """Write ``checkpoint.safetensors`` (weights, EMA, optimizer, step)."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"ema.{k}": v for k, v in self.ema.items()}
        for name, parameter in self.trained.items():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{key}.{name}"] = value
        meta = {"step": self.step, "residues": self.residues, "seconds": self.seconds}
        path = self.directory / "checkpoint.safetensors"
        temporary = path.with_suffix(".tmp")
        tensors = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
        save_file(tensors, temporary, {"meta": json.dumps({**meta, "loop": asdict(self.config)})})
        temporary.replace(path)

    def load_checkpoint(self) -> None:
        """Continue from ``checkpoint.safetensors``."""
        path = self.directory / "checkpoint.safetensors"
        if not path.exists():
            raise ModelError(f"{path}: nothing to resume; start without --resume")
        with safe_open(path, "pt", device=str(self.device)) as handle:
            meta = json.loads(handle.metadata()["meta"])
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118

        def part(prefix: str) -> dict[str, torch.Tensor]:
            return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}

        self.model.load_state_dict(part("model."))
        self.ema = part("ema.")
        for key in ("step", "exp_avg", "exp_avg_sq"):
            for name, value in part(f"optimizer.{key}.").items():
                value = value.cpu() if key == "step" else value
                self.optimizer.state[self.trained[name]][key] = value
        self.step, self.residues = meta["step"], meta["residues"]
        self.seconds = meta["seconds"]

    @contextmanager
    def ema_weights(self) -> Iterator[torch.nn.Module]:
        """The model in eval mode with its EMA weights."""
        raw = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self.ema)
        self.model.eval()
        try:
            yield self.model
        finally:
            self.model.load_state_dict(raw)
            self.model.train()

    @torch.no_grad()
    def _update_ema(self) -> None:
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        state = self.model.state_dict()
        mine = [v for v in self.ema.values() if v.is_floating_point()]
        theirs = [state[k] for k, v in self.ema.items() if v.is_floating_point()]
        torch._foreach_lerp_(mine, theirs, 1 - decay)

    # -- running -------------------------------------------------------------------------------

    def run(
        self, time_limit: float | None = None, decay: int | None = None, progress: bool = True
    ) -> None:
        """Train up to ``config.steps``, or until `time_limit` (seconds).

        With `decay`, anneal the learning rate to zero over that many further steps and export the
        result to ``decayed/``; the stable checkpoint stays as it is.
        """
        config, first = self.config, self.step
        if decay and not first:
            raise SLMError("decay anneals a trained checkpoint: give resume (--resume) with it")
        last = first + decay if decay else config.steps
        start = saved = time.monotonic()
        before, log = self.seconds, _CSVLog(self.directory / "log.csv")
        self.model.train()
        bar = tqdm(total=last, initial=first, disable=not progress, mininterval=5)
        batches = prefetch(self.make_batch, first)
        for batch in batches:
            if self.step >= last:
                break
            self.seconds = before + time.monotonic() - start
            if time_limit and time.monotonic() - start > time_limit and not decay:
                break
            batch = {k: torch.as_tensor(v).to(self.device) for k, v in batch.items()}
            rate = min(1.0, (self.step + 1) / max(1, config.warmup))
            if decay:
                rate *= 1 - (self.step - first) / decay
            for group in self.optimizer.param_groups:
                group["lr"] = config.learning_rate * rate
            torch.manual_seed(config.seed * 1_000_003 + self.step)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=config.bf16):
                loss, metrics = self.loss(self.model, batch, self.step)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(self.trained.values(), config.clip)
            if torch.isfinite(norm):  # one bad batch must not poison the weights
                self.optimizer.step()
                self._update_ema()
            else:
                logger.warning("step %d: gradient is not finite, step skipped", self.step)
            self.step += 1
            self.residues += int(metrics.pop("residues"))
            bar.update()
            if self.step % config.log_every == 0:
                row = {"step": self.step, "residues": self.residues, "seconds": self.seconds}
                row |= {"loss": loss, "gradient": norm, "rate": rate, **metrics}
                log.write(row)
                bar.set_postfix(loss=f"{loss.item():.3f}")
            if self.validate and self.step % config.validate_every == 0:
                self._validate()
            if not decay and time.monotonic() - saved > 60 * config.checkpoint_minutes:
                self.save_checkpoint()
                saved = time.monotonic()
        batches.close()
        bar.close()
        self.seconds = before + time.monotonic() - start
        if not decay:
            self.save_checkpoint()
        if self.validate:
            self._validate()
        with self.ema_weights() as model:
            self.export(model, self.directory / ("decayed" if decay else "model"))

    def _validate(self) -> None:
        with self.ema_weights() as model, torch.no_grad():
            metrics = self.validate(model)
        row = {"step": self.step, "residues": self.residues, "seconds": self.seconds, **metrics}
        _CSVLog(self.directory / "validation.csv").write(row)
        logger.info("step %d: %s", self.step, _text(metrics))


class _CSVLog:
    """Append rows to a CSV file that keeps its first header."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, row: dict) -> None:
        new = not self.path.exists()
        with open(self.path, "a", newline="") as handle:
            writer = csv.writer(handle)
            if new:
                writer.writerow(row)
            writer.writerow(
                f"{value.item() if torch.is_tensor(value) else value:.6g}" for value in row.values()
            )


def _text(metrics: dict) -> str:
    return ", ".join(f"{name} {float(value):.4g}" for name, value in metrics.items())

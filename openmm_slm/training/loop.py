"""Training loop of all trainers: schedule, gradient clipping, EMA, checkpoints, log.

The batch and random numbers of a step depend on (seed, step) only. A run that was stopped (time
limit, SIGTERM, Ctrl-C, kill -9) and resumed gives the same result as an uninterrupted one. The
learning rate warms up and then stays constant; this *stable* checkpoint is the one that later runs
continue. `decay` anneals the learning rate of a copy to zero; the copy is the model to use.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from tqdm.auto import tqdm

from ..errors import SLMError
from ..files.folder_lock import FolderLock
from .batches import prefetch
from .checkpoint import compare_settings, read_checkpoint, read_meta, write_checkpoint
from .distributed import Processes, own_device
from .journal import Journal
from .optimizers import make_optimizers
from .stopping import stop_signals
from .throughput import Throughput, bf16_is_emulated, count_flops

logger = logging.getLogger(__name__)

STABLE, DECAYING = "checkpoint.safetensors", "decay.safetensors"
# Settings that may change when a run is resumed, because they do not change its result.
_FREE = ("steps", "log_every", "validate_every", "checkpoint_minutes", "loaders")


@dataclass(frozen=True)
class LoopConfig:
    """Settings of the loop: the ``"training"`` section of a training config."""

    steps: int = 1_000_000
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    faster: dict[str, float] = field(default_factory=dict)  # rate factors by name prefix
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
    loaders: int = 0  # processes that make batches; 0 is one thread


class Trainer:
    """Minimise ``loss(model, batch, step)``.

    Parameters
    ----------
    model : Module
    loss : callable (model, batch, step) -> (loss, dict of floats or scalar tensors)
    make_batch : callable step -> dict of arrays
        Called ahead of the steps, in a thread or in loader processes. Under torchrun each process
        has its own batches (see `Processes`).
    validate : callable (model) -> dict of floats
        Called with the EMA weights in the model.
    export : callable (model, directory)
        Writes a model directory; called with the EMA weights in the model.
    directory : path
        Folder to write: ``checkpoint.safetensors``, ``log.csv``, ``validation.csv`` and ``model/``;
        with decay also ``decay_log.csv``, ``decay_validation.csv`` and ``decayed/``.
    config : LoopConfig
    device : str
    settings : dict of dict, optional
        Other sections of the config. They are stored in checkpoints, and a resumed run with other
        values logs a warning.
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
        settings: dict[str, dict] | None = None,
    ) -> None:
        self.device = torch.device(own_device(device))
        self.processes = Processes(self.device)
        self.model, self.loss, self.make_batch = model.to(self.device), loss, make_batch
        self.validate, self.export, self.config = validate, export, config
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.trained = {k: p for k, p in model.named_parameters() if p.requires_grad}
        emulated = self.processes.agree(bf16_is_emulated(self.device))
        self.optimizers = make_optimizers(
            self.trained,
            config.optimizer,
            config.learning_rate,
            config.betas,
            config.weight_decay,
            float32=emulated,
            faster=config.faster,
        )
        self.bf16 = config.bf16 and not emulated
        if config.bf16 and not self.bf16:
            logger.warning("bfloat16 is slower than float32 on this CPU: training in float32")
        self.step = self.residues = 0
        self.resumed = self.enough = False
        self.seconds = 0.0
        self.ema = {k: v.detach().clone() for k, v in model.state_dict().items()}
        loop = {k: v for k, v in asdict(config).items() if k not in _FREE}
        self.settings = {"training": loop, **(settings or {})}

    # -- state ---------------------------------------------------------------------------------

    def save_checkpoint(self, name: str = STABLE, **extra: int) -> None:
        """Write weights, EMA, optimizer state, step and settings."""
        meta = {"step": self.step, "residues": self.residues, "seconds": self.seconds, **extra}
        meta["settings"] = self.settings
        write_checkpoint(self.directory / name, self.model, self.ema, self.optimizers, meta)

    def load_checkpoint(self, name: str = STABLE) -> dict:
        """Continue from a checkpoint and return its metadata.

        A run that was stopped before its first checkpoint starts again.
        """
        path = self.directory / name
        if not path.exists():
            logger.warning("%s: no checkpoint yet; the run starts at the first step", path)
            return {}
        meta = read_checkpoint(path, self.model, self.ema, self.optimizers)
        self.resumed = True
        self.step, self.residues, self.seconds = (
            meta[key] for key in ("step", "residues", "seconds")
        )
        # The stored settings went through JSON, which turns tuples into lists.
        compare_settings(path, meta.get("settings", {}), json.loads(json.dumps(self.settings)))
        return meta

    @contextmanager
    def ema_weights(self) -> Iterator[torch.nn.Module]:
        """Context with the model in eval mode and the EMA weights in it."""
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
    ) -> bool:
        """Train up to ``config.steps``, or until `time_limit` (seconds), SIGTERM or Ctrl-C.

        With `decay`, anneal the learning rate to zero over that many further steps and export the
        result to ``decayed/``. The stable checkpoint is not changed. The same call continues a
        decay that was stopped.

        Returns
        -------
        bool
            True if all steps are done.

        Raises
        ------
        SLMError
            The directory has a run that was not loaded (`load_checkpoint`), another process trains
            in it, or there is no checkpoint to anneal.
        """
        with FolderLock(self.directory) if self.processes.first else nullcontext():
            return self._run(time_limit, decay, progress)

    def _run(self, time_limit: float | None, decay: int | None, progress: bool) -> bool:
        if not self.resumed and (self.directory / STABLE).exists():
            raise SLMError(
                f"{self.directory} has a run already; continue it with resume (--resume), or "
                "choose another folder"
            )
        first, last = self._begin(decay)
        start = saved = time.monotonic()
        before, residues = self.seconds, self.residues
        if self.processes.first:  # other processes write no files
            prefix = "decay_" if decay else ""
            log = Journal(self.directory / f"{prefix}log.csv", self.step)
            self._rows = Journal(self.directory / f"{prefix}validation.csv", self.step)
        self.model.train()
        speed = self._throughput()
        hidden = not (progress and self.processes.first)
        bar = tqdm(total=last, initial=self.step, disable=hidden)
        batches = prefetch(self._batch, self.step, processes=self.config.loaders)
        ending = False
        with stop_signals() as stopped:
            while self.step < last and not ending and not self.enough:
                self.seconds = before + time.monotonic() - start
                warm = min(1.0, (self.step + 1) / max(1, self.config.warmup))
                rate = warm * (1 - (self.step - first) / decay) if decay else warm
                row = self._train_step(next(batches), rate)
                bar.update()
                # Checked after the step, so that even the shortest time limit makes progress.
                late = time_limit is not None and time.monotonic() - start > time_limit
                ending = self.processes.agree(bool(stopped) or late)
                if not self.processes.first:
                    continue
                if self.step % self.config.log_every == 0:
                    done = self.residues - residues
                    row |= speed.row(done, time.monotonic() - start)
                    log.write(row)
                    share = f"{row['share_of_peak']:.0%}"
                    bar.set_postfix(loss=f"{row['loss'].item():.3f}", of_peak=share)
                if self.step % self.config.validate_every == 0:
                    self._validate()
                if time.monotonic() - saved > 60 * self.config.checkpoint_minutes:
                    self._save(first, decay)
                    saved = time.monotonic()
            batches.close()
            bar.close()
            self.seconds = before + time.monotonic() - start
            finished = self.step >= last
            if not self.processes.first:
                return finished
            if not (decay and finished):
                self._save(first, decay)
        if self.residues > residues:
            logger.info(speed.text(self.residues - residues, time.monotonic() - start))
        if stopped:  # SIGTERM may be followed by SIGKILL within seconds: skip the validation
            logger.warning("stopped at step %d; continue with resume (--resume)", self.step)
            return False
        self._validate()
        if decay and not finished:
            logger.warning("decay stopped at step %d; the same call continues it", self.step)
            return False
        self._export("decayed" if decay else "model")
        if decay:
            (self.directory / DECAYING).unlink(missing_ok=True)
        return finished

    def _begin(self, decay: int | None) -> tuple[int, int]:
        """First and last step of the call; loads the checkpoint of a decay that was stopped."""
        if not decay:
            return self.step, self.config.steps
        if not self.step:
            raise SLMError("decay needs a trained checkpoint; use it with resume (--resume)")
        first = self.step
        path = self.directory / DECAYING
        if path.exists():
            meta = read_meta(path)
            if (meta.get("first"), meta.get("decay")) == (first, decay):
                self.load_checkpoint(DECAYING)
                logger.info("continuing the decay at step %d", self.step)
        return first, first + decay

    def _save(self, first: int, decay: int | None) -> None:
        if decay:
            self.save_checkpoint(DECAYING, first=first, decay=decay)
        else:
            self.save_checkpoint()

    def _train_step(self, batch: dict, rate: float) -> dict:
        """Do one step and return its row of the log."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.config.learning_rate * rate * group.get("factor", 1.0)
        loss, metrics = self._loss(self.model, batch, self.step)
        self.model.zero_grad(set_to_none=True)
        loss.backward()
        residues = self.processes.average(self.trained.values(), int(metrics.pop("residues")))
        norm = torch.nn.utils.clip_grad_norm_(self.trained.values(), self.config.clip)
        if torch.isfinite(norm):  # one bad batch must not ruin the weights
            for optimizer in self.optimizers:
                optimizer.step()
            self._update_ema()
        else:
            logger.warning("step %d: gradient is not finite, step skipped", self.step)
        self.step += 1
        self.residues += residues
        row = {"step": self.step, "residues": self.residues, "seconds": self.seconds}
        return row | {"loss": loss, "gradient": norm, "rate": rate, **metrics}

    def _batch(self, step: int) -> dict:
        return self.make_batch(self.processes.batch_number(step))

    def _loss(self, model: torch.nn.Module, batch: dict, step: int) -> tuple[torch.Tensor, dict]:
        batch = {k: torch.as_tensor(v).to(self.device) for k, v in batch.items()}
        torch.manual_seed(self.config.seed * 1_000_003 + self.processes.batch_number(step))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return self.loss(model, batch, step)

    def _export(self, name: str) -> None:
        """Write the model directory completely before it replaces an earlier one."""
        new, old = self.directory / f"{name}.tmp", self.directory / f"{name}.old"
        shutil.rmtree(new, ignore_errors=True)
        with self.ema_weights() as model:
            self.export(model, new)
        shutil.rmtree(old, ignore_errors=True)
        if (self.directory / name).exists():
            (self.directory / name).rename(old)
        new.rename(self.directory / name)
        shutil.rmtree(old, ignore_errors=True)

    def _throughput(self, batches: int = 2) -> Throughput:
        """Count the floating-point operations of a few steps, on a copy of the model."""
        model, residues = copy.deepcopy(self.model), 0

        def run() -> None:
            nonlocal residues
            for step in range(self.step, self.step + batches):
                loss, metrics = self._loss(model, self._batch(step), step)
                loss.backward()
                residues += int(metrics["residues"])

        flops = count_flops(run)
        dtype = torch.bfloat16 if self.bf16 else torch.float32
        speed = Throughput(flops / max(1, residues), self.device, dtype)
        speed.peak *= self.processes.count
        return speed

    def _validate(self) -> None:
        if not self.validate or self._rows.last == self.step:
            return
        with self.ema_weights() as model, torch.no_grad():
            metrics = self.validate(model)
        row = {"step": self.step, "residues": self.residues, "seconds": self.seconds, **metrics}
        self._rows.write(row)
        logger.info("step %d: %s", self.step, _text(metrics))
        self.enough = self.validated(metrics)

    def validated(self, metrics: dict[str, float]) -> bool:
        """Whether the run ends after a validation with these figures; for subclasses."""
        return False


def _text(metrics: dict) -> str:
    return ", ".join(f"{name} {float(value):.4g}" for name, value in metrics.items())

"""Training that ends once held-back data get worse; the best weights are kept."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import torch

from ..files.json_file import write_json
from .loop import LoopConfig, Trainer

HELD_BACK = "held_back"  # the figure of the validation that decides: lower is better
BEST, STEP, START = "best", "step.json", "start.json"


class StoppingTrainer(Trainer):
    """`Trainer` that validates before the first step, too, and exports the best weights.

    They are in ``best/``, with their step and figures in ``step.json``. The run ends after
    `patience` validations in a row that are not better than the best.

    Parameters
    ----------
    model, loss, make_batch, validate, export, directory, config, device, settings
        As for `Trainer`; `validate` returns ``held_back`` among its figures.
    patience : int
    """

    def __init__(
        self,
        model: torch.nn.Module,
        loss: Callable,
        make_batch: Callable[[int], dict],
        validate: Callable,
        export: Callable,
        directory: str | os.PathLike,
        config: LoopConfig,
        device: str = "cpu",
        settings: dict[str, dict] | None = None,
        *,
        patience: int = 5,
    ) -> None:
        self._noted: dict[str, float] = {}

        def with_step(trained: torch.nn.Module, where: Path) -> None:
            export(trained, where)
            write_json(where / STEP, self._noted)

        super().__init__(
            model, loss, make_batch, validate, with_step, directory, config, device, settings
        )
        self.patience = patience

    def best(self) -> dict[str, float]:
        """Step and figures of the best weights; empty before the first validation."""
        path = self.directory / BEST / STEP
        return json.loads(path.read_text()) if path.exists() else {}

    def start(self) -> dict[str, float]:
        """Figures before the first step; empty before they are measured."""
        path = self.directory / START
        return json.loads(path.read_text()) if path.exists() else {}

    def run(
        self, time_limit: float | None = None, decay: int | None = None, progress: bool = True
    ) -> bool:
        """Validate the weights of the start, then train (see `Trainer.run`)."""
        if not self.step and not (self.start() and self.best()):
            with self.ema_weights() as model, torch.no_grad():
                found = {name: float(x) for name, x in self.validate(model).items()}
            self.validated(found)
            write_json(self.directory / START, found)
        self.enough = self._is_enough()  # also where the run was killed after its last validation
        return super().run(time_limit, decay, progress)

    def validated(self, metrics: dict[str, float]) -> bool:
        """Export the weights if they are the best so far; True after `patience` that are not."""
        best = self.best()
        if not best or metrics[HELD_BACK] < best[HELD_BACK]:
            self._noted = {"step": self.step, **{k: float(v) for k, v in metrics.items()}}
            self._export(BEST)
            return False
        return self._is_enough()

    def _is_enough(self) -> bool:
        return self.step - self.best()["step"] >= self.patience * self.config.validate_every

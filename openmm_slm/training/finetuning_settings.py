"""Settings of `finetune`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import SLMError
from ..files.options import documented, option

FEWEST = 20  # frames, of all trajectories
HELD_BACK = 0.2  # share of each trajectory, its end


@documented
@dataclass(frozen=True)
class FinetuningSettings:
    """Settings of `openmm_slm.finetune`; checked when the object is made.

    Parameters
    ----------
    {options}

    Raises
    ------
    SLMError
        A setting is out of range.
    """

    hours: float = option(
        1.0,
        "float",
        """Most hours of training. Less is used if the held-back frames get worse before. Reading
        and sampling take a few minutes more.""",
        brief="Most hours of training.",
    )
    frames: int = option(
        2000,
        "int",
        """Frames to use, evenly spaced in all trajectories together; the others are left out.""",
        brief="Frames to use, evenly spaced.",
    )
    samples: int = option(
        100, "int", "Samples in each row of the table.", brief="Samples in each row of the table."
    )
    learning_rate: float = option(
        3e-4, "float", "Learning rate of the language model.", brief="Learning rate."
    )
    patience: int = option(
        5,
        "int",
        "Training ends after so many validations in a row without improvement.",
        brief="Validations in a row without improvement that end training.",
    )
    steps: int | None = option(
        None,
        "int, optional",
        "Most training steps of each network. Default: as many as there is time for.",
        brief="Most training steps of each network [default: as time permits].",
    )
    seed: int = option(0, "int", "Random seed of training and samples.", brief="Random seed.")

    def __post_init__(self) -> None:
        for name, fewest in (("frames", FEWEST), ("samples", 2), ("patience", 1)):
            if getattr(self, name) < fewest:
                raise SLMError(f"{name} is {getattr(self, name)}; use at least {fewest}")
        if self.steps is not None and self.steps < 1:
            raise SLMError(f"steps is {self.steps}; use at least 1, or leave it out")
        for name in ("hours", "learning_rate"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise SLMError(f"{name} is {value}; use a number above 0")
        if self.seed < 0:
            raise SLMError(f"seed is {self.seed}; use 0 or more")

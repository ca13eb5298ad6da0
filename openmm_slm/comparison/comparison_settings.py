"""Settings of `compare`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import StructureError
from ..files.options import documented, option


@documented
@dataclass(frozen=True)
class ComparisonSettings:
    """Settings of `openmm_slm.compare`; checked when the object is made.

    Parameters
    ----------
    {options}

    Raises
    ------
    StructureError
        A setting is out of range.
    """

    tica_lag: int | None = option(
        20,
        "int or None",
        """Lag in frames of the reference. None, for frames not in order of time, omits JS-TIC.""",
        brief="Lag time of TICA in frames; 0: no TICA.",
    )
    tica_components: int = option(50, "int", "Principal components of CA-CA distances in TICA.")
    n_bootstrap: int = option(
        100, "int", "Draws from the reference for the noise floor; 0 for none."
    )
    seed: int = option(
        0,
        "int",
        "Random seed of the draws and of the choice of 100 frames.",
        brief="Random seed of the noise floor.",
    )

    reweight: bool = option(
        False,
        "bool",
        """Reweight the samples to the experiment by maximum entropy, starting from `weights`. The
        metrics then have the new weights.""",
        brief="Reweight the samples to the experiment by maximum entropy.",
    )
    theta: float | None = option(
        None,
        "float, optional",
        """Confidence in the samples when reweighting: large values keep their weights. Default: the
        largest with which the chi-square of the experiment is 1 or less.""",
        brief="Confidence in the samples when reweighting [default: found by a scan].",
    )

    def __post_init__(self) -> None:
        if self.theta is not None and not (math.isfinite(self.theta) and self.theta > 0):
            raise StructureError(f"theta is {self.theta}; give a number above 0")
        if self.theta is not None and not self.reweight:
            raise StructureError("theta is for reweighting; set reweight (--reweight) too")
        if self.n_bootstrap < 0 or self.tica_components < 1:
            raise StructureError(
                f"n_bootstrap is {self.n_bootstrap} and tica_components is "
                f"{self.tica_components}; they must be at least 0 and 1"
            )

"""The ensemble metrics of `openmm_slm.compare` as one line of a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..comparison.comparing import compare
from .text_table import Column, text_table

if TYPE_CHECKING:
    import mdtraj

#: Metrics that are shown, and their digits.
COLUMNS = {
    "JS-PwD": 3, "JS-TIC": 3, "JS-Rg": 3, "val-clash": 2, "val-bond": 2, "TM-ens": 3,
    "RMSD-ens": 2, "TM-div": 3, "ResFlex r": 2, "MAE-contact": 2, "Rg": 2,
}  # fmt: skip
LAG = 20  # frames, the default of `openmm_slm.compare`
DRAWS = 50  # for the noise floor
Figures = dict[str, float]


def tica_lag(lengths: Sequence[int]) -> int:
    """Lag in frames for trajectories of these lengths: 20, or a tenth of the shortest."""
    return max(1, min(LAG, min(lengths) // 10))


def evenly_spaced(frames: int, most: int) -> np.ndarray:
    """Numbers of at most `most` of so many frames, evenly spaced, the first and last included."""
    return np.unique(np.linspace(0, frames - 1, min(frames, most)).round().astype(int))


def ensemble_figures(
    samples: mdtraj.Trajectory,
    reference: mdtraj.Trajectory,
    *,
    lengths: Sequence[int] | None = None,
    lag: int | None = None,
    floor: bool = False,
    names: Iterable[str] = tuple(COLUMNS),
) -> tuple[Figures, Figures]:
    """Figures of `samples`, and of as many frames drawn from the reference (median; empty unless
    `floor`). `lengths` and `lag` are those of `openmm_slm.compare`; without a lag, no JS-TIC.
    `names` are the metrics to return.
    """
    table = compare(
        samples, reference, lengths=lengths, tica_lag=lag, n_bootstrap=DRAWS if floor else 0
    ).table
    found = [name for name in names if name in table.index]
    value = {name: float(table.loc[name, "value"]) for name in found}
    return value, {name: float(table.loc[name, "floor"]) for name in found} if floor else {}


def figure_table(title: str, rows: dict[str, Figures], more: dict[str, int] | None = None) -> str:
    """A table: a line for each of `rows`; `more` are further columns and their digits."""
    units = {"RMSD-ens": "RMSD-ens A", "Rg": "Rg A"}
    digits = COLUMNS | (more or {})
    return text_table(title, rows, {units.get(x, x): Column(x, digits[x]) for x in digits})

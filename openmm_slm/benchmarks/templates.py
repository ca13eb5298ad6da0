"""``openmm-slm benchmark templates``: what noise, rounds and deformation do to a template.

The template is the first frame of each MD ensemble.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from ..analysis.fluctuations import correlation, mean_structure, rmsf
from ..comparison.baselines import mean_rmsf
from ..language.interface import check_integer
from ..models.registry import model_identity
from ..protein.superposition import rmsd, superposed
from ..protein.trajectory import from_trajectory
from ..sampling.ensemble import EnsembleGenerator
from .apo_holo import rows_of
from .benchmark_workers import Workers
from .ceiling import choose
from .references import Reference, load_ensemble, read_references
from .results import ResultTable, hold_folder
from .samplers_and_baselines import BASELINES, sample_quietly, template_settings
from .text_table import Column, text_table

NOISE = (0.02, 0.05, 0.1, 0.3, 0.6, 1.0)
BASELINE = "ANM"
_COLUMNS = {
    "RMSD, A": Column("rmsd_nm", 2, 10),
    "RMSF r": Column("rmsf_r", 2),
    "RMSF ratio": Column("rmsf_ratio", 2),
    "valid, %": Column("valid", 0, 100),
}


def benchmark_templates(
    references: str | os.PathLike,
    output: str | os.PathLike | None = None,
    model: str | os.PathLike = "default",
    device: str = "auto",
    *,
    n: int = 100,
    seed: int = 0,
    targets: Sequence[str] = (),
    noise: Sequence[float] = NOISE,
    rounds: Sequence[int] = (1,),
    deform: Sequence[float] = (),
    processes: int = 1,
    progress: bool = True,
) -> str:
    """Tables of samples from a template at every combination of settings, one for each MD ensemble.

    Parameters
    ----------
    references : path
        See `openmm_slm.benchmarks.references`; rows with "MD" in their kind are used.
    output : path, optional
        Folder for ``targets.csv`` (one row for each finished ensemble) and ``run.json``. Finished
        ensembles are not measured again.
    n, seed : int
        Samples at each setting, and their seed.
    targets : sequence of str
        Ids; default all.
    noise, rounds, deform : sequence of numbers
        Settings of the sampler; without `deform` its default is used.
    processes : int
        Ensembles measured at a time, each with one thread.

    Returns
    -------
    str
        CA RMSD from the template (median over samples); Pearson correlation of the RMSF of samples
        and MD over residues; mean RMSF of the samples divided by that of the MD; valid backbones.
        ANM has the mean RMSF of the MD, which the sampler does not know. Last, means over
        ensembles.
    """
    check_integer("n", n, 2, "samples at each setting")
    check_integer("processes", processes, 1, "ensembles at a time")
    chosen = choose(read_references(references), tuple(targets), lambda each: each.is_md)
    settings = template_settings(noise, rounds, deform)
    run = {"model": model_identity(model), "n": n, "seed": seed, "settings": list(settings)}
    with hold_folder(output), Workers(model, device, processes) as workers:
        table, by_id = ResultTable(output, run), {each.id: each for each in chosen}
        rows = workers.rows(table, score_templates, by_id, settings, n, seed, progress=progress)
    methods = (*settings, BASELINE)
    tables = [_table(f"{name}: {n} samples each", [row], methods) for name, row in rows.items()]
    return "\n\n".join([*tables, _table("mean over ensembles", list(rows.values()), methods)])


def score_templates(
    generator: EnsembleGenerator,
    reference: Reference,
    settings: dict[str, dict[str, float]],
    n: int,
    seed: int,
) -> dict[str, float]:
    """Figures of one MD ensemble at all settings, named ``<setting> <figure>``."""
    ensemble = load_ensemble(reference)
    structure = from_trajectory(ensemble[0])
    start, md = structure.backbone[0, :, 1], from_trajectory(ensemble).backbone[:, :, 1]
    row = {}
    for name, chosen in settings.items():
        made = sample_quietly(
            generator, structure.chain_sequences, n, seed, template=structure, sidechains=None,
            **chosen,
        )  # fmt: skip
        ca = from_trajectory(made.trajectory).backbone[:, :, 1]
        found = fluctuation_figures(ca, start, md) | {"valid": float(made.report["valid"].mean())}
        row |= {f"{name} {figure}": value for figure, value in found.items()}
    template = structure.to_trajectory("backbone")
    moved = BASELINES[BASELINE](template, n, mean_rmsf(ensemble), seed)
    found = fluctuation_figures(from_trajectory(moved).backbone[:, :, 1], start, md)
    found["valid"] = float("nan")  # a linear model: bonds are stretched
    return row | {f"{BASELINE} {figure}": value for figure, value in found.items()}


def fluctuation_figures(ca: np.ndarray, start: np.ndarray, md: np.ndarray) -> dict[str, float]:
    """Figures of samples [F, L, 3] of CA (nm), of the template [L, 3] and the MD [G, L, 3]."""
    own, true = profile(ca), profile(md)
    return {
        "rmsd_nm": float(np.median(rmsd(ca, start))),
        "rmsf_r": correlation(own, true),
        "rmsf_ratio": float(own.mean() / true.mean()),
    }


def profile(ca: np.ndarray) -> np.ndarray:
    """RMSF [L] (nm) of CA [F, L, 3] superposed on their mean structure."""
    weights = np.ones(len(ca))
    return rmsf(superposed(ca, mean_structure(ca, weights)), weights[:, None])[0]


def _table(title: str, rows: list[dict[str, float]], methods: Sequence[str]) -> str:
    """Means of rows of ensembles, a line for each method."""
    shown = {}
    for method in methods:
        found = rows_of(method, rows)
        shown[method] = {name: float(np.mean([row[name] for row in found])) for name in found[0]}
    return text_table(title, shown, _COLUMNS)

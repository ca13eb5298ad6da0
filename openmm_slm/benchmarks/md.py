"""``openmm-slm benchmark md``: samples, and baselines from the first frame, against MD."""

from __future__ import annotations

import os

from tqdm.auto import tqdm

from ..comparison.baselines import mean_rmsf
from ..language.interface import check_integer
from ..protein.trajectory import from_trajectory
from ..sampling.deformation import LARGEST
from ..sampling.ensemble import EnsembleGenerator
from .ceiling import choose
from .ensemble_scores import Figures, ensemble_figures, figure_table, tica_lag
from .references import Reference, load_ensemble, read_references, trajectory_lengths
from .samplers_and_baselines import BASELINES, SAMPLERS, Sampler, from_template, template_settings


def benchmark_md(
    references: str | os.PathLike,
    model: str | os.PathLike = "default",
    device: str = "auto",
    *,
    n: int = 100,
    seed: int = 0,
    targets: tuple[str, ...] = (),
    noise: tuple[float, ...] = (),
    rounds: tuple[int, ...] = (1,),
    progress: bool = True,
) -> str:
    """A table for each MD set: the model's samples and baselines, at equal numbers of frames.

    Parameters
    ----------
    references : path
        See `openmm_slm.benchmarks.references`; rows with "MD" in their kind.
    n, seed : int
        Frames of each ensemble, and their seed.
    targets : tuple of str
        Ids; default all.
    noise, rounds : tuple of numbers
        Also samples from the first frame as template, at each of these.

    Returns
    -------
    str
        ``MD`` is the noise floor: n frames drawn from the reference (median of 50 draws). Baselines
        are made from the first frame; jitter and ANM have the reference's mean RMSF, which a
        sampler does not know. ``of MD's size`` are samples whose `deform` is chosen for this RMSF,
        unless it is more than `sample` takes.
    """
    check_integer("n", n, 2, "frames of each ensemble")
    chosen = choose(read_references(references), targets, lambda each: each.is_md)
    generator = EnsembleGenerator.from_pretrained(model, device)
    samplers = SAMPLERS | {
        name: from_template(**settings)
        for name, settings in template_settings(noise, rounds).items()
    }
    tables = [
        _measure(generator, samplers, reference, n, seed)
        for reference in tqdm(chosen, unit="set", disable=not progress)
    ]
    return "\n\n".join(tables)


def _measure(
    generator: EnsembleGenerator,
    samplers: dict[str, Sampler],
    reference: Reference,
    n: int,
    seed: int,
) -> str:
    """The table of one set."""
    ensemble = load_ensemble(reference)
    structure = from_trajectory(ensemble[0])
    start = structure.to_trajectory("backbone")
    lengths = trajectory_lengths(reference, ensemble.n_frames)
    rmsf, lag = mean_rmsf(ensemble), tica_lag(lengths)
    made = {
        name: sample(generator, structure.chain_sequences, start, n, seed)
        for name, sample in samplers.items()
    }
    times = rmsf / mean_rmsf(made["from template"])
    if times <= LARGEST:
        scaled = from_template(deform=times)
        made["of MD's size"] = scaled(generator, structure.chain_sequences, start, n, seed)
    made |= {name: make(start, n, rmsf, seed) for name, make in BASELINES.items()}
    rows: dict[str, Figures] = {}
    for name, samples in made.items():
        figures, floor = ensemble_figures(
            samples, ensemble, lengths=lengths, lag=lag, floor=not rows
        )
        rows |= ({"MD": floor} if floor else {}) | {name: figures}
    title = (
        f"{reference.id}: {n} frames each against {ensemble.n_frames}, {ensemble.n_residues} "
        f"residues, mean RMSF {10 * rmsf:.2f} A, TICA lag {lag} frames"
    )
    return figure_table(title, rows)

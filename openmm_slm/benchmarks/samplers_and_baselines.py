"""Sources of the ensembles that are compared: the model, and baselines made from one structure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..comparison.baselines import elastic_network, jitter, repeated
from ..files.quiet import without_warnings

if TYPE_CHECKING:
    import mdtraj

    from ..sampling.ensemble import EnsembleGenerator
    from ..sampling.result import Ensemble

#: (generator, sequence, structure of one frame, n, seed) -> n frames with N, CA, C and O.
Sampler = Callable[["EnsembleGenerator", str, "mdtraj.Trajectory", int, int], "mdtraj.Trajectory"]
#: (structure of one frame, n, mean RMSF in nm, seed) -> n frames of its atoms.
Baseline = Callable[["mdtraj.Trajectory", int, float, int], "mdtraj.Trajectory"]


def _sampled(
    generator: EnsembleGenerator, sequence: str, n: int, seed: int, **settings: object
) -> mdtraj.Trajectory:
    settings |= {"sidechains": None, "progress": False}  # only backbones are compared
    settings.setdefault("relatives", None)  # no protein may find itself
    return generator.sample(sequence, n, seed=seed, **settings).trajectory


def sample_quietly(
    generator: EnsembleGenerator, sequence: str, n: int, seed: int, **settings: object
) -> Ensemble:
    """Samples with their report, and no warning about invalid frames."""
    with without_warnings():
        settings.setdefault("relatives", None)  # no protein may find itself
        return generator.sample(sequence, n, seed=seed, progress=False, **settings)


def template_settings(
    noise: Sequence[float], rounds: Sequence[int] = (1,), deform: Sequence[float] = ()
) -> dict[str, dict[str, float]]:
    """All combinations of settings of samples from a template, by name: ``noise 0.3 x 3``.

    Parameters
    ----------
    noise, rounds : sequence of numbers
    deform : sequence of float
        Multiples of thermal motion; empty: the sampler's default, which is not named.
    """
    found = {}
    for share, times, size in itertools.product(noise, rounds, deform or (None,)):
        name = f"noise {share:g}" + f" x {times}" * (times > 1)
        found[name] = {"noise": share, "rounds": times}
        if size is not None:
            found[f"{name}, deform {size:g}"] = {**found.pop(name), "deform": size}
    return found


def from_template(**settings: object) -> Sampler:
    """A sampler that starts from the structure; `settings` as ``noise`` and ``rounds``."""
    return lambda gen, sequence, start, n, seed: _sampled(
        gen, sequence, n, seed, template=start, **settings
    )


#: Ensembles of the model.
SAMPLERS: dict[str, Sampler] = {
    "from sequence": lambda gen, sequence, start, n, seed: _sampled(gen, sequence, n, seed),
    "from template": from_template(),
}
#: Those for pairs of conformers.
PAIR_SAMPLERS = SAMPLERS | {"along soft modes": from_template(deform="conformers")}
BASELINES: dict[str, Baseline] = {
    "structure": lambda start, n, rmsf, seed: repeated(start, n),
    "jitter": lambda start, n, rmsf, seed: jitter(start, n, rmsf, seed=seed),
    "ANM": lambda start, n, rmsf, seed: elastic_network(start, n, rmsf, seed=seed),
}

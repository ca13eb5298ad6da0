"""Where the ensembles that are compared come from: the model, and baselines from one structure."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..comparison.baselines import elastic_network, jitter, repeated

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
    settings |= {"sidechains": None, "progress": False}  # backbones are all that is compared
    return generator.sample(sequence, n, seed=seed, **settings).trajectory


def all_atoms(
    generator: EnsembleGenerator, sequence: str, n: int, seed: int, **settings: object
) -> Ensemble:
    """Samples with side chains and hydrogens, and no warning of those that are not valid."""
    logger = logging.getLogger("openmm_slm.sampling.ensemble")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        return generator.sample(sequence, n, seed=seed, progress=False, **settings)
    finally:
        logger.setLevel(before)


def from_template(**settings: object) -> Sampler:
    """A sampler that starts from the structure; `settings` as ``noise`` and ``rounds``."""
    return lambda gen, sequence, start, n, seed: _sampled(
        gen, sequence, n, seed, template=start, **settings
    )


#: What the model does.
SAMPLERS: dict[str, Sampler] = {
    "from sequence": lambda gen, sequence, start, n, seed: _sampled(gen, sequence, n, seed),
    "from template": from_template(),
}
BASELINES: dict[str, Baseline] = {
    "structure": lambda start, n, rmsf, seed: repeated(start, n),
    "jitter": lambda start, n, rmsf, seed: jitter(start, n, rmsf, seed=seed),
    "ANM": lambda start, n, rmsf, seed: elastic_network(start, n, rmsf, seed=seed),
}

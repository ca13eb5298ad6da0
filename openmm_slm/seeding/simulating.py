"""`seed_simulations`: yield one equilibrated `openmm.app.Simulation` per selected frame."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..analysis.weights import FrameWeights
from ..errors import SLMError
from ..files.options import takes
from ..files.report_table import Report
from .building import Seed, SeedBuilder
from .equilibrating import SeedError
from .frames import CandidateFrames, solute
from .seeding_settings import SeedSettings
from .selecting import choose

if TYPE_CHECKING:
    import mdtraj
    from openmm import app

    from ..protein.trajectory import HasTrajectory

logger = logging.getLogger(__name__)


@takes(SeedSettings, leave_out=("solvent",))
def seed_simulations(
    ens_or_traj: HasTrajectory | mdtraj.Trajectory | str | os.PathLike,
    n: int = 10,
    solvent: str = "explicit",
    report: Report | np.ndarray | str | None = None,
    *,
    frames: Iterable[int] | None = None,
    method: str | None = None,
    features: str = "ca-rmsd",
    weights: np.ndarray | str | os.PathLike | None = None,
    lag: int = 20,
    per_state: bool = False,
    top: str | os.PathLike | None = None,
    settings: dict[str, Any],
) -> Iterator[app.Simulation]:
    """Yield equilibrated simulations that start from frames of an ensemble.

    Each simulation is built on demand, because solvated systems are large.

    Parameters
    ----------
    ens_or_traj : Ensemble, mdtraj.Trajectory, or path
        Frames with all atoms, hydrogens included. Waters and monovalent ions are removed, unless
        `keep` names them; the rest is solvated again. Caps, protonation and D amino acids stay as
        they are.
    n : int
        Number of seeds.
    solvent : "explicit", "implicit", "obc2", "gbn2" or "vacuum"
        Solvent model. implicit is obc2.
    report : dict, ndarray or "md", optional
        Report that marks valid frames; see `select_seeds`.
    frames : iterable of int, optional
        Frames to use instead of selecting `n`; they must be valid.
    method, features, weights, lag, per_state, top
        How frames are selected; see `select_seeds`.
    {options}

    Yields
    ------
    openmm.app.Simulation
        Its attribute ``frame`` is the frame number. A simulation is skipped, with a warning, if it
        fails or ends its equilibration with a D residue, a peptide that changed between cis and
        trans, or a pierced ring.

    Raises
    ------
    ValueError
        Before the first simulation: fewer valid frames than `n`, an unknown force field or water
        model, missing atoms, a cyclic chain, a ligand without parameters, a membrane, a setting out
        of range.

    Examples
    --------
    >>> import openmm_slm
    >>> traj = openmm_slm.generate_ensemble("GYDPETGTWG", n=4, seed=1, relax=True)
    >>> for simulation in openmm_slm.seed_simulations(traj, n=2, solvent="implicit"):
    ...     simulation.step(100)
    """
    _, chosen, builder = prepare(
        ens_or_traj, n, report, frames, method, features, weights, lag, per_state, top,
        SeedSettings(solvent=solvent, **settings),
    )  # fmt: skip
    return (seed.simulation for _, seed, _ in built(builder, chosen) if seed is not None)


def prepare(
    source: object,
    n: int,
    report: Report | np.ndarray | str | None,
    frames: Iterable[int] | None,
    method: str | None,
    features: str,
    weights: FrameWeights,
    lag: int,
    per_state: bool,
    top: str | os.PathLike | None,
    settings: SeedSettings,
) -> tuple[CandidateFrames, np.ndarray, SeedBuilder]:
    """Candidate frames, selected frame numbers and the builder; raises before any simulation."""
    ensemble = CandidateFrames.of(source, report, top)
    protein = solute(ensemble.trajectory, settings.keep)
    ensemble = replace(ensemble, trajectory=protein)
    if frames is None:
        chosen = choose(
            ensemble, n, method, features, weights, lag=lag, seed=settings.seed,
            per_state=per_state,
        )  # fmt: skip
    elif weights is not None or per_state:
        other = "weights" if weights is not None else "per_state"
        raise SLMError(f"frames and {other} are given; frames names the seeds, so give one of them")
    else:
        chosen = _given(ensemble, list(frames))
    return ensemble, chosen, SeedBuilder(protein, chosen, settings, ensemble.d_residues)


def _given(ensemble: CandidateFrames, frames: list) -> np.ndarray:
    for frame in frames:
        if not 0 <= frame < len(ensemble.valid):
            raise SLMError(f"frames has {frame}; the ensemble has 0 to {len(ensemble.valid) - 1}")
        if not ensemble.valid[frame]:
            raise SLMError(
                f"frame {frame} is not valid (openmm_slm.geometry_report says why); relax it "
                "(openmm_slm.relax), or report='md' if it comes from a simulation"
            )
    if not frames:
        raise SLMError("frames is empty; name at least one")
    return np.array(frames, int)


def built(builder: SeedBuilder, chosen: np.ndarray) -> Iterator[tuple[int, Seed | None, str]]:
    """Yield frame number, Seed (None if it failed) and error; errors are also logged."""
    for frame in chosen.tolist():
        try:
            seed, error = builder.build(frame), ""
        except SeedError as failure:
            seed, error = None, str(failure)
            logger.warning("frame %d gave no simulation: %s", frame, error)
        yield frame, seed, error

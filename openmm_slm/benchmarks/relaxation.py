"""``openmm-slm benchmark relaxation``: yield, speed and limits of relaxing samples."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from ..files.quiet import without_warnings
from ..language.interface import check_integer
from ..models.registry import model_identity
from ..relaxation.relaxation_settings import RelaxationSettings
from ..relaxation.relaxer import Relaxer
from ..relaxation.relaxing import Relaxed, relax
from ..sampling.ensemble import EnsembleGenerator
from .parts import Part, measure_parts
from .proteins import PROTEINS, choose_proteins
from .samplers_and_baselines import sample_quietly
from .spoiled_frames import FAULTS, spoil
from .text_table import Column

if TYPE_CHECKING:
    import mdtraj

DEFAULT = ("chignolin", "villin", "GB1", "BPTI", "ubiquitin", "lysozyme", "myoglobin")
FIELDS = ("amber14-all.xml", "amber19-all.xml", "charmm36.xml")
SOLVENTS = ("vacuum", "obc2", "gbn2")
UNPROJECTED = "samples with project=False"
COPIES = 8
STEPS = 1000  # of 2 fs
_COUNTS = {
    "frames": Column("frames", 0),
    "before": Column("valid_before", 0),
    "after": Column("valid", 0),
}


def benchmark_relaxation(
    output: str | os.PathLike | None = None,
    model: str | os.PathLike = "default",
    device: str = "auto",
    *,
    parts: Sequence[str] = (),
    proteins: Sequence[str] = (),
    n: int = 20,
    seed: int = 1,
    progress: bool = True,
) -> str:
    """Tables on the relaxation of samples from sequence.

    Parameters
    ----------
    output : path, optional
        Folder for ``<part>.csv`` and ``run.json``.
    parts : sequence of str
        ``valid``: valid frames before and after, and how far atoms move; ``speed``: seconds of
        n frames with all worker processes; ``copies``: 8 frames in one System against one by one;
        ``repair``: frames with a deliberate fault; ``energy``: reported energies against a single
        point; ``dynamics``: 1,000 steps of 2 fs from valid frames; ``solvents``: seconds a frame
        in vacuum and implicit solvent. Default: all.
    proteins : sequence of str
        Keys of `openmm_slm.benchmarks.proteins.PROTEINS`; default all but Trp-cage.
    n, seed : int
        Samples of each protein.
    """
    check_integer("n", n, 1, "samples of each protein")
    chosen = choose_proteins(proteins, DEFAULT)
    run = {"model": model_identity(model), "n": n, "seed": seed}
    alone = {protein: (protein, "") for protein in chosen}

    def with_each(*others: str) -> dict[str, tuple[str, str]]:
        return {
            f"{protein}, {other}": (protein, other) for protein, other in product(chosen, others)
        }

    table = {
        "valid": Part(
            "valid samples before and after, RMSD moved (median), closest atoms of valid frames",
            alone,
            valid_frames,
            {
                **_COUNTS,
                "repaired": Column("repaired", 0),
                "CA, A": Column("ca_nm", 2, 10),
                "heavy, A": Column("heavy_nm", 2, 10),
                "closest, A": Column("closest_nm", 2, 10),
                "D residues": Column("d_residues", 0),
            },
        ),
        "speed": Part(
            "worker processes, as many as CPUs, their start included",
            alone,
            speed,
            {**_COUNTS, "seconds": Column("seconds", 1)},
        ),
        "copies": Part(
            f"{COPIES} frames in one System against one by one, on one thread",
            alone,
            copies,
            {
                "one by one, s": Column("alone_seconds", 2),
                "together, s": Column("together_seconds", 2),
                "same verdict": Column("same", 0),
                "RMSD, A": Column("rmsd_nm", 3, 10),
                "largest, A": Column("largest_nm", 2, 10),
            },
        ),
        "repair": Part(
            "frames with a deliberate fault",
            with_each(*FAULTS, UNPROJECTED),
            repair,
            {**_COUNTS, "repaired": Column("repaired", 0)},
        ),
        "energy": Part(
            "largest relative difference of reported energies from a single point",
            with_each(*FIELDS),
            energy,
            {"frames": Column("frames", 0), "difference": Column("difference", None)},
        ),
        "dynamics": Part(
            f"{STEPS} steps of 2 fs at 300 K from valid frames, in vacuum",
            with_each(*FIELDS),
            dynamics,
            {"frames": Column("frames", 0), "finite": Column("finite", 0)},
        ),
        "solvents": Part(
            "seconds a frame (median) on one thread",
            with_each(*SOLVENTS),
            solvents,
            {"seconds": Column("seconds", 2)},
        ),
    }
    with without_warnings():
        return measure_parts(table, parts, output, run, model, device, progress)


@lru_cache(maxsize=16)
def sampled(
    generator: EnsembleGenerator, protein: str, n: int, seed: int, project: bool = True
) -> mdtraj.Trajectory:
    """Samples with all atoms, kept for the other parts."""
    return sample_quietly(generator, PROTEINS[protein], n, seed, project=project).trajectory


@lru_cache(maxsize=16)
def relaxed(generator: EnsembleGenerator, protein: str, n: int, seed: int) -> Relaxed:
    """The same, relaxed."""
    return relax(sampled(generator, protein, n, seed), progress=False)


def counts(report: dict[str, np.ndarray]) -> dict[str, float]:
    """Frames, those that were valid before, those that are now, and those of them repaired."""
    good = report["valid"].astype(bool)
    repaired = sum(bool(text) for text in report["repair"][good])
    return {
        "frames": float(len(good)),
        "valid_before": float(report["valid_before"].sum()),
        "valid": float(good.sum()),
        "repaired": float(repaired),
    }


def valid_frames(generator, target: tuple[str, str], n: int, seed: int) -> dict[str, float]:
    """Yield of the relaxation, and how far it moves atoms."""
    report = relaxed(generator, target[0], n, seed).report
    good = report["valid"].astype(bool)
    return {
        **counts(report),
        "ca_nm": float(np.median(report["ca_moved_nm"])),
        "heavy_nm": float(np.median(report["heavy_moved_nm"])),
        "closest_nm": float(report["closest_heavy_nm"][good].min()) if good.any() else float("nan"),
        "d_residues": float(report["d_residues"][good].sum()),
    }


def speed(generator, target: tuple[str, str], n: int, seed: int) -> dict[str, float]:
    """Seconds of the relaxation as a user calls it."""
    trajectory = sampled(generator, target[0], n, seed)
    start = time.perf_counter()
    report = relax(trajectory, progress=False).report
    return {**counts(report), "seconds": time.perf_counter() - start}


def copies(generator, target: tuple[str, str], n: int, seed: int) -> dict[str, float]:
    """Seconds a frame in either way, and the distance between their results."""
    trajectory = sampled(generator, target[0], n, seed)
    seconds, results = [], []
    for options in ({"processes": 1}, {"copies": COPIES}):
        start = time.perf_counter()
        results.append(relax(trajectory, **options, progress=False))
        seconds.append((time.perf_counter() - start) / n)
    one, many = results
    off = np.linalg.norm(one.trajectory.xyz - many.trajectory.xyz, axis=-1)
    apart = np.sqrt((off**2).mean(1))
    return {
        "alone_seconds": seconds[0],
        "together_seconds": seconds[1],
        "same": float((one.report["valid"] == many.report["valid"]).sum()),
        "rmsd_nm": float(np.median(apart)),
        "largest_nm": float(apart.max()),
    }


def repair(generator, target: tuple[str, str], n: int, seed: int) -> dict[str, float]:
    """Yield for frames with a deliberate fault."""
    protein, fault = target
    if fault == UNPROJECTED:
        trajectory = sampled(generator, protein, n, seed, project=False)
    else:
        trajectory = spoil(sampled(generator, protein, n, seed), fault)
    return counts(relax(trajectory, progress=False).report)


def energy(generator, target: tuple[str, str], n: int, seed: int) -> dict[str, float]:
    """Reported energies against those of a Simulation made for the frames."""
    protein, field = target
    result = relax(
        sampled(generator, protein, n, seed), forcefield=field, iterations=20, progress=False
    )
    simulation = _simulation(result.trajectory, field, constraints=None, rigidWater=False)
    off = []
    for x, reported in zip(
        result.trajectory.xyz, result.report["energy_after_kj_mol"], strict=True
    ):
        simulation.context.setPositions(x)
        state = simulation.context.getState(getEnergy=True)
        off.append(abs(reported / state.getPotentialEnergy()._value - 1))
    return {"frames": float(len(off)), "difference": float(max(off))}


def dynamics(generator, target: tuple[str, str], n: int, seed: int) -> dict[str, float]:
    """Valid frames from which a simulation stays finite."""
    from openmm import OpenMMException, app

    protein, field = target
    result = relaxed(generator, protein, n, seed)
    frames = result.trajectory.xyz[result.report["valid"].astype(bool)]
    simulation = _simulation(result.trajectory, field, constraints=app.HBonds)
    finite = 0
    for x in frames:
        simulation.context.setPositions(x)
        simulation.context.setVelocitiesToTemperature(300, 1)
        try:
            simulation.step(STEPS)
        except OpenMMException:  # NaN
            continue
        state = simulation.context.getState(getPositions=True)
        finite += bool(np.isfinite(state.getPositions(asNumpy=True)._value).all())
    return {"frames": float(len(frames)), "finite": float(finite)}


def _simulation(trajectory: mdtraj.Trajectory, field: str, **options: object):
    """A Simulation in vacuum with a cutoff of 1 nm, on one CPU thread."""
    from openmm import LangevinMiddleIntegrator, Platform, app, unit

    topology = trajectory.topology.to_openmm()
    system = app.ForceField(field).createSystem(
        topology, nonbondedMethod=app.CutoffNonPeriodic, nonbondedCutoff=1 * unit.nanometer,
        **options,
    )  # fmt: skip
    integrator = LangevinMiddleIntegrator(300, 1, 0.002)
    platform = Platform.getPlatformByName("CPU")
    return app.Simulation(topology, system, integrator, platform, {"Threads": "1"})


def solvents(generator, target: tuple[str, str], n: int, seed: int) -> dict[str, float]:
    """Seconds a frame in this solvent."""
    protein, solvent = target
    trajectory = sampled(generator, protein, n, seed)
    relaxer = Relaxer(trajectory.topology, RelaxationSettings(solvent=solvent), processes=1)
    seconds = []
    for x in trajectory.xyz:
        start = time.perf_counter()
        relaxer.relax(x[None])
        seconds.append(time.perf_counter() - start)
    return {"seconds": float(np.median(seconds))}

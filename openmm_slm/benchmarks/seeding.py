"""``openmm-slm benchmark seeding``: seeds that run, and exported files with the same energies."""

from __future__ import annotations

import csv
import os
import tempfile
import time
from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numpy as np

from ..files.quiet import without_warnings
from ..language.interface import check_integer
from ..models.registry import model_identity
from ..sampling.ensemble import EnsembleGenerator
from ..sampling.result import Ensemble
from ..seeding.judging import SeedJudge
from ..seeding.plain import fast_system
from ..seeding.seeding_settings import SeedSettings
from ..seeding.simulating import seed_simulations
from ..seeding.systems import create_system, load_forcefield
from ..seeding.writing import write_seeds
from .parts import Part, measure_parts
from .proteins import PROTEINS, choose_proteins
from .samplers_and_baselines import sample_quietly
from .text_table import Column

DEFAULT = ("Trp-cage", "ubiquitin")
FIELDS = ("amber14", "amber19", "charmm36")
FORMATS = {"amber": ("vacuum", "implicit", "explicit"), "gromacs": ("vacuum", "explicit")}
EXPLICIT = {"padding": 0.8, "cutoff": 0.9}  # nm, small boxes
SAMPLES = 4  # for each seed
REPEATS = 10  # of an evaluation of energy and forces
_RUN = {
    "seeds": Column("seeds", 0),
    "sound": Column("sound", 0),
    "fewest atoms": Column("fewest_atoms", 0),
    "most atoms": Column("most_atoms", 0),
    "lowest, kJ/mol": Column("lowest_kj_mol", 0),
    "highest, kJ/mol": Column("highest_kj_mol", 0),
    "s a seed": Column("seconds", 1),
}


def benchmark_seeding(
    output: str | os.PathLike | None = None,
    model: str | os.PathLike = "default",
    device: str = "auto",
    *,
    parts: Sequence[str] = (),
    proteins: Sequence[str] = (),
    fields: Sequence[str] = (),
    n: int = 3,
    steps: int = 1000,
    seed: int = 1,
    progress: bool = True,
) -> str:
    """Tables on seeds: the most compact of 4 n relaxed samples of each protein.

    Parameters
    ----------
    output : path, optional
        Folder for ``<part>.csv`` and ``run.json``.
    parts : sequence of str
        ``implicit``, ``explicit``: seeds in OBC2 and TIP3P (amber14) that run; ``export``:
        relative deviations of energies of AMBER and GROMACS files read back; ``charmm``: energy
        and forces of CHARMM36 as seeds have it and as OpenMM has it. Default: all.
    proteins : sequence of str
        Keys of `openmm_slm.benchmarks.proteins.PROTEINS`; default Trp-cage and ubiquitin. The
        parts ``export`` and ``charmm`` take the first.
    fields : sequence of str
        Force fields of ``export``; default amber14, amber19 and charmm36.
    n : int
        Seeds of ``implicit`` and ``explicit``.
    steps : int
        Of 2 fs, after the equilibration.

    Returns
    -------
    str
        A seed is sound if it runs all steps, stays finite and keeps its stereochemistry.
    """
    check_integer("n", n, 1, "seeds of each protein")
    check_integer("steps", steps, 1, "steps of a simulation")
    chosen = choose_proteins(proteins, DEFAULT)
    run = {"model": model_identity(model), "n": n, "seed": seed, "steps": steps}
    table = {
        "implicit": Part(
            f"amber14 with OBC2, {steps} steps",
            {protein: (protein, "implicit", steps) for protein in chosen},
            running_seeds,
            _RUN,
        ),
        "explicit": Part(
            f"amber14 with TIP3P, {steps} steps",
            {protein: (protein, "explicit", steps) for protein in chosen},
            running_seeds,
            _RUN,
        ),
        "export": Part(
            f"{chosen[0]}, relative deviation of the total and of the worst term",
            {
                f"{field}, {solvent}": (chosen[0], field, solvent)
                for field, solvent in product(fields or FIELDS, FORMATS["amber"])
            },
            export_deviations,
            {
                f"{name} {which}": Column(f"{name}_{which}", None)
                for name, which in product(FORMATS, ("total", "worst"))
            },
        ),
        "charmm": Part(
            f"{chosen[0]} in water, CHARMM36, cutoff 0.9 nm",
            {chosen[0]: chosen[0]},
            charmm_cost,
            {
                "atoms": Column("atoms", 0),
                "OpenMM, ms": Column("own_seconds", 0, 1000),
                "seeds, ms": Column("fast_seconds", 0, 1000),
                "deviation": Column("deviation", None),
            },
        ),
    }
    with without_warnings():
        return measure_parts(table, parts, output, run, model, device, progress)


@lru_cache(maxsize=8)
def relaxed_samples(generator: EnsembleGenerator, protein: str, n: int, seed: int) -> Ensemble:
    """Relaxed samples, kept for the other parts."""
    return sample_quietly(generator, PROTEINS[protein], n, seed, relax=True)


def most_compact(ensemble: Ensemble, n: int) -> list[int]:
    """Numbers of the n valid frames with the smallest radius, whose boxes are small."""
    xyz = ensemble.trajectory.xyz
    radius = np.linalg.norm(xyz - xyz.mean(1, keepdims=True), axis=-1).max(1)
    order = np.argsort(radius)
    return order[ensemble.report["valid"].astype(bool)[order]][:n].tolist()


def running_seeds(
    generator: EnsembleGenerator, target: tuple[str, str, int], n: int, seed: int
) -> dict[str, float]:
    """Seeds that run so many steps and are sound afterwards."""
    protein, solvent, steps = target
    ensemble = relaxed_samples(generator, protein, SAMPLES * n, seed)
    judge = SeedJudge(ensemble.trajectory.topology)
    frames = most_compact(ensemble, n)
    start, sound, sizes, energies = time.perf_counter(), 0, [], []
    for simulation in seed_simulations(
        ensemble, frames=frames, solvent=solvent, equilibration=1,
        **(EXPLICIT if solvent == "explicit" else {}),
    ):  # fmt: skip
        simulation.step(steps)
        state = simulation.context.getState(getPositions=True, getEnergy=True)
        xyz = state.getPositions(asNumpy=True)._value
        protein_xyz = xyz[None, : ensemble.trajectory.n_atoms].astype(np.float32)
        energies.append(state.getPotentialEnergy()._value)
        finite = np.isfinite(xyz).all() and np.isfinite(energies[-1])
        sound += bool(finite and not judge.faults(protein_xyz)[0])
        sizes.append(len(xyz))
    nothing = [float("nan")]
    return {
        "seeds": float(n),
        "sound": float(sound),
        "fewest_atoms": float(min(sizes or nothing)),
        "most_atoms": float(max(sizes or nothing)),
        "lowest_kj_mol": float(min(energies or nothing)),
        "highest_kj_mol": float(max(energies or nothing)),
        "seconds": (time.perf_counter() - start) / n,
    }


def export_deviations(
    generator: EnsembleGenerator, target: tuple[str, str, str], n: int, seed: int
) -> dict[str, float]:
    """Relative deviations of energies from exported files; NaN where a format is not written."""
    protein, field, solvent = target
    ensemble = relaxed_samples(generator, protein, SAMPLES * n, seed)
    formats = [name for name, held in FORMATS.items() if solvent in held]
    with tempfile.TemporaryDirectory() as folder:
        written = write_seeds(
            ensemble, folder, 1, formats, frames=most_compact(ensemble, 1), solvent=solvent,
            forcefield=field, equilibration=0.1, progress=False,
            **(EXPLICIT if solvent == "explicit" else {}),
        )  # fmt: skip
        with open(written / "seed_000" / "energies.csv", newline="", encoding="utf-8") as handle:
            rows = list(csv.DictReader(handle))
    found = {f"{name}_{which}": float("nan") for name in FORMATS for which in ("total", "worst")}
    for name in formats:
        off = {x["term"]: float(x["relative_deviation"]) for x in rows if x["format"] == name}
        found[f"{name}_total"] = off.pop("total")
        found[f"{name}_worst"] = max(off.values())
    return found


def charmm_cost(generator: EnsembleGenerator, protein: str, n: int, seed: int) -> dict[str, float]:
    """Processor seconds of energy and forces in either form of CHARMM36; their deviation."""
    import openmm as mm
    from openmm import app, unit

    settings = SeedSettings(forcefield="charmm36", solvent="explicit", cutoff=EXPLICIT["cutoff"])
    ensemble = relaxed_samples(generator, protein, SAMPLES * n, seed)
    frame = ensemble.trajectory[most_compact(ensemble, 1)]
    field = load_forcefield(settings)
    modeller = app.Modeller(frame.topology.to_openmm(), frame.xyz[0] * unit.nanometer)
    padding = EXPLICIT["padding"] * unit.nanometer
    modeller.addSolvent(field, padding=padding, ionicStrength=0.15 * unit.molar)
    own = create_system(modeller.topology, field, settings, flexible=True)
    seconds, energies = [], []
    for system in (own, fast_system(modeller.topology, own)):
        platform = mm.Platform.getPlatformByName("CPU")
        context = mm.Context(system, mm.VerletIntegrator(0.001), platform)
        times = []
        for _ in range(REPEATS):
            context.setPositions(modeller.positions)
            start = time.process_time()
            state = context.getState(getEnergy=True, getForces=True)
            times.append(time.process_time() - start)
        seconds.append(float(np.median(times)))
        energies.append(state.getPotentialEnergy()._value)
    return {
        "atoms": float(modeller.topology.getNumAtoms()),
        "own_seconds": seconds[0],
        "fast_seconds": seconds[1],
        "deviation": abs(energies[1] - energies[0]) / abs(energies[0]),
    }

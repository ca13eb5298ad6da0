"""Seeds that run, and files that say the same: python tools/measure_seeding.py [PART [NAME ...]].

Parts: implicit and explicit (names: proteins), export (names: force fields), charmm; default: all.
Frames are relaxed samples of the default model, seed 1; for explicit solvent the most compact of
40, as boxes of extended chains are large.
"""

from __future__ import annotations

import csv
import sys
import tempfile
import time
from functools import lru_cache

import numpy as np

PROTEINS = {
    "Trp-cage": "NLYIQWLKDGGPSSGRPPPS",
    "ubiquitin": "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG",
}
FIELDS = ("amber14", "amber19", "charmm36")
HELD = {"amber": ("vacuum", "implicit", "explicit"), "gromacs": ("vacuum", "explicit")}
WET = {"padding": 0.8, "cutoff": 0.9}


@lru_cache
def samples(name: str):
    import openmm_slm

    return openmm_slm.generate_ensemble(
        PROTEINS[name], 40, seed=1, relax=True, device="cpu", progress=False
    )


def compact(name: str, n: int) -> list[int]:
    traj = samples(name)
    size = np.linalg.norm(traj.xyz - traj.xyz.mean(1, keepdims=True), axis=-1).max(1)
    return np.argsort(size)[:n].tolist()


def run(label: str, steps: int, wanted: int, **options) -> None:
    """Simulations of n frames: how many ran, with finite energies and L residues."""
    import openmm_slm
    from openmm_slm.seeding.judging import SeedJudge

    start, sound, sizes, energies = time.perf_counter(), 0, set(), []
    for simulation in openmm_slm.seed_simulations(**options):
        simulation.step(steps)
        state = simulation.context.getState(getPositions=True, getEnergy=True)
        topology = options["ens_or_traj"].topology
        xyz = state.getPositions(asNumpy=True)._value
        (fault,) = SeedJudge(topology).faults(xyz[None, : topology.n_atoms].astype(np.float32))
        energies.append(state.getPotentialEnergy()._value)
        sound += bool(np.isfinite(xyz).all() and np.isfinite(energies[-1]) and not fault)
        sizes.add(len(xyz))
    seconds = (time.perf_counter() - start) / wanted
    print(
        f"{label}: {sound} of {wanted} ran {steps} steps, finite and of their hand; atoms "
        f"{min(sizes)} to {max(sizes)}; energies {min(energies):.0f} to {max(energies):.0f} "
        f"kJ/mol; {seconds:.0f} s a seed",
        flush=True,
    )


def implicit() -> None:
    for name in sys.argv[2:] or PROTEINS:
        run(
            f"implicit: {name}, amber14, OBC2", 2000, 10, ens_or_traj=samples(name), n=10,
            solvent="implicit", equilibration=2,
        )  # fmt: skip


def explicit() -> None:
    for name in sys.argv[2:] or PROTEINS:
        run(
            f"explicit: {name}, amber14, TIP3P", 1000, 3, ens_or_traj=samples(name),
            frames=compact(name, 3), solvent="explicit", equilibration=1, **WET,
        )  # fmt: skip


def export() -> None:
    """Largest relative deviation of a term and of the total, files read back."""
    import openmm_slm

    (frame,) = compact("Trp-cage", 1)
    for field in sys.argv[2:] or FIELDS:
        for solvent in HELD["amber"]:
            formats = [name for name, held in HELD.items() if solvent in held]
            with tempfile.TemporaryDirectory() as folder:
                out = openmm_slm.write_seeds(
                    samples("Trp-cage"), folder, 1, formats, frames=[frame], solvent=solvent,
                    forcefield=field, equilibration=0.1, progress=False,
                    **(WET if solvent == "explicit" else {}),
                )  # fmt: skip
                with open(out / "seed_000" / "energies.csv", newline="") as handle:
                    rows = list(csv.DictReader(handle))
            for name in formats:
                off = {r["term"]: float(r["relative_deviation"]) for r in rows
                       if r["format"] == name}  # fmt: skip
                total = off.pop("total")
                worst = max(off, key=off.get)
                print(
                    f"export: {field} {solvent} {name}: total {total:.1e}, worst term {worst} "
                    f"{off[worst]:.1e}",
                    flush=True,
                )


def charmm() -> None:
    """Energy and forces of solvated Trp-cage with OpenMM's own CHARMM36, and as seeds have it."""
    import openmm as mm
    from openmm import app, unit

    from openmm_slm.seeding.plain import fast_system
    from openmm_slm.seeding.seeding_settings import SeedSettings
    from openmm_slm.seeding.systems import create_system, load_forcefield

    settings = SeedSettings(forcefield="charmm36", solvent="explicit", cutoff=0.9)
    field, (frame,) = load_forcefield(settings), compact("Trp-cage", 1)
    traj = samples("Trp-cage")[frame]
    modeller = app.Modeller(traj.topology.to_openmm(), traj.xyz[0] * unit.nanometer)
    modeller.addSolvent(field, padding=0.8 * unit.nanometer, ionicStrength=0.15 * unit.molar)
    own = create_system(modeller.topology, field, settings, flexible=True)
    seconds, energies = [], []
    for system in (own, fast_system(modeller.topology, own)):
        platform = mm.Platform.getPlatformByName("CPU")
        context = mm.Context(system, mm.VerletIntegrator(0.001), platform)
        times = []
        for _ in range(10):
            context.setPositions(modeller.positions)
            start = time.process_time()
            state = context.getState(getEnergy=True, getForces=True)
            times.append(time.process_time() - start)
        seconds.append(float(np.median(times)))
        energies.append(state.getPotentialEnergy()._value)
    off = abs(energies[1] - energies[0]) / abs(energies[0])
    print(
        f"charmm: {modeller.topology.getNumAtoms()} atoms: {1000 * seconds[0]:.0f} ms of CPU in "
        f"OpenMM's form, {1000 * seconds[1]:.0f} ms as seeds have it ({seconds[0] / seconds[1]:.1f}"
        f" times faster); energies differ by {off:.1e}",
        flush=True,
    )


def main() -> None:
    parts = {part.__name__: part for part in (implicit, explicit, export, charmm)}
    for name in sys.argv[1:2] or parts:
        parts[name]()


if __name__ == "__main__":
    main()

"""Speed, yield and limits of relaxation: python tools/measure_relaxation.py [PART ...].

Parts: speed, tiles, valid, repair, energy, md, solvents (default: all, about 20 minutes on two
cores). Frames are samples of the default model, seed 1.
"""

from __future__ import annotations

import logging
import statistics
import sys
import time
from collections import Counter
from functools import lru_cache

import numpy as np

PROTEINS = {
    "chignolin": "GYDPETGTWG",
    "villin": "LSDEDFKAVFGMTRSAFANLPLWKQQNLKKEKGLF",
    "GB1": "MTYKLILNGKTLKGETTTEAVDAATAEKVFKQYANDNGVDGEWTYDDATKTFTVTE",
    "BPTI": "RPDFCLEPPYTGPCKARIIRYFYNAKAGLCQTFVYGGCRAKRNNFKSAEDCMRTCGGA",
    "ubiquitin": "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG",
    "lysozyme": "KVFGRCELAAAMKRHGLDNYRGYSLGNWVCAAKFESNFNTQATNRNTDGSTDYGILQINSRWWCNDGRTPGSRNLCNIPC"
    "SALLSSDITASVNCAKKIVSDGNGMNAWVAWRNRCKGTDVQAWIRGCRL",
    "myoglobin": "VLSEGEWQLVLHVWAKVEADVAGHGQDILIRLFKSHPETLEKFDRFKHLKTEAEMKASEDLKKHGVTVLTALGA"
    "ILKKKGHHEAELKPLAQSHATKHKIPIKYLEFISEAIIHVLHSRHPGDFGADAQGAMNKALELFRKDIGAKYKELGYQG",
}  # fmt: skip
FIELDS = ("amber14-all.xml", "amber19-all.xml", "charmm36.xml")
QUIET = {"progress": False}


@lru_cache(maxsize=20)
def sample(name: str, n: int, **options):
    import openmm_slm

    return openmm_slm.generate_ensemble(PROTEINS[name], n, seed=1, device="cpu", **QUIET, **options)


@lru_cache(maxsize=20)
def relaxed(name: str, n: int):
    import openmm_slm

    return openmm_slm.relax(sample(name, n), **QUIET)


def frames(name: str) -> int:
    """Samples of which the share of valid ones is stated."""
    return 20 if name in ("lysozyme", "myoglobin") else 40


def speed() -> None:
    """Worker processes, as the user calls it: report and start of the processes included."""
    import openmm_slm

    for name, n in (("BPTI", 500), ("myoglobin", 100)):
        traj = sample(name, n)
        start = time.perf_counter()
        report = openmm_slm.relax(traj, **QUIET).report
        seconds = time.perf_counter() - start
        shape = f"{n} frames of {traj.n_residues} residues, {traj.n_atoms} atoms"
        valid = f"valid {report['valid_before'].sum()} before, {report['valid'].sum()} after"
        print(f"speed: {name}: {shape}: {seconds:.0f} s; {valid}", flush=True)


def tiles() -> None:
    """Eight copies in one System against one by one, one thread each."""
    import openmm_slm

    for name, n in (("BPTI", 16), ("myoglobin", 8)):
        traj = sample(name, n)
        seconds, results = [], []
        for options in ({"processes": 1}, {"copies": 8}):
            start = time.perf_counter()
            results.append(openmm_slm.relax(traj, **options, **QUIET))
            seconds.append((time.perf_counter() - start) / n)
        one, many = results
        off = np.linalg.norm(one.trajectory.xyz - many.trajectory.xyz, axis=-1)
        apart = 10 * np.sqrt((off**2).mean(1))
        same = (one.report["valid"] == many.report["valid"]).sum()
        print(
            f"tiles: {name}: one by one {seconds[0]:.2f} s a frame, 8 copies {seconds[1]:.2f} s; "
            f"same verdict {same} of {n}; RMSD between them (all atoms) median "
            f"{np.median(apart):.3f} A, largest {apart.max():.2f} A",
            flush=True,
        )


def summary(report: dict, n: int) -> str:
    good = report["valid"]
    how = Counter(str(text) for text in report["repair"][good] if text)
    repaired = ", ".join(f"{text} {count}" for text, count in how.most_common()) or "none"
    why = Counter(str(text) for text in report["error"] if text)
    left = f"; not valid: {dict(why.most_common(3))}" if why else ""
    return (
        f"valid {report['valid_before'].sum()} of {n} before, {good.sum()} after "
        f"({repaired} after the first minimisation){left}"
    )


def valid() -> None:
    """Default samples, before and after."""
    for name in PROTEINS:
        n = frames(name)
        report = relaxed(name, n).report
        good = report["valid"]
        closest = 10 * report["closest_heavy_nm"][good].min()
        print(
            f"valid: {name}: {summary(report, n)}; RMSD moved (median) CA "
            f"{10 * np.median(report['ca_moved_nm']):.2f} A, heavy atoms "
            f"{10 * np.median(report['heavy_moved_nm']):.2f} A; of valid frames: closest pair "
            f"{closest:.2f} A, D residues {report['d_residues'][good].sum()}",
            flush=True,
        )


def spoiled(traj, kind: str):
    """Frames with a fault of one kind each."""
    import mdtraj as md

    from openmm_slm.relaxation.judging import FrameJudge

    rng = np.random.default_rng(0)
    xyz, judge = traj.xyz.copy(), FrameJudge(traj.topology)
    for x in xyz:
        if kind == "noise of 0.6 A on N, CA, C and O":
            atoms = judge.index[:, :4]
            x[atoms] += rng.normal(0, 0.06 / np.sqrt(3), (*atoms.shape, 3))
            continue
        row = rng.choice(
            [r for r, a in enumerate(judge.protein.sequence) if a not in "GP" and r > 2]
        )
        atoms = {a.name: a.index for a in judge.residues[row].atoms}
        if kind == "a D residue":
            n, ca, c = x[atoms["N"]], x[atoms["CA"]], x[atoms["C"]]
            normal = np.cross(n - ca, c - ca)
            normal /= np.linalg.norm(normal)
            side = [i for name, i in atoms.items() if name not in ("N", "CA", "C", "O", "H")]
            x[side] -= 2 * ((x[side] - ca) @ normal)[:, None] * normal
        else:  # N and H turned about CA-CA by 90 degrees, C and O of the peptide stay
            before = {a.name: a.index for a in judge.residues[row - 1].atoms}
            axis = x[before["CA"]], x[atoms["CA"]]
            unit = (axis[1] - axis[0]) / np.linalg.norm(axis[1] - axis[0])
            turn = np.radians(90)
            moved = [atoms["N"], *([atoms["H"]] if "H" in atoms else [])]
            along = ((x[moved] - axis[0]) @ unit)[:, None] * unit
            across = x[moved] - axis[0] - along
            across = np.cos(turn) * across + np.sin(turn) * np.cross(unit, across)
            x[moved] = axis[0] + along + across
    return md.Trajectory(xyz, traj.topology)


def repair() -> None:
    """Frames spoiled on purpose, and samples whose peptides were not closed."""
    import openmm_slm

    n = 20
    for name in ("BPTI", "villin"):
        cases = {
            kind: spoiled(sample(name, n), kind)
            for kind in ("a D residue", "a twisted peptide", "noise of 0.6 A on N, CA, C and O")
        }
        cases["samples with project=False"] = sample(name, n, project=False)
        for kind, traj in cases.items():
            report = openmm_slm.relax(traj, **QUIET).report
            print(f"repair: {name}, {kind}: {summary(report, n)}", flush=True)


def energy() -> None:
    """Reported energies against a single point in a Simulation made for it."""
    from openmm import Platform, VerletIntegrator, app, unit

    import openmm_slm

    for field in FIELDS:
        result = openmm_slm.relax(sample("villin", 10), forcefield=field, iterations=20, **QUIET)
        traj = result.trajectory
        system = app.ForceField(field).createSystem(
            traj.topology.to_openmm(), nonbondedMethod=app.CutoffNonPeriodic,
            nonbondedCutoff=1 * unit.nanometer, constraints=None, rigidWater=False,
        )  # fmt: skip
        platform = Platform.getPlatformByName("CPU")
        context = app.Simulation(
            traj.topology.to_openmm(), system, VerletIntegrator(0.001), platform
        ).context
        off = []
        for x, reported in zip(traj.xyz, result.report["energy_after_kj_mol"], strict=True):
            context.setPositions(x)
            fresh = context.getState(getEnergy=True).getPotentialEnergy()._value
            off.append(abs(reported / fresh - 1))
        print(f"energy: {field}: largest relative difference {max(off):.1e} of 10 frames")


def md(names=("chignolin", "villin", "GB1", "BPTI", "ubiquitin")) -> None:
    """1,000 steps of 2 fs from 20 valid frames of five proteins."""
    from openmm import LangevinMiddleIntegrator, Platform, app, unit

    rng = np.random.default_rng(0)
    for name in names:
        result = relaxed(name, frames(name))
        chosen = rng.choice(np.flatnonzero(result.report["valid"]), 20, replace=False)
        topology = result.trajectory.topology.to_openmm()
        for field in FIELDS:
            system = app.ForceField(field).createSystem(
                topology, nonbondedMethod=app.CutoffNonPeriodic,
                nonbondedCutoff=1 * unit.nanometer, constraints=app.HBonds,
            )  # fmt: skip
            integrator = LangevinMiddleIntegrator(300, 1, 0.002)
            platform = Platform.getPlatformByName("CPU")
            simulation = app.Simulation(topology, system, integrator, platform, {"Threads": "1"})
            sound = 0
            for x in result.trajectory.xyz[chosen]:
                simulation.context.setPositions(x)
                simulation.context.setVelocitiesToTemperature(300, 1)
                try:
                    simulation.step(1000)
                    state = simulation.context.getState(getPositions=True, getEnergy=True)
                    places = state.getPositions(asNumpy=True)._value
                    sound += bool(np.isfinite(places).all())
                except Exception as error:
                    print(f"md: {name} {field}: {error}")
            print(f"md: {name}, {field}: {sound} of 20 frames ran 1,000 steps of 2 fs", flush=True)


def solvents() -> None:
    """Seconds a frame on one thread."""
    from openmm_slm.relaxation.relaxation_settings import RelaxationSettings
    from openmm_slm.relaxation.relaxer import Relaxer

    traj = sample("BPTI", 40)
    for solvent, n in (("vacuum", 9), ("obc2", 5), ("gbn2", 3)):
        relaxer = Relaxer(traj.topology, RelaxationSettings(solvent=solvent), processes=1)
        seconds = []
        for x in traj.xyz[:n]:
            start = time.perf_counter()
            relaxer.relax(x[None])
            seconds.append(time.perf_counter() - start)
        print(f"solvents: BPTI, {solvent}: {statistics.median(seconds):.2f} s a frame (median)")


PARTS = (speed, tiles, valid, repair, energy, md, solvents)

if __name__ == "__main__":
    logging.disable(logging.WARNING)
    names = {part.__name__: part for part in PARTS}
    for wanted in sys.argv[1:] or names:
        names[wanted]()

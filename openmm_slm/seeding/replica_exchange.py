"""Folder ``replica_exchange``: a script that exchanges temperatures between seeds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SLMError, require
from .seeding_settings import SeedSettings

if TYPE_CHECKING:
    import openmm

FOLDER = "replica_exchange"
_HOTTEST = 500.0  # K; the ladder stops there
_GAP = 1.63  # of neighbouring temperatures: about one in four exchanges succeeds

_TEXT = '''\
"""Replica exchange of {n} temperatures: {forcefield}, {solvent}; replica i starts from {first}.

Needs OpenMM and the folders beside this one:   python run.py [ITERATIONS [STEPS]]
If OpenMM has a ReplicaExchangeSampler, it makes the exchanges; with --plain, this script does.
"""

import csv
import math
import random
import sys
from pathlib import Path

from openmm import XmlSerializer, app, unit

here = Path(__file__).resolve().parent
SEEDS = {seeds}  # one for each temperature
TEMPERATURES = {temperatures}  # K
numbers = [int(text) for text in sys.argv[1:] if text != "--plain"]
iterations, steps = [*numbers, *[1000, 500][len(numbers):]]  # steps of {timestep:g} fs
plain = "--plain" in sys.argv or not hasattr(app, "ReplicaExchangeSampler")
every = max(1, iterations // 100)

files = here.parent / SEEDS[0]
topology = app.PDBxFile(str(files / "topology.cif")).topology
system = XmlSerializer.deserialize((files / "system.xml").read_text())
integrator = XmlSerializer.deserialize((files / "integrator.xml").read_text())
simulation = app.Simulation(topology, system, integrator)
context = simulation.context
barostat = "MonteCarloTemperature" if "MonteCarloTemperature" in context.getParameters() else None


def heat(temperature):
    integrator.setTemperature(temperature * unit.kelvin)
    if barostat:
        context.setParameter(barostat, temperature)


def state():
    return context.getState(
        getPositions=True, getVelocities=True, getEnergy=True, getParameters=True,
        getIntegratorParameters=True,
    )


replicas = []  # a State for each seed, at its own temperature
for seed, temperature in zip(SEEDS, TEMPERATURES):
    simulation.loadState(str(here.parent / seed / "state.xml"))  # positions, box
    heat(temperature)
    context.setVelocitiesToTemperature(temperature * unit.kelvin)
    replicas.append(state())

if not plain:
    states = [{{"temperature": t * unit.kelvin}} for t in TEMPERATURES]
    sampler = app.ReplicaExchangeSampler(states, simulation, steps)
    sampler.replicaConformation = replicas
    sampler.reporters.append(
        app.ReplicaExchangeReporter(
            str(here / "output"), every, sampler, trajectoryPerState=True, energy=True
        )
    )
    sampler.simulate(iterations)
    print(here / "output")
    sys.exit()


def reduced(replica, temperature):
    """Energy and pressure times volume of a replica, in units of kT."""
    energy = replica.getPotentialEnergy()
    if barostat:
        pressure = context.getParameter("MonteCarloPressure") * unit.bar
        volume = replica.getPeriodicBoxVolume() * unit.AVOGADRO_CONSTANT_NA
        energy += (pressure * volume).in_units_of(unit.kilojoule_per_mole)
    return energy / (unit.MOLAR_GAS_CONSTANT_R * temperature * unit.kelvin)


output = here / "output"
output.mkdir()
handles = [open(output / f"temperature_{{t:g}}.dcd", "wb") for t in TEMPERATURES]
frames = [app.DCDFile(handle, topology, steps * integrator.getStepSize()) for handle in handles]
table = open(output / "exchanges.csv", "w", newline="")
rows = csv.writer(table)
rows.writerow(["iteration", *[f"replica at {{t:g}} K" for t in TEMPERATURES]])
at = list(range(len(replicas)))  # the replica at each temperature
tried = done = 0
for iteration in range(iterations):
    for k, replica in enumerate(at):
        context.setState(replicas[replica])
        heat(TEMPERATURES[k])
        simulation.step(steps)
        replicas[replica] = state()
        if iteration % every == 0:
            box = replicas[replica].getPeriodicBoxVectors() if barostat else None
            frames[k].writeModel(
                replicas[replica].getPositions(), periodicBoxVectors=box
            )
    rows.writerow([iteration, *at])
    for k in range(iteration % 2, len(at) - 1, 2):  # neighbours; even and odd pairs in turn
        low, high = TEMPERATURES[k], TEMPERATURES[k + 1]
        one, two = replicas[at[k]], replicas[at[k + 1]]
        gain = reduced(one, low) + reduced(two, high) - reduced(one, high) - reduced(two, low)
        tried += 1
        if gain >= 0 or random.random() < math.exp(gain):
            done += 1
            at[k], at[k + 1] = at[k + 1], at[k]
            for replica, factor in ((at[k], low / high), (at[k + 1], high / low)):
                context.setState(replicas[replica])
                velocities = replicas[replica].getVelocities(asNumpy=True)
                context.setVelocities(velocities * math.sqrt(factor))
                replicas[replica] = state()
    table.flush()
for handle in [*handles, table]:
    handle.close()
print(f"{{output}}: {{done}} of {{tried}} exchanges")
'''


def write_replica_exchange(output: Path, seeds: list[str], settings: SeedSettings) -> None:
    """Write ``replica_exchange/run.py`` for seeds whose folders are in `output`."""
    check_number(len(seeds))
    text = (output / seeds[0] / "system.xml").read_text(encoding="utf-8")
    temperatures = ladder(
        require("openmm").XmlSerializer.deserialize(text), settings.temperature, len(seeds)
    )
    (output / FOLDER).mkdir()
    (output / FOLDER / "run.py").write_text(
        _TEXT.format(
            n=len(seeds), forcefield=settings.forcefield, first=seeds[0],
            solvent=settings.water if settings.explicit else settings.solvent, seeds=seeds,
            temperatures=[round(float(t), 2) for t in temperatures], timestep=settings.timestep,
        ),
        encoding="utf-8",
    )  # fmt: skip


def check_number(n: int) -> None:
    """Raise SLMError for fewer than two seeds."""
    if n < 2:
        raise SLMError(f"replica exchange is between seeds, but there is {n}; ask for two or more")


def ladder(system: openmm.System, lowest: float, n: int) -> np.ndarray:
    """Temperatures [n] (K) in geometric progression.

    With a constant heat capacity C (here half of the degrees of freedom, as of harmonic ones), the
    exchange of neighbours at T and T + dT succeeds with the probability erfc(sqrt(C / k) dT / 2 T)
    (Kofke, J. Chem. Phys. 117, 6911, 2002). dT is that of a probability of 1 in 4, unless the
    ladder would pass 500 K.
    """
    heavy = sum(system.getParticleMass(i)._value > 0 for i in range(system.getNumParticles()))
    free = 3 * heavy - system.getNumConstraints() - 3
    step = 1 + _GAP / np.sqrt(max(free, 1) / 2)
    most = max(_HOTTEST / lowest, 1.1) ** (1 / (n - 1))
    return lowest * min(step, most) ** np.arange(n)

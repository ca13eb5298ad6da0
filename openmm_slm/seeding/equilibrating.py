"""Equilibrate a Simulation at its temperature and pressure; restraints are released in stages.

1. Minimisation with protein heavy atoms restrained by `restraint`, then by a hundredth of it.
2. Dynamics at constant volume with 1, 1/10 and 1/100 of the restraint: half of the time.
3. Dynamics without restraints, with the barostat if there is one: the other half.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SLMError, require
from ..relaxation.minimiser import find_platform
from .seeding_settings import SeedSettings

if TYPE_CHECKING:
    import openmm
    from openmm import app

_STAGES = (1.0, 0.1, 0.01)
_ITERATIONS = 500  # largest number of iterations of each minimisation
_STUCK = 1e4  # kJ/mol per atom


class SeedError(SLMError):
    """No simulation can be started from a frame; the message says why."""


@dataclass(frozen=True, eq=False)
class Start:
    """Input of an equilibration.

    Attributes
    ----------
    topology : openmm.app.Topology
    system : openmm.System
        With its barostat, if there is one.
    xyz : ndarray [N, 3]
        nm.
    held : ndarray, int
        Atoms to restrain in the first stages.
    """

    topology: app.Topology
    system: openmm.System
    xyz: np.ndarray
    held: np.ndarray


def make_integrator(settings: SeedSettings, seed: int) -> openmm.LangevinMiddleIntegrator:
    u = require("openmm.unit")
    integrator = require("openmm").LangevinMiddleIntegrator(
        settings.temperature * u.kelvin, settings.friction / u.picosecond,
        settings.timestep * u.femtosecond,
    )  # fmt: skip
    integrator.setRandomNumberSeed(seed)
    return integrator


def add_barostat(system: openmm.System, settings: SeedSettings, seed: int) -> None:
    if not settings.explicit or settings.pressure is None:
        return
    u = require("openmm.unit")
    barostat = require("openmm").MonteCarloBarostat(
        settings.pressure * u.bar, settings.temperature * u.kelvin
    )
    barostat.setRandomNumberSeed(seed)
    system.addForce(barostat)


def equilibrate(start: Start, settings: SeedSettings, seed: int) -> app.Simulation:
    """Equilibrate and return the Simulation, with step and time set to 0.

    Raises
    ------
    SeedError
        OpenMM failed, or the energy is not finite.
    """
    mm = require("openmm")
    steps = round(settings.equilibration * 1000 / settings.timestep)
    held = steps // 2 // len(_STAGES)
    try:
        before = _simulation(start, _restrained(start, settings), settings, seed)
        before.context.setPositions(start.xyz)
        for factor in (1.0, 0.01):
            before.context.setParameter("spring", settings.restraint * factor)
            before.minimizeEnergy(maxIterations=_ITERATIONS)
        before.context.setVelocitiesToTemperature(settings.temperature, seed)
        for factor in _STAGES:
            before.context.setParameter("spring", settings.restraint * factor)
            before.step(held)
        state = before.context.getState(getPositions=True, getVelocities=True)
        simulation = _simulation(start, start.system, settings, seed)
        simulation.context.setPositions(state.getPositions())
        simulation.context.setVelocities(state.getVelocities())
        simulation.step(steps - held * len(_STAGES))
        energy = simulation.context.getState(getEnergy=True).getPotentialEnergy()._value
    except mm.OpenMMException as error:
        raise SeedError(f"OpenMM: {error}") from None
    if not abs(energy) < _STUCK * len(start.xyz):
        raise SeedError(f"the energy is {energy:.3g} kJ/mol")
    simulation.context.setTime(0.0)
    simulation.context.setStepCount(0)
    simulation.currentStep = 0
    return simulation


def _simulation(start: Start, system: openmm.System, settings: SeedSettings, seed: int):
    platform = () if settings.platform is None else (find_platform(settings.platform)[0],)
    integrator = make_integrator(settings, seed)
    return require("openmm.app").Simulation(start.topology, system, integrator, *platform)


def _restrained(start: Start, settings: SeedSettings) -> openmm.System:
    """Copy of the System with position restraints, and without barostat.

    Restraints to fixed positions would oppose the moves of the barostat.
    """
    mm = require("openmm")
    system = mm.XmlSerializer.clone(start.system)
    for number in reversed(range(system.getNumForces())):
        if isinstance(system.getForce(number), mm.MonteCarloBarostat):
            system.removeForce(number)
    square = "periodicdistance(x,y,z,x0,y0,z0)^2" if settings.explicit else (
        "((x-x0)^2+(y-y0)^2+(z-z0)^2)"
    )  # fmt: skip
    springs = mm.CustomExternalForce(f"0.5*spring*{square}")
    springs.addGlobalParameter("spring", settings.restraint)
    for name in ("x0", "y0", "z0"):
        springs.addPerParticleParameter(name)
    for atom in start.held.tolist():
        springs.addParticle(atom, start.xyz[atom].tolist())
    system.addForce(springs)
    return system

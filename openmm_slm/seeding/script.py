"""Text of ``run.py``, the script that runs a seed with OpenMM."""

from __future__ import annotations

from .seeding_settings import SeedSettings

FILES = ("system.xml", "state.xml", "integrator.xml", "topology.cif")

_TEXT = '''\
"""{title}

Needs OpenMM and the files beside it:   python run.py [STEPS]
"""

import sys
from pathlib import Path

from openmm import XmlSerializer, app

here = Path(__file__).resolve().parent
steps = int(sys.argv[1]) if len(sys.argv) > 1 else {steps}  # of {timestep:g} fs

topology = app.PDBxFile(str(here / "topology.cif")).topology
system = XmlSerializer.deserialize((here / "system.xml").read_text())
integrator = XmlSerializer.deserialize((here / "integrator.xml").read_text())
simulation = app.Simulation(topology, system, integrator)
simulation.loadState(str(here / "state.xml"))  # positions, velocities, box

every = max(1, min({every}, steps // 10))
simulation.reporters += [
    app.DCDReporter(str(here / "trajectory.dcd"), every),
    app.StateDataReporter(
        str(here / "log.csv"), every, step=True, time=True, potentialEnergy=True,
        temperature=True, volume={volume}, speed=True,
    ),
]
simulation.step(steps)
simulation.saveState(str(here / "last.xml"))
print(here / "trajectory.dcd")
'''


def run_script(name: str, frame: int, settings: SeedSettings) -> str:
    """Text of ``run.py``; by default it runs 1 ns and saves 100 frames."""
    solvent = settings.water if settings.explicit else settings.solvent
    title = f"{name}, frame {frame} of the ensemble: {settings.forcefield}, {solvent}."
    steps = round(1e6 / settings.timestep)
    return _TEXT.format(
        title=title, steps=steps, every=max(1, steps // 100), timestep=settings.timestep,
        volume=settings.explicit,
    )  # fmt: skip

"""Build a Simulation from each selected frame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SLMError, StructureError, counted
from ..relaxation.other_residues import OtherResidues, refuse_unknown
from ..validity.report import geometry_report
from .equilibrating import SeedError, Start, add_barostat, equilibrate
from .judging import SeedJudge
from .same_box import SameBoxes
from .seeding_settings import SeedSettings
from .solvating import Counts, Solvated, box_width, solvate, warn_of_large_box
from .systems import create_system, load_forcefield

if TYPE_CHECKING:
    import mdtraj
    import openmm
    from openmm import app


@dataclass(frozen=True, eq=False)
class Seed:
    """An equilibrated Simulation, with its coordinates and energy.

    Attributes
    ----------
    frame : int
        Number of the frame in the ensemble.
    simulation : openmm.app.Simulation
        Its attribute ``frame`` is the same number.
    xyz : ndarray [N, 3]
        nm, double precision; molecules are not split by the periodic box.
    box : ndarray [3, 3], optional
        Box vectors (nm).
    counts : Counts, optional
        Numbers of solvent molecules.
    energy : float
        Potential energy, kJ/mol.
    ca_moved : float
        CA RMSD from the original frame after superposition (nm).
    """

    frame: int
    simulation: app.Simulation
    xyz: np.ndarray
    box: np.ndarray | None
    counts: Counts | None
    energy: float
    ca_moved: float


class SeedBuilder:
    """Build Simulations from frames of one protein.

    Parameters
    ----------
    trajectory : mdtraj.Trajectory
        All atoms of the protein and of what is kept beside it, without solvent.
    frames : ndarray, int [n]
        Frames to build. With ``same_box`` they determine the box size; with ``box="extended"`` all
        frames do.
    settings : SeedSettings
    d_residues : iterable of int
        Rows of D amino acids.

    Raises
    ------
    SLMError
        Atoms are missing, or a residue is not in the force field.
    """

    def __init__(
        self,
        trajectory: mdtraj.Trajectory,
        frames: np.ndarray,
        settings: SeedSettings,
        d_residues: Iterable[int] = (),
    ) -> None:
        self.trajectory, self.settings = trajectory, settings
        self.field = load_forcefield(settings, trajectory.topology)
        self.topology = trajectory.topology.to_openmm()
        _check_atoms(trajectory, frames)
        self.judge = SeedJudge(trajectory.topology, d_residues)
        others = OtherResidues(trajectory.topology)
        refuse_unknown(others, self.field, others.forcefield_topology.to_openmm())
        # Check the protein against the force field before the slow solvation.
        dry = replace(settings, solvent="vacuum", water=None) if settings.explicit else settings
        self._system = create_system(self.topology, self.field, dry)
        atoms = list(trajectory.topology.atoms)
        self._heavy = np.array([a.index for a in atoms if a.element.symbol != "H"])
        self._boxes, self._least = None, 0.0
        if settings.explicit:
            sized = frames if settings.box == "fit" else range(trajectory.n_frames)
            width = max(box_width(trajectory.xyz[i], settings) for i in sized)
            self._least = 0.0 if settings.box == "fit" else width
            warn_of_large_box(width)
        if settings.explicit and settings.same_box:
            solvated = ((i, self._solvated(i, width)) for i in map(int, frames))
            self._boxes = SameBoxes(trajectory.n_atoms, solvated)

    def build(self, frame: int) -> Seed:
        """Solvate and equilibrate a frame, and check the result.

        Raises
        ------
        SeedError
            The seed failed; the message says why.
        """
        settings, seed = self.settings, self._seed(frame)
        xyz = self.trajectory.xyz[frame]
        topology, positions, counts = self.topology, xyz.astype(float), None
        system = self._system
        if settings.explicit:
            wet = self._boxes.of(frame) if self._boxes else self._solvated(frame)
            topology, positions, counts = wet.topology, wet.xyz, wet.counts
            system = create_system(topology, self.field, settings)
            add_barostat(system, settings, seed)
        start = Start(topology, system, positions, self._heavy)
        simulation = equilibrate(start, settings, seed)
        simulation.frame = frame
        return self._judged(frame, simulation, counts)

    def flexible(self, topology: app.Topology) -> openmm.System:
        """System without constraints and barostat, for export to other programs."""
        return create_system(topology, self.field, self.settings, flexible=True)

    # -- the parts ---------------------------------------------------------------------------

    def _seed(self, frame: int) -> int:
        """Random seed that depends on (seed, frame) only; never 0, which means random in OpenMM."""
        state = np.random.SeedSequence([self.settings.seed, frame]).generate_state(1)[0]
        return int(state % (2**31 - 1)) + 1

    def _solvated(self, frame: int, width: float | None = None) -> Solvated:
        xyz = self.trajectory.xyz[frame]
        width = width or max(self._least, box_width(xyz, self.settings))
        return solvate(self.topology, xyz, self.field, self.settings, width, self._seed(frame))

    def _judged(self, frame: int, simulation: app.Simulation, counts: Counts | None) -> Seed:
        state = simulation.context.getState(getPositions=True, getEnergy=True)
        xyz = state.getPositions(asNumpy=True)._value
        before = self.trajectory.xyz[frame][None]
        after = xyz[: len(before[0])][None].astype(np.float32)
        (fault,) = self.judge.faults(after, self.judge.cis(before)[0])
        if fault:
            raise SeedError(fault)
        moved = self.judge.judge.moved(before, after)["ca_moved_nm"]
        box = state.getPeriodicBoxVectors(asNumpy=True)._value if counts else None
        energy = float(state.getPotentialEnergy()._value)
        return Seed(frame, simulation, xyz, box, counts, energy, float(moved[0]))


def _check_atoms(trajectory: mdtraj.Trajectory, frames: np.ndarray) -> None:
    if trajectory.topology.n_bonds == 0 and trajectory.n_residues > 1:
        raise StructureError(
            "the topology has no bonds; read it from a PDB file or call "
            "traj.topology.create_standard_bonds()"
        )
    missing = geometry_report(trajectory[frames]).get("missing_heavy_atoms")
    if missing is None or missing.any():
        what = "side chains" if missing is None else counted(missing.max(), "heavy atom")
        raise SLMError(
            f"frame {int(frames[0 if missing is None else missing.argmax()])} lacks {what}; "
            "openmm_slm.complete adds what is missing"
        )

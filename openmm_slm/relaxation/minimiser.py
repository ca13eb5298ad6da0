"""Minimise frames one after another in one OpenMM Context."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import SLMError, counted, require
from .judging import FrameJudge
from .relaxation_settings import RelaxationSettings
from .system import BONDED, GUARDS, NONBONDED, REPULSION, guarded_system

if TYPE_CHECKING:
    import mdtraj
    import openmm

CLOSEST = 0.002  # nm; the forces between closer atoms have no useful direction
STRETCHED = 0.3  # nm; if one bond deviates by more, the coordinates are not this molecule's
DISTORTED = 0.05  # nm; the same if half of the bonds deviate by more
ROUGH = 100.0  # kJ/mol per atom; above, overlapping atoms are separated first
STUCK = 100.0  # kJ/mol per atom; a minimisation that ends above has failed
# Iterations of the separation. With 100 instead of 30, energies are equal and relaxation takes 20 %
# longer. In a repair, atoms are separated almost without restraint.
_PARTING, _UNTANGLING = 30, 400
_FAST = 100.0  # factor of the restraint while side chains and hydrogens are minimised
_FREE = 0.01  # factor of the restraint while a frame is untangled


class MinimisationError(Exception):
    """A frame could not be minimised; the message says why."""


class FrameMinimiser:
    """Minimise frames of one topology. A result does not depend on earlier frames.

    Parameters
    ----------
    topology : mdtraj.Topology
    judge : FrameJudge
        For the same topology.
    settings : RelaxationSettings

    Raises
    ------
    SLMError
        The force field does not fit the topology, or the platform is not available.
    """

    def __init__(
        self, topology: mdtraj.Topology, judge: FrameJudge, settings: RelaxationSettings
    ) -> None:
        self.settings, self.judge = settings, judge
        self.protein = guarded_system(topology, judge, settings)
        self._begin()

    def _begin(self) -> None:
        mm, settings = require("openmm"), self.settings
        integrator = mm.LangevinMiddleIntegrator(settings.temperature, 1.0, 0.001)
        platform, properties = find_platform(settings.platform)
        self.context = mm.Context(self.protein.system, integrator, platform, properties)

    def unusable(self, x: np.ndarray) -> str:
        """Reason why a frame [A, 3] cannot be minimised; empty if it can."""
        finite = np.isfinite(x).all(-1)
        if not finite.all():
            atom = self.judge.atom_name(np.argmin(finite))
            number = counted((~finite).sum(), "atom")
            return f"coordinates are not finite ({number}, the first {atom})"
        pairs = require("scipy.spatial").cKDTree(x).query_pairs(CLOSEST)
        if pairs:
            one, other = map(self.judge.atom_name, min(pairs))
            return f"{one} and {other} are in one place"
        i, j = self.protein.bonds.T
        length = np.linalg.norm(x[i] - x[j], axis=-1)
        off = np.abs(length - self.protein.lengths)
        if len(off) and off.max() > STRETCHED:
            worst = int(off.argmax())
            one, other = self.judge.atom_name(i[worst]), self.judge.atom_name(j[worst])
            return (
                f"{counted((off > STRETCHED).sum(), 'bond is', 'bonds are')} off by more than "
                f"{STRETCHED} nm, the worst from {one} to {other}: {length[worst]:.3f} nm"
            )
        if len(off) and (off > DISTORTED).mean() > 0.5:
            return (
                f"{(off > DISTORTED).sum()} of {len(off)} bonds are off by more than {DISTORTED} "
                "nm (another scale?)"
            )
        return ""

    def bond_deviation(self, xyz: np.ndarray) -> np.ndarray:
        """Largest deviation [F] (nm) of a bond from the force field's length; frames [F, A, 3]."""
        i, j = self.protein.bonds.T
        length = np.linalg.norm(xyz[:, i] - xyz[:, j], axis=-1)
        return np.abs(length - self.protein.lengths).max(1, initial=0.0)

    def energy(self, x: np.ndarray) -> float:
        """Energy of the force field (kJ/mol), without guards; NaN if OpenMM fails."""
        try:
            self.context.setPositions(x.astype(float))
            return self._energy()
        except require("openmm").OpenMMException:
            self._begin()
            return float("nan")

    def minimise(
        self, x: np.ndarray, number: int = 0, *, repel: bool = False, untangle: bool = False
    ) -> np.ndarray:
        """Minimise a frame.

        Parameters
        ----------
        x : ndarray [A, 3]
            nm. Must be finite, without coinciding atoms.
        number : int
            Frame number. With the seed it determines the velocities of annealing.
        repel : bool
            Keep heavy atoms 0.26 nm apart at all stages.
        untangle : bool
            Separate atoms for longer and almost without restraint. The springs then restrain to
            the result of this stage.

        Returns
        -------
        ndarray, float32 [A, 3]
            nm.

        Raises
        ------
        MinimisationError
            OpenMM failed, or the energy stayed high.
        """
        settings, x = self.settings, x.astype(float)
        try:
            if settings.anneal:  # a seed takes effect at the next (re)initialisation
                seed = np.random.SeedSequence([settings.seed, number]).generate_state(1)[0]
                self.context.getIntegrator().setRandomNumberSeed(int(seed % 2**31) or 1)
                self.context.reinitialize()
            self._hold(x)
            self.context.setPositions(x)
            if untangle or not self._energy() < ROUGH * len(x):
                self._part(untangle)
            self._use({BONDED, NONBONDED, GUARDS} | ({REPULSION} if repel else set()))
            self._settle()
            if settings.anneal:
                self.context.setVelocitiesToTemperature(settings.temperature, int(seed % 2**31))
                self.context.getIntegrator().step(round(settings.anneal * 1000))
                self._descend(settings.restraint, settings.iterations)
            found = self._positions().astype(np.float32)
            self.context.setPositions(found.astype(float))
            energy = self._energy()
        except require("openmm").OpenMMException as error:
            self._begin()  # the old Context may be unusable
            raise MinimisationError(f"OpenMM: {error}") from None
        if not (np.isfinite(found).all() and energy < STUCK * len(x)):
            raise MinimisationError(f"the energy stayed at {energy:.3g} kJ/mol")
        return found

    # -- the stages --------------------------------------------------------------------------

    def _part(self, untangle: bool) -> None:
        """Separate overlapping atoms without nonbonded forces, so that all forces are finite."""
        restraint = self.settings.restraint * (_FREE if untangle else 1.0)
        self.context.setParameter("reach", 1.1)
        self._use({BONDED, GUARDS, REPULSION})
        self._descend(restraint, _UNTANGLING if untangle else _PARTING)
        self.context.setParameter("reach", 1.0)
        if untangle:
            self._hold(self._positions())

    def _settle(self) -> None:
        """Minimise side chains and hydrogens (strong backbone restraint), then all atoms."""
        settings = self.settings
        self._descend(_FAST * max(settings.restraint, 1000.0), -(-settings.iterations // 2))
        self._descend(settings.restraint, settings.iterations)

    def _descend(self, restraint: float, iterations: int) -> None:
        self.context.setParameter("spring", restraint)
        minimizer = require("openmm").LocalEnergyMinimizer
        minimizer.minimize(self.context, self.settings.tolerance, iterations)

    # -- the Context -------------------------------------------------------------------------

    def _use(self, groups: set[int]) -> None:
        self.context.getIntegrator().setIntegrationForceGroups(groups)

    def _hold(self, x: np.ndarray) -> None:
        springs = self.protein.springs
        for k, atom in enumerate(self.protein.backbone.tolist()):
            springs.setParticleParameters(k, atom, x[atom])
        springs.updateParametersInContext(self.context)

    def _positions(self) -> np.ndarray:
        return self.context.getState(getPositions=True).getPositions(asNumpy=True)._value

    def _energy(self) -> float:
        state = self.context.getState(getEnergy=True, groups={BONDED, NONBONDED})
        return float(state.getPotentialEnergy()._value)


def find_platform(name: str) -> tuple[openmm.Platform, dict[str, str]]:
    """Platform and its properties; one thread on the CPU platform, since processes share cores.

    Raises
    ------
    SLMError
        This OpenMM does not have the platform.
    """
    mm = require("openmm")
    names = [mm.Platform.getPlatform(i).getName() for i in range(mm.Platform.getNumPlatforms())]
    if name not in names:
        raise SLMError(f"platform is {name!r}; choose one that this OpenMM has: {', '.join(names)}")
    return mm.Platform.getPlatformByName(name), {"Threads": "1"} if name == "CPU" else {}

"""Force field and System of a seed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..errors import SLMError, require
from ..relaxation.other_residues import match_ions_by_name, with_ions
from ..relaxation.system import first_line, native_obc2
from .plain import fast_system
from .seeding_settings import SeedSettings

if TYPE_CHECKING:
    import mdtraj
    import openmm
    from openmm import app

logger = logging.getLogger(__name__)
_PME_CUTOFF, _CHARMM_CUTOFF, _CHARMM_SWITCH = 1.0, 1.2, 1.0  # nm


def load_forcefield(
    settings: SeedSettings, topology: mdtraj.Topology | None = None
) -> app.ForceField:
    """Load the force field of the protein and its solvent, and of the ions of a topology.

    Raises
    ------
    SLMError
        This version of OpenMM lacks a file, or a file of the user cannot be read.
    """
    files = settings.files if topology is None else with_ions(settings.files, topology)
    files = [*files, *(["implicit/gbn2.xml"] if settings.solvent == "gbn2" else [])]
    try:
        field = require("openmm.app").ForceField(*files)
        match_ions_by_name(field)
        return field
    except Exception as error:  # OpenMM passes on any error of its XML reader
        if settings.parameters:
            raise SLMError(
                f"{', '.join(settings.parameters)}: {first_line(error)} Give force-field files of "
                "OpenMM that go with each other (parameters)"
            ) from None
        raise SLMError(
            f"{settings.forcefield}: {first_line(error)} This OpenMM "
            f"({require('openmm').__version__}) does not have the file; choose another force field"
        ) from None


def cutoffs(settings: SeedSettings) -> tuple[float | None, float | None]:
    """Cutoff and switching distance (nm), or None."""
    if not settings.explicit:
        return settings.cutoff, None
    charmm = settings.charmm
    cutoff = settings.cutoff or (_CHARMM_CUTOFF if charmm else _PME_CUTOFF)
    return cutoff, cutoff * _CHARMM_SWITCH / _CHARMM_CUTOFF if charmm else None


def nonbonded_arguments(settings: SeedSettings) -> dict[str, object]:
    """Nonbonded arguments of ``createSystem``, for force fields and for readers of files."""
    app, nm = require("openmm.app"), require("openmm.unit").nanometer
    cutoff, switch = cutoffs(settings)
    if cutoff is None:
        return {"nonbondedMethod": app.NoCutoff}
    method = app.PME if settings.explicit else app.CutoffNonPeriodic
    found = {"nonbondedMethod": method, "nonbondedCutoff": cutoff * nm}
    return found if switch is None else {**found, "switchDistance": switch * nm}


def create_system(
    topology: app.Topology,
    field: app.ForceField,
    settings: SeedSettings,
    *,
    flexible: bool = False,
) -> openmm.System:
    """Create the System of a topology.

    CHARMM36 is converted by `fast_system`. With `flexible` there are no constraints and no
    conversion; that form is exported to other programs.

    Raises
    ------
    SLMError
        Atoms are missing, or a residue is not in the force field; the message names it.
    """
    app, u = require("openmm.app"), require("openmm.unit")
    constraints = {
        "hbonds": app.HBonds, "allbonds": app.AllBonds, "hangles": app.HAngles, None: None
    }[None if flexible else settings.constraints]  # fmt: skip
    mass = settings.hydrogen_mass
    try:
        system = field.createSystem(
            topology, **nonbonded_arguments(settings), constraints=constraints,
            rigidWater=not flexible, hydrogenMass=None if mass is None else mass * u.dalton,
        )  # fmt: skip
    except (ValueError, KeyError) as error:
        raise SLMError(
            f"{settings.forcefield} does not fit: {first_line(error)} If atoms are missing, run "
            "openmm_slm.complete first"
        ) from None
    if settings.charmm and not flexible:
        try:
            system = fast_system(topology, system)
        except SLMError as error:
            logger.info("using OpenMM's slower form of CHARMM36: %s", error)
    if settings.solvent == "obc2":
        system.addForce(native_obc2(topology, system, settings.cutoff))
    return system

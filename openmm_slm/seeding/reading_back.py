"""Check exported files: read them with OpenMM and compare energies with those of the System."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SLMError, require
from .exporting import NAMES
from .seeding_settings import SeedSettings
from .systems import nonbonded_arguments

if TYPE_CHECKING:
    import openmm

TOLERANCE = 1e-3  # relative
_SMALL = 0.05  # kJ/mol; rounding in the files may cause such a deviation in small terms
_TERMS = {
    "bonds": ("HarmonicBondForce",),
    "angles": ("HarmonicAngleForce",),
    "torsions": ("PeriodicTorsionForce", "CustomTorsionForce"),
    "cmap": ("CMAPTorsionForce",),
    "nonbonded": ("NonbondedForce", "CustomNonbondedForce", "CustomBondForce"),
    "implicit solvent": ("GBSAOBCForce", "CustomGBForce"),
}  # fmt: skip


class ExportError(SLMError):
    """Energies of exported files differ from those of the System."""


def energies(
    system: openmm.System, xyz: np.ndarray, box: np.ndarray | None = None
) -> dict[str, float]:
    """Energy terms of a System, and their ``total``, in kJ/mol.

    Parameters
    ----------
    system : openmm.System
    xyz : ndarray [N, 3]
        nm.
    box : ndarray [3, 3], optional
        Box vectors in nm.
    """
    mm = require("openmm")
    system = mm.XmlSerializer.clone(system)
    names = [type(force).__name__ for force in system.getForces()]
    groups = {}
    for force, name in zip(system.getForces(), names, strict=True):
        term = next((term for term, kinds in _TERMS.items() if name in kinds), None)
        number = 31 if term is None else list(_TERMS).index(term)
        force.setForceGroup(number)
        if term is not None:
            groups[term] = number
    platform = mm.Platform.getPlatformByName("CPU")
    context = mm.Context(system, mm.VerletIntegrator(0.001), platform)
    if box is not None:
        context.setPeriodicBoxVectors(*np.asarray(box, float))
    context.setPositions(np.asarray(xyz, float))
    context.computeVirtualSites()

    def energy(wanted: set[int]) -> float:
        return context.getState(getEnergy=True, groups=wanted).getPotentialEnergy()._value

    found = {term: energy({number}) for term, number in groups.items()}
    return {**found, "total": energy(set(groups.values()))}


def read_back(
    name: str, folder: Path, settings: SeedSettings, like: openmm.System
) -> dict[str, float]:
    """Read the files of a format and compute their `energies`.

    Settings that the format cannot store are taken from the System `like`.
    """
    app, nm = require("openmm.app"), require("openmm.unit").nanometer
    arguments = {**nonbonded_arguments(settings), "constraints": None, "rigidWater": False}
    top, coordinates = (str(folder / file) for file in NAMES[name])
    if name == "amber":
        read = app.AmberInpcrdFile(coordinates)
        xyz = np.array(read.getPositions(asNumpy=True).value_in_unit(nm))
        box = read.getBoxVectors() if settings.explicit else None
        if settings.solvent in ("obc2", "gbn2"):
            arguments["implicitSolvent"] = {"obc2": app.OBC2, "gbn2": app.GBn2}[settings.solvent]
        system = app.AmberPrmtopFile(top, periodicBoxVectors=box).createSystem(**arguments)
    else:
        # OpenMM's GRO reader only reads three decimals; MDTraj reads all.
        with require("mdtraj.formats").GroTrajectoryFile(coordinates) as handle:
            (xyz,), _, (box,) = handle.read()
        box = _reduced(box) if settings.explicit else None
        system = app.GromacsTopFile(
            top, periodicBoxVectors=box, defines={"FLEXIBLE": ""}
        ).createSystem(**arguments)
    if box is not None:
        box = np.array([v.value_in_unit(nm) for v in box])
    _copy_settings(system, like)
    return energies(system, xyz, box)


def _copy_settings(theirs: openmm.System, ours: openmm.System) -> None:
    """Copy switching function and long-range correction: the files do not store them."""
    mm = require("openmm")
    tables, plain = (
        [f for f in ours.getForces() if isinstance(f, kind)]
        for kind in (mm.CustomNonbondedForce, mm.NonbondedForce)
    )
    model = (tables or plain)[0]
    corrected = model.getUseLongRangeCorrection() if tables else model.getUseDispersionCorrection()
    for force in theirs.getForces():
        if isinstance(force, mm.NonbondedForce):
            force.setUseDispersionCorrection(corrected)
        elif isinstance(force, mm.CustomNonbondedForce):
            force.setUseLongRangeCorrection(corrected)
        else:
            continue
        force.setUseSwitchingFunction(model.getUseSwitchingFunction())
        force.setSwitchingDistance(model.getSwitchingDistance())


def _reduced(box: np.ndarray):
    """Box vectors in OpenMM's reduced form, which rounding in the file may have broken."""
    mm, nm = require("openmm"), require("openmm.unit").nanometer
    vectors = [mm.Vec3(*map(float, vector)) for vector in box] * nm
    return require("openmm.app.internal.unitcell").reducePeriodicBoxVectors(vectors)


def compare_energies(
    name: str, ours: dict[str, float], theirs: dict[str, float]
) -> list[tuple[str, str, float, float, float]]:
    """Compare the energies of the System (`ours`) with those of the files (`theirs`).

    Terms may cancel in the total, so its deviation is relative to the largest term.

    Returns
    -------
    list of tuple
        Rows (format, term, ours, theirs, relative deviation).

    Raises
    ------
    ExportError
        A term differs by more than 1e-3 (relative) and 0.05 kJ/mol.
    """
    rows, largest = [], max(map(abs, ours.values()))
    for term in dict.fromkeys([*ours, *theirs]):
        a, b = ours.get(term, 0.0), theirs.get(term, 0.0)
        size = largest if term == "total" else abs(a)
        off = abs(a - b) / max(size, _SMALL / TOLERANCE)
        rows.append((name, term, a, b, off))
        if not off <= TOLERANCE:
            raise ExportError(
                f"{name} files read back: {term} is {b:.6g} kJ/mol, but {a:.6g} in OpenMM "
                f"(relative deviation {off:.1e}, allowed {TOLERANCE}); use formats=('openmm',) to "
                "leave these files out"
            )
    return rows

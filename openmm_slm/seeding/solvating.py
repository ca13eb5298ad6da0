"""Solvate a protein in water and ions."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SLMError, require
from .seeding_settings import FOUR_SITES, SeedSettings
from .systems import cutoffs

if TYPE_CHECKING:
    from openmm import app

logger = logging.getLogger(__name__)

# Box vectors of unit width, in OpenMM's reduced form.
_SHAPES = {
    "cube": np.eye(3),
    "dodecahedron": np.array([[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0.5**0.5]]),
    "octahedron": np.array([[1, 0, 0], [1 / 3, 8**0.5 / 3, 0], [-1 / 3, 2**0.5 / 3, 6**0.5 / 3]]),
}
_ROOM = 1.1  # smallest box width over twice the cutoff; the box shrinks in equilibration
LARGE = 12.0  # nm: wider boxes get a warning
MOLECULES = ("HOH", "NA", "CL")  # residue names, in the order of `Counts`


@dataclass(frozen=True)
class Counts:
    """Numbers of solvent molecules."""

    waters: int
    positive: int
    negative: int


@dataclass(frozen=True, eq=False)
class Solvated:
    """A protein with waters and ions. The protein atoms come first, in their original order.

    Attributes
    ----------
    topology : openmm.app.Topology
    xyz : ndarray [N, 3]
        nm.
    counts : Counts
    """

    topology: app.Topology
    xyz: np.ndarray
    counts: Counts


def box_width(xyz: np.ndarray, settings: SeedSettings) -> float:
    """Width of the box (nm) for a protein [A, 3].

    The largest of: diameter of the protein plus padding, twice the padding, and the minimum for the
    cutoff.
    """
    center = (xyz.max(0) + xyz.min(0)) / 2
    diameter = 2 * np.linalg.norm(xyz - center, axis=1).max()
    narrowest = _SHAPES[settings.box_shape].diagonal().min()
    least = _ROOM * 2 * cutoffs(settings)[0] / narrowest
    return float(max(diameter + settings.padding, 2 * settings.padding, least))


def warn_of_large_box(width: float) -> None:
    """Warn of a box (nm) for an extended chain: most of it is water."""
    if width > LARGE:
        logger.warning(
            "the largest box is %.1f nm wide, a cube of about %d,000 waters; choose compact frames "
            "(of disordered chains: sample with rg=), or an implicit solvent",
            width, round(33.4 * width**3 / 1000),
        )  # fmt: skip


def solvate(
    topology: app.Topology,
    xyz: np.ndarray,
    field: app.ForceField,
    settings: SeedSettings,
    width: float,
    seed: int,
) -> Solvated:
    """Fill a box with water and ions (`Modeller.addSolvent`).

    Parameters
    ----------
    topology : openmm.app.Topology
    xyz : ndarray [A, 3]
        nm.
    field : openmm.app.ForceField
    settings : SeedSettings
    width : float
        Width of the box (nm).
    seed : int
        Seed for the positions of ions.

    Raises
    ------
    SLMError
        OpenMM cannot solvate the protein in this box.
    """
    app, mm, u = (require(name) for name in ("openmm.app", "openmm", "openmm.unit"))
    modeller = app.Modeller(topology, xyz.astype(float) * u.nanometer)
    vectors = [mm.Vec3(*map(float, v)) for v in width * _SHAPES[settings.box_shape]]
    try:
        with _seeded(seed):
            modeller.addSolvent(
                field, model="tip4pew" if settings.water in FOUR_SITES else "tip3p",
                boxVectors=vectors * u.nanometer, neutralize=True,
                ionicStrength=settings.ionic_strength * u.molar,
            )  # fmt: skip
    except Exception as error:  # addSolvent raises bare Exceptions
        raise SLMError(
            f"no {settings.water} could be added in a box of {width:.2f} nm ({error}); check "
            f"padding ({settings.padding} nm) and ionic_strength ({settings.ionic_strength} M)"
        ) from None
    positions = np.array(modeller.positions.value_in_unit(u.nanometer))
    return Solvated(modeller.topology, positions, _count(modeller.topology, len(xyz)))


def _count(topology: app.Topology, solute: int) -> Counts:
    """Numbers of molecules behind the first atoms, which are the solute."""
    names = [r.name for r in topology.residues() if next(r.atoms()).index >= solute]
    return Counts(*map(names.count, MOLECULES))


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed Python's global generator, which `Modeller` uses, and restore its state afterwards."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)

"""Water and ions about a protein, in boxes of one size where that is wanted."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SLMError, require
from .settings import FOUR_SITES, SeedSettings
from .systems import cutoffs

if TYPE_CHECKING:
    from openmm import app

# Box vectors of unit width, in OpenMM's reduced form.
_SHAPES = {
    "cube": np.eye(3),
    "dodecahedron": np.array([[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0.5**0.5]]),
    "octahedron": np.array([[1, 0, 0], [1 / 3, 8**0.5 / 3, 0], [-1 / 3, 2**0.5 / 3, 6**0.5 / 3]]),
}
_ROOM = 1.1  # times twice the cutoff: the box shrinks when water relaxes
_IONS = ("NA", "CL")


@dataclass(frozen=True)
class Counts:
    """Molecules about a protein."""

    waters: int
    positive: int
    negative: int


@dataclass(frozen=True, eq=False)
class Solvated:
    """A protein, its atoms first and in their order, waters and ions.

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
    """Width (nm) of the box of a protein [A, 3]: its sphere and the padding, twice the padding,
    or what the cutoff asks for."""
    center = (xyz.max(0) + xyz.min(0)) / 2
    diameter = 2 * np.linalg.norm(xyz - center, axis=1).max()
    narrowest = _SHAPES[settings.box_shape].diagonal().min()
    least = _ROOM * 2 * cutoffs(settings)[0] / narrowest
    return float(max(diameter + settings.padding, 2 * settings.padding, least))


def solvate(
    topology: app.Topology,
    xyz: np.ndarray,
    field: app.ForceField,
    settings: SeedSettings,
    width: float,
    seed: int,
    counts: Counts | None = None,
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
        Of the box (nm).
    seed : int
        Of the places of ions.
    counts : Counts, optional
        At most so many of each: pairs of ions, and the waters farthest from the protein, that are
        more are taken away.

    Raises
    ------
    SLMError
        No room for water.
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
    if counts is not None:
        _take_away(modeller, len(xyz), counts)
    positions = np.array(modeller.positions.value_in_unit(u.nanometer))
    return Solvated(modeller.topology, positions, _count(modeller.topology))


def smallest(counts: list[Counts]) -> Counts:
    """What all of several boxes have; ions stay neutral, as they differ by pairs."""
    return Counts(
        min(c.waters for c in counts),
        min(c.positive for c in counts),
        min(c.negative for c in counts),
    )


def _count(topology: app.Topology) -> Counts:
    names = [residue.name for residue in topology.residues()]
    return Counts(names.count("HOH"), *(names.count(ion) for ion in _IONS))


def _take_away(modeller: app.Modeller, n_protein: int, counts: Counts) -> None:
    nm = require("openmm.unit").nanometer
    residues = list(modeller.topology.residues())
    surplus = []
    for name, wanted in zip(_IONS, (counts.positive, counts.negative), strict=True):
        surplus += [r for r in residues if r.name == name][wanted:]
    waters = [r for r in residues if r.name == "HOH"]
    xyz = np.array(modeller.positions.value_in_unit(nm))
    box = np.array(modeller.topology.getPeriodicBoxVectors().value_in_unit(nm))
    oxygen = xyz[[next(r.atoms()).index for r in waters]]
    far = np.argsort(-_away(oxygen, xyz[:n_protein], box), kind="stable")
    surplus += [waters[i] for i in far[: len(waters) - counts.waters]]
    modeller.delete(surplus)


def _away(points: np.ndarray, protein: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Distance [P] of points to the nearest atom of the protein and of its images."""
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3) @ box
    images = (protein[None] + shifts[:, None]).reshape(-1, 3)
    return require("scipy.spatial").cKDTree(images).query(points)[0]


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """`Modeller` draws from Python's global stream, which is given back as it was."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)

"""Export a System to AMBER and GROMACS files with ParmEd.

This module adds what ParmEd lacks: CHARMM's Lennard-Jones terms (`plain`), CMAPs of residues that
share atom types, radii of implicit solvents, truncated octahedra in AMBER's orientation, and the
H-H bonds of AMBER's rigid waters.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SLMError, require
from .plain import LennardJones, plain_system
from .seeding_settings import FOUR_SITES, SeedSettings

if TYPE_CHECKING:
    import openmm
    import parmed
    from openmm import app

#: Files of each seed, and folders that join the seeds.
EXPORTED, JOINED = ("amber", "gromacs"), ("replica-exchange", "westpa")
FORMATS = ("openmm", *EXPORTED, *JOINED)
NAMES = {"amber": ("system.prmtop", "system.inpcrd"), "gromacs": ("system.top", "system.gro")}
_OCTAHEDRON = np.degrees(np.arccos(-1 / 3))  # angle of the axes of a truncated octahedron
_RADII = {  # OpenMM's class with the radii, and AMBER's name of the set
    "obc2": ("GBSAOBC2Force", "H(N)-modified Bondi radii (mbondi2)"),
    "gbn2": ("GBSAGBn2Force", "ArgH and AspGluO modified Bondi2 radii (mbondi3)"),
}
_HH_SPRING = 553.0  # kcal/mol/A^2, of TIP3P in tleap; relaxed in a rigid water


def check_formats(formats, settings: SeedSettings) -> tuple[str, ...]:
    """Check that the formats are known and can store what the settings need.

    Raises
    ------
    SLMError
        A format is unknown or does not support a setting; the message gives the reason.
    """
    formats = (formats,) if isinstance(formats, str) else tuple(formats)
    for name in formats:
        if name not in FORMATS:
            raise SLMError(f"formats has {name!r}; give some of {', '.join(FORMATS)}")
        reason = refused(name, settings)
        if reason:
            left = tuple(n for n in formats if not refused(n, settings)) or ("openmm",)
            raise SLMError(f"formats has {name!r}: {reason} Use formats={left!r}")
    if not formats:
        raise SLMError(f"formats is empty; give some of {', '.join(FORMATS)}")
    return formats


def refused(name: str, settings: SeedSettings) -> str:
    """Reason why a format cannot store what the settings need; empty if it can."""
    if name == "openmm":
        return ""
    if name in JOINED:
        if settings.explicit and not settings.same_box:
            return (
                "all seeds must be of one System, and boxes of different size are not; "
                "same_box=True (--same-box) gives them the same numbers of waters."
            )
        return ""
    if name == "gromacs" and settings.solvent in _RADII:
        return "GROMACS has no implicit solvent since version 2019."
    if settings.explicit and settings.water in FOUR_SITES:
        return (
            f"ParmEd cannot read the fourth site of {settings.water} from a System; choose a "
            "three-site water."
        )
    if name == "amber" and settings.explicit and settings.box_shape == "dodecahedron":
        return (
            "AMBER files can store rectangular boxes and truncated octahedra, but no dodecahedra; "
            "box_shape='octahedron' needs nearly as few waters."
        )
    return ""


def to_parmed(
    topology: app.Topology,
    system: openmm.System,
    xyz: np.ndarray,
    box: np.ndarray | None,
) -> parmed.Structure:
    """Convert a System without constraints to a ParmEd Structure.

    Parameters
    ----------
    topology : openmm.app.Topology
    system : openmm.System
        Created with ``constraints=None, rigidWater=False``.
    xyz : ndarray [N, 3]
        nm.
    box : ndarray [3, 3], optional
        Box vectors (nm).
    """
    parmed = require("parmed")
    plain, lj = plain_system(topology, system)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = parmed.openmm.load_topology(
            topology, plain, xyz * 10, box=None if box is None else _lengths_and_angles(box)
        )
    if made.unknown_functional:
        raise SLMError("ParmEd does not know a force of this System; use formats=('openmm',)")
    if lj is not None:
        _set_types(made, lj)
    _split_types(made)
    # GROMACS stores Urey-Bradley terms with the angles, as function 5.
    ends = {frozenset((term.atom1, term.atom2)) for term in made.urey_bradleys}
    for angle in made.angles:
        if frozenset((angle.atom1, angle.atom3)) in ends:
            angle.funct = 5
    return made


def _set_types(made: parmed.Structure, lj: LennardJones) -> None:
    """Replace ParmEd's atom types by CHARMM's, with their 1-4 parameters and NBFIX pairs."""
    parmed, u = require("parmed"), require("openmm.unit")
    kcal, half = u.kilojoule.conversion_factor_to(u.kilocalorie), 10 * 2 ** (1 / 6) / 2
    types: dict[int, parmed.AtomType] = {}
    for atom, kind in zip(made.atoms, lj.types.tolist(), strict=True):
        if kind not in types:
            name = f"{atom.element_name}{kind + 1}"
            types[kind] = new = parmed.AtomType(name, None, atom.mass, atom.atomic_number)
            new.set_lj_params(
                lj.epsilon[kind] * kcal, lj.sigma[kind] * half,
                lj.epsilon14[kind] * kcal, lj.sigma14[kind] * half,
            )  # fmt: skip
        atom.atom_type, atom.type = types[kind], types[kind].name
    for (i, j), (sigma, epsilon) in lj.fixes.items():
        for one, other in ((types[i], types[j]), (types[j], types[i])):
            one.add_nbfix(other.name, sigma * half * 2, epsilon * kcal)


def _split_types(made: parmed.Structure) -> None:
    """Give CA its own atom type for each CMAP: GROMACS looks CMAPs up by five atom types."""
    parmed = require("parmed")
    copies: dict[tuple[str, int], parmed.AtomType] = {}
    numbers = {id(kind): k + 1 for k, kind in enumerate(made.cmap_types)}
    for cmap in made.cmaps:
        atom, number = cmap.atom3, numbers[id(cmap.type)]
        key = atom.type, number
        if key not in copies:
            old = atom.atom_type
            copies[key] = new = parmed.AtomType(
                f"{old.name}m{number}", None, old.mass, old.atomic_number
            )
            new.set_lj_params(old.epsilon, old.rmin, old.epsilon_14, old.rmin_14)
            for other, fix in old.nbfix.items():
                new.add_nbfix(other, *fix)
        atom.atom_type, atom.type = copies[key], copies[key].name


def write_amber(
    made: parmed.Structure, topology: app.Topology, folder: Path, settings: SeedSettings
) -> None:
    """Write ``system.prmtop`` and ``system.inpcrd``."""
    amber = require("parmed.amber")
    made = made.copy(type(made))
    for residue in made.residues:
        if residue.name == "HOH":
            residue.name = "WAT"
    if settings.explicit:
        _add_hh_bonds(made)
        if settings.box_shape == "octahedron":
            made.coordinates, made.box = _amber_octahedron(made.coordinates, made.box)
    charmm = made.urey_bradleys or made.impropers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parm = (amber.ChamberParm if charmm else amber.AmberParm).from_structure(made)
        if settings.solvent in _RADII:
            _set_radii(parm, topology, *_RADII[settings.solvent])
        for name in NAMES["amber"]:
            parm.save(str(folder / name), overwrite=True)


def _set_radii(parm: parmed.amber.AmberParm, topology: app.Topology, kind: str, name: str) -> None:
    """Set radii and screening factors of the implicit solvent to OpenMM's values."""
    model = getattr(require("openmm.app.internal.customgbforces"), kind)
    for atom, found in zip(parm.atoms, model.getStandardParameters(topology), strict=True):
        atom.solvent_radius, atom.screen = 10 * float(found[0]), float(found[1])
    parm.parm_data["RADII"] = [atom.solvent_radius for atom in parm.atoms]
    parm.parm_data["SCREEN"] = [atom.screen for atom in parm.atoms]
    parm.parm_data["RADIUS_SET"] = [name]


def write_gromacs(made: parmed.Structure, folder: Path) -> None:
    """Write ``system.top`` and ``system.gro``, with coordinates to 1e-6 nm."""
    gromacs = require("parmed.gromacs")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        top = gromacs.GromacsTopologyFile.from_structure(made)
        # Inline, because a lookup by atom types would be wrong if residues share types.
        top.write(str(folder / NAMES["gromacs"][0]), parameters="inline")
        gromacs.GromacsGroFile.write(made, str(folder / NAMES["gromacs"][1]), precision=6)


def _add_hh_bonds(made: parmed.Structure) -> None:
    """Add the third bond, H-H, of AMBER's rigid waters; its length is that of the water model."""
    parmed = require("parmed")
    kind = None
    for residue in made.residues:
        if residue.name != "WAT":
            continue
        one, other = (a for a in residue.atoms if a.atomic_number == 1)
        if kind is None:
            (angle,) = (a for a in one.angles if other in a)
            length = one.bonds[0].type.req
            apart = 2 * length * np.sin(np.radians(angle.type.theteq) / 2)
            kind = parmed.BondType(_HH_SPRING, float(apart), list=made.bond_types)
            made.bond_types.append(kind)
        made.bonds.append(parmed.Bond(one, other, type=kind))


def _lengths_and_angles(box: np.ndarray) -> list[float]:
    """Lengths (Å) and angles (degrees) of box vectors [3, 3] (nm)."""
    length = np.linalg.norm(box, axis=1)
    unit = box / length[:, None]
    angle = [np.degrees(np.arccos(unit[i] @ unit[j])) for i, j in ((1, 2), (0, 2), (0, 1))]
    return [*(10 * length).tolist(), *map(float, angle)]


def _amber_octahedron(xyz: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotate a truncated octahedron to AMBER's orientation, with all box angles 109.47 degrees.

    The angles between OpenMM's vectors a, b, c are 70.53 and 109.47 degrees; a, c and -b span the
    same lattice. The vector a is on the x axis in both programs. The rotation about it moves c to
    AMBER's second vector.
    """
    length = float(box[0])
    cos, sin = 1 / 3, np.sqrt(8) / 3
    b, c = np.array([cos, sin, 0.0]), np.array([-cos, sin / 2, np.sqrt(6) / 3])
    second, third = c[1:], -b[1:]
    turn = np.array([[second[0], second[1]], [-second[1], second[0]]]) / np.linalg.norm(second)
    assert (turn @ third)[1] > 0  # right-handed
    out = np.array(xyz, float)
    out[:, 1:] = out[:, 1:] @ turn.T
    return out, np.array([length] * 3 + [_OCTAHEDRON] * 3)

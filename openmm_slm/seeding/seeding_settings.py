"""Settings of seeds, and their validation."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real

from ..errors import SLMError, require
from ..files.options import documented, option, set_checked

SOLVENTS = ("vacuum", "implicit", "obc2", "gbn2", "explicit")
BOXES = ("cube", "dodecahedron", "octahedron")
CONSTRAINTS = ("hbonds", "allbonds", "hangles", None)

_THREE, _FOUR = ("tip3p", "tip3pfb", "spce", "opc3"), ("opc", "tip4pew", "tip4pfb")
#: Water models of each force field and their files; the first is the default.
WATERS = {
    "amber14": {name: f"amber14/{name}.xml" for name in _THREE + _FOUR},
    "amber19": {name: f"amber19/{name}.xml" for name in ("opc3", *_THREE[:3], *_FOUR)},
    **{
        name: {
            "tip3p": f"{name}/water.xml",
            "spce": f"{name}/spce.xml",
            "tip4pew": f"{name}/tip4pew.xml",
        }
        for name in ("charmm36", "charmm36_2024")
    },
}
PROTEINS = {
    "amber14": "amber14-all.xml",
    "amber19": "amber19-all.xml",
    "charmm36": "charmm36.xml",
    "charmm36_2024": "charmm36_2024.xml",
}
FOUR_SITES = _FOUR

_ZERO = ("ionic_strength", "equilibration")  # may be 0, which switches them off
_NONE = ("cutoff", "pressure", "hydrogen_mass")
_QUANTITIES = (
    "padding", "ionic_strength", "temperature", "friction", "timestep", "restraint",
    "equilibration", *_NONE,
)  # fmt: skip


@documented
@dataclass(frozen=True)
class SeedSettings:
    """Settings of a seed; each is checked when the object is made.

    Physical quantities are `openmm.unit` quantities, or numbers in the units given; they are stored
    as numbers.

    Parameters
    ----------
    {options}

    Raises
    ------
    ValueError
        Names the setting, its value and the allowed values.
    """

    forcefield: str = option(
        "amber14",
        '"amber14", "amber19", "charmm36" or "charmm36_2024"',
        "Force field. charmm36_2024 needs an OpenMM that has it.",
        brief="Force field: amber14, amber19, charmm36, charmm36_2024.",
    )
    parameters: Iterable[str] = option(
        (),
        "iterable of path",
        """Force-field files of OpenMM for ligands, in addition to the force field.""",
        brief="Force-field file (OpenMM XML) for a ligand; may be repeated.",
    )
    keep: str = option(
        "auto",
        "str",
        """What stays besides protein: ``"auto"`` (ligands, cofactors, nucleic acids and metals
        within 0.6 nm of the protein), ``"all"`` (also waters and monovalent ions of the input),
        ``"none"``, or an MDTraj selection.""",
        brief="What stays besides protein: auto (ligands and metals), all, none, or an MDTraj "
        "selection.",
    )
    solvent: str = option(
        "explicit",
        '"explicit", "implicit", "obc2", "gbn2" or "vacuum"',
        """Solvent model. implicit is obc2: OBC2 with the surface term of OpenMM's
        ``implicit/obc2.xml``, through the native GBSAOBCForce. gbn2 is ``implicit/gbn2.xml``, many
        times slower on a CPU.""",
        brief="Solvent model: explicit, implicit (OBC2), gbn2, vacuum.",
    )
    water: str | None = option(
        None,
        "str, optional",
        """Water model of explicit solvent: tip3p, tip3pfb, spce, opc3, opc, tip4pew or tip4pfb.
        Default: tip3p (CHARMM's own with charmm36), opc3 with amber19.""",
        brief="Water model: tip3p, opc3, ... [default: the force field's].",
    )
    padding: float = option(
        1.0,
        "nm",
        "Minimum distance between the protein and its periodic images.",
        brief="Minimum distance between periodic images of the protein, nm.",
    )
    box_shape: str = option(
        "octahedron",
        '"cube", "dodecahedron" or "octahedron"',
        "Shape of the periodic box.",
        brief="Shape of the periodic box: cube, dodecahedron, octahedron.",
    )
    box: str = option(
        "fit",
        '"fit" or "extended"',
        """Size of the periodic box: that of the seed, or at least that of the most extended frame
        of the ensemble, so that compact frames of a disordered chain have room to extend.""",
        brief="Size of the box: fit (each seed), extended (the most extended frame).",
    )
    ionic_strength: float = option(
        0.15,
        "molar",
        "Concentration of NaCl, in addition to the ions that neutralise the protein.",
        brief="Concentration of NaCl, mol/l.",
    )
    same_box: bool = option(
        False,
        "bool",
        "Give all seeds the box of the largest one and the same numbers of waters and ions.",
        brief="Give all seeds the same box and numbers of waters and ions.",
    )
    cutoff: float | None = option(
        None,
        "nm, optional",
        """Cutoff of nonbonded forces. Default: none without a box; 1.0 in a box (PME), with
        charmm36 1.2 and a switching function from 1.0.""",
        brief="Nonbonded cutoff, nm [default: 1.0 in a box (1.2 for charmm36), else none].",
    )
    constraints: str | None = option(
        "hbonds",
        '"hbonds", "allbonds", "hangles" or None',
        "Constrained bonds and angles. Waters are always rigid.",
        brief="Constrained bonds and angles: hbonds, allbonds, hangles.",
    )
    hydrogen_mass: float | None = option(
        None,
        "dalton, optional",
        """Mass of hydrogens, taken from the atoms they are bonded to; 1.5 to 4 allow a timestep of
        4 fs.""",
        brief="Mass of hydrogens, dalton; 1.5 allows a timestep of 4 fs.",
    )
    temperature: float = option(300.0, "K", "Temperature.", brief="Temperature, K.")
    friction: float = option(
        1.0,
        "1/ps",
        "Friction of the Langevin integrator.",
        brief="Friction of the Langevin integrator, 1/ps.",
    )
    timestep: float = option(2.0, "fs", "Timestep.", brief="Timestep, fs.")
    pressure: float | None = option(
        1.0,
        "bar, optional",
        "Pressure of the barostat in explicit solvent; None keeps the volume constant.",
        brief="Pressure in explicit solvent, bar; 0: constant volume.",
    )
    restraint: float = option(
        1000.0,
        "kJ/mol/nm^2",
        "Initial restraint on the protein's heavy atoms; it is released in stages.",
        brief="Initial restraint on heavy atoms, kJ/mol/nm^2.",
    )
    equilibration: float = option(
        10.0,
        "ps",
        "Length of the equilibration, half of it with restraints; 0: minimisation only.",
        brief="Length of the equilibration, ps; 0: minimisation only.",
    )
    seed: int = option(
        0,
        "int",
        """Random seed of velocities, ions and random forces, and of the selection of frames; a
        simulation depends on (seed, frame) alone.""",
        brief="Random seed of velocities, ions and the selection.",
    )
    platform: str | None = option(
        None,
        "str, optional",
        """OpenMM platform: ``"CPU"``, ``"CUDA"``. Default: OpenMM's choice.""",
        brief="OpenMM platform: CPU, CUDA, OpenCL, ... [default: OpenMM's choice].",
    )

    def __post_init__(self) -> None:
        _one_of("forcefield", self.forcefield, PROTEINS)
        from ..protein.keep_selection import check_keep  # loads NumPy

        set_checked(self, "keep", check_keep(self.keep))
        set_checked(self, "parameters", _files(self.parameters))
        if self.solvent == "membrane":
            raise SLMError(
                "solvent is 'membrane', which is not supported; use OpenMM's Modeller.addMembrane, "
                f"or give one of {', '.join(SOLVENTS)}"
            )
        _one_of("solvent", self.solvent, SOLVENTS)
        if self.solvent == "implicit":
            set_checked(self, "solvent", "obc2")
        if self.water is not None and not self.explicit:
            raise SLMError(
                f"water is {self.water!r}, but solvent is {self.solvent!r}; a water model needs "
                "solvent='explicit'"
            )
        if self.explicit:
            known = WATERS[self.forcefield]
            set_checked(self, "water", next(iter(known)) if self.water is None else self.water)
            _one_of(f"water for {self.forcefield}", self.water, known)
        _one_of("box_shape", self.box_shape, BOXES)
        _one_of("box", self.box, ("fit", "extended"))
        _one_of("constraints", self.constraints, CONSTRAINTS)
        for name in _QUANTITIES:
            set_checked(self, name, _number(name, getattr(self, name)))
        if isinstance(self.seed, bool) or not isinstance(self.seed, Integral) or self.seed < 0:
            raise SLMError(f"seed is {self.seed!r}; give an integer from 0")
        set_checked(self, "same_box", bool(self.same_box))

    @property
    def explicit(self) -> bool:
        """Whether the solvent is explicit water with ions."""
        return self.solvent == "explicit"

    @property
    def charmm(self) -> bool:
        """Whether the force field is one of CHARMM's."""
        return self.forcefield.startswith("charmm")

    @property
    def files(self) -> list[str]:
        """OpenMM force-field files, except that of the implicit solvent."""
        water = [WATERS[self.forcefield][self.water]] if self.explicit else []
        return [PROTEINS[self.forcefield], *water, *self.parameters]


def _files(parameters: object) -> list[str]:
    """The setting `parameters` as a list of paths of files."""
    given = [parameters] if isinstance(parameters, (str, os.PathLike)) else parameters
    if not isinstance(given, Iterable):
        raise SLMError(f"parameters is {parameters!r}; name force-field files (OpenMM XML)")
    for path in (files := [str(path) for path in given]):
        if not os.path.isfile(path):
            raise SLMError(f"parameters has {path!r}: no such file; name force-field files (XML)")
    return files


def _one_of(name: str, value: object, allowed) -> None:
    if value not in tuple(allowed):
        names = ", ".join(map(str, allowed))
        raise SLMError(f"{name} is {value!r}; give one of {names}")


def _number(name: str, value: object) -> float | None:
    """Value of a quantity in the unit of the setting."""
    if value is None and name in _NONE:
        return None
    if hasattr(value, "value_in_unit"):
        unit = units()[name]
        try:
            value = value.value_in_unit(unit)
        except TypeError:
            raise SLMError(f"{name} is {value}; give it in {unit.get_name()}") from None
    good = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not good or value < 0 or (value == 0 and name not in _ZERO):
        least = f"a number {'from' if name in _ZERO else 'above'} 0"
        raise SLMError(f"{name} is {value!r}; give {least}{' or None' if name in _NONE else ''}")
    return float(value)


def units() -> dict:
    """The `openmm.unit` of each quantity."""
    u = require("openmm.unit")
    return {
        "padding": u.nanometer, "cutoff": u.nanometer, "ionic_strength": u.molar,
        "temperature": u.kelvin, "friction": u.picosecond**-1, "timestep": u.femtosecond,
        "pressure": u.bar, "hydrogen_mass": u.dalton,
        "restraint": u.kilojoule_per_mole / u.nanometer**2, "equilibration": u.picosecond,
    }  # fmt: skip

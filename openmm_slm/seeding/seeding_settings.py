"""Settings of seeds, checked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real

from ..errors import SLMError, require

SOLVENTS = ("vacuum", "implicit", "obc2", "gbn2", "explicit")
BOXES = ("cube", "dodecahedron", "octahedron")
CONSTRAINTS = ("hbonds", "allbonds", "hangles", None)

_THREE, _FOUR = ("tip3p", "tip3pfb", "spce", "opc3"), ("opc", "tip4pew", "tip4pfb")
#: Water models of each force field, the default first, and the file of each.
WATERS = {
    "amber14": {name: f"amber14/{name}.xml" for name in _THREE + _FOUR},
    "amber19": {name: f"amber19/{name}.xml" for name in ("opc3", *_THREE[:3], *_FOUR)},
    "charmm36": {
        "tip3p": "charmm36/water.xml",
        "spce": "charmm36/spce.xml",
        "tip4pew": "charmm36/tip4pew.xml",
    },
}
PROTEINS = {
    "amber14": "amber14-all.xml",
    "amber19": "amber19-all.xml",
    "charmm36": "charmm36.xml",
}
FOUR_SITES = _FOUR

_ZERO = ("ionic_strength", "equilibration")  # 0 means "without"
_NONE = ("cutoff", "pressure", "hydrogen_mass")
_QUANTITIES = (
    "padding", "ionic_strength", "temperature", "friction", "timestep", "restraint",
    "equilibration", *_NONE,
)  # fmt: skip


@dataclass(frozen=True)
class SeedSettings:
    """What decides a seed; each setting is checked when the object is made.

    Physical quantities are `openmm.unit` quantities, or numbers in the units given; numbers are
    kept.

    Parameters
    ----------
    forcefield : "amber14", "amber19" or "charmm36"
    solvent : "explicit", "implicit", "obc2", "gbn2" or "vacuum"
        implicit is obc2: OBC2 with a surface term as OpenMM's ``implicit/obc2.xml`` has it, through
        the native GBSAOBCForce; gbn2: ``implicit/gbn2.xml``, many times slower on a CPU.
    water : str, optional
        Water model of explicit solvent: a name in `WATERS`. Default: tip3p (CHARMM's own with
        charmm36), opc3 with amber19.
    padding : nm
        Between the protein and its next image, at least.
    box_shape : "cube", "dodecahedron" or "octahedron"
    ionic_strength : molar
        Of NaCl, besides the ions that neutralise the protein.
    same_box : bool
        All seeds get the box of the largest and the same numbers of waters and ions.
    cutoff : nm, optional
        Of nonbonded forces. Default: none without a box; 1.0 in a box (PME), with charmm36 1.2 and
        a switch from 1.0 on.
    constraints : "hbonds", "allbonds", "hangles" or None
        Waters are always rigid.
    hydrogen_mass : dalton, optional
        Mass of hydrogens, taken from what they are bonded to; 1.5 to 4 allow a timestep of 4 fs.
    temperature : K
    friction : 1/ps
        Of the Langevin integrator.
    timestep : fs
    pressure : bar, optional
        Of the barostat in explicit solvent; None: constant volume.
    restraint : kJ/mol/nm^2
        Holds heavy atoms of the protein at first; released in stages.
    equilibration : ps
        Of dynamics before a seed is given out, half of it with restraints; 0: minimised only.
    seed : int
        Of velocities, ions and random forces: a seed depends on (seed, frame) alone.
    platform : str, optional
        ``"CPU"``, ``"CUDA"``, ... Default: OpenMM's choice.

    Raises
    ------
    ValueError
        Names the setting, its value and what is allowed.
    """

    forcefield: str = "amber14"
    solvent: str = "explicit"
    water: str | None = None
    padding: float = 1.0
    box_shape: str = "octahedron"
    ionic_strength: float = 0.15
    same_box: bool = False
    cutoff: float | None = None
    constraints: str | None = "hbonds"
    hydrogen_mass: float | None = None
    temperature: float = 300.0
    friction: float = 1.0
    timestep: float = 2.0
    pressure: float | None = 1.0
    restraint: float = 1000.0
    equilibration: float = 10.0
    seed: int = 0
    platform: str | None = None

    def __post_init__(self) -> None:
        _one_of("forcefield", self.forcefield, PROTEINS)
        if self.solvent == "membrane":
            raise SLMError(
                "solvent is 'membrane'; membranes are not built here: use Modeller.addMembrane, "
                f"or one of {', '.join(SOLVENTS)}"
            )
        _one_of("solvent", self.solvent, SOLVENTS)
        if self.solvent == "implicit":
            self._set("solvent", "obc2")
        if self.water is not None and not self.explicit:
            raise SLMError(
                f"water is {self.water!r} and solvent {self.solvent!r}; a water model goes with "
                "solvent='explicit'"
            )
        if self.explicit:
            known = WATERS[self.forcefield]
            self._set("water", next(iter(known)) if self.water is None else self.water)
            _one_of(f"water for {self.forcefield}", self.water, known)
        _one_of("box_shape", self.box_shape, BOXES)
        _one_of("constraints", self.constraints, CONSTRAINTS)
        for name in _QUANTITIES:
            self._set(name, _number(name, getattr(self, name)))
        if isinstance(self.seed, bool) or not isinstance(self.seed, Integral) or self.seed < 0:
            raise SLMError(f"seed is {self.seed!r}; give an integer from 0")
        self._set("same_box", bool(self.same_box))

    @property
    def explicit(self) -> bool:
        """In water with ions, not a continuum or vacuum."""
        return self.solvent == "explicit"

    @property
    def files(self) -> list[str]:
        """Files of OpenMM, the implicit solvent's not among them."""
        water = [WATERS[self.forcefield][self.water]] if self.explicit else []
        return [PROTEINS[self.forcefield], *water]

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


def _one_of(name: str, value: object, allowed) -> None:
    if value not in tuple(allowed):
        names = ", ".join(map(str, allowed))
        raise SLMError(f"{name} is {value!r}; give one of {names}")


def _number(name: str, value: object) -> float | None:
    """The number of a quantity in the unit of the setting."""
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

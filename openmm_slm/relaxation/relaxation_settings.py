"""Settings of a relaxation, checked."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real

from ..errors import SLMError, require

SOLVENTS = ("vacuum", "obc2", "gbn2")
_QUANTITIES = ("cutoff", "restraint", "tolerance", "anneal", "temperature")


@dataclass(frozen=True)
class RelaxationSettings:
    """What decides how frames are relaxed; each setting is checked when the object is made.

    Physical quantities are `openmm.unit` quantities, or numbers in the units given; numbers are
    kept.

    Parameters
    ----------
    forcefield : str or iterable of str
        Files of OpenMM (``"amber14-all.xml"``, ``"amber19-all.xml"``, ``"charmm36.xml"``; the
        ending may be left out) or of your own.
    solvent : "vacuum", "obc2" or "gbn2"
        obc2: OpenMM's native GBSAOBCForce (Onufriev, Bashford & Case, 2004); gbn2: OpenMM's
        ``implicit/gbn2.xml``. Both are several times slower than vacuum on a CPU.
    cutoff : nm
        Of nonbonded forces, without periodicity.
    restraint : kJ/mol/nm^2
        Holds N, CA, C and O: 0.5 k d^2.
    iterations : int
        Of L-BFGS with all atoms free; half as many before with the backbone held fast.
    tolerance : kJ/mol/nm
        Root mean square force at which to stop.
    anneal : ps
        Langevin dynamics (1/ps, steps of 1 fs) after the minimisation, then a second one.
    temperature : K
        Of the dynamics.
    seed : int
        Of the dynamics: frame i depends on (seed, i) alone.
    repair : bool
        Try more on frames that are not valid after the minimisation.
    cis_allowed : iterable of int
        Rows of residues, besides prolines, before which the peptide may be cis.
    disulfides : iterable of (int, int), optional
        For the report; default, the S-S bonds of the topology.
    platform : str
        ``"CPU"``, ``"CUDA"``, ``"OpenCL"``, ``"Reference"``, ...

    Raises
    ------
    ValueError
        Names the setting, its value and what is allowed.
    """

    forcefield: str | Iterable[str] = "amber14-all.xml"
    solvent: str = "vacuum"
    cutoff: float = 1.0
    restraint: float = 1000.0
    iterations: int = 100
    tolerance: float = 10.0
    anneal: float = 0.0
    temperature: float = 300.0
    seed: int = 0
    repair: bool = True
    cis_allowed: Iterable[int] = ()
    disulfides: Iterable[tuple[int, int]] | None = None
    platform: str = "CPU"

    def __post_init__(self) -> None:
        files = [self.forcefield] if isinstance(self.forcefield, str) else list(self.forcefield)
        if not files or not all(isinstance(name, (str, os.PathLike)) for name in files):
            raise SLMError(f"forcefield is {self.forcefield!r}; name XML files of OpenMM")
        names = [str(name) if str(name).endswith(".xml") else f"{name}.xml" for name in files]
        self._set("forcefield", names)
        if self.solvent not in SOLVENTS:
            raise SLMError(f"solvent is {self.solvent!r}, expected one of {', '.join(SOLVENTS)}")
        for name in _QUANTITIES:
            self._set(name, _number(name, getattr(self, name)))
        for name, least in (("iterations", 1), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
                raise SLMError(f"{name} is {value!r}; give an integer from {least}")
            self._set(name, int(value))
        rows = list(self.cis_allowed)
        if not all(isinstance(row, Integral) and row >= 0 for row in rows):
            raise SLMError(f"cis_allowed is {rows!r}; give rows of residues, counted from 0")
        self._set("cis_allowed", [int(row) for row in rows])
        if self.disulfides is not None:
            self._set("disulfides", [[int(i), int(j)] for i, j in self.disulfides])

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


def _number(name: str, value: object) -> float:
    """The number of a quantity in OpenMM's units; zero is allowed where it means "without"."""
    if hasattr(value, "value_in_unit"):
        u = require("openmm.unit")
        force = u.kilojoule_per_mole / u.nanometer
        wanted = {
            "cutoff": u.nanometer, "restraint": force / u.nanometer, "tolerance": force,
            "anneal": u.picosecond, "temperature": u.kelvin,
        }[name]  # fmt: skip
        try:
            value = value.value_in_unit(wanted)
        except TypeError:
            raise SLMError(f"{name} is {value}; give it in {wanted.get_name()}") from None
    optional = name in ("restraint", "anneal")
    good = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not good or value < 0 or (value == 0 and not optional):
        raise SLMError(f"{name} is {value!r}; give a number {'from' if optional else 'above'} 0")
    return float(value)

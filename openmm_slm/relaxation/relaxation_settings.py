"""Settings of a relaxation, and their validation."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from numbers import Integral, Real

from ..errors import SLMError, require
from ..files.options import documented, option, set_checked

SOLVENTS = ("vacuum", "obc2", "gbn2")
_QUANTITIES = ("cutoff", "restraint", "tolerance", "anneal", "temperature")


@documented
@dataclass(frozen=True)
class RelaxationSettings:
    """Settings of a relaxation; each is checked when the object is made.

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

    forcefield: str | Iterable[str] = option(
        "amber14-all.xml",
        "str or iterable of str",
        """Force-field files of OpenMM (``"amber14-all.xml"``, ``"amber19-all.xml"``,
        ``"charmm36.xml"``; the ending may be left out) or your own.""",
        brief="Force-field file of OpenMM or your own; may be repeated.",
    )
    solvent: str = option(
        "vacuum",
        '"vacuum", "obc2" or "gbn2"',
        """Solvent model. obc2 is OpenMM's native GBSAOBCForce (Onufriev, Bashford and Case, 2004);
        gbn2 is OpenMM's ``implicit/gbn2.xml``. Both are several times slower than vacuum on a
        CPU.""",
        choices=SOLVENTS,
    )
    cutoff: float = option(
        1.0, "nm", "Cutoff of nonbonded forces, without periodicity.", brief="Nonbonded cutoff, nm."
    )
    restraint: float = option(
        1000.0,
        "kJ/mol/nm^2",
        "Force constant k of the restraint 0.5 k d^2 on N, CA, C and O.",
        brief="Force constant of the restraint on N, CA, C and O, kJ/mol/nm^2.",
    )
    iterations: int = option(
        100,
        "int",
        """L-BFGS iterations with all atoms free. They follow half as many with a
        strongly restrained backbone.""",
        brief="L-BFGS iterations with all atoms free.",
    )
    tolerance: float = option(
        10.0,
        "kJ/mol/nm",
        "Minimisation stops at this root mean square force.",
        brief="Root mean square force at which minimisation stops, kJ/mol/nm.",
    )
    anneal: float = option(
        0.0,
        "ps",
        """Length of Langevin dynamics (friction 1/ps, steps of 1 fs) after the minimisation; a
        second minimisation follows. 0: none.""",
        brief="Length of Langevin dynamics after minimisation, ps; 0: none.",
    )
    temperature: float = option(
        300.0, "K", "Temperature of the dynamics.", brief="Temperature of the dynamics, K."
    )
    seed: int = option(
        0,
        "int",
        "Random seed of the dynamics: frame i depends on (seed, i) alone.",
        brief="Random seed of the dynamics.",
    )
    repair: bool = option(
        True,
        "bool",
        "Minimise frames that stay invalid once more, from other coordinates.",
        brief="Minimise frames that stay invalid once more, from other coordinates [default: yes].",
    )
    cis_allowed: Iterable[int] = option(
        (),
        "iterable of int",
        "Rows of residues other than proline whose preceding peptide bond may be cis.",
    )
    d_residues: Iterable[int] | None = option(
        None,
        "iterable of int, optional",
        """Rows of D amino acids, which stay D; all other residues are turned to L where they are
        D. Default: residues with the name of a D amino acid (DAL), and those that are D in every
        one of the first 100 frames; a warning names them. (): none, as in `generate_ensemble`.""",
    )
    disulfides: Iterable[tuple[int, int]] | None = option(
        None,
        "iterable of (int, int), optional",
        "Bonded cysteines, for the report. Default: the S-S bonds of the topology.",
    )
    platform: str = option(
        "CPU",
        "str",
        """OpenMM platform: ``"CPU"``, ``"CUDA"``, ``"OpenCL"``, ``"Reference"``.""",
        brief="OpenMM platform: CPU, CUDA, OpenCL, Reference.",
    )

    def __post_init__(self) -> None:
        files = [self.forcefield] if isinstance(self.forcefield, str) else list(self.forcefield)
        if not files or not all(isinstance(name, (str, os.PathLike)) for name in files):
            raise SLMError(f"forcefield is {self.forcefield!r}; name XML files of OpenMM")
        names = [str(name) if str(name).endswith(".xml") else f"{name}.xml" for name in files]
        set_checked(self, "forcefield", names)
        if self.solvent not in SOLVENTS:
            raise SLMError(f"solvent is {self.solvent!r}, expected one of {', '.join(SOLVENTS)}")
        for name in _QUANTITIES:
            set_checked(self, name, _number(name, getattr(self, name)))
        for name, least in (("iterations", 1), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
                raise SLMError(f"{name} is {value!r}; give an integer from {least}")
            set_checked(self, name, int(value))
        for name in ("cis_allowed", "d_residues"):
            if getattr(self, name) is not None:
                set_checked(self, name, _rows(name, getattr(self, name)))
        if self.disulfides is not None:
            set_checked(self, "disulfides", [[int(i), int(j)] for i, j in self.disulfides])


def checked_relax(relax: object, all_atoms: bool) -> bool | dict:
    """The setting `relax` of a run, as written to ``run.json``: False, or all settings.

    Raises
    ------
    SLMError
        It is neither bool nor dict, has a foreign or wrong setting, or frames lack atoms.
    """
    if relax is False:
        return False
    if relax is not True and not isinstance(relax, dict):
        raise SLMError(
            f"relax is {relax!r}; give True, False, or a dict of settings of openmm_slm.relax such "
            "as {'solvent': 'obc2'}"
        )
    chosen = {} if relax is True else relax
    foreign = sorted(chosen.keys() - {field.name for field in fields(RelaxationSettings)})
    if foreign:
        raise SLMError(
            f"relax has {foreign[0]!r}, which is not a setting of openmm_slm.relax; remove it"
        )
    if not all_atoms:
        raise SLMError("relax needs all atoms; leave relax out, or keep sidechains and hydrogens")
    return asdict(RelaxationSettings(**chosen))


def _rows(name: str, value: Iterable[int]) -> list[int]:
    rows = list(value)
    if not all(isinstance(row, Integral) and row >= 0 for row in rows):
        raise SLMError(f"{name} is {rows!r}; give rows of residues, counted from 0")
    return [int(row) for row in rows]


def _number(name: str, value: object) -> float:
    """Value of a quantity in OpenMM's units; 0 is allowed if it switches the setting off."""
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

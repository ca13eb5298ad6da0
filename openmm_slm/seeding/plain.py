"""Convert CHARMM Lennard-Jones terms to the standard form of AMBER, GROMACS and NonbondedForce.

OpenMM's CHARMM36 stores them in a CustomNonbondedForce (a table over pairs of atom types, for
NBFIX) and a CustomBondForce (1-4 pairs). Here they become sigma and epsilon per atom type, sigma
and epsilon per type for 1-4 pairs, and a list of the NBFIX pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SLMError, require

if TYPE_CHECKING:
    import openmm
    from openmm import app

_EQUAL = 1e-6  # relative


@dataclass(frozen=True, eq=False)
class LennardJones:
    """Lennard-Jones parameters of T atom types, in nm and kJ/mol.

    Attributes
    ----------
    types : ndarray, int [N]
        Type of each atom.
    sigma, epsilon, sigma14, epsilon14 : ndarray [T]
        Pairs use the Lorentz-Berthelot rules.
    fixes : dict of (int, int) to (float, float)
        sigma and epsilon of pairs of types that do not follow these rules (NBFIX), lower type
        first.
    """

    types: np.ndarray
    sigma: np.ndarray
    epsilon: np.ndarray
    sigma14: np.ndarray
    epsilon14: np.ndarray
    fixes: dict[tuple[int, int], tuple[float, float]]


def plain_system(
    topology: app.Topology, system: openmm.System
) -> tuple[openmm.System, LennardJones | None]:
    """Move all Lennard-Jones terms of a System into its NonbondedForce, except `fixes`.

    Atoms have the same type if their names, their residue names and the atom names of their
    residues agree.

    Returns
    -------
    system : openmm.System
        A copy, or `system` itself if there is nothing to move.
    lj : LennardJones or None
        None if there is nothing to move.

    Raises
    ------
    SLMError
        The System has a custom force of another kind.
    """
    mm = require("openmm")
    table = [f for f in system.getForces() if isinstance(f, mm.CustomNonbondedForce)]
    near = [f for f in system.getForces() if isinstance(f, mm.CustomBondForce)]
    if not table and not near:
        return system, None
    if [f.getName() for f in table + near] != ["LennardJones", "LennardJones14"]:
        names = ", ".join(f.getName() for f in table + near)
        raise SLMError(f"forces {names} cannot be exported; use formats=('openmm',)")
    lj = _lennard_jones(table[0], near[0], _kinds(topology))
    plain = mm.XmlSerializer.clone(system)
    (nonbonded,) = (f for f in plain.getForces() if isinstance(f, mm.NonbondedForce))
    nonbonded.setUseDispersionCorrection(table[0].getUseLongRangeCorrection())
    nonbonded.setUseSwitchingFunction(table[0].getUseSwitchingFunction())
    nonbonded.setSwitchingDistance(table[0].getSwitchingDistance())
    for i, kind in enumerate(lj.types):
        charge = nonbonded.getParticleParameters(i)[0]
        nonbonded.setParticleParameters(i, charge, lj.sigma[kind], lj.epsilon[kind])
    pairs = {}
    for k in range(near[0].getNumBonds()):
        i, j, (sigma, epsilon) = near[0].getBondParameters(k)
        pairs[frozenset((i, j))] = sigma, epsilon
    for k in range(nonbonded.getNumExceptions()):
        i, j, charge, sigma, _ = nonbonded.getExceptionParameters(k)
        found = pairs.get(frozenset((i, j)), (sigma, 0.0))
        nonbonded.setExceptionParameters(k, i, j, charge, *found)
    for number in reversed(range(plain.getNumForces())):
        if isinstance(plain.getForce(number), (mm.CustomNonbondedForce, mm.CustomBondForce)):
            plain.removeForce(number)
    _split_urey_bradley(topology, plain)
    return plain, lj


def fast_system(topology: app.Topology, system: openmm.System) -> openmm.System:
    """Equivalent System with OpenMM's native NonbondedForce, many times faster on a CPU.

    A CustomNonbondedForce adds the difference for the pairs of types in `LennardJones.fixes`; it
    acts between the atoms of these types only.
    """
    mm = require("openmm")
    fast, lj = plain_system(topology, system)
    if lj is None or not lj.fixes:
        return fast
    (table,) = (f for f in system.getForces() if isinstance(f, mm.CustomNonbondedForce))
    size = len(lj.sigma)
    change = np.zeros((2, size, size))  # added to the coefficients of 1 / r^12 and -1 / r^6
    for (i, j), (sigma, epsilon) in lj.fixes.items():
        rule = (lj.sigma[i] + lj.sigma[j]) / 2, np.sqrt(lj.epsilon[i] * lj.epsilon[j])
        for k, power in enumerate((12, 6)):
            terms = 4 * epsilon * sigma**power - 4 * rule[1] * rule[0] ** power
            change[k, i, j] = change[k, j, i] = terms
    force = mm.CustomNonbondedForce("twelve(type1, type2)/r^12 - six(type1, type2)/r^6")
    force.setName("NBFIX")
    force.addPerParticleParameter("type")
    for name, values in zip(("twelve", "six"), change, strict=True):
        force.addTabulatedFunction(name, mm.Discrete2DFunction(size, size, values.ravel()))
    for kind in lj.types.tolist():
        force.addParticle([kind])
    for k in range(table.getNumExclusions()):
        force.addExclusion(*table.getExclusionParticles(k))
    for i, j in lj.fixes:
        groups = (np.flatnonzero(lj.types == kind).tolist() for kind in (i, j))
        force.addInteractionGroup(*groups)
    force.setNonbondedMethod(table.getNonbondedMethod())
    force.setCutoffDistance(table.getCutoffDistance())
    force.setUseSwitchingFunction(table.getUseSwitchingFunction())
    force.setSwitchingDistance(table.getSwitchingDistance())
    force.setUseLongRangeCorrection(table.getUseLongRangeCorrection())
    fast.addForce(force)
    return fast


def _split_urey_bradley(topology: app.Topology, system: openmm.System) -> None:
    """Move Urey-Bradley terms from the bonds to a second HarmonicBondForce at the end.

    ParmEd recognises them only there. They are the harmonic terms between atoms without a bond.
    """
    mm = require("openmm")
    bonded = {frozenset((a.index, b.index)) for a, b in topology.bonds()}
    (force,) = (f for f in system.getForces() if isinstance(f, mm.HarmonicBondForce))
    springs = [force.getBondParameters(k) for k in range(force.getNumBonds())]
    bonds, others = mm.HarmonicBondForce(), mm.HarmonicBondForce()
    for spring in springs:
        (bonds if frozenset(spring[:2]) in bonded else others).addBond(*spring)
    forces = [system.getForce(k) for k in range(system.getNumForces())]
    system.removeForce(next(k for k, f in enumerate(forces) if isinstance(f, type(force))))
    kept = [mm.XmlSerializer.clone(f) for f in system.getForces()]
    for number in reversed(range(system.getNumForces())):
        system.removeForce(number)
    for new in (bonds, *kept, others):
        system.addForce(new)


def _kinds(topology: app.Topology) -> np.ndarray:
    """Number [N] per atom, unique for residue name, atom names of the residue, and atom name."""
    numbers: dict[tuple, int] = {}
    kinds = []
    for residue in topology.residues():
        names = tuple(atom.name for atom in residue.atoms())
        for name in names:
            kinds.append(numbers.setdefault((residue.name, names, name), len(numbers)))
    return np.array(kinds)


def _lennard_jones(
    table: openmm.CustomNonbondedForce, near: openmm.CustomBondForce, kinds: np.ndarray
) -> LennardJones:
    merged = [int(table.getParticleParameters(i)[0]) for i in range(table.getNumParticles())]
    merged = np.array(merged)
    size, _, twelve = table.getTabulatedFunction(0).getFunctionParameters()
    six = table.getTabulatedFunction(1).getFunctionParameters()[2]
    sigma, epsilon = _of_coefficients(*(np.reshape(x, (size, size)) for x in (twelve, six)))
    # OpenMM merges types that differ only in 1-4 parameters. They are separated again here,
    # because all atoms of one kind have one type.
    _, first, kinds = np.unique(
        np.stack([merged, kinds], 1), axis=0, return_index=True, return_inverse=True
    )
    kinds = kinds.reshape(-1)
    own = merged[first]
    near14 = _kinds14(kinds, near, sigma[own, own], epsilon[own, own])
    _, first, types = np.unique(
        np.stack([own, *np.round(near14, 7)], 1), axis=0, return_index=True, return_inverse=True
    )
    types, own = types.reshape(-1)[kinds], own[first]
    own_sigma, own_epsilon = sigma[own, own], epsilon[own, own]
    fixes = {}
    for i, j in zip(*np.triu_indices(len(own), 1), strict=True):
        found = sigma[own[i], own[j]], epsilon[own[i], own[j]]
        rule = (own_sigma[i] + own_sigma[j]) / 2, np.sqrt(own_epsilon[i] * own_epsilon[j])
        if not np.allclose(found, rule, _EQUAL, 0):
            fixes[int(i), int(j)] = float(found[0]), float(found[1])
    return LennardJones(types, own_sigma, own_epsilon, *(x[first] for x in near14), fixes)


def _of_coefficients(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """sigma and epsilon of a / r^12 - b / r^6; 0.1 nm and 0 if the term is zero."""
    there = (a > 0) & (b > 0)
    a, b = np.where(there, a, 1e-6), np.where(there, b, 1.0)
    return np.where(there, (a / b) ** (1 / 6), 0.1), np.where(there, b**2 / (4 * a), 0.0)


def _kinds14(
    kinds: np.ndarray, near: openmm.CustomBondForce, sigma: np.ndarray, epsilon: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """sigma and epsilon [K] of the kinds in 1-4 pairs, fitted to the parameters of all pairs.

    Values that the pairs do not determine are those of normal pairs, `sigma` and `epsilon`.
    """
    rows = np.zeros((near.getNumBonds(), len(sigma)))
    pairs = np.zeros((near.getNumBonds(), 2))
    for k in range(near.getNumBonds()):
        i, j, pairs[k] = near.getBondParameters(k)
        rows[k, kinds[i]] += 0.5
        rows[k, kinds[j]] += 0.5
    if not (pairs[:, 1] > 0).all():
        raise SLMError(
            "1-4 pairs without a Lennard-Jones term cannot be exported; use formats=('openmm',)"
        )
    far = np.stack([sigma, np.log(np.where(epsilon > 0, epsilon, 1.0))], 1)
    wanted = np.stack([pairs[:, 0], np.log(pairs[:, 1])], 1)
    found = far + np.linalg.lstsq(rows, wanted - rows @ far, rcond=None)[0]
    if not np.allclose(rows @ found, wanted, rtol=_EQUAL, atol=_EQUAL):
        raise SLMError(
            "1-4 pairs that do not follow from atom types cannot be exported; use "
            "formats=('openmm',)"
        )
    return found[:, 0], np.where(epsilon > 0, np.exp(found[:, 1]), 0.0)

"""System of a protein: the user's force field, and restraints for a robust minimisation.

Forces are in four groups. `BONDED` and `NONBONDED` are the force field; their sum is the reported
energy. `GUARDS` are restraints that are not part of it:

- springs on N, CA, C and O (parameter ``spring``, kJ/mol/nm^2);
- omega towards 180 degrees (before proline, towards 0 or 180, whichever is nearer):
  k (1 - cos(omega - 180))^2, flat at the minimum: 0.3 kJ/mol at 10 degrees, 27 at 30;
- CA, and CB of isoleucine and threonine, towards the chirality of L residues: the same function of
  the torsions (CA, N, C, CB) and (CA, N, C, HA) about 34 and -32 degrees. It is nearly zero for L
  residues and drives D residues back to L, which no force field does. Residues that are meant to
  be D have the mirror image at CA, and nothing at CB.

`REPULSION` is 0.5 k (d - r)^2 for atoms more than three bonds apart and closer than d, which is
0.26 nm for two heavy atoms. It is slow on a CPU, so it is used only where it is needed: to separate
overlapping atoms, for which the force field diverges, in repairs, and if there are none, with
dynamics, and for several copies. Without it, a hydroxyl and a carboxylate may end below 0.25 nm in
vacuum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SLMError, require
from ..protein.keep_selection import is_metal, symbols
from .judging import FrameJudge
from .other_residues import OtherResidues, match_ions_by_name, refuse_solvent, with_ions
from .relaxation_settings import RelaxationSettings

if TYPE_CHECKING:
    import mdtraj
    import openmm

BONDED, NONBONDED, GUARDS, REPULSION = range(4)
# nm; allows H..O of 0.16 in H bonds, and atoms that bind metals from 0.18.
_RADII = {"heavy": 0.13, "H": 0.085, "polar H": 0.03, "metal": 0.05}
_REPULSION = 1e5  # kJ/mol/nm^2
_PLANAR, _HANDED = 1500.0, 1000.0  # kJ/mol
_AT_L, _AT_H = np.radians(34.0), np.radians(-32.0)


@dataclass(frozen=True, eq=False)
class ProteinSystem:
    """A System with backbone springs, and the bond lengths of its force field.

    Attributes
    ----------
    system : openmm.System
    springs : openmm.CustomExternalForce
        One particle for each of `backbone`, with the parameters x0, y0, z0.
    backbone : ndarray, int [B]
        Atoms N, CA, C and O.
    bonds : ndarray, int [M, 2]
        Atoms of each bond.
    lengths : ndarray [M]
        Bond lengths of the force field (nm).
    """

    system: openmm.System
    springs: openmm.CustomExternalForce
    backbone: np.ndarray
    bonds: np.ndarray
    lengths: np.ndarray


def create_system(topology: mdtraj.Topology, settings: RelaxationSettings) -> openmm.System:
    """Create the System with its solvent, without constraints and guards.

    Heavy atoms of ligands, ions and waters do not move (`openmm_slm.relaxation.other_residues`).

    Raises
    ------
    SLMError
        A force field file cannot be read, or a residue is not in the force field.
    """
    app = require("openmm.app")
    others = OtherResidues(topology)
    refuse_solvent(others)
    files = with_ions(list(settings.forcefield), topology)
    files += ["implicit/gbn2.xml"] if settings.solvent == "gbn2" else []
    try:
        field = app.ForceField(*files)
    except Exception as error:  # OpenMM passes on any error of its XML reader
        raise SLMError(
            f"force field {', '.join(settings.forcefield)}: {first_line(error)} Give files that "
            "OpenMM has, such as amber14-all.xml, or paths of your own files"
        ) from None
    topology = others.forcefield_topology.to_openmm()
    try:
        if others.residues:
            match_ions_by_name(field)
            others.add_templates(field, topology)
        system = field.createSystem(
            topology, nonbondedMethod=app.CutoffNonPeriodic,
            nonbondedCutoff=settings.cutoff * require("openmm.unit").nanometer,
            constraints=None, rigidWater=False, removeCMMotion=False,
        )  # fmt: skip
    except (ValueError, KeyError) as error:
        raise SLMError(
            f"{', '.join(settings.forcefield)} does not fit: {first_line(error)} If atoms are "
            "missing, run openmm_slm.complete first. Remove residues that are not protein "
            "(Trajectory.atom_slice), or add a force field file that has them"
        ) from None
    if others.residues:
        others.hold(system)
    if settings.solvent == "obc2":
        system.addForce(native_obc2(topology, system, settings.cutoff))
    return system


def first_line(error: Exception) -> str:
    """First line of the text of an exception, ending with a full stop."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text if text.endswith(".") else text + "."


def native_obc2(
    topology: openmm.app.Topology, system: openmm.System, cutoff: float | None
) -> openmm.GBSAOBCForce:
    """OBC2 solvent of ``implicit/obc2.xml`` as a GBSAOBCForce, several times faster on a CPU.

    `cutoff` in nm; None for all pairs.
    """
    mm = require("openmm")
    parameters = require("openmm.app.internal.customgbforces").GBSAOBC2Force
    (nonbonded,) = (f for f in system.getForces() if isinstance(f, mm.NonbondedForce))
    nonbonded.setReactionFieldDielectric(1.0)
    force = mm.GBSAOBCForce()
    force.setSolventDielectric(78.5)  # as in the file; the default of the class is 78.3
    for i, (radius, scale) in enumerate(parameters.getStandardParameters(topology)):
        force.addParticle(nonbonded.getParticleParameters(i)[0], radius, scale)
    if cutoff is None:
        force.setNonbondedMethod(mm.GBSAOBCForce.NoCutoff)
    else:
        force.setNonbondedMethod(mm.GBSAOBCForce.CutoffNonPeriodic)
        force.setCutoffDistance(cutoff)
    return force


def guarded_system(
    topology: mdtraj.Topology, judge: FrameJudge, settings: RelaxationSettings
) -> ProteinSystem:
    """Create the System with guards and with its forces assigned to groups."""
    mm = require("openmm")
    system = create_system(topology, settings)
    for force in system.getForces():
        long_range = not isinstance(force, (mm.HarmonicBondForce, mm.HarmonicAngleForce)) and any(
            name in type(force).__name__ for name in ("Nonbonded", "GB")
        )
        force.setForceGroup(NONBONDED if long_range else BONDED)
    bonds, lengths = _bond_lengths(mm, topology, system)
    backbone = judge.index[:, :4][judge.index[:, :4] >= 0]
    springs = _springs(mm, backbone)
    added = {
        springs: GUARDS,
        _torsions(mm, topology, judge): GUARDS,
        _repulsion(mm, topology, system): REPULSION,
    }
    for force, group in added.items():
        force.setForceGroup(group)
        system.addForce(force)
    return ProteinSystem(system, springs, backbone, bonds, lengths)


def _bond_lengths(mm, topology, system) -> tuple[np.ndarray, np.ndarray]:
    """Bonds of the topology [M, 2] that are in the force field, and their lengths in it [M]."""
    real = {frozenset((a.index, b.index)) for a, b in topology.bonds}
    found = {}
    for force in system.getForces():  # also has CHARMM's Urey-Bradley terms, which are no bonds
        if isinstance(force, mm.HarmonicBondForce):
            for k in range(force.getNumBonds()):
                i, j, length, _ = force.getBondParameters(k)
                if frozenset((i, j)) in real:
                    found[i, j] = length._value
    pairs = np.array(list(found), int).reshape(-1, 2)
    return pairs, np.array(list(found.values()))


def _springs(mm, backbone: np.ndarray) -> openmm.CustomExternalForce:
    force = mm.CustomExternalForce("0.5*spring*((x-x0)^2+(y-y0)^2+(z-z0)^2)")
    force.addGlobalParameter("spring", 0.0)
    for name in ("x0", "y0", "z0"):
        force.addPerParticleParameter(name)
    for atom in backbone.tolist():
        force.addParticle(atom, [0.0, 0.0, 0.0])
    return force


def _torsions(mm, topology, judge: FrameJudge) -> openmm.PeriodicTorsionForce:
    """Guards of omega and chirality as periodic torsions, a native force on all platforms."""
    force = mm.PeriodicTorsionForce()

    def towards(atoms, angle: float, k: float) -> None:
        """Add k (1 - cos(torsion - angle))^2, up to a constant."""
        force.addTorsion(*atoms, 1, angle + np.pi, 2 * k)
        force.addTorsion(*atoms, 2, 2 * angle, k / 2)

    def planar(atoms, k: float) -> None:
        """Add k sin(torsion)^4, up to a constant."""
        force.addTorsion(*atoms, 2, np.pi, k / 2)
        force.addTorsion(*atoms, 4, 0.0, k / 8)

    bonded = hydrogens(topology)
    for row, letter in enumerate(judge.protein.sequence):
        here = judge.index[row].tolist()
        n, ca, c, _, cb = here[:5]
        if row and not judge.protein.chain_break[row]:
            before = judge.index[row - 1].tolist()
            omega = before[1], before[2], n, ca
            if letter == "P" or judge.protein.cis_allowed[row]:
                planar(omega, _PLANAR)
            else:
                towards(omega, np.pi, _PLANAR)
        centres = [(ca, n, c, cb)] if letter != "X" and cb >= 0 else []
        hand = -1 if judge.protein.d_residues[row] else 1
        if letter in "IT" and min(here[4:7]) >= 0 and hand > 0:
            centres.append((cb, ca, here[5], here[6]))
        for centre, a, b, last in centres:
            towards((centre, a, b, last), hand * _AT_L, _HANDED)
            for hydrogen in bonded.get(centre, ()):
                towards((centre, a, b, hydrogen), hand * _AT_H, _HANDED)
    return force


def hydrogens(topology: mdtraj.Topology) -> dict[int, list[int]]:
    """Hydrogens bonded to each atom."""
    found: dict[int, list[int]] = {}
    for pair in topology.bonds:
        for one, other in (pair, pair[::-1]):
            if one.element.symbol == "H":
                found.setdefault(other.index, []).append(one.index)
    return found


def _repulsion(mm, topology, system) -> openmm.CustomNonbondedForce:
    force = mm.CustomNonbondedForce(f"0.5*{_REPULSION}*max(0, reach*(r1+r2)-r)^2")
    force.addPerParticleParameter("r")
    force.addGlobalParameter("reach", 1.0)
    kind = [
        "H" if symbol == "H" else "metal" if is_metal(symbol) else "heavy"
        for symbol in symbols(topology)
    ]
    for parent, around in hydrogens(topology).items():
        if topology.atom(parent).element.symbol in ("N", "O", "S"):
            for i in around:
                kind[i] = "polar H"
    for name in kind:
        force.addParticle([_RADII[name]])
    (nonbonded,) = (f for f in system.getForces() if isinstance(f, mm.NonbondedForce))
    for k in range(nonbonded.getNumExceptions()):  # OpenMM needs equal exclusions in all forces
        force.addExclusion(*nonbonded.getExceptionParameters(k)[:2])
    force.setNonbondedMethod(mm.CustomNonbondedForce.CutoffNonPeriodic)
    force.setCutoffDistance(0.3)
    return force

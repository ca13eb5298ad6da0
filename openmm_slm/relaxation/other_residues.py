"""Residues besides protein in the System of a relaxation: their heavy atoms do not move.

Ions, waters and nucleic acids have the parameters of the force field; ions and water those of the
file that goes with it. Residues without parameters (most ligands) get uncharged Lennard-Jones atoms
of the size of their elements, so that the protein keeps off them.
"""

from __future__ import annotations

import io
import logging
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SLMError, require
from ..protein.chains import without_bonds
from ..protein.keep_selection import is_metal, listed, other_residues, residue_name

if TYPE_CHECKING:
    import mdtraj
    import openmm
    from mdtraj.core.topology import Residue
    from openmm import app

logger = logging.getLogger(__name__)

#: File with the ions and water of each force field of OpenMM, by the beginning of its name.
_IONS = {
    "amber14": "amber14/tip3p.xml",
    "amber19": "amber19/opc3.xml",
    "charmm36_2024": "charmm36_2024/water.xml",
    "charmm36": "charmm36/water.xml",
}
_WATERS = frozenset(("tip3p", "tip3pfb", "spce", "opc", "opc3", "tip4pew", "tip4pfb", "water"))
# sigma (nm) and epsilon (kJ/mol) of atoms without parameters: carbon, nitrogen, oxygen, sulfur and
# phosphorus as in AMBER, others of about that size.
_SIZES = {"H": (0.22, 0.07), "C": (0.34, 0.36), "N": (0.325, 0.71), "O": (0.3, 0.8),
          "S": (0.356, 1.05), "P": (0.374, 0.84), "F": (0.31, 0.26)}  # fmt: skip
_LARGE, _METAL = (0.36, 0.8), (0.2, 0.05)
_BOND = 1e5  # kJ/mol/nm^2, of bonds between protein and ligand
_COVALENT = {"C": 0.076, "N": 0.071, "O": 0.066, "S": 0.105, "P": 0.107}  # nm; Cordero et al., 2008
_OTHER_COVALENT = 0.12
_WATERS_PER_RESIDUE = 10  # of the protein; crystals have about one


def with_ions(files: list[str], topology: mdtraj.Topology) -> list[str]:
    """Force-field files, with that of the ions and water if the topology has any and no file has.

    The user's own files stay as they are.
    """
    needed = any(r.n_atoms == 1 or r.is_water for r in other_residues(topology))
    own = next((name for start, name in _IONS.items() if files[0].startswith(start)), None)
    if not needed or own is None or any(Path(name).stem in _WATERS for name in files):
        return files
    return [*files, own]


def match_ions_by_name(field: app.ForceField) -> None:
    """Ions of one element and several charges (Fe) get the template of their name."""
    templates = field._templates

    def by_name(_, residue: app.topology.Residue, *__: object):
        atoms = list(residue.atoms())
        found = templates.get(residue.name) if len(atoms) == 1 else None
        same = found is not None and [a.element for a in found.atoms] == [atoms[0].element]
        return found if same else None

    field.registerTemplateMatcher(by_name)


class OtherResidues:
    """The residues besides protein of one topology.

    Parameters
    ----------
    topology : mdtraj.Topology

    Attributes
    ----------
    forcefield_topology : mdtraj.Topology
        Without the bonds between protein and other residues, which no force field has.
    bonds : list of (Atom, Atom)
        These bonds.
    """

    def __init__(self, topology: mdtraj.Topology) -> None:
        self.topology, self.residues = topology, other_residues(topology)
        inside = {residue.index for residue in self.residues}
        self.bonds = [
            (a, b) for a, b in topology.bonds
            if (a.residue.index in inside) != (b.residue.index in inside)
        ]  # fmt: skip
        cut = {frozenset((a.index, b.index)) for a, b in self.bonds}
        self.forcefield_topology = without_bonds(topology, cut) if cut else topology

    def unknown(self, field: app.ForceField, topology: app.Topology) -> list[Residue]:
        """Residues that the force field does not have."""
        inside = {residue.index for residue in self.residues}
        found = {r.index for r in field.getUnmatchedResidues(topology)} if inside else ()
        return [residue for residue in self.residues if residue.index in found]

    def add_templates(self, field: app.ForceField, topology: app.Topology) -> None:
        """Give residues that the force field does not have a template of uncharged atoms."""
        unknown = self.unknown(field, topology)
        rows = {residue.index for residue in unknown}
        self._loose = [r for r in self.residues if r.index in rows or r.n_atoms == 1]
        if not unknown:
            return
        logger.info("no parameters for %s: held as uncharged atoms", listed(unknown))
        templates, residues = field.generateTemplatesForUnmatchedResidues(topology)
        elements = sorted({a.element.symbol for r in unknown for a in r.atoms})
        field.loadFile(io.StringIO(_atom_types(field, elements)))
        for template, residue in zip(templates, residues, strict=True):
            if residue.index in rows:
                template.name = f"held {residue.name} {residue.index}"
                for atom in template.atoms:
                    atom.type = f"held-{atom.element.symbol}"
                field.registerResidueTemplate(template)

    def hold(self, system: openmm.System) -> None:
        """Fix the heavy atoms; atoms of one residue without parameters do not interact."""
        mm = require("openmm")
        loose_rows = {residue.index for residue in self._loose}
        for residue in self.residues:
            held = residue.index in loose_rows
            for atom in residue.atoms:
                if held or atom.element is None or atom.element.symbol != "H":
                    system.setParticleMass(atom.index, 0.0)
        loose = [atom.index for residue in self._loose for atom in residue.atoms]
        pairs = [*combinations(loose, 2), *self._near_bonds()]
        forces = {type(force).__name__: force for force in system.getForces()}
        known = {frozenset(forces["NonbondedForce"].getExceptionParameters(k)[:2])
                 for k in range(forces["NonbondedForce"].getNumExceptions())}  # fmt: skip
        for i, j in pairs:
            forces["NonbondedForce"].addException(i, j, 0.0, 0.1, 0.0, True)
            if "CustomNonbondedForce" in forces and frozenset((i, j)) not in known:
                forces["CustomNonbondedForce"].addExclusion(i, j)
        if self.bonds:
            springs = mm.HarmonicBondForce()
            for a, b in self.bonds:
                springs.addBond(a.index, b.index, _bond_length(a, b), _BOND)
            system.addForce(springs)

    def _near_bonds(self) -> list[tuple[int, int]]:
        """Pairs of atoms one or two bonds apart, across bonds between protein and others."""
        beside: dict[int, set[int]] = {}
        for one, other in self.topology.bonds:
            beside.setdefault(one.index, set()).add(other.index)
            beside.setdefault(other.index, set()).add(one.index)
        pairs = set()
        for one, other in self.bonds:
            i, j = one.index, other.index
            pairs |= {
                (i, j),
                *((i, k) for k in beside[j] - {i}),
                *((j, k) for k in beside[i] - {j}),
            }
        return sorted({(min(pair), max(pair)) for pair in pairs})


def refuse_solvent(others: OtherResidues) -> None:
    """Raise SLMError for a box of water: relaxation has no periodic boundaries."""
    waters = [residue for residue in others.residues if residue.is_water]
    if len(waters) > _WATERS_PER_RESIDUE * (others.topology.n_residues - len(others.residues)):
        raise SLMError(
            f"{len(waters)} waters ({listed(waters[:1])}, ...) are a box of solvent; remove them "
            "(Trajectory.atom_slice), all but those of a crystal"
        )


def refuse_unknown(others: OtherResidues, field: app.ForceField, topology: app.Topology) -> None:
    """Raise SLMError for residues besides protein that no simulation can be made of.

    These are residues that the force field does not have, and those bonded to the protein.
    """
    remedy = (
        "name a force-field file of OpenMM that has them (parameters, --parameters; the package "
        "openmmforcefields makes such files for GAFF and OpenFF), or leave them out (keep='none', "
        "--keep none)"
    )
    if unknown := others.unknown(field, topology):
        raise SLMError(f"no parameters for {listed(unknown)}: {remedy}")
    if others.bonds:
        one, other = others.bonds[0]
        raise SLMError(
            f"{residue_name(one.residue)} is bonded to {residue_name(other.residue)}, for which "
            f"force fields have no parameters: {remedy}"
        )


def _bond_length(a: mdtraj.core.topology.Atom, b: mdtraj.core.topology.Atom) -> float:
    return sum(_COVALENT.get(atom.element.symbol, _OTHER_COVALENT) for atom in (a, b))


def _atom_types(field: app.ForceField, elements: list[str]) -> str:
    """XML of the atom types held-C, ... in the nonbonded forces of a force field."""
    types, atoms, sizes = [], [], []
    for symbol in elements:
        sigma, epsilon = _METAL if is_metal(symbol) else _SIZES.get(symbol, _LARGE)
        name = f"held-{symbol}"
        types.append(f'<Type name="{name}" class="{name}" element="{symbol}" mass="12"/>')
        size = f'sigma="{sigma}" epsilon="{epsilon}"'
        sizes.append(f'<Atom type="{name}" {size}/>')
        atoms.append(f'<Atom type="{name}" charge="0" {size}/>')
    forces = []
    for generator in field.getGenerators():
        kind = type(generator).__name__
        if kind == "NonbondedGenerator":
            scales = f'coulomb14scale="{generator.coulomb14scale}" '
            scales += f'lj14scale="{generator.lj14scale}"'
            forces.append(f"<NonbondedForce {scales}>{''.join(atoms)}</NonbondedForce>")
        elif kind == "LennardJonesGenerator":
            scale = f'lj14scale="{generator.lj14scale}"'
            forces.append(f"<LennardJonesForce {scale}>{''.join(sizes)}</LennardJonesForce>")
    return f"<ForceField><AtomTypes>{''.join(types)}</AtomTypes>{''.join(forces)}</ForceField>"

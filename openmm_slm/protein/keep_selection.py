"""The groups of a structure that are not protein, and those of them that a run keeps.

A group is a molecule, an ion, or several of them that touch each other (Mg and ATP, haem and CO):
they move as one rigid body. Waters are groups of their own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StructureError, require
from .atoms import CAPS, residue_letter
from .chains import protein_chains

if TYPE_CHECKING:
    import mdtraj
    from mdtraj.core.topology import Atom, Residue

logger = logging.getLogger(__name__)

AUTO, ALL, NONE = "auto", "all", "none"
NEAR = 0.6  # nm; "auto" keeps groups with a heavy atom this close to one of the protein
TOUCHING = 0.4  # nm; groups with closer heavy atoms are one rigid body
COORDINATION = 0.28  # nm; longest bond of a metal to N, O or S
_VIRTUAL = "VS"  # MDTraj's symbol of a virtual site
_NAMED = 10  # residues that a message names

#: Elements that bind N, O and S at bonding distance (symbols in capitals).
METALS = frozenset((
    "LI", "BE", "NA", "MG", "AL", "K", "CA", "SC", "TI", "V", "CR", "MN", "FE", "CO", "NI",
    "CU", "ZN", "GA", "RB", "SR", "Y", "ZR", "NB", "MO", "TC", "RU", "RH", "PD", "AG", "CD",
    "IN", "SN", "CS", "BA", "LA", "CE", "PR", "ND", "SM", "EU", "GD", "TB", "DY", "HO", "ER",
    "TM", "YB", "LU", "HF", "TA", "W", "RE", "OS", "IR", "PT", "AU", "HG", "TL", "PB", "BI",
    "TH", "U",
))  # fmt: skip
#: Monovalent ions of buffers, under the names of the wwPDB, AMBER and CHARMM.
BULK_IONS = frozenset((
    "LI", "NA", "K", "RB", "CS", "F", "CL", "BR", "I", "IOD", "SOD", "CLA", "POT", "NA+", "CL-",
    "K+",
))  # fmt: skip
#: Buffers, precipitants and cryoprotectants: in crystals by way of their preparation.
ADDITIVES = frozenset((
    "GOL", "EDO", "PEG", "PG4", "PGE", "1PE", "P6G", "2PE", "PG0", "SO4", "PO4", "ACT", "ACY",
    "FMT", "MPD", "MRD", "DMS", "TRS", "CIT", "FLC", "IPA", "EOH", "MOH", "MES", "EPE", "NO3",
    "SCN", "AZI", "BME", "DTT", "TLA", "NH4", "CAC", "UNX", "UNL",
))  # fmt: skip
#: Lipids of force fields of CHARMM and AMBER, whose files name parts of lipids.
LIPIDS = frozenset((
    "POPC", "POPE", "POPG", "POPS", "DPPC", "DOPC", "DOPE", "DLPC", "DLPE", "DMPC",
    "DSPC", "CHL1", "CHL", "PA", "PC", "PE", "OL", "POP", "DPP",
))  # fmt: skip
_MEMBRANE = 10  # lipids that are a membrane, not ligands


def residue_name(residue: Residue) -> str:
    """Name, number and chain of a residue, for messages."""
    name = (getattr(residue.chain, "chain_id", None) or "").strip()
    return f"{residue.name} {residue.resSeq}" + f" of chain {name}" * bool(name)


def listed(residues: list[Residue]) -> str:
    """Names of residues for a message, the first few."""
    more = ", ..." if len(residues) > _NAMED else ""
    return ", ".join(map(residue_name, residues[:_NAMED])) + more


def is_metal(symbol: str) -> bool:
    """Whether an element, by its symbol, is a metal."""
    return symbol.upper() in METALS


def symbols(topology: mdtraj.Topology) -> list[str]:
    """Element symbol of each atom; empty for virtual sites and atoms of unknown element."""
    return [symbol_of(atom) for atom in topology.atoms]


def symbol_of(atom: Atom) -> str:
    """Element symbol of an atom; empty for virtual sites and atoms of unknown element."""
    symbol = "" if atom.element is None else atom.element.symbol.strip()
    return "" if symbol == _VIRTUAL else symbol


def is_bulk(residue: Residue) -> bool:
    """Whether a residue is water or a monovalent ion of the buffer."""
    return residue.is_water or (residue.n_atoms == 1 and residue.name.upper() in BULK_IONS)


def membrane(residues: Iterable[Residue]) -> list[Residue]:
    """The lipids among residues if they are a membrane: ten or more."""
    lipids = [residue for residue in residues if residue.name.upper() in LIPIDS]
    return lipids if len(lipids) >= _MEMBRANE else []


def other_residues(topology: mdtraj.Topology) -> list[Residue]:
    """Residues that are neither protein nor caps of its chains."""
    protein = {residue for _, chain in protein_chains(topology) for residue in chain}
    return [r for r in topology.residues if r not in protein and r.name not in CAPS and r.n_atoms]


def check_keep(keep: object) -> str:
    """The setting as text; StructureError if it is no text."""
    if not isinstance(keep, str) or not keep.strip():
        raise StructureError(
            f"keep is {keep!r}; give 'auto', 'all', 'none', or an MDTraj selection such as "
            "'resname ZN'"
        )
    return keep.strip()


def kept_residues(
    trajectory: mdtraj.Trajectory, keep: str, source: object, warn: bool = True
) -> list[Residue]:
    """Residues other than protein that `keep` names, in the order of the topology.

    Parameters
    ----------
    trajectory : mdtraj.Trajectory
        Frames with all atoms; the first decides what is near the protein.
    keep : str
        "auto": ligands, cofactors, nucleic acids and metals within 0.6 nm of the protein, without
        waters, monovalent ions, usual additives of crystals, membranes, and residues with atoms of
        unknown element. "all", "none", or an MDTraj selection.
    source : object
        Name for messages.
    warn : bool
        Warn of ligands that are left out because they are far from the protein.

    Raises
    ------
    StructureError
        The selection is invalid, matches nothing, or matches protein.
    """
    others = other_residues(trajectory.topology)
    if keep == NONE:
        return []
    if keep == ALL:
        return others
    if keep != AUTO:
        return _selected(trajectory.topology, keep, others, source)
    wanted = [
        r for r in others
        if not is_bulk(r) and r.name.upper() not in ADDITIVES and residue_letter(r.name) == "X"
    ]  # fmt: skip
    lipids = {r.index for r in membrane(wanted)}
    vague = [r for r in wanted if any(not symbol_of(a) for a in r.atoms)]
    if vague:
        logger.warning(
            "%s: left out, because of atoms of unknown element: %s", source, listed(vague)
        )
    unfit = lipids | {r.index for r in vague}
    wanted = [r for r in wanted if r.index not in unfit]
    if not wanted:
        return []
    near = _near_protein(trajectory)
    bodies = molecules(trajectory, wanted)
    close = {body for r, body in zip(wanted, bodies, strict=True)
             if near[[a.index for a in r.atoms]].any()}  # fmt: skip
    kept = [r for r, body in zip(wanted, bodies, strict=True) if body in close]
    far = [r for r in wanted if r not in kept and r.n_atoms > 1]  # ions are often free
    if far and warn:
        logger.warning(
            "%s: left out, because they are more than %g nm from the protein: %s; keep='all' keeps "
            "them", source, NEAR, listed(far),
        )  # fmt: skip
    away = [r for r in others if r not in kept and r not in far and not r.is_water]
    if away:
        logger.info("%s: left out: %s; keep='all' keeps them", source, listed(away))
    return kept


def _selected(
    topology: mdtraj.Topology, keep: str, others: list[Residue], source: object
) -> list[Residue]:
    there = listed(others) if others else "protein alone"
    try:
        atoms = topology.select(keep)
    except Exception as error:  # MDTraj passes on any exception of its parser
        raise StructureError(
            f"keep is {keep!r}, which is neither 'auto', 'all', 'none' nor an MDTraj selection "
            f"({str(error).splitlines()[0]})"
        ) from None
    chosen = {topology.atom(int(atom)).residue for atom in atoms}
    if not chosen:
        raise StructureError(
            f"keep is {keep!r}, which matches no atom of {source}; besides protein it has: {there}"
        )
    if protein := sorted(chosen - set(others), key=lambda r: r.index):
        raise StructureError(
            f"keep is {keep!r}, which matches {listed(protein)}; protein is always there: select "
            f"what else to keep, for example with 'and not protein' (there is: {there})"
        )
    return [residue for residue in others if residue in chosen]


def _near_protein(trajectory: mdtraj.Trajectory) -> np.ndarray:
    """Atoms [A] that are within `NEAR` of a heavy atom of the protein in the first frame."""
    topology, x = trajectory.topology, trajectory.xyz[0]
    light = np.array([symbol == "H" for symbol in symbols(topology)], bool)
    of_protein = np.zeros(len(light), bool)
    for _, chain in protein_chains(topology):
        of_protein[[atom.index for residue in chain for atom in residue.atoms]] = True
    usable = np.isfinite(x).all(-1) & ~light
    tree = require("scipy.spatial").cKDTree(x[of_protein & usable])
    near = np.zeros(len(light), bool)
    near[usable] = tree.query(x[usable], distance_upper_bound=NEAR)[0] < NEAR
    return near


def molecules(
    trajectory: mdtraj.Trajectory, residues: list[Residue], reach: float = 0.0
) -> list[int]:
    """Number of the molecule of each residue: bonded residues have the same.

    With `reach` (nm) also those with heavy atoms that close in the first frame, except waters.
    """
    place = {residue.index: k for k, residue in enumerate(residues)}
    pairs = [
        (place[a.residue.index], place[b.residue.index])
        for a, b in trajectory.topology.bonds
        if a.residue.index in place and b.residue.index in place
    ]
    dry = [k for k, residue in enumerate(residues) if not residue.is_water]
    owner = [(k, a.index) for k in dry for a in residues[k].atoms
             if a.element is None or a.element.symbol != "H"]  # fmt: skip
    if reach and owner:
        rows, atoms = np.array(owner).T
        x = trajectory.xyz[0, atoms]
        tree = require("scipy.spatial").cKDTree(np.where(np.isfinite(x), x, 1e6))
        pairs += [(rows[i], rows[j]) for i, j in tree.query_pairs(reach)]
    a, b = np.array(pairs, int).reshape(-1, 2).T
    size = len(residues)
    graph = require("scipy.sparse").coo_array((np.ones(len(a)), (a, b)), (size, size))
    found = require("scipy.sparse.csgraph").connected_components(graph, directed=False)
    return found[1].tolist()

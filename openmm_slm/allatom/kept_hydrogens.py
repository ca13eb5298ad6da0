"""Hydrogens of kept waters and nucleic acids, which crystals lack and force fields need."""

from __future__ import annotations

import random
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import require
from ..protein.keep_selection import symbols
from ..protein.kept_groups import KeptGroups

if TYPE_CHECKING:
    import openmm.app

_one_at_a_time = threading.Lock()
_NUCLEOTIDES = frozenset(["A", "C", "G", "U", "DA", "DC", "DG", "DT"])


def with_hydrogens(kept: KeptGroups | None) -> KeptGroups | None:
    """The groups with the hydrogens of waters and nucleotides that have none; others as they are.

    The hydrogens are OpenMM's (`Modeller.addHydrogens`).
    """
    if kept is None:
        return None
    bare = {
        residue.index for residue in kept.topology.residues
        if (residue.is_water or residue.name in _NUCLEOTIDES)
        and not any(atom.element.symbol == "H" for atom in residue.atoms)
    }  # fmt: skip
    if not bare:
        return kept
    topology = kept.topology.to_openmm()
    made = [_add_hydrogens(topology, x) for x in kept.xyz]
    full = require("mdtraj").Topology.from_openmm(made[0][0])
    for old, new in zip(kept.topology.residues, full.residues, strict=True):
        new.insertion_code = getattr(old, "insertion_code", "")
        new.resSeq, new.segment_id = old.resSeq, old.segment_id
    for old, new in zip(kept.topology.chains, full.chains, strict=True):
        new.chain_id = old.chain_id
    group = np.empty(full.n_atoms, int)
    atoms = iter(range(kept.topology.n_atoms))
    number = {}
    for atom, symbol in zip(full.atoms, symbols(full), strict=True):
        if symbol != "H" or atom.residue.index not in bare:
            number[next(atoms)] = atom.index
    old_residues = [atom.residue.index for atom in kept.topology.atoms]
    body = dict(zip(old_residues, kept.group.tolist(), strict=True))
    group[:] = [body[atom.residue.index] for atom in full.atoms]
    xyz = np.stack([x for _, x in made]).astype(np.float32)
    old_atoms = [number[k] for k in range(kept.topology.n_atoms)]
    xyz[:, old_atoms] = kept.xyz  # bit for bit
    bonds = tuple((row, name, number[k]) for row, name, k in kept.bonds)
    return replace(kept, topology=full, xyz=xyz, group=group, bonds=bonds)


def _add_hydrogens(
    topology: openmm.app.Topology, positions: np.ndarray
) -> tuple[openmm.app.Topology, np.ndarray]:
    """Topology with hydrogens, and positions float32 [A, 3] (nm); bitwise reproducible."""
    mm, app, unit = (require(f"openmm{part}") for part in ("", ".app", ".unit"))
    places = [mm.Vec3(*xyz) for xyz in positions.astype(float).tolist()]
    modeller = app.Modeller(topology, places * unit.nanometer)
    # Modeller draws initial hydrogen positions from Python's global generator. Other threads, such
    # as those of Dask, draw from it too, so Modeller gets a generator of its own.
    module = require("openmm.app.modeller")
    with _one_at_a_time:
        module.random = random.Random(0)
        try:
            modeller.addHydrogens(platform=mm.Platform.getPlatformByName("Reference"))
        finally:
            module.random = random
    found = np.array(modeller.positions.value_in_unit(unit.nanometer), np.float32)
    return modeller.topology, found

"""What stays beside the protein by default, and what is said about the rest."""

from __future__ import annotations

import logging

import mdtraj as md
import numpy as np
import pytest
from builders import helix

from openmm_slm.protein.keep_selection import kept_residues
from openmm_slm.protein.trajectory import backbone_trajectory


@pytest.fixture
def crowd() -> md.Trajectory:
    """A helix; a ligand of two atoms and a zinc ion, each beside it and 3 nm away."""
    protein = backbone_trajectory(helix(12)[None].astype(np.float32), "A" * 12)
    topology, beside = protein.topology.copy(), protein.xyz[0].max(0) + 0.15
    xyz = [protein.xyz[0]]
    for number, (name, atoms, away) in enumerate(
        [("LIG", "CO", 0.0), ("ZN", ["Zn"], 0.1), ("FAR", "CO", 3.0), ("ZN", ["Zn"], 3.1)]
    ):
        residue = topology.add_residue(name, topology.add_chain(), 100 + number)
        for k, symbol in enumerate(atoms):
            element = md.element.get_by_symbol(symbol)
            topology.add_atom(name if symbol == "Zn" else f"{symbol}1", element, residue)
            xyz.append(beside + [[away + 0.12 * k, 0, 0]])
    return md.Trajectory(np.concatenate(xyz)[None], topology)


@pytest.mark.parametrize("warn", [True, False])
def test_a_ligand_far_from_the_protein_is_named_and_a_free_ion_is_not(crowd, caplog, warn):
    with caplog.at_level(logging.WARNING):
        found = kept_residues(crowd, "auto", "x.pdb", warn)
    assert [r.resSeq for r in found] == [100, 101]
    assert ("FAR" in caplog.text and "0.6 nm" in caplog.text) is warn
    assert "ZN" not in caplog.text and len(caplog.records) == warn
    assert [r.resSeq for r in kept_residues(crowd, "all", "x.pdb")] == [100, 101, 102, 103]

"""Cyclic chains: every verb refuses them, with the distance of their ends."""

from __future__ import annotations

import mdtraj as md
import numpy as np
import pytest
from frames_to_relax import ALONE
from odd_peptides import all_atoms, write_renamed

import openmm_slm
from openmm_slm.errors import StructureError

QUIET = {"progress": False, "device": "cpu"}
SEED = {"n": 1, "solvent": "implicit", "equilibration": 0, "report": "md"}


def seeded(source):
    return next(openmm_slm.seed_simulations(source, **SEED))


@pytest.fixture(scope="module")
def ring() -> md.Trajectory:
    """Eight residues whose last C is 0.134 nm from the first N; all atoms but OXT."""
    open_chain = all_atoms("GAKAGDAV")
    kept = [a.index for a in open_chain.topology.atoms if a.name not in ("OXT", "H2", "H3")]
    out = open_chain.atom_slice(kept)
    at = {(a.residue.index, a.name): a.index for a in out.topology.atoms}
    turn = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    for residue, angle in zip(out.topology.residues, turn, strict=True):
        rows = [atom.index for atom in residue.atoms]
        place = 2 * np.array([np.cos(angle), np.sin(angle), 0])
        out.xyz[0, rows] += place - out.xyz[0, at[residue.index, "CA"]]
    gap = out.xyz[0, at[7, "C"]] - out.xyz[0, at[0, "N"]]
    rows = [atom.index for atom in out.topology.residue(7).atoms]
    out.xyz[0, rows] += [0.134, 0, 0] - gap
    return out


def test_every_verb_refuses_a_ring_with_the_distance(tmp_path, ring):
    path = write_renamed(tmp_path / "ring.pdb", ring, {})
    verbs = (
        lambda x: openmm_slm.complete(x, **QUIET),
        lambda x: openmm_slm.relax(x, **ALONE),
        seeded,
        lambda x: openmm_slm.write_seeds(x, tmp_path / "seeds", **SEED, progress=False),
        lambda x: openmm_slm.generate_ensemble("GAKAGDAV", n=1, template=x, **QUIET),
    )
    for verb in verbs:
        for source in (path, ring):
            with pytest.raises(StructureError, match=r"VAL 8 .* GLY 1 .* 0\.134 nm.*cyclic"):
                verb(source)


def test_ends_that_meet_in_one_frame_are_no_ring(ring):
    apart = all_atoms("GAKAGDAV")
    both = md.join([ring, apart.atom_slice(apart.topology.select("not name OXT H2 H3"))])
    assert openmm_slm.complete(both, **QUIET).n_frames == 2

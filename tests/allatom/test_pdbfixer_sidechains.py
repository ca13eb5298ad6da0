"""Side chains by PDBFixer: what it gets wrong is put right, and what was given stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import openmm
import pytest
from all_atoms import template_residue, villin

from openmm_slm.allatom.pdbfixer_sidechains import build_with_pdbfixer
from openmm_slm.errors import StructureError
from openmm_slm.protein.atoms import ATOM14, sidechain_bonds
from openmm_slm.protein.geometry import chirality

BRANCHED = {
    "I": ("CA", "CB", "CG1", "CG2"), "T": ("CA", "CB", "OG1", "CG2"),
    "V": ("CA", "CB", "CG1", "CG2"), "L": ("CB", "CG", "CD1", "CD2"),
}  # fmt: skip


def bare(structure, frames=1):
    atom14 = np.repeat(structure.atom14[:1], frames, 0)
    atom14[:, :, 4:] = np.nan
    return replace(structure, atom14=atom14)


@pytest.fixture(scope="module")
def built():
    """A native backbone twice, a frame that failed in between."""
    s = bare(villin(), 3)
    s.atom14[1] = np.nan
    return s, *build_with_pdbfixer(s, progress=False)


def test_all_heavy_atoms_are_there_and_the_backbone_stays(built):
    s, atom14, repaired = built
    native = villin().atom14[0]
    for frame in (0, 2):
        np.testing.assert_array_equal(np.isfinite(atom14[frame]), np.isfinite(native))
        np.testing.assert_array_equal(atom14[frame, :, :4], s.atom14[frame, :, :4])
    assert atom14.dtype == np.float32 and repaired.shape == atom14.shape[:2]


def test_a_failed_frame_stays_failed_and_equal_frames_get_equal_bits(built):
    _, atom14, repaired = built
    assert np.isnan(atom14[1]).all() and not repaired[1].any()
    np.testing.assert_array_equal(atom14[0], atom14[2])


def test_every_centre_has_its_handedness(built):
    """PDBFixer alone inverts CB of Ile and Thr and exchanges the methyls of Val and Leu at will."""
    s, atom14, repaired = built
    assert repaired[0].any()
    sidechain = np.array([letter != "G" for letter in s.sequence])
    x = atom14[0, sidechain]
    assert (chirality(x[:, 0], x[:, 1], x[:, 2], x[:, 4]) > 0.001).all()
    for row, letter in enumerate(s.sequence):
        if letter in BRANCHED:
            names = BRANCHED[letter]
            here = chirality(*(atom14[0, row, ATOM14[letter].index(name)] for name in names))
            template = template_residue(letter)
            assert np.sign(here) == np.sign(chirality(*(template[name] for name in names)))
            assert abs(here) > 0.001  # not flat either


def test_bonds_and_angles_are_a_residues_own(built):
    s, atom14, _ = built
    for row, letter in enumerate(s.sequence):
        template = template_residue(letter)
        own = np.stack([template[name] for name in ATOM14[letter]])
        here = atom14[0, row, : len(own)]
        bonds = [(ATOM14[letter].index(a), ATOM14[letter].index(b))
                 for a, b in sidechain_bonds(letter)]  # fmt: skip
        around = {
            i: {j for pair in bonds for j in pair if i in pair} - {i} for i in range(len(own))
        }
        for i, j in bonds:
            lengths = (np.linalg.norm(x[i] - x[j]) for x in (own, here))
            assert abs(np.subtract(*lengths)) < 0.015
        for near in around.values():  # 1-3 distances stand for angles
            for i in near:
                for j in near:
                    across = [np.linalg.norm(x[i] - x[j]) for x in (own, here)]
                    # CD-N-CA and the like of proline give way to the ring: N is not among them.
                    assert abs(across[0] - across[1]) < 0.05


def test_given_atoms_stay_and_the_rest_of_their_side_chain_fits():
    native = villin()
    s = replace(native, atom14=native.atom14.copy())
    cut = {"K": 7, "M": 6, "L": 6, "F": 8, "T": 6}  # from this slot on
    for row, letter in enumerate(s.sequence):
        s.atom14[0, row, cut.get(letter, 14) :] = np.nan
    atom14, repaired = build_with_pdbfixer(s)
    given = np.isfinite(s.atom14)
    np.testing.assert_array_equal(atom14[given], s.atom14[given])
    assert np.isfinite(atom14).sum() == np.isfinite(native.atom14).sum()
    assert not repaired[0, [letter not in cut for letter in s.sequence]].any()


def test_side_chains_can_be_made_anew_and_frames_chosen():
    s = villin()
    two = replace(s, atom14=np.concatenate([s.atom14 + 1, s.atom14]))
    anew = np.arange(s.n_residues) == 5
    atom14, _ = build_with_pdbfixer(two, frames=[1], rebuild=anew)
    assert atom14.shape == s.atom14.shape
    np.testing.assert_array_equal(atom14[0, ~anew], s.atom14[0, ~anew])
    assert np.abs(atom14[0, 5, 4:8] - s.atom14[0, 5, 4:8]).max() > 1e-3


def test_the_number_of_threads_is_as_it_was(built):
    platform = openmm.Platform.getPlatformByName("CPU")
    before = platform.getPropertyDefaultValue("Threads")
    platform.setPropertyDefaultValue("Threads", "3")  # not the 1 that it is set to meanwhile
    try:
        build_with_pdbfixer(bare(villin()))
        assert platform.getPropertyDefaultValue("Threads") == "3"
    finally:
        platform.setPropertyDefaultValue("Threads", before)


def test_unknown_residues_are_named():
    s = bare(villin())
    with pytest.raises(StructureError, match="residue X 2 of chain A.*not one of the 20"):
        build_with_pdbfixer(replace(s, sequence=s.sequence[:1] + "X" + s.sequence[2:]))

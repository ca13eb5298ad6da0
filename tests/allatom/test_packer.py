"""The packer: invariant, keeps what is there, parts what overlaps, learns what can be learnt."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from all_atoms import template_chain, villin
from builders import helix, regular
from scipy.spatial.transform import Rotation
from toys import TINY_PACKER, write_side_chains

from openmm_slm.allatom.packer import SideChainPacker
from openmm_slm.allatom.packer_network import ABSENT, KNOWN, PackerConfig, PackerNetwork
from openmm_slm.allatom.rotamers import chi_difference, chi_torsions, has_atom
from openmm_slm.allatom.sulfurs import bond_sulfurs
from openmm_slm.models.registry import load_packer
from openmm_slm.protein.geometry import cb_position
from openmm_slm.protein.protein import Protein
from openmm_slm.protein.sequence import AMINO_ACIDS, encode_sequence
from openmm_slm.training.train_packer import side_chain_entries, train_packer
from openmm_slm.validity.criteria import CLASH
from openmm_slm.validity.report import all_atom_report


@pytest.fixture(scope="module")
def packer() -> SideChainPacker:
    return load_packer("default", "cpu")


@pytest.fixture(scope="module")
def protein():
    structure = villin()
    return structure, encode_sequence(structure.sequence), structure.residue_index


def test_native_backbones_get_native_like_side_chains(packer, protein):
    structure, aa, index = protein
    made = packer.pack(structure.backbone, aa, index)
    assert np.isfinite(made[0]).all(-1)[has_atom[aa]].all()
    off = chi_difference(chi_torsions(made[0], aa), chi_torsions(structure.atom14[0], aa), aa)
    first = off[np.isfinite(off[:, 0]), 0]
    assert (first < np.radians(40)).mean() > 0.6  # of villin's 27, most of them on its surface
    report = all_atom_report(made, Protein(structure.sequence, structure.chain_break))
    assert report["d_residues"][0] == report["wrong_cb"][0] == report["pierced_rings"][0] == 0


def test_a_turned_backbone_gets_the_same_side_chains_turned(packer, protein):
    structure, aa, index = protein
    turn = Rotation.random(random_state=2).as_matrix().astype(np.float32)
    one = packer.pack(structure.backbone, aa, index) @ turn.T + np.float32(3)
    other = packer.pack(structure.backbone @ turn.T + np.float32(3), aa, index)
    off = chi_difference(chi_torsions(one, aa), chi_torsions(other, aa), aa)
    assert (np.nan_to_num(off) < 0.02).mean() > 0.97  # a rotamer on the brink may fall either way


def test_a_frame_depends_on_no_other_frame(packer, protein):
    structure, aa, index = protein
    noise = np.random.default_rng(0).normal(0, 0.005, (40, 1, 1, 3))
    noise = noise + np.random.default_rng(1).normal(0, 0.002, (40, len(aa), 4, 3))
    frames = (structure.backbone + noise).astype(np.float32)
    together = packer.pack(frames, aa, index)
    alone = np.concatenate([packer.pack(frames[i : i + 1], aa, index) for i in (0, 17, 39)])
    np.testing.assert_allclose(together[[0, 17, 39]], alone, atol=1e-5)
    frames[17, 3, 1] = np.nan
    broken = packer.pack(frames, aa, index)
    assert np.isnan(broken[17]).all()
    rest = np.arange(40) != 17
    np.testing.assert_allclose(broken[rest], together[rest], atol=1e-5)


def test_side_chains_that_are_there_stay_to_the_last_bit(packer, protein):
    structure, aa, index = protein
    given = structure.atom14.copy()
    given[:, 10:20, 4:] = np.nan  # ten without a side chain
    given[:, 20:, 7:] = np.nan  # fifteen without its end
    made = packer.pack(given, aa, index)
    kept = np.isfinite(given)
    np.testing.assert_array_equal(made[kept], given[kept])
    assert np.isfinite(made[0]).all(-1)[has_atom[aa]].all()


def test_known_neighbours_are_read(packer, protein):
    """Chi next to known side chains differ from chi next to nothing."""
    structure, aa, index = protein
    network = packer.network
    batch = [torch.as_tensor(x).unsqueeze(0) for x in (structure.backbone[0], aa)]
    mask = torch.ones(1, len(aa), dtype=torch.bool)
    with torch.inference_mode():
        encoded = network.encode(*batch, mask, torch.as_tensor(index).unsqueeze(0))
        atoms = torch.nan_to_num(torch.as_tensor(structure.atom14[0]))
        chi = torch.as_tensor(np.nan_to_num(chi_torsions(structure.atom14[0], aa))).float()
        state = torch.full((len(aa),), ABSENT)
        state[5:] = KNOWN
        alone = network.environments(encoded, None, torch.full_like(state, ABSENT))
        beside = network.environments(encoded, (chi, atoms), state)
        absent = network.environments(encoded, (chi, atoms), torch.full_like(state, ABSENT))
    assert (alone[:5] - beside[:5]).abs().max() > 0.01
    torch.testing.assert_close(alone, absent)  # what is not told is not seen


def test_overlapping_side_chains_are_parted(packer):
    """Helices side by side, as near as they pack: fewer overlaps, the backbone where it was."""
    sequence = "ALKELFEQLLKRA"
    one = helix(len(sequence))
    axis = one[:, 1].mean(0)
    away = np.linalg.svd(one[:, 1] - axis)[2][1]
    two = (one - axis) @ Rotation.from_rotvec(np.pi * away).as_matrix().T + axis + 0.95 * away
    frame = np.concatenate([one, two])[None].astype(np.float32)
    aa = encode_sequence(sequence * 2)
    index = np.concatenate([np.arange(13), np.arange(13) + 78])
    start = np.arange(26) % 13 == 0
    pair = Protein(sequence * 2, start)
    packed = [packer.pack(frame, aa, index, clash_passes=n) for n in (0, 8)]
    counts = [all_atom_report(atoms, pair)["clashes"][0] for atoms in packed]
    assert counts[0] >= 5 and counts[1] <= 1


def test_drawn_side_chains_differ_and_repeat(packer, protein):
    structure, aa, index = protein
    backbone = np.repeat(structure.backbone, 12, 0)
    one = packer.pack(backbone, aa, index, seed=1)
    np.testing.assert_array_equal(one, packer.pack(backbone, aa, index, seed=1))
    chi = chi_torsions(one, aa)[:, :, 0]
    spread = np.abs(np.angle(np.exp(1j * (chi - chi[:1])))).max(0)
    assert (np.nan_to_num(spread) > 1).sum() >= 3  # some residues have more than one rotamer
    assert (np.nan_to_num(spread) < 0.2).sum() >= 3  # and some do not


@pytest.mark.parametrize("psi", [20.0, 60.0, 100.0])
def test_sulfurs_of_disulfides_keep_away_from_the_oxygen_of_their_residue(packer, psi):
    """Two cysteines with CB 0.39 nm apart, in any orientation."""
    residue = regular(3, -70.0, psi)[1]
    cb = cb_position(residue)
    turns, ways = (Rotation.random(100, random_state=seed).as_matrix() for seed in (0, 1))
    others = (residue - cb) @ turns + cb + 0.39 * ways[:, :1]
    atoms = torch.full((len(turns), 2, 14, 3), torch.nan)
    atoms[:, 0, :4] = torch.as_tensor(residue)
    atoms[:, 1, :4] = torch.as_tensor(others)
    made = bond_sulfurs(atoms, ((0, 1),), packer.network.builder, limit=0.5)
    assert (made[:, :, 5] - made[:, :, 3]).norm(dim=-1).min() > CLASH
    bond = (made[:, 0, 5] - made[:, 1, 5]).norm(dim=-1)
    assert ((bond > 0.18) & (bond < 0.25)).double().mean() > 0.7


def test_disulfides_are_closed_where_cysteines_face_each_other(packer):
    sequence = "GACAGGACAG"
    chain = template_chain(sequence)
    cb = chain[2, 4]
    out = (cb - chain[2, 1]) / np.linalg.norm(cb - chain[2, 1])
    side = np.cross(out, chain[2, 2] - chain[2, 1])
    turn = Rotation.from_rotvec(np.pi * side / np.linalg.norm(side)).as_matrix()
    # The same strand, turned over, with the CB of its cysteine 0.38 nm from the first one's.
    for twist in np.linspace(0, 2 * np.pi, 12):
        around = Rotation.from_rotvec(twist * out).as_matrix()
        other = (chain[:, :4] - cb) @ (around @ turn).T + cb + 0.38 * out
        frame = np.concatenate([chain[:, :4], other])[None].astype(np.float32)
        aa = encode_sequence(sequence * 2)
        index = np.concatenate([np.arange(10), np.arange(10) + 74])
        made = packer.pack(frame, aa, index, disulfides=((2, 12),))
        length = np.linalg.norm(made[0, 2, 5] - made[0, 12, 5])
        angle = [
            np.degrees(
                np.arccos(np.dot(a - b, c - b) / np.linalg.norm(a - b) / np.linalg.norm(c - b))
            )
            for a, b, c in ((made[0, 2, 4], made[0, 2, 5], made[0, 12, 5]),)
        ]
        assert 0.19 < length < 0.24
        assert 85 < angle[0] < 125
    far = packer.pack(frame, aa, index, disulfides=((2, 17),))  # 17 is far from 2
    assert np.linalg.norm(far[0, 2, 5] - far[0, 17, 5]) > 0.3


def test_targets_are_distributions_and_equal_ends_are_equal():
    network = PackerNetwork(PackerConfig(width=16, edge_width=8, layers=1))
    aa = torch.tensor([AMINO_ACIDS.index(x) for x in "FL"])
    chi = torch.tensor([[0.4] * 4] * 2)
    target = network.target(chi, aa)
    torch.testing.assert_close(target.sum(-1), torch.ones(2, 4))
    turned = network.target(chi + np.pi, aa)
    torch.testing.assert_close(target[0, 1], turned[0, 1])  # chi2 of Phe
    assert (target[1, 1] - turned[1, 1]).abs().max() > 0.2  # chi2 of Leu


def test_training_learns_the_rotamer_that_each_residue_has(tmp_path):
    """Chains whose chi are functions of the amino acid: a few steps learn them; resume goes on."""
    data = write_side_chains(tmp_path / "shards")
    config = {**TINY_PACKER, "training": {**TINY_PACKER["training"], "steps": 120}}
    where = train_packer(config, data, tmp_path / "run", progress=False)
    entry = side_chain_entries(data, "val")[0]
    aa = encode_sequence(entry.sequence)
    network = SideChainPacker.load(where)
    made = network.pack(entry.backbone[None], aa, entry.residue_index, clash_passes=0)
    off = chi_difference(chi_torsions(made[0], aa), chi_torsions(entry.atoms, aa), aa)
    assert (off[np.isfinite(off)] < np.radians(20)).mean() > 0.9
    config["training"]["steps"] = 124
    train_packer(config, data, tmp_path / "run", resume=True, progress=False)
    rows = (tmp_path / "run" / "log.csv").read_text().splitlines()
    assert rows[-1].startswith("124,")


def test_backbones_alone_are_refused_for_training(tmp_path):
    from toys import write_shards

    with pytest.raises(ValueError, match="no entries of split 'train', shards"):
        train_packer(TINY_PACKER, write_shards(tmp_path / "bare"), tmp_path / "run")

"""Close atoms against brute force and MDTraj; spears through rings found, beside them not."""

from __future__ import annotations

import mdtraj as md
import numpy as np
import pytest
from all_atoms import template_chain, villin, villin_path
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra
from scipy.spatial.transform import Rotation

from openmm_slm.errors import StructureError
from openmm_slm.protein.atoms import ATOM14
from openmm_slm.protein.bonding import SLOTS, bonding
from openmm_slm.protein.sequence import AMINO_ACIDS
from openmm_slm.validity.close_contacts import close_contacts
from openmm_slm.validity.rings import pierced_rings

ONE_CHAIN = np.arange(len(AMINO_ACIDS)) == 0


def flat(atom14: np.ndarray) -> np.ndarray:
    """[15 * L, 3] of [L, 14, 3], without OXT."""
    x = np.pad(atom14.astype(np.float64), ((0, 0), (0, 1), (0, 0)), constant_values=np.nan)
    return x.reshape(-1, 3)


def number(sequence: str, residue: int, atom: str) -> int:
    return SLOTS * residue + ATOM14[sequence[residue]].index(atom)


def bonds_apart(bonds: np.ndarray, atoms: int) -> np.ndarray:
    graph = csr_array((np.ones(len(bonds)), bonds.T), shape=(atoms, atoms))
    return dijkstra(graph, directed=False, unweighted=True, limit=3)


def brute_force(x: np.ndarray, apart: np.ndarray, cutoff: float) -> tuple[float, int]:
    """Closest pair over two bonds apart, and the pairs under `cutoff`, from all distances."""
    distance = np.linalg.norm(x[:, None] - x[None], axis=-1)
    far = distance[np.triu(apart > 2, 1) & np.isfinite(distance)]
    return far.min(initial=np.inf), int((far < cutoff).sum())


# -- bonds ------------------------------------------------------------------------------------


def test_bonds_are_those_mdtraj_finds_in_a_pdb_file():
    traj = md.load_pdb(villin_path())
    traj = traj.atom_slice(traj.topology.select("protein and element != H"))
    protein = villin()
    wanted = {
        frozenset((a.residue.index, a.name, b.residue.index, b.name)) for a, b in traj.top.bonds
    }
    names = [(*ATOM14[letter], *[""] * (14 - len(ATOM14[letter])), "OXT") for letter in
             protein.sequence]  # fmt: skip
    found = set()
    for a, b in bonding(protein.sequence, protein.chain_break).bonds.tolist():
        i, j = a // SLOTS, b // SLOTS
        found.add(frozenset((i, names[i][a % SLOTS], j, names[j][b % SLOTS])))
    last = protein.n_residues - 1
    has_no_oxt = {bond for bond in found if "OXT" in bond and last not in bond}
    assert found - has_no_oxt == wanted


def test_no_peptide_bond_over_a_chain_break():
    broken = np.array([True, False, True])
    peptides = [
        tuple(pair)
        for pair in bonding("AAA", broken).bonds.tolist()
        if pair[0] // 15 != pair[1] // 15
    ]
    assert peptides == [(number("AAA", 0, "C"), number("AAA", 1, "N"))]


def test_pairs_up_to_two_bonds_apart_are_excluded_and_no_others():
    sequence = AMINO_ACIDS + "CC"
    broken = np.isin(np.arange(len(sequence)), [0, 7])
    found = bonding(sequence, broken, [(1, 20)])
    atoms = SLOTS * len(sequence)
    apart = bonds_apart(found.bonds, atoms)
    i, j = np.nonzero(np.triu((apart == 1) | (apart == 2)))
    assert np.array_equal(found.excluded, i * atoms + j)
    (cb1, sg1), (cb2, sg2) = (
        [number(sequence, row, name) for name in ("CB", "SG")] for row in (1, 20)
    )
    assert {sg1 * atoms + sg2, cb1 * atoms + sg2} <= set(found.excluded.tolist())
    assert cb1 * atoms + cb2 not in found.excluded


def test_a_letter_without_atoms_is_refused():
    with pytest.raises(StructureError, match="'B' at 2"):
        bonding("AB", np.array([True, False]))


# -- close pairs ------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.floats(0.3, 3.0))
@settings(max_examples=30, deadline=None)
def test_close_pairs_are_those_of_brute_force(seed, size):
    """Random atoms, dense and sparse, some absent: k-d tree and all distances agree."""
    rng = np.random.default_rng(seed)
    found = bonding(AMINO_ACIDS, ONE_CHAIN, [])
    x = rng.uniform(0, size, (2, SLOTS * len(AMINO_ACIDS), 3))
    x[rng.random(x.shape[:2]) < 0.5] = np.nan
    apart = bonds_apart(found.bonds, x.shape[1])
    closest, count = close_contacts(x, found, 0.25)
    for frame in range(2):
        expected = brute_force(x[frame], apart, 0.25)
        assert closest[frame] == pytest.approx(expected[0], abs=1e-12)
        assert count[frame] == expected[1]


def test_more_atoms_than_a_block_holds():
    sequence = AMINO_ACIDS * 5
    broken = np.arange(len(sequence)) == 0
    found = bonding(sequence, broken)
    x = np.random.default_rng(3).uniform(0, 2, (1, SLOTS * len(sequence), 3))
    expected = brute_force(x[0], bonds_apart(found.bonds, x.shape[1]), 0.25)
    closest, count = close_contacts(x, found, 0.25)
    assert (closest[0], count[0]) == (pytest.approx(expected[0], abs=1e-12), expected[1])


def test_closest_pair_of_an_md_frame_is_mdtrajs():
    """Bonds, atoms and distances all from MDTraj's own reading of the file."""
    traj = md.load_pdb(villin_path())
    traj = traj.atom_slice(traj.topology.select("protein and element != H and name != OXT"))
    bonds = np.array([(a.index, b.index) for a, b in traj.top.bonds])
    pairs = np.argwhere(np.triu(bonds_apart(bonds, traj.n_atoms) > 2, 1))
    expected = md.compute_distances(traj, pairs, periodic=False)[0]
    protein = villin()
    found = bonding(protein.sequence, protein.chain_break)
    closest, count = close_contacts(flat(protein.atom14[0])[None], found, 0.3)
    assert closest[0] == pytest.approx(expected.min(), abs=1e-5)
    assert count[0] == (expected < 0.3).sum() > 0


def test_a_hand_placed_clash_has_its_distance():
    x = flat(template_chain())
    found = bonding(AMINO_ACIDS, ONE_CHAIN)
    before = close_contacts(x[None], found, 0.25)
    assert before[0][0] > 0.25 and before[1][0] == 0
    # The tip of Arg 14 is put 0.1 nm from O of Asp 2, which is far from it.
    tip, oxygen = number(AMINO_ACIDS, 14, "NH2"), number(AMINO_ACIDS, 2, "O")
    assert np.linalg.norm(x[tip] - x[oxygen]) > 2
    x[tip] = x[oxygen] + [0, 0.06, 0.08]
    closest, count = close_contacts(x[None], found, 0.25)
    near = np.linalg.norm(x - x[tip], axis=-1) < 0.25
    assert closest[0] == pytest.approx(0.1, abs=1e-9)
    assert count[0] == near.sum() - 1 >= 1


def test_disulfides_are_no_clash():
    x = np.full((2, 14, 3), np.nan)
    sg = ATOM14["C"].index("SG")
    x[:, sg] = [[0, 0, 0], [0.205, 0, 0]]
    broken = np.array([True, True])
    assert close_contacts(flat(x)[None], bonding("CC", broken), 0.25)[1][0] == 1
    closest, count = close_contacts(flat(x)[None], bonding("CC", broken, [(0, 1)]), 0.25)
    assert closest[0] == np.inf and count[0] == 0


@pytest.mark.parametrize("distance", [0.31, 1.7, 400.0])
def test_the_closest_pair_is_found_however_far_it_is(distance):
    x = np.full((1, 2 * SLOTS, 3), np.nan)
    x[0, [0, 1, 17]] = [[0, 0, 0], [-0.15, 0, 0], [distance, 0, 0]]  # N, CA; C of the next
    closest, count = close_contacts(x, bonding("AA", np.array([True, True])), 0.25)
    assert closest[0] == pytest.approx(distance) and count[0] == 0


def test_atoms_in_one_place_and_no_atoms():
    found = bonding("AA", np.array([True, False]))
    x = np.full((2, 2 * SLOTS, 3), np.nan)
    x[0, [*range(5), *range(15, 20)]] = 1.0
    closest, count = close_contacts(x, found, 0.25)
    present = np.flatnonzero(np.isfinite(x[0]).all(-1))
    apart = bonds_apart(found.bonds, 2 * SLOTS)[np.ix_(present, present)]
    assert closest.tolist() == [0, np.inf]
    assert count.tolist() == [np.triu(apart > 2, 1).sum(), 0]


# -- rings ------------------------------------------------------------------------------------

RINGS = [
    ("F", "CG CD1 CE1 CZ CE2 CD2"),
    ("Y", "CG CD1 CE1 CZ CE2 CD2"),
    ("W", "CG CD1 NE1 CE2 CD2"),
    ("W", "CD2 CE2 CZ2 CH2 CZ3 CE3"),
    ("H", "CG ND1 CE1 NE2 CD2"),
    ("P", "N CA CB CG CD"),
]


def spear(letter: str, ring: str, aside: float = 0.0, along: float = 0.0) -> np.ndarray:
    """A lysine whose CE-NZ stands upright in a ring of another residue; [2 * 15, 3].

    It stands `aside` (nm) from the centre towards the second atom of the ring, and `along` above.
    """
    x = template_chain(letter + "K").astype(np.float64)
    corners = x[0, [ATOM14[letter].index(name) for name in ring.split()]]
    centre = corners.mean(0)
    normal = np.linalg.svd(corners - centre)[2][2]
    out = corners[1] - centre
    out -= (out @ normal) * normal
    ce, nz = (ATOM14["K"].index(name) for name in ("CE", "NZ"))
    bond = x[1, nz] - x[1, ce]
    turn, _ = Rotation.align_vectors([normal], [bond])
    target = centre + aside * out / np.linalg.norm(out) + along * normal
    x[1] = turn.apply(x[1] - (x[1, ce] + x[1, nz]) / 2) + target
    return flat(x)


@pytest.mark.parametrize(("letter", "ring"), RINGS)
def test_a_spear_is_found_in_a_ring_and_not_beside_or_above_it(letter, ring):
    found = bonding(letter + "K", np.array([True, True]))
    frames = np.stack(
        [
            spear(letter, ring),
            spear(letter, ring, aside=0.06),
            spear(letter, ring, along=0.06),
            spear(letter, ring, aside=0.3),
            spear(letter, ring, along=0.3),
        ]
    )
    assert pierced_rings(frames, found).tolist() == [1, 1, 1, 0, 0]
    turned = frames @ Rotation.random(rng=7).as_matrix().T + 5
    assert pierced_rings(turned, found).tolist() == [1, 1, 1, 0, 0]


def test_a_ring_with_an_absent_atom_is_left_out_and_other_frames_stay():
    frames = np.stack([spear(*RINGS[0])] * 2)
    frames[0, ATOM14["F"].index("CZ")] = np.nan
    found = bonding("FK", np.array([True, True]))
    assert pierced_rings(frames, found).tolist() == [0, 1]


@pytest.mark.parametrize("structure", [template_chain(), villin().atom14[0]])
def test_sound_structures_have_no_pierced_ring(structure):
    sequence = AMINO_ACIDS if len(structure) == 20 else villin().sequence
    found = bonding(sequence, np.arange(len(sequence)) == 0)
    assert pierced_rings(flat(structure)[None], found).tolist() == [0]


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_random_spears_agree_with_the_plane_and_the_polygon(seed):
    """A planar ring and one long bond: another algorithm must give the same answer."""
    rng = np.random.default_rng(seed)
    x = np.full((2, 14, 3), np.nan)
    phenyl = template_chain("FK")[0]
    names = ATOM14["F"]
    ring = phenyl[[names.index(name) for name in RINGS[0][1].split()]].astype(np.float64)
    centre = ring.mean(0)
    axes = np.linalg.svd(ring - centre)[2]
    flat_ring = (ring - centre) @ axes.T
    flat_ring[:, 2] = 0
    x[0, [names.index(name) for name in RINGS[0][1].split()]] = flat_ring
    a, b = rng.normal(0, 0.15, (2, 3))
    x[1, [ATOM14["K"].index("CE"), ATOM14["K"].index("NZ")]] = a, b
    share = a[2] / (a[2] - b[2])
    point = (a + share * (b - a))[:2]
    corners = flat_ring[:, :2]
    edges = np.roll(corners, -1, 0) - corners
    sides = edges[:, 0] * (point - corners)[:, 1] - edges[:, 1] * (point - corners)[:, 0]
    expected = 0 <= share <= 1 and (np.all(sides > 0) or np.all(sides < 0))
    found = pierced_rings(flat(x)[None], bonding("FK", np.array([True, True])))
    assert found[0] == expected

"""Disordered residues: which they are, and ensembles with them."""

from __future__ import annotations

import logging
from dataclasses import replace

import mdtraj as md
import numpy as np
import pytest
from builders import regular

from openmm_slm.disorder.wished_size import radius_of_gyration
from openmm_slm.errors import SLMError
from openmm_slm.protein.structure import from_backbone
from openmm_slm.sampling.ensemble import EnsembleGenerator
from openmm_slm.sampling.request import make_request
from openmm_slm.sampling.template import Template
from openmm_slm.sampling.which_disordered import disordered_residues

FOLD = "SDEAWKRLLEQAAKLGVSPEELARR"  # a helix
TAIL = "GSEPTSKPEDGTPQSNEGKPSDAGQE"
UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
IDP = "MSDAAVDTSSEITTKDLKEKKEVVEEAENGRDAPANGNAENEENGEQEADNEVDEEEEEGGEEEEEEEEGDGEEEDG"


@pytest.fixture(scope="module")
def generator():
    return EnsembleGenerator.from_pretrained("default")


@pytest.fixture(scope="module")
def helix():
    """All heavy atoms of the helix, a Trajectory."""
    import openmm_slm

    backbone = regular(len(FOLD), -62, -43)[None]
    return openmm_slm.complete(from_backbone(backbone, FOLD), hydrogens=False, progress=False)


def ca(trajectory) -> np.ndarray:
    return trajectory.xyz[:, trajectory.topology.select("name CA")]


def sample(generator, sequence, n=4, **more):
    return generator.sample(sequence, n, seed=1, progress=False, **more)


def test_a_tail_moves_and_the_fold_is_held_with_its_side_chains(generator, helix):
    made = sample(generator, FOLD + TAIL, template=helix, disordered=range(25, 51))
    held = [
        atom.index
        for atom in helix.topology.atoms
        if atom.name in ("N", "CA", "C") or (atom.residue.index < 24 and atom.name != "OXT")
    ]  # the side chain beside the tail makes room for it
    same = [
        made.trajectory.topology.residue(atom.residue.index).atom(atom.name).index
        for atom in (helix.topology.atom(i) for i in held)
    ]
    assert np.abs(made.trajectory.xyz[:, same] - helix.xyz[:, held]).max() < 1e-5
    tails = ca(made.trajectory)[:, 25:]
    assert np.linalg.norm(tails - tails.mean(0), axis=-1).max() > 0.5
    assert made.report["valid"].all()
    assert np.allclose(made.report["rg_nm"], radius_of_gyration(ca(made.trajectory)), atol=0.05)


def test_a_frame_is_a_function_of_seed_and_number(generator):
    many = sample(generator, IDP, 3, disordered="all", sidechains=None)
    one = sample(generator, IDP, 1, disordered="all", sidechains=None)
    assert np.array_equal(many.trajectory.xyz[0], one.trajectory.xyz[0])
    assert np.array_equal(many.tokens[0], one.tokens[0])


def test_disordered_chains_are_larger_and_less_helical_than_samples_of_a_fold(generator):
    made = sample(generator, IDP, 8, disordered="all", sidechains=None).trajectory
    assert 1.9 < np.sqrt((radius_of_gyration(ca(made)) ** 2).mean()) < 3.6
    assert (md.compute_dssp(made) == "H").mean() < 0.35


def test_the_size_can_be_wished(generator):
    made = sample(generator, IDP, 4, disordered="all", rg=1.8, sidechains=None)
    assert made.report["rg_nm"] == pytest.approx(np.full(4, 1.8), rel=0.1)


def test_the_run_can_be_repeated_from_its_file(generator, tmp_path):
    from openmm_slm.sampling.rerun import repeat_run

    more = {"disordered": "all", "sidechains": None, "progress": False}
    generator.write(IDP, tmp_path / "a", 2, seed=1, **more)
    repeat_run(tmp_path / "a", tmp_path / "b", progress=False)
    assert (tmp_path / "a/samples.xtc").read_bytes() == (tmp_path / "b/samples.xtc").read_bytes()


def test_two_disordered_chains_do_not_overlap(generator):
    made = sample(generator, f"{TAIL}:{TAIL}", disordered="all", sidechains=None)
    x = ca(made.trajectory)
    apart = np.linalg.norm(x[:, :26, None] - x[:, None, 26:], axis=-1)
    assert apart.min() > 0.5
    assert apart.min((1, 2)).max() < 15


def template(known: np.ndarray, b_factor=None, left_out=None) -> Template:
    sequence = FOLD + TAIL
    atoms = np.where(known[:, None, None], np.float32(0.1), np.float32(np.nan))
    made = Template.of_frames(sequence, np.broadcast_to(atoms, (51, 14, 3))[None], ("x",))
    return replace(made, b_factor=b_factor, left_out=left_out or {})


def test_auto_takes_low_plddt_and_predicted_residues_without_structure(caplog):
    sequence, known = FOLD + TAIL, np.arange(51) < 25
    with caplog.at_level(logging.INFO):
        found = disordered_residues("auto", sequence, template(known))
    assert np.flatnonzero(found).tolist() == list(range(25, 51))
    assert "residues 26-51 are taken as disordered by their sequence" in caplog.text
    b = np.full((1, 51), 90.0)
    unsure = template(np.arange(51) > 8, b, {"min_plddt": 50.0, "unsure": "A:1-9"})
    assert np.flatnonzero(disordered_residues("auto", sequence, unsure)).tolist() == list(range(9))


def test_auto_takes_a_whole_chain_by_its_sequence_and_leaves_folded_ones():
    assert disordered_residues("auto", IDP, None).all()
    assert not disordered_residues("auto", "NLYIQWLKDGGPSSGRPPPS", None).any()  # Trp-cage: short
    assert not disordered_residues("auto", UBIQUITIN, None).any()
    both = disordered_residues("auto", f"{IDP}:{UBIQUITIN}", None)
    assert both[: len(IDP)].all()
    assert not both[len(IDP) :].any()


def test_residues_are_named_as_elsewhere():
    found = disordered_residues("A:3-5", FOLD, None)
    assert np.flatnonzero(found).tolist() == [2, 3, 4]
    for nothing in ("none", None):
        assert not disordered_residues(nothing, IDP, None).any()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"disordered": "A:90-99"}, "disordered names A:90-99; chain A has residues 1 to 26"),
        ({"disordered": [26]}, "disordered has row 26; the sequence has rows 0 to 25"),
        ({"disordered": 3}, "disordered is 3; give"),
        (
            {"disordered": "all", "settings": {"rg": 0.2}},
            "rg is 0.2 nm, but a chain of 26 residues",
        ),
        (
            {"disordered": "none", "settings": {"rg": 2.0}},
            "rg is 2.0, but no residue is disordered",
        ),
        ({"disordered": "all", "settings": {"rg": "2"}}, "rg is '2'; give a length"),
        ({"disordered": "all", "template": "fold"}, "leaves no residue of the template"),
    ],
)
def test_bad_input_is_named(more, message, helix):
    settings = more.pop("settings", {})
    sequence = TAIL
    if "template" in more:
        more, sequence = {**more, "template": helix}, FOLD
    with pytest.raises((SLMError, ValueError), match=message):
        make_request(sequence, 2, relatives=None, settings=settings, **more)


def test_a_disordered_chain_is_not_said_to_lack_a_fold(caplog):
    make_request(IDP, 2, settings={})
    assert "rarely finds a fold" not in caplog.text

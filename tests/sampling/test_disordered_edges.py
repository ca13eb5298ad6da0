"""Disordered residues in unusual requests: loops alone, scores of segments, sizes of complexes."""

from __future__ import annotations

import numpy as np
import pytest
from builders import regular

from openmm_slm.disorder.wished_size import possible_sizes
from openmm_slm.errors import SLMError
from openmm_slm.protein.structure import from_backbone
from openmm_slm.sampling.ensemble import EnsembleGenerator
from openmm_slm.sampling.request import make_request

FOLD = "SDEAWKRLLEQAAKLGVSPEELARR"  # a helix
TAIL = "GSEPTSKPEDGTPQSNEGKPSDAGQE"


@pytest.fixture(scope="module")
def generator():
    return EnsembleGenerator.from_pretrained("default")


@pytest.fixture(scope="module")
def helix():
    return from_backbone(regular(len(FOLD), -62, -43)[None], FOLD)


def sample(generator, sequence, n, **more):
    more = {"sidechains": None, "relatives": None, **more}
    return generator.sample(sequence, n, seed=1, progress=False, **more)


def test_a_loop_alone_is_sampled_in_place(generator):
    made = sample(generator, TAIL, 2, disordered=range(8, 18))
    usual = sample(generator, TAIL, 2, disordered="none")
    assert not made.report["broken_bonds"].any()
    assert set(made.report) == {*usual.report, "rg_nm"}


def test_a_loop_of_a_template_is_sampled_and_the_rest_held(generator, helix):
    template = {"template": helix, "relatives": "auto"}
    made = sample(generator, FOLD, 2, disordered="A:12", **template)
    held = np.arange(25) != 11
    x = made.trajectory.xyz.reshape(2, 25, 4, 3)
    assert np.abs(x[:, held, :3] - helix.atom14[:, held, :3]).max() < 1e-5
    assert {"rg_nm", "segment_score"} <= set(made.report)


def test_a_fold_with_a_tail_moves_if_a_displacement_is_asked_for(generator, helix):
    made = sample(generator, FOLD, 2, disordered="A:24-25", template=helix, deform="far")
    x = made.trajectory.xyz.reshape(2, 25, 4, 3)[:, :22, 1]
    assert np.linalg.norm(x[0] - x[1], axis=-1).max() > 0.01
    assert made.report["valid"].all() and "rg_nm" in made.report


@pytest.mark.parametrize("sequence", ["AG", "GPK", "PPPP", "GGGGG", "CGCGC"])
def test_short_peptides_are_valid(generator, sequence):
    made = sample(generator, sequence, 3, disordered="all")
    assert made.report["valid"].all()
    assert not made.report["cis"].any()
    low, high = possible_sizes(len(sequence))
    assert low <= high


def test_a_bound_comes_with_its_error(generator):
    made = sample(generator, "GPSGS", 2, disordered="all", log_prob="bound")
    assert np.array_equal(made.report["log_prob_error_nats"], [0, 0])  # exact for this model


def test_a_tail_alone_has_no_score_to_choose_by(helix):
    tail = {"template": helix, "disordered": range(25, 51)}
    for more in ({}, {"resample": range(25, 51)}):
        with pytest.raises(SLMError, match="best is 1, but only resampled segments have a score"):
            make_request(FOLD + TAIL, 2, settings={"best": 1}, **tail, **more)
    make_request(FOLD + TAIL, 2, settings={"best": 1}, resample=range(5, 9), **tail)


def test_the_size_of_chains_that_nothing_holds_cannot_be_wished():
    both, wish = f"{TAIL}:{TAIL}", {"rg": 2.0}
    with pytest.raises(SLMError, match="rg is 2.0, but chain 1 of 2 is disordered as a whole"):
        make_request(both, 2, relatives=None, disordered="all", settings=wish)
    make_request(both, 2, relatives=None, disordered="A:1-20", settings=wish)


def test_a_stretch_inside_a_chain_without_template_is_told_to_the_language_model(generator):
    """Its ends have to meet, so it is no chain of its own, but its tokens are those of coil."""
    options = {"seed": 1, "progress": False, "sidechains": None, "relatives": None}
    sequence = "SDEAWKRLLEQAAKLGVSPEELARRSDEAWKRLLEQ"
    plain = generator.sample(sequence, 4, disordered="none", **options)
    told = generator.sample(sequence, 4, disordered=range(12, 24), **options)
    assert not np.array_equal(plain.tokens[:, 12:24], told.tokens[:, 12:24])

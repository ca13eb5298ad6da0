"""Sampling about known structures that the shipped library has of a sequence."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from click.testing import CliRunner

import openmm_slm
from openmm_slm.analysis.tmscore import tm_matrix
from openmm_slm.cli.main import main
from openmm_slm.files.report_table import read_report
from openmm_slm.library.registry import load_library
from openmm_slm.protein.superposition import rmsd
from openmm_slm.protein.trajectory import from_trajectory
from openmm_slm.sampling.domain_placement import NEAREST, STEP, joined
from openmm_slm.sampling.known_structures import find_known_structures, thread_on_library

BPTI = "RPDFCLEPPYTGPCKARIIRYFYNAKAGLCQTFVYGGCRAKRNNFKSAEDCMRTCGGA"
UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
RANDOM = "GSAEKKVQTDLNPRWYHIFSCMGAVTLKEDNPQRSTWYHIFCMGAVLKEDNPQRST"
QUIET = {"progress": False, "seed": 5, "sidechains": None}


@pytest.fixture(scope="module")
def generator():
    return openmm_slm.EnsembleGenerator.from_pretrained("default", device="cpu")


def ca(trajectory):
    return from_trajectory(trajectory).backbone[:, :, 1]


def test_a_sequence_gets_its_fold_from_relatives(generator):
    """A test chain with distant relatives in the library; it does not see itself."""
    library = load_library()
    number = next(n for n, chain in enumerate(library.chains) if chain.split == "test_related")
    sequence, native = library.sequence(number), library.backbone(number)[:, 1]
    options = {"splits": ["train"], "most_identical": 0.9}
    known = thread_on_library(sequence, library, **options)
    assert known is not None
    assert all(record["identity"] <= 0.9 for record in known.records)
    made = generator.sample(sequence, 2, template=None, relatives=None, **QUIET)
    blind = tm_matrix(ca(made.trajectory), native[None]).max()
    threaded = known.template.atom14[:, :, 1]
    there = known.template.known[0] & np.isfinite(native[:, 0])
    assert rmsd(threaded[:1, there], native[None, there])[0] < 0.5
    assert blind < 0.5


def test_the_default_looks_structures_up_and_says_which(tmp_path, generator, caplog):
    caplog.set_level(logging.INFO, "openmm_slm")
    made = generator.sample(BPTI, 3, **QUIET)
    assert made.relatives and made.relatives[0]["probability"] > 0.9
    assert set(made.report["relative"]) <= {record["name"] for record in made.relatives}
    assert f"like {made.relatives[0]['name']}: " in caplog.text
    assert made.report["valid"].all()
    generator.write(BPTI, tmp_path / "out", 3, **QUIET)
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["template"]["relatives"] == made.relatives
    assert run["template"]["library"] == "default"
    assert read_report(tmp_path / "out")["relative"].tolist() == made.report["relative"].tolist()
    again = [str(tmp_path / "out"), "-o", str(tmp_path / "again")]
    result = CliRunner().invoke(main, ["sample", "--repeat", *again])
    assert result.exit_code == 0, result.output
    a, b = ((tmp_path / x / "samples.xtc").read_bytes() for x in ("out", "again"))
    assert a == b


def test_without_a_known_fold_one_warning_and_the_samples_of_before(generator, caplog):
    made = generator.sample(RANDOM, 2, **QUIET)
    assert not made.relatives and "relative" not in made.report
    assert sum("no structure with the fold" in record.message for record in caplog.records) == 1
    plain = generator.sample(RANDOM, 2, relatives=None, **QUIET)
    np.testing.assert_array_equal(made.trajectory.xyz, plain.trajectory.xyz)


@pytest.mark.parametrize("between", ["GGSGGSGGSGGS", ":"])
def test_domains_and_chains_keep_their_folds_and_do_not_overlap(generator, between, caplog):
    made = generator.sample(BPTI + between + UBIQUITIN, 4, **QUIET)
    assert "their arrangement is unknown" in caplog.text
    x = ca(made.trajectory)
    second = x[:, -len(UBIQUITIN) :]
    alone = ca(generator.sample(UBIQUITIN, 4, **QUIET).trajectory)
    assert tm_matrix(second, alone[:1]).min() > 0.7
    first = x[:, : len(BPTI)]
    apart = np.linalg.norm(first[:, :, None] - second[:, None], axis=-1).min((1, 2))
    assert (apart > 0.35).all()
    between = np.linalg.norm(first.mean(1) - second.mean(1), axis=-1)
    assert between.std() > 0.1  # the arrangement varies
    assert made.report["valid"].mean() >= 0.75


def test_a_linker_reaches_from_one_domain_to_the_next():
    rng = np.random.default_rng(0)
    parts = np.full((2, 60, 14, 3), np.nan, np.float32)
    parts[0, :25] = rng.normal(0, 0.8, (25, 1, 3))
    parts[1, 35:] = rng.normal(0, 0.8, (25, 1, 3))
    for frame in range(20):
        made = joined(list(parts), np.zeros(60, int), frame)[:, 1]
        assert np.linalg.norm(made[24] - made[35]) <= 11 * STEP + 1e-5
        apart = np.linalg.norm(made[:24, None] - made[None, 36:], axis=-1)
        assert apart.min() > NEAREST - 0.1
        inside = np.linalg.norm(made[35:] - made[35], axis=-1)
        np.testing.assert_allclose(
            inside, np.linalg.norm(parts[1, 35:, 1] - parts[1, 35, 1], axis=-1), atol=1e-5
        )


def test_what_does_not_fit_is_named(tmp_path, generator):
    alignment = tmp_path / "query.a3m"
    alignment.write_text(f">query\n{UBIQUITIN}\n")
    template = generator.sample("GYDPETGTWG", 1, **QUIET).trajectory
    cases = [
        ({"relatives": "nowhere"}, "'nowhere' is neither a directory nor one of"),
        ({"relatives": 5}, "relatives is 5"),
        ({"resample": "A:10-15"}, "give template"),
        ({"min_plddt": 70}, "give template"),
        ({"relatives": None, "msa": alignment}, "relatives is None"),
        ({"msa": alignment}, "alignment"),
        ({"template": template, "relatives": "default"}, "exclude each other"),
        ({"sequence": f"{UBIQUITIN}:GYDPETGTWG", "msa": alignment}, "alignment of one chain"),
        ({"sequence": RANDOM, "relatives": "default"}, "no structure with the fold"),
    ]
    for options, text in cases:
        given = {"sequence": BPTI, **options, **QUIET}
        with pytest.raises(ValueError, match=text):
            generator.sample(given.pop("sequence"), 1, **given)


def test_an_alignment_finds_what_the_sequence_finds(tmp_path):
    alignment = tmp_path / "query.a3m"
    alignment.write_text(f">query\n{BPTI}\n>other\n{BPTI[:20]}A{BPTI[21:]}\n")
    _, identity = find_known_structures(BPTI, "auto", alignment)
    assert identity["msa"] == str(alignment)
    assert identity["relatives"][0]["probability"] > 0.9


def test_a_folder_of_the_same_name_does_not_hide_the_library(tmp_path, monkeypatch):
    (tmp_path / "default").mkdir()
    monkeypatch.chdir(tmp_path)
    _, identity = find_known_structures(BPTI, "default")
    assert identity["library"] == "default"


def test_a_peptide_of_a_complex_gives_no_fold_to_a_disordered_chain():
    """Residues 17-56 of p53 1-91 are helical where they are bound (2B3G); the chain has no fold."""
    p53 = (
        "MEEPQSDPSVEPPLSQETFSDLWKLLPENNVLSPLPSQAMDDLMLSPDDIEQWFTEDPGPDEAPRM"
        "PEAAPPVAPAPAAPTPAAPAPAPSW"
    )
    assert find_known_structures(p53, "auto") is None


def test_relatives_that_lack_a_cysteine_of_a_disulfide_are_not_used():
    """Some relatives of BPTI have no place for its fifth residue, which 55 is bonded to."""
    library = load_library("default")
    hits = [hit for hit in library.search(BPTI) if hit.probability > 0.5]
    assert not np.isfinite(library.threaded(BPTI, hits)[:, 4, 1]).all()
    template = thread_on_library(BPTI, library).template
    cysteines = [row for row, letter in enumerate(BPTI) if letter == "C"]
    assert len(template.backbone) > 1
    assert np.isfinite(template.backbone[:, cysteines, 1]).all()

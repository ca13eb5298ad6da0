"""Relatives as templates: threaded on the sequence, unknown where the backbone must bridge."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

import openmm_slm
from openmm_slm.benchmarks import scoreboard_relatives
from openmm_slm.cli.main import main
from openmm_slm.data.relatives import Relatives
from openmm_slm.data.shards import Entry, ShardDataset, ShardWriter
from openmm_slm.errors import StructureError
from openmm_slm.protein.superposition import rmsd
from openmm_slm.protein.trajectory import from_trajectory
from openmm_slm.sampling.request import make_request

SEQUENCE = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYN"
RNG = np.random.default_rng(0)


def turned(backbone: np.ndarray) -> np.ndarray:
    q, _ = np.linalg.qr(RNG.normal(size=(3, 3)))
    q *= np.sign(np.linalg.det(q))
    return (backbone @ q + RNG.normal(size=3)).astype(np.float32)


@pytest.fixture(scope="module")
def backbone() -> np.ndarray:
    made = openmm_slm.generate_ensemble(
        SEQUENCE, 1, seed=3, sidechains=None, device="cpu", progress=False
    )
    return from_trajectory(made).backbone[0]


@pytest.fixture(scope="module")
def shards(backbone, tmp_path_factory):
    """The protein with every fourth residue another, with a deletion, in a complex; a stranger."""
    folder = tmp_path_factory.mktemp("shards")
    near = "".join("A" if i % 4 == 2 else c for i, c in enumerate(SEQUENCE))
    kept = np.r_[0:30, 33:60]
    entries = {
        "near": (near, turned(backbone)),
        "shorter": ("".join(near[i] for i in kept), turned(backbone[kept])),
        "complex": ("GSGSG:" + near, np.concatenate([turned(backbone[:5]), turned(backbone)])),
        "stranger": ("".join(RNG.permutation(list(SEQUENCE))), backbone),
    }
    writer = ShardWriter(folder)
    for name, (sequence, atoms) in entries.items():
        lengths = [len(chain) for chain in sequence.split(":")]
        chain = np.repeat(np.arange(len(lengths)), lengths)
        first = np.diff(chain, prepend=-1) != 0
        writer.add(name, sequence, atoms, first, np.arange(len(atoms)), chain)
    writer.close()
    return folder


def test_relatives_are_threaded_and_lie_on_the_first(shards, backbone):
    relatives = Relatives(ShardDataset(shards))
    found = relatives.find(SEQUENCE)
    assert {each.id for each in found} == {"near", "shorter", "complex"}
    assert found[-1].id == "shorter" and abs(found[0].hit.identity - 0.75) < 0.05
    atom14 = relatives.threaded(SEQUENCE, found)
    for each, frame in zip(found, atom14, strict=True):
        known = np.isfinite(frame[:, :4]).all((1, 2))
        assert rmsd(frame[known, 1], backbone[known, 1]) < 1e-3
        # The three that it lacks, and one on each side, wherever the alignment puts them.
        assert known[27:36].sum() == (4 if each.id == "shorter" else 9)
        assert known[np.r_[2:27, 36:58]].all()
    common = np.isfinite(atom14[:, :, 1]).all((0, 2))
    np.testing.assert_allclose(atom14[1:, common, 1], atom14[:1, common, 1].repeat(2, 0), atol=1e-3)


def test_what_is_too_near_can_be_passed_over(shards):
    assert Relatives(ShardDataset(shards)).find(SEQUENCE, most_identical=0.5) == []


def test_command_samples_about_relatives_and_repeats_it(shards, backbone, tmp_path):
    run = ["sample", SEQUENCE, "-n", "4", "--seed", "1", "--relatives", str(shards)]
    run += ["--sidechains", "none", "--deform", "0.02"]
    made = CliRunner().invoke(main, [*run, "-o", str(tmp_path / "a")])
    assert made.exit_code == 0, made.output
    told = json.loads((tmp_path / "a/run.json").read_text())["template"]
    assert [each["id"] for each in told["relatives"]][-1] == "shorter"
    import mdtraj as md

    frames = from_trajectory(md.load(tmp_path / "a/samples.xtc", top=tmp_path / "a/topology.pdb"))
    assert frames.chain_sequences == SEQUENCE
    assert rmsd(frames.backbone[:, :, 1], backbone[:, 1]).max() < 0.25
    again = ["sample", "--repeat", str(tmp_path / "a/run.json"), "-o", str(tmp_path / "b")]
    assert CliRunner().invoke(main, again).exit_code == 0
    assert (tmp_path / "a/samples.xtc").read_bytes() == (tmp_path / "b/samples.xtc").read_bytes()


def test_the_scoreboard_passes_over_what_is_the_same_protein(shards, backbone, tmp_path):
    generator = openmm_slm.EnsembleGenerator.from_pretrained("default", device="cpu")
    length = np.arange(len(SEQUENCE), dtype=np.int32)
    native = Entry("x", "test", "x", SEQUENCE, backbone, 0 * length, length, length == 0)
    best, mean, nearest, any_one = scoreboard_relatives._score(generator, native, 3, 0, str(shards))
    assert best >= mean > 0.6 and 1.001 > any_one >= nearest > 0.9
    writer = ShardWriter(tmp_path)
    writer.add("same", SEQUENCE, backbone, length == 0, length)
    writer.close()
    assert scoreboard_relatives._score(generator, native, 3, 0, str(tmp_path)) == ()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"sequence": "ACDEFGHIKL"}, "no relative of the sequence among 4 entries"),
        ({"sequence": f"{SEQUENCE}:{SEQUENCE}"}, "for one chain only, but the sequence has 2"),
        ({"template": "x.pdb"}, "template and relatives exclude each other"),
        ({"resample": [1, 2]}, "resample and relatives exclude each other"),
        ({"relatives": "/nowhere"}, "neither a directory nor one of"),
    ],
)
def test_what_cannot_be_is_named(shards, options, told):
    given = {"sequence": SEQUENCE, "relatives": shards, **options}
    with pytest.raises(StructureError, match=told):
        make_request(given.pop("sequence"), 2, **given, settings={})

"""Every verb takes the same files, finds the same two chains, and says the same of bad ones."""

from __future__ import annotations

import importlib.util
import re

import numpy as np
import pytest
from two_proteins import BOTH, ONE, TWO, two_proteins, welded, write_all

import openmm_slm
from openmm_slm.comparison.loading import compare_files
from openmm_slm.data.prepare import prepare
from openmm_slm.data.shards import ShardDataset
from openmm_slm.errors import MissingDependencyError, StructureError
from openmm_slm.files.frame_reader import FrameReader, StructureReader
from openmm_slm.sampling.template import Template
from openmm_slm.seeding.frames import CandidateFrames

#: Frames, their topology, and their number.
FILES = {
    "PDB": ("two.pdb", None, 2), "ent": ("two.ent", None, 2), "upper case": ("UPPER.PDB", None, 2),
    "mmCIF": ("two.cif", None, 2), "gz": ("two.pdb.gz", None, 2), "ent.gz": ("two.ent.gz", None, 2),
    "GRO": ("two.gro", None, 2), "XTC": ("two.xtc", "top.pdb", 2),
    "XTC of GRO": ("two.xtc", "two.gro", 2), "XTC of PSF": ("two.xtc", "two.psf", 2),
    "DCD": ("two.dcd", "two.psf", 2), "TRR": ("two.trr", "two.ent", 2),
    "NetCDF": ("two.nc", "two.prmtop", 2), "rst7": ("two.rst7", "two.prmtop", 1),
    "inpcrd": ("two.inpcrd", "two.prmtop", 1), "ncrst": ("two.ncrst", "two.prmtop", 1),
    "NetCDF named rst7": ("netcdf.rst7", "two.prmtop", 1),
    "restart named nc": ("restart.nc", "amber.top", 1),
}  # fmt: skip
QUIET = {"progress": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import gzip

    path = tmp_path_factory.mktemp("formats")
    write_all(two_proteins(), path)
    for name in ("two.pdb", "two.ent"):
        (path / f"{name}.gz").write_bytes(gzip.compress((path / name).read_bytes()))
    (path / "amber.top").write_bytes((path / "two.prmtop").read_bytes())
    (path / "empty.xtc").write_bytes(b"")
    (path / "notes.txt").write_text("hello")
    (path / "rubbish.nc").write_bytes(b"CDF\x01rubbish")
    two_proteins().atom_slice(range(100))[0].save_pdb(str(path / "small.pdb"))
    return path


@pytest.fixture(params=FILES.values(), ids=FILES)
def given(request, folder):
    name, top, frames = request.param
    return folder / name, top and folder / top, frames


def test_readers(given):
    path, top, n = given
    frames = FrameReader(path, top)
    assert frames.n_frames == n and len(frames.load()) == n
    assert [chain.n_residues for chain in frames.topology.chains] == [len(ONE), len(TWO)]
    assert not welded(frames.topology)
    blocks = list(frames.blocks(0, 1))
    assert [block.n_frames for block in blocks] == [1] * n
    last = next(frames.blocks(n - 1))
    assert last.n_frames == 1
    np.testing.assert_allclose(last.xyz[0], frames.load().xyz[-1])
    found = StructureReader(path, top).load()
    assert found.n_frames == n and found.chain_sequences == BOTH
    expected = two_proteins().xyz[:n]
    np.testing.assert_allclose(frames.load().xyz, expected, atol=2e-3)


def test_complete_relax_seed_compare_and_prepare(given, folder, tmp_path):
    path, top, n = given
    completed = openmm_slm.complete(path, top=top, **QUIET, device="cpu")
    assert completed.n_frames == n and completed.n_chains == 2 and not welded(completed.topology)
    frames = CandidateFrames.of(path, np.ones(n, bool), top).trajectory
    assert frames.n_chains == 2 and not welded(frames.topology)
    relaxed = openmm_slm.relax(path, top=top, iterations=1, processes=1, **QUIET).trajectory
    assert relaxed.n_frames == n and relaxed.n_chains == 2 and not welded(relaxed.topology)
    if n > 1:
        text = compare_files(path, folder / "two.xtc", tmp_path / "c", top=top, tica_lag=0,
                             reference_top=folder / "top.pdb")  # fmt: skip
        (apart,) = re.findall(r"RMSD-ens +(\S+)", text)
        assert float(apart) < 0.02
    shards = prepare(path, tmp_path / "shards", top=top, min_length=5, processes=1, **QUIET)
    sequences = [row["sequence"] for row in ShardDataset(shards).rows]
    # A structure file gives the chains of its first model, a trajectory the complex of each frame.
    structure = path.suffix.lower() in (".pdb", ".ent", ".cif", ".gz")
    assert sequences == ([ONE, TWO] if structure else [BOTH] * n)


def test_templates(given):
    path, top, n = given
    if top is None:
        assert Template.of(path, BOTH).known.shape == (n, len(ONE + TWO))
        return
    assert Template.of((path, top), BOTH).known.shape == (n, len(ONE + TWO))
    with pytest.raises(StructureError, match=r"no topology; give the template as PDB, mmCIF"):
        Template.of(path, BOTH)


VERBS = {
    "complete": lambda path, top, out: openmm_slm.complete(path, top=top, **QUIET),
    "relax": lambda path, top, out: openmm_slm.relax(path, top=top, processes=1, **QUIET),
    "seed": lambda path, top, out: openmm_slm.seed_simulations(path, 1, top=top),
    "compare": lambda path, top, out: compare_files(path, path, out, top=top),
    "prepare": lambda path, top, out: prepare(path, out, top=top, processes=1, **QUIET),
}
BAD = {
    "no topology": ("two.xtc", None, r"two\.xtc.* no topology; .*\(--top\)|top, --top"),
    "absent": ("none.xtc", "top.pdb", r"none\.xtc: no such file"),
    "absent topology": ("two.xtc", "none.pdb", r"none\.pdb: no such file \(top\)"),
    "topology for frames": ("two.prmtop", None, r"two\.prmtop: a topology without coordinates"),
    "frames for topology": ("two.xtc", "two.rst7", r"two\.rst7: cannot be read as a topology"),
    "unknown": ("notes.txt", "top.pdb", r"notes\.txt: unknown extension '\.txt'"),
    "empty": ("empty.xtc", "top.pdb", r"empty\.xtc: the file is empty"),
    "other atoms": ("two.xtc", "small.pdb", "the topology has 100 atoms, the frames another"),
    "rubbish": ("rubbish.nc", "two.prmtop", r"rubbish\.nc: cannot be read"),
}


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_every_verb_says_the_same_of_a_bad_file(verb, bad, folder, tmp_path):
    name, top, said = bad
    with pytest.raises(StructureError, match=said):
        verb(folder / name, top and folder / top, tmp_path / "out")


def test_hdf5(folder, tmp_path):
    """It needs PyTables; without it one line says so."""
    path = tmp_path / "two.h5"
    if importlib.util.find_spec("tables") is None:
        path.write_bytes(b"\x89HDF")
        with pytest.raises(MissingDependencyError, match="pip install 'openmm_slm.hdf5.'"):
            FrameReader(path)
        return
    path.write_bytes(b"rubbish" * 99)
    with pytest.raises(
        StructureError, match=r"two\.h5: cannot be read \(Unable to .*; give"
    ) as said:
        FrameReader(path)
    assert "\n" not in str(said.value)
    path.unlink()
    two_proteins().save_hdf5(str(path))
    frames = FrameReader(path)
    assert frames.n_frames == 2 and frames.topology.n_chains == 2
    assert StructureReader(path).load().chain_sequences == BOTH
    assert openmm_slm.complete(path, **QUIET).n_frames == 2

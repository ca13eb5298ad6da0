"""`complete` keeps ligands and ions where each frame of the input has them."""

from __future__ import annotations

import json
from pathlib import Path

import mdtraj as md
import numpy as np
import pytest
from click.testing import CliRunner
from holo import GLOBIN, atom_line, between, with_calcium, write_chain

import openmm_slm
from openmm_slm.cli.main import main
from openmm_slm.files.frame_reader import FrameReader
from openmm_slm.protein.keep_selection import other_residues
from openmm_slm.protein.loading import read_structure
from openmm_slm.protein.trajectory import from_trajectory
from openmm_slm.sampling.kept_input import KeptPositions
from openmm_slm.sampling.template import Template

QUIET = {"progress": False, "device": "cpu"}
BOX = 6.0  # nm


@pytest.fixture(scope="module")
def globin(tmp_path_factory) -> Path:
    """The pocket of a globin with haem, CO, a zinc ion and a water."""
    path = tmp_path_factory.mktemp("holo") / "globin.pdb"
    write_chain(path, GLOBIN)
    site = between(path, (45, "ND1"), (41, "OD1"), 0.21)
    water = between(path, (45, "NE2"), (45, "CE1"), 0.3)
    lines = [atom_line(1, "ZN", "ZN", site, "ZN"), atom_line(2, " O", "HOH", water, "O")]
    write_chain(path, GLOBIN, *lines, numbers=(26, 103))
    return path


@pytest.fixture(scope="module")
def whole(globin) -> md.Trajectory:
    """Six frames without side chains, in a box, all in the image of the protein."""
    given = FrameReader(globin).load()
    backbone = given.topology.select("protein and name N CA C O")
    given = given.atom_slice(np.append(backbone, given.topology.select("not protein")))
    rng = np.random.default_rng(1)
    shift = rng.normal(0, 0.05, (6, 1, 3))
    made = md.Trajectory((given.xyz + shift).astype(np.float32), given.topology)
    made.unitcell_vectors = np.tile(BOX * np.eye(3), (6, 1, 1)).astype(np.float32)
    return made


@pytest.fixture(scope="module")
def wrapped(whole) -> md.Trajectory:
    """The same frames, with the ligand in other images, and cut by the box in half of them."""
    made = md.Trajectory(whole.xyz.copy(), whole.topology)
    made.unitcell_vectors = whole.unitcell_vectors
    haem = whole.topology.select("resname HEM")
    made.xyz[::2, haem] += np.float32(BOX)
    made.xyz[1::2, haem[:20], 0] -= np.float32(BOX)
    return made


def kept(topology: md.Topology) -> list[str]:
    return [residue.name for residue in other_residues(topology)]


def groups(made: md.Trajectory, names: str = "HEM CMO ZN") -> np.ndarray:
    return made.xyz[:, made.topology.select(f"resname {names} and not element H")]


def test_groups_stay_where_they_are_and_side_chains_avoid_them(whole):
    made = openmm_slm.complete(whole[:2], **QUIET)
    assert kept(made.topology) == ["CMO", "HEM", "ZN"]  # behind the protein; no water
    assert [r.name for r in made.topology.residues][-3:] == ["CMO", "HEM", "ZN"]
    np.testing.assert_array_equal(groups(made), groups(whole[:2]))
    bare = openmm_slm.complete(whole[:2], keep="none", **QUIET)
    assert not kept(bare.topology)
    side = bare.topology.select("not element H and not name N CA C O CB OXT")
    names = [(a.residue.index, a.name) for a in map(bare.topology.atom, side)]
    number = {(a.residue.index, a.name): a.index for a in made.topology.atoms}
    ligand = groups(made, "HEM CMO")[0]

    def close(x: np.ndarray) -> int:
        return int((np.linalg.norm(x[:, None] - ligand, axis=-1) < 0.25).sum())

    # Without them, side chains are built into the pocket; the iron's histidine is one pair.
    assert close(bare.xyz[0, side]) > 5
    assert close(made.xyz[0, [number[each] for each in names]]) <= 1


def test_report_and_run_have_the_groups(globin, tmp_path):
    arguments = ["complete", str(globin), "-o", str(tmp_path / "out"), "--device", "cpu"]
    result = CliRunner().invoke(main, [*arguments, "--keep", "resname HEM ZN HOH"])
    assert result.exit_code == 0, result.output
    found = FrameReader(tmp_path / "out").load()
    assert kept(found.topology) == ["HEM", "ZN", "HOH"]
    water = next(r for r in found.topology.residues if r.name == "HOH")
    assert [a.element.symbol for a in water.atoms] == ["O", "H", "H"]
    header = (tmp_path / "out" / "report.csv").read_text().splitlines()[0].split(",")
    assert {"kept_clashes", "closest_kept_nm"} <= set(header)
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["keep"] == "resname HEM ZN HOH"
    assert run["kept"] == ["HEM 160 of chain A", "ZN 1 of chain Z", "HOH 2 of chain Z"]


def test_a_trajectory_in_blocks_has_them_beside_the_protein_in_each_frame(
    whole, wrapped, tmp_path, monkeypatch
):
    monkeypatch.setattr("openmm_slm.sampling.completion.BLOCK", 2)
    wrapped.save_xtc(str(tmp_path / "md.xtc"))
    whole[:1].save_pdb(str(tmp_path / "md.pdb"))
    options = {"top": tmp_path / "md.pdb", **QUIET}
    out = openmm_slm.complete(tmp_path / "md.xtc", output=tmp_path / "out", **options)
    found = FrameReader(out).load()
    assert kept(found.topology) == ["CMO", "HEM", "ZN"]
    np.testing.assert_allclose(groups(found), groups(whole), atol=3e-3)
    with monkeypatch.context() as patched:
        patched.setattr(KeptPositions, "of_block", ending_after(2))
        with pytest.raises(KeyboardInterrupt):
            openmm_slm.complete(tmp_path / "md.xtc", output=tmp_path / "cut", **options)
    options |= {"output": tmp_path / "cut", "resume": True}
    with pytest.raises(ValueError, match="a run with keep 'auto'"):
        openmm_slm.complete(tmp_path / "md.xtc", keep="resname ZN", **options)
    openmm_slm.complete(tmp_path / "md.xtc", **options)
    for name in ("samples.xtc", "report.csv", "topology.pdb"):
        assert (tmp_path / "cut" / name).read_bytes() == (out / name).read_bytes()


def test_groups_of_a_template_are_taken_from_the_image_of_the_protein(whole, wrapped):
    sequence = from_trajectory(whole).chain_sequences
    found = [Template.of(each, sequence, keep="auto").kept for each in (whole, wrapped)]
    assert [r.name for r in found[1].topology.residues] == ["CMO", "HEM", "ZN"]
    np.testing.assert_allclose(found[1].xyz, found[0].xyz, atol=1e-5)


def ending_after(blocks: int):
    """`KeptPositions.of_block` that is interrupted after some blocks."""
    right, left = KeptPositions.of_block, iter(range(blocks))

    def of_block(self, *arguments):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return right(self, *arguments)

    return of_block


def test_what_does_not_fit_is_named(globin, whole, tmp_path):
    with pytest.raises(ValueError, match="(?s)matches no atom.*HEM 160 of chain A"):
        openmm_slm.complete(globin, keep="resname XYZ", **QUIET)
    with pytest.raises(ValueError, match="protein is always there"):
        openmm_slm.complete(whole, keep="resid 3", **QUIET)
    with pytest.raises(ValueError, match="protein alone"):
        openmm_slm.complete(read_structure(globin), keep="all", **QUIET)
    assert not kept(openmm_slm.complete(read_structure(globin), **QUIET).topology)
    result = CliRunner().invoke(
        main, ["complete", str(globin), "-o", str(tmp_path / "out"), "--keep", "resname =="]
    )
    assert result.exit_code == 2 and "nor an MDTraj selection" in result.output


def test_the_result_is_relaxed_and_seeded_with_its_ion():
    peptide = openmm_slm.generate_ensemble("GYDPETGTWG", 1, seed=1, **QUIET)
    holo = with_calcium(peptide)
    full = openmm_slm.complete(holo, **QUIET)
    assert kept(full.topology) == ["CA"]
    relaxed = openmm_slm.relax(full, processes=1, iterations=50, progress=False)
    assert relaxed.report["kept_clashes"].tolist() == [0]
    np.testing.assert_array_equal(relaxed.trajectory.xyz[0, -1], full.xyz[0, -1])
    (simulation,) = openmm_slm.seed_simulations(
        relaxed, n=1, solvent="implicit", equilibration=0.02, platform="CPU",
        report=np.ones(1, bool),
    )  # fmt: skip
    assert [r.name for r in simulation.topology.residues()].count("CA") == 1
    simulation.step(20)
    state = simulation.context.getState(getPositions=True)
    assert np.isfinite(state.getPositions(asNumpy=True)._value).all()

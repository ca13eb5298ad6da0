"""Names of chains and residues survive an ensemble folder, also where PDB cannot hold them."""

from __future__ import annotations

import mdtraj as md
import numpy as np
import pytest
from builders import helix
from click.testing import CliRunner
from odd_files import build, plain

import openmm_slm
from openmm_slm.cli.main import main
from openmm_slm.files.frame_reader import FrameReader, read_topology
from openmm_slm.files.topology_file import read_names, write_topology
from openmm_slm.protein.loading import read_structure
from openmm_slm.protein.trajectory import backbone_trajectory, from_trajectory


def folder_of(tmp_path, sequence, names, numbers, codes=""):
    """Folder with samples.xtc and the topology files of helices."""
    chains = sequence.split(":")
    backbone = np.concatenate([helix(len(chain)) + 3 * k for k, chain in enumerate(chains)])
    traj = backbone_trajectory(backbone[None].astype(np.float32), sequence, names, numbers)
    for residue, code in zip(traj.topology.residues, codes, strict=False):
        residue.insertion_code = code.strip()
    write_topology(traj, tmp_path / "topology.pdb")
    traj.save_xtc(str(tmp_path / "samples.xtc"))
    return tmp_path


MANY = tuple(f"C{k}" for k in range(70))


@pytest.mark.parametrize(
    ("sequence", "names", "numbers", "codes", "said"),
    [
        ("ACDE:FGHI", ("A", "B"), [-999, -4, 3, 9999, 1, 2, 3, 4], "", ""),
        ("ACDE:FGHI", ("AA", "AB"), [1, 2, 3, 4] * 2, "", "chain AA is A, AB is B"),
        ("ACDE:FGHI", ("A", "B"), [9999, 10000, 10000, 70000, 1, 2, 3, 4], "  A", "hybrid-36"),
        ("ACDE:FGHI", ("A", "B"), [-1000, -999, 1, 2, 1, 2, 3, 4], "", "modulo 10000"),
        (":".join(["AC"] * 70), MANY, [1, 2] * 70, "", "C9 is J, ..."),
    ],
)
def test_names_survive_a_folder(tmp_path, caplog, sequence, names, numbers, codes, said):
    folder = folder_of(tmp_path, sequence, names, numbers, codes)
    mmcif = folder / "topology.cif"
    assert mmcif.exists() == bool(said)
    assert ("topology.cif has the names that PDB cannot hold" in caplog.text) == bool(said)
    assert said in caplog.text
    structures = [from_trajectory(FrameReader(folder).load())]
    structures.append(read_structure(mmcif if said else folder / "topology.pdb"))
    for found in structures:
        assert found.chain_sequences == sequence
        assert found.chain_ids == names
        assert found.residue_number.tolist() == numbers
        assert "".join(found.insertion_code) == codes.strip()
    for name in ("topology.pdb", "topology.cif") if said else ("topology.pdb",):
        topology = md.load_topology(str(folder / name))  # as users load it
        assert topology.n_residues == len(numbers) and topology.n_chains == len(names)
    chains = [chain.chain_id for chain in read_topology(folder / "topology.pdb").chains]
    assert chains == list(names)


def test_an_old_topology_cif_does_not_stay(tmp_path):
    folder_of(tmp_path, "ACDE", ("AA",), [1, 2, 3, 4])
    folder_of(tmp_path, "ACDE", ("A",), [1, 2, 3, 4])
    assert not (tmp_path / "topology.cif").exists()


@pytest.mark.parametrize("changes", [{}, {"kind": "cif"}, {"kind": "cif", "ids": "label"}])
def test_frames_have_the_numbers_of_their_file(tmp_path, changes):
    odd = build(plain(start=12345, **changes))
    path = tmp_path / f"x{odd.suffix}"
    path.write_text(odd.text)
    topology = FrameReader(path).topology
    assert [residue.resSeq for residue in topology.residues] == list(range(12345, 12355))
    assert [chain.chain_id for chain in topology.chains] == ["A"]


def test_a_file_of_other_atoms_changes_no_names(tmp_path):
    topology = md.load_topology(
        str(folder_of(tmp_path, "ACDE", ("A",), [5, 6, 7, 8]) / "topology.pdb")
    )
    for name in ("x.pdb", "x.cif", "x.prmtop"):
        (tmp_path / name).write_text("data_x\n")
        read_names(topology, tmp_path / name)
    assert [residue.resSeq for residue in topology.residues] == [5, 6, 7, 8]


@pytest.mark.slow
def test_a_folder_with_names_that_pdb_cannot_hold_is_relaxed_seeded_and_compared(tmp_path):
    odd = build(plain(kind="cif", names="long", sequences=("PHCMSDEK", "GAKAGDAVHC"), start=12345))
    source, folder = tmp_path / "odd.cif", tmp_path / "out"
    source.write_text(odd.text)
    quiet = {"progress": False}
    template = {"template": source, "noise": 0.2, "n": 3, "seed": 1}
    openmm_slm.generate_ensemble(
        "PHCMSDEK:GAKAGDAVHC", **template, relax=True, output=folder, **quiet
    )
    assert (folder / "topology.cif").exists()
    relaxed = openmm_slm.relax(folder, output=tmp_path / "relaxed", iterations=5, **quiet)
    for made in (folder, relaxed):
        found = from_trajectory(FrameReader(made).load())
        assert found.chain_ids == ("Heavy", "Heavy-2")
        assert found.residue_number.tolist() == [*range(12345, 12353), *range(12345, 12355)]
    seeding = {"n": 1, "solvent": "implicit", "equilibration": 0, "report": "md"}
    openmm_slm.write_seeds(folder, tmp_path / "seeds", **seeding, **quiet)
    seeds = read_structure(next((tmp_path / "seeds").rglob("*.cif")))
    assert seeds.chain_ids == ("Heavy", "Heavy-2") and seeds.residue_number[0] == 12345
    arguments = ["compare", str(folder), str(relaxed), "-o", str(tmp_path / "table"), "--lag", "0"]
    compared = CliRunner().invoke(main, arguments)
    assert compared.exit_code == 0, compared.output

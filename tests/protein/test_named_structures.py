"""Structures by name: fetched once, kept whole, and every failure names the address."""

from __future__ import annotations

import gzip
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from structure_server import NOWHERE, SEQUENCES, crystal, databases, predicted

from openmm_slm.errors import StructureError
from openmm_slm.files.frame_reader import FrameReader, StructureReader
from openmm_slm.protein.cache_folder import cache_folder
from openmm_slm.protein.loading import load_structure, read_structure
from openmm_slm.protein.named_structures import local_file, place

ENTRY = "/pdb/1ABC.cif"


@pytest.fixture
def server(tmp_path, monkeypatch):
    with databases(tmp_path / "cache", monkeypatch) as running:
        running.answers[ENTRY] = crystal()
        yield running


def kept(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_an_entry_is_fetched_once(server, tmp_path):
    first = read_structure("pdb:1abc")
    assert first.chain_sequences == ":".join(SEQUENCES)
    for again in (load_structure("PDB:1ABC"), StructureReader(Path("pdb:1ABC")).load()):
        np.testing.assert_array_equal(again.atom14, first.atom14)
    assert FrameReader("pdb:1ABC").load().n_residues == 20
    assert server.asked == [ENTRY]
    server.shutdown()
    assert local_file("pdb:1ABC").read_bytes() == crystal()
    assert {path.name for path in kept(tmp_path)} == {"1ABC.cif", "1ABC.json"}


@pytest.mark.parametrize(
    ("name", "chains"), [("A", "A"), ("B", "B"), ("B,A", "BA"), ("A, B,A", "AB")]
)
def test_chains_come_alone_and_in_the_wished_order(server, name, chains):
    found = read_structure(f"pdb:1ABC:{name}")
    assert "".join(found.chain_ids) == chains
    wanted = ":".join(SEQUENCES["AB".index(chain)] for chain in chains)
    assert found.chain_sequences == wanted
    whole = read_structure("pdb:1ABC", chains=list(chains))
    np.testing.assert_array_equal(found.atom14, whole.atom14)
    topology = FrameReader(f"pdb:1ABC:{name}").topology
    assert [chain.chain_id for chain in topology.chains] == list(chains)


def test_the_alphafold_database_names_the_file(server):
    model = predicted(crystal(SEQUENCES[0]).replace(b"'X-RAY DIFFRACTION'", b"?"), range(50, 60))
    entries = [
        {"uniprotAccession": "P00974-2", "cifUrl": f"{server.address}/files/isoform.cif"},
        {"uniprotAccession": "P00974", "cifUrl": f"{server.address}/files/model_v6.cif"},
    ]
    server.answers["/api/P00974"] = json.dumps(entries).encode()
    server.answers["/files/model_v6.cif"] = gzip.compress(model)
    found = read_structure("afdb:p00974")
    assert found.sequence == SEQUENCES[0] and found.origin == "predicted"
    np.testing.assert_array_equal(found.b_factor[0], range(50, 60))
    assert server.asked == ["/api/P00974", "/files/model_v6.cif"]


@pytest.mark.parametrize("damage", ["a byte", "half", "empty", "no note", "half a note"])
def test_a_damaged_file_in_the_cache_is_fetched_again(server, damage, caplog):
    path = local_file("pdb:1ABC")
    data, note = path.read_bytes(), path.with_suffix(".json")
    if damage == "no note":
        note.unlink()
    elif damage == "half a note":
        note.write_bytes(note.read_bytes()[:20])
    else:
        broken = {"a byte": data.replace(b"20.00", b"20.01", 1), "half": data[: len(data) // 2]}
        path.write_bytes(broken.get(damage, b""))
    assert local_file("pdb:1ABC").read_bytes() == data
    assert server.asked == [ENTRY] * 2 and "is damaged and is fetched again" in caplog.text
    path.write_bytes(b"data_")
    server.answers[ENTRY] = 503
    with pytest.raises(StructureError, match="answers 503"):
        read_structure("pdb:1ABC")


def test_several_at_once_share_the_cache(server, tmp_path):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(read_structure, ["pdb:1ABC", "pdb:1ABC:B"] * 8))
    assert {len(each.chain_ids) for each in found[::2]} == {2}
    assert {each.chain_ids for each in found[1::2]} == {("B",)}
    assert {path.name for path in kept(tmp_path)} == {"1ABC.cif", "1ABC.json", "1ABC_B.cif"}


HTML = b"<!DOCTYPE html><html><body>Sign in to the library</body></html>"


@pytest.mark.parametrize(
    ("name", "answer", "named"),
    [
        ("pdb:1ABC", 404, "the PDB has no entry 1ABC"),
        ("pdb:1ABC", 500, "answers 500 .*give the path of its file"),
        ("pdb:1ABC", HTML, "begins with '<!DOCTYPE html>.*give the path of its file"),
        ("pdb:1ABC", b"", "it is empty"),
        ("pdb:1ABC", b"data_x\n_cell.length_a 1\n", "it has no atoms"),
        ("pdb:1ABC", b"data_x\nloop_\n_atom_site.id\n_atom_site.x\n1 2 3\n", "mmCIF file"),
        ("pdb:1ABC", crystal()[:-300], "mmCIF file .*number of values"),
        ("pdb:1ABC", b"\x1f\x8brubbish", "mmCIF file"),
        ("pdb:1ABC", bytes(range(256)), "mmCIF file"),
        ("pdb:1ABC", b"data_ cut off", "cannot be reached .*Incomplete"),
        ("pdb:1ABC", 5.0, "cannot be reached .*timed out"),
        ("afdb:P00974", 404, "the AlphaFold database has no entry P00974"),
        ("afdb:P00974", b"[]", "the AlphaFold database has no entry P00974"),
        ("afdb:P00974", b'[{"pdbUrl": "x"}]', "names no mmCIF file"),
        ("afdb:P00974", b"[[1]]", "names no mmCIF file"),
        ("afdb:P00974", b"[oops", "names no mmCIF file"),
        ("afdb:P00974", b'[{"cifUrl": "file:///etc/passwd"}]', "does not begin with http"),
    ],
)
def test_what_servers_answer_is_named_and_not_kept(
    server, tmp_path, monkeypatch, name, answer, named
):
    monkeypatch.setenv("OPENMM_SLM_TIMEOUT", "0.3")
    path = ENTRY if name.startswith("pdb") else "/api/P00974"
    server.answers[path] = answer
    with pytest.raises(StructureError, match=re.compile(named, re.DOTALL)) as refused:
        read_structure(name)
    assert str(refused.value).startswith(name)
    assert server.address + path in str(refused.value) or "with http" in named
    assert kept(tmp_path) == []


def test_without_a_network_the_address_and_the_remedy_are_named(server, monkeypatch):
    monkeypatch.setenv("OPENMM_SLM_PDB_URL", NOWHERE + "/{id}.cif")
    with pytest.raises(StructureError, match=f"{NOWHERE}/5PTI.cif cannot be reached.*path of its"):
        read_structure("pdb:5PTI")


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("pdb:XYZ", "'XYZ' is no entry of the PDB; .*pdb:5PTI"), ("pdb:", "'' is no entry"),
        ("pdb:../1ABC", "is no entry"), ("afdb:1ABC", "UniProt accessions"),
        ("pdb:1ABC:", "a chain has no name"), ("pdb:1ABC:A,,B", "a chain has no name"),
        ("pdb:1ABC:Q", "no chain 'Q'; 1ABC has A, B"), ("pdb:1ABC:a", "no chain 'a'"),
    ],
)  # fmt: skip
def test_names_that_are_none(server, name, named):
    with pytest.raises(StructureError, match=named):
        read_structure(name)


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("OPENMM_SLM_PDB_URL", "http://127.0.0.1/x", "needs {id}"),
        ("OPENMM_SLM_PDB_URL", "ftp://127.0.0.1/{id}", "does not begin with http"),
        ("OPENMM_SLM_TIMEOUT", "soon", "'soon'; give seconds"),
        ("OPENMM_SLM_TIMEOUT", "-1", "'-1'; give seconds"),
        ("OPENMM_SLM_CACHE", "/proc/nowhere", "cannot be written .*OPENMM_SLM_CACHE"),
    ],
)
def test_settings_that_are_wrong(server, monkeypatch, variable, value, named):
    monkeypatch.setenv(variable, value)
    with pytest.raises(StructureError, match=named):
        read_structure("pdb:1ABC")


def test_the_cache_is_where_the_settings_say(monkeypatch, tmp_path):
    monkeypatch.delenv("OPENMM_SLM_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "openmm_slm"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "openmm_slm"


def test_runs_record_the_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert place("PDB:1abc:B,A") == "pdb:1ABC:B,A"
    assert place("afdb:p00974") == "afdb:P00974"
    assert place("x.pdb") == str(tmp_path / "x.pdb")

"""A local server in place of the PDB and the AlphaFold database, and the files it sends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import gemmi
import numpy as np
import pytest
from odd_files import build, plain

#: Where there is no server: the discard port, which nothing listens to.
NOWHERE = "http://127.0.0.1:9"
SEQUENCES = ("ACDEFGHIKL", "MNPQRSTVWY")


def crystal(*sequences: str) -> bytes:
    """mmCIF of extended chains A, B with B factors of 20 and an experiment."""
    text = build(plain(kind="cif", sequences=sequences or SEQUENCES)).text
    return _with_b_factors(text, lambda residue: 20.0, {"_exptl.method": "'X-RAY DIFFRACTION'"})


def predicted(text: str | bytes, plddt: np.ndarray, kind: str = "pLDDT") -> bytes:
    """The mmCIF text as a model that states the pLDDT [L] of its residues, counted on."""
    values = np.asarray(plddt, float)
    metric = {"_ma_qa_metric.id": "1", "_ma_qa_metric.type": f"'{kind}'"}
    text = text if isinstance(text, str) else text.decode()
    return _with_b_factors(text, lambda residue: values[residue], metric)


def _with_b_factors(text: str, b_factor, items: dict[str, str]) -> bytes:
    document = gemmi.cif.read_string(text)
    block = document[0]
    for tag, value in items.items():
        block.set_pair(tag, value)
    table = block.find("_atom_site.", ["auth_asym_id", "auth_seq_id"])
    names = [tuple(row) for row in table]
    number = {name: k for k, name in enumerate(dict.fromkeys(names))}
    column = block.find_loop("_atom_site.B_iso_or_equiv")
    if not column:
        loop = block.find_loop("_atom_site.id").get_loop()
        loop.add_columns(["_atom_site.B_iso_or_equiv"], "0")
        column = block.find_loop("_atom_site.B_iso_or_equiv")
    for row, name in enumerate(names):
        column[row] = f"{b_factor(number[name]):.2f}"
    return document.as_string().encode() + b"#\n"


class StructureServer(ThreadingHTTPServer):
    """Answers by path.

    Attributes
    ----------
    answers : dict
        Path to bytes, to a status code, or to a number of seconds (float) before an empty answer.
    asked : list of str
        Paths, in the order of the requests.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, bytes | int | float] = {}
        self.asked: list[str] = []
        self.address = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        """A client that did not wait is no error of the server."""


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        answer = self.server.answers.get(self.path, 404)
        if isinstance(answer, float):
            time.sleep(answer)
            answer = b""
        if isinstance(answer, int):
            self.send_error(answer)
            return
        self.send_response(200)
        promised = len(answer) + (100 if answer.endswith(b"cut off") else 0)
        self.send_header("Content-Length", str(promised))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def databases(cache: Path, patch: pytest.MonkeyPatch) -> Iterator[StructureServer]:
    """A server whose address the settings have, with an empty cache in a folder."""
    server = StructureServer()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    patch.setenv("OPENMM_SLM_CACHE", str(cache))
    patch.setenv("OPENMM_SLM_PDB_URL", server.address + "/pdb/{id}.cif")
    patch.setenv("OPENMM_SLM_AFDB_URL", server.address + "/api/{id}")
    for name in ("no_proxy", "NO_PROXY"):
        patch.setenv(name, "127.0.0.1")
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()

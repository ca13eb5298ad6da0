"""Structures by name: ``pdb:5PTI``, ``pdb:1ABC:H,L`` (chains) and ``afdb:P00974``.

They are fetched as mmCIF when first used and kept in `cache_folder`, each with its checksum. The
standard library fetches them: two addresses need no database client.

- ``OPENMM_SLM_PDB_URL`` and ``OPENMM_SLM_AFDB_URL`` are the addresses; ``{id}`` is replaced by the
  entry. The answer is the mmCIF file, or JSON of the AlphaFold database, which names the file.
- ``OPENMM_SLM_TIMEOUT``: seconds to wait for an answer (30).
"""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import os
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

from .. import __version__
from ..errors import StructureError, require
from .cache_folder import cache_folder

logger = logging.getLogger(__name__)

S = TypeVar("S")

TIMEOUT = 30.0  # seconds
_REMEDY = "download the structure elsewhere and give the path of its file"


class Database(NamedTuple):
    """A database of structures: where it is, and how its entries are called."""

    title: str
    variable: str
    address: str
    entries: str
    entry: str


DATABASES = {
    "pdb": Database(
        "the PDB",
        "OPENMM_SLM_PDB_URL",
        "https://files.rcsb.org/download/{id}.cif",
        r"[0-9][A-Z0-9]{3}",
        "PDB IDs have a digit and three letters or digits, as in pdb:5PTI or pdb:5PTI:A",
    ),
    "afdb": Database(
        "the AlphaFold database",
        "OPENMM_SLM_AFDB_URL",
        "https://alphafold.ebi.ac.uk/api/prediction/{id}",
        r"[OPQ][0-9][A-Z0-9]{3}[0-9]|[A-NR-Z][0-9](?:[A-Z][A-Z0-9]{2}[0-9]){1,2}",
        "its entries are UniProt accessions, as in afdb:P00974",
    ),
}
_NAME = re.compile(rf"({'|'.join(DATABASES)}):", re.IGNORECASE)


@dataclass(frozen=True)
class StructureName:
    """An entry of a database, and its chains in the wished order; no chains are all chains."""

    database: str
    entry: str
    chains: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str) -> StructureName:
        """Parse ``database:entry`` or ``database:entry:chain,chain``.

        Raises
        ------
        StructureError
            The entry cannot be one of this database, or a chain has no name.
        """
        prefix, entry, *rest = text.split(":", 2)
        known = DATABASES[prefix.lower()]
        if not re.fullmatch(known.entries, entry.upper()):
            raise StructureError(f"{text}: {entry!r} is no entry of {known.title}; {known.entry}")
        chains = [chain.strip() for chain in rest[0].split(",")] if rest else []
        if not all(chains):
            raise StructureError(
                f"{text}: a chain has no name; give for example {prefix}:{entry}:A or "
                f"{prefix}:{entry}:A,B, or {prefix}:{entry} for all chains"
            )
        return cls(prefix.lower(), entry.upper(), tuple(dict.fromkeys(chains)))

    def __str__(self) -> str:
        return ":".join([self.database, self.entry, *([",".join(self.chains)] * bool(self.chains))])


def is_name(source: object) -> bool:
    """Whether `source` is a name (``pdb:...``) and not a path or an object."""
    text = os.fspath(source) if isinstance(source, (str, os.PathLike)) else None
    return isinstance(text, str) and bool(_NAME.match(text))


def place(source: str | os.PathLike) -> str:
    """The name in its usual form, or the absolute path: where a run finds its input again."""
    return str(StructureName.of(os.fspath(source))) if is_name(source) else os.path.abspath(source)


def local_file(source: S) -> S | Path:
    """The mmCIF file of a name, fetched if it is not in the cache; else `source` as it is.

    Raises
    ------
    StructureError
        The name is wrong, the database has no such entry, the entry has no such chain, the server
        cannot be reached or answers with something else, or the cache cannot be written.
    """
    if not is_name(source):
        return source
    name = StructureName.of(os.fspath(source))
    folder = cache_folder() / "structures" / name.database
    path = folder / f"{name.entry}.cif"
    data = _kept(path)
    if data is None:
        data, address = _fetched(name)
        note = {"address": address, "sha256": hashlib.sha256(data).hexdigest()}
        _write(path, data)
        _write(path.with_suffix(".json"), json.dumps(note).encode())
    if not name.chains:
        return path
    chains = re.sub(r"[^\w,]", "-", ",".join(name.chains))
    part, text = path.with_stem(f"{name.entry}_{chains}"), _chains(data.decode(), name).encode()
    if not part.is_file() or part.read_bytes() != text:
        _write(part, text)
    return part


def _kept(path: Path) -> bytes | None:
    """The file in the cache; None if there is none, or if it is not what was fetched."""
    if not path.is_file():
        return None
    try:
        data = path.read_bytes()
        note = json.loads(path.with_suffix(".json").read_bytes())
        if note["sha256"] == hashlib.sha256(data).hexdigest():
            return data
    except (OSError, ValueError, KeyError, TypeError):
        pass
    logger.warning("%s is damaged and is fetched again", path)
    return None


def _write(path: Path, data: bytes) -> None:
    """Write under a temporary name of its own, then rename: processes may share the cache."""
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        raise StructureError(
            f"{path}: cannot be written ({error.strerror}); name another cache folder "
            "(environment variable OPENMM_SLM_CACHE)"
        ) from None


def _fetched(name: StructureName) -> tuple[bytes, str]:
    """The mmCIF text of an entry with all chains, and its address."""
    known = DATABASES[name.database]
    address = os.environ.get(known.variable) or known.address
    if "{id}" not in address:
        raise StructureError(
            f"{known.variable} is {address!r}; it needs {{id}} in place of the entry, as in "
            f"{known.address}"
        )
    address = address.replace("{id}", name.entry)
    logger.info("fetching %s from %s", name, address)
    data = _answer(address, name)
    if data.lstrip()[:1] in (b"[", b"{"):
        address = _file_address(data, address, name)
        data = _answer(address, name)
    try:
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        doubt = _doubt(data.decode(), name)
    except (OSError, EOFError, zlib.error, ValueError, RuntimeError, IndexError) as error:
        doubt = " ".join(str(error).split())[:200] or type(error).__name__
    if doubt:
        raise StructureError(
            f"{name}: {address} sent something other than a complete mmCIF file ({doubt}); try "
            f"again later, or {_REMEDY}"
        )
    return data, address


def _answer(address: str, name: StructureName) -> bytes:
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    known = DATABASES[name.database]
    if urlsplit(address).scheme not in ("http", "https"):
        raise StructureError(
            f"{name}: the address {address!r} does not begin with http:// or https:// "
            f"(environment variable {known.variable})"
        )
    try:
        request = Request(address, headers={"User-Agent": f"openmm_slm/{__version__}"})
        with urlopen(request, timeout=_timeout()) as response:
            return response.read()
    except HTTPError as error:
        if error.code in (404, 410):
            raise StructureError(_absent(name, address)) from None
        raise StructureError(
            f"{name}: {address} answers {error.code} ({error.reason}); try again later, or "
            f"{_REMEDY}"
        ) from None
    except (HTTPException, OSError, ValueError) as error:  # URLError and TimeoutError are OSError
        reason = getattr(error, "reason", None) or error
        raise StructureError(
            f"{name}: {address} cannot be reached ({str(reason) or type(error).__name__}); "
            f"without a network, {_REMEDY}"
        ) from None


def _absent(name: StructureName, address: str) -> str:
    known = DATABASES[name.database]
    return f"{name}: {known.title} has no entry {name.entry} ({address}); {known.entry}"


def _timeout() -> float:
    text = os.environ.get("OPENMM_SLM_TIMEOUT") or str(TIMEOUT)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise StructureError(f"OPENMM_SLM_TIMEOUT is {text!r}; give seconds, more than 0")
    return seconds


def _file_address(data: bytes, address: str, name: StructureName) -> str:
    """Address of the mmCIF file in an answer of the AlphaFold database."""
    try:
        found = json.loads(data)
        found = found if isinstance(found, list) else [found]
        if not found:
            raise StructureError(_absent(name, address))
        # Isoforms are listed too.
        mine = [each for each in found if each.get("uniprotAccession") == name.entry]
        return str((mine or found)[0]["cifUrl"])
    except StructureError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError):
        raise StructureError(
            f"{name}: the answer of {address} names no mmCIF file (cifUrl); {_REMEDY}"
        ) from None


def _doubt(text: str, name: StructureName) -> str:
    """Why a text is not a whole mmCIF file with atoms; empty if it is one."""
    from .structure_text import check_mmcif  # loads NumPy, which `openmm-slm --help` must not

    if not text.lstrip().lower().startswith(("data_", "#")):
        first = next(filter(None, map(str.strip, text.splitlines())), "")
        return f"it begins with {first[:40]!r}" if first else "it is empty"
    blocks = require("gemmi").cif.read_string(text)
    if not any(block.find_loop("_atom_site.id") for block in blocks):
        return "it has no atoms"
    return check_mmcif(text, blocks, Path(str(name)))


def _chains(text: str, name: StructureName) -> str:
    """The mmCIF text with the atoms of some chains (author names), in the wished order."""
    cif = require("gemmi").cif
    document = cif.read_string(text)
    loop = next(c for b in document if (c := b.find_loop("_atom_site.id"))).get_loop()
    values, width = list(loop.values), loop.width()
    columns = {tag: values[k::width] for k, tag in enumerate(loop.tags)}
    same = ["1"] * loop.length()
    chain = columns.get("_atom_site.auth_asym_id") or columns.get("_atom_site.label_asym_id", same)
    chain = [cif.as_string(value) for value in chain]
    model = columns.get("_atom_site.pdbx_PDB_model_num", same)
    kind = columns.get("_atom_site.group_PDB", same)
    there = dict.fromkeys(c for c, k in zip(chain, kind, strict=True) if k != "HETATM")
    for wanted in name.chains:
        if wanted not in there:
            raise StructureError(
                f"{name}: no chain {wanted!r}; {name.entry} has {', '.join(there)}"
            )
    first = {number: k for k, number in enumerate(dict.fromkeys(model))}
    kept = [row for row, each in enumerate(chain) if each in name.chains]
    kept.sort(key=lambda row: (first[model[row]], name.chains.index(chain[row])))
    loop.set_all_values([[column[row] for row in kept] for column in columns.values()])
    return document.as_string()

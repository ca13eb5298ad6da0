"""Read a multiple sequence alignment (A3M, FASTA or Stockholm) as the profile of its query."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

import numpy as np

from ..errors import StructureError
from ..protein.sequence import AMINO_ACIDS, encode_sequence
from ..protein.sequence_search import substitution_frequencies

_GAPS = "-.~"
_PSEUDOCOUNT = 5.0  # as many effective sequences as pseudocounts stand for
_LETTERS = len(AMINO_ACIDS)


def read_alignment(path: str | os.PathLike, sequence: str) -> np.ndarray:
    """Profile of a query sequence from an alignment whose first sequence it is.

    Sequences are weighted by position (Henikoff & Henikoff, J. Mol. Biol. 1994). Frequencies are
    mixed with those expected from BLOSUM62, with a weight that falls with the number of different
    amino acids in the column (Altschul et al., Nucleic Acids Res. 1997).

    Parameters
    ----------
    path : path
        A3M, aligned FASTA or Stockholm file; may be compressed by gzip.
    sequence : str
        The query, of L letters.

    Returns
    -------
    ndarray, float32 [L, 20]
        Frequencies of the amino acids (in the order of their letters) at each residue.

    Raises
    ------
    StructureError
        The file cannot be read, its sequences have different lengths, or the first sequence is not
        the query. The message names the first difference.
    """
    path = Path(path)
    rows = _columns(path, _records(path))
    query = rows[0]
    sequence = "".join(sequence.split()).upper()
    _check_query(path, query, sequence)
    codes = np.full((len(rows), len(query)), _LETTERS, np.int64)
    for row, text in zip(codes, rows, strict=True):
        row[:] = encode_sequence(text)
    return alignment_profile(codes)


def alignment_profile(codes: np.ndarray) -> np.ndarray:
    """Profile float32 [L, 20] of aligned sequences.

    Parameters
    ----------
    codes : ndarray, int [S, L]
        Amino acids; 20 for gaps and unknown residues. The first sequence is the query.
    """
    known = codes < _LETTERS
    counts = np.stack([(codes == a).sum(0) for a in range(_LETTERS)], 1)
    different = np.maximum((counts > 0).sum(1), 1)
    columns = np.arange(codes.shape[1])
    share = 1 / (different * np.maximum(counts[columns, np.minimum(codes, _LETTERS - 1)], 1))
    weight = np.where(known, share, 0).sum(1) / np.maximum(known.sum(1), 1)
    weight = np.where(known.any(1), weight, 0)
    found = np.stack([(weight[:, None] * (codes == a)).sum(0) for a in range(_LETTERS)], 1)
    empty = found.sum(1) == 0
    found[empty] = 1 / _LETTERS
    found /= found.sum(1, keepdims=True)
    expected = found @ substitution_frequencies()
    trust = (different - 1)[:, None]
    mixed = (trust * found + _PSEUDOCOUNT * expected) / (trust + _PSEUDOCOUNT)
    return mixed.astype(np.float32)


def _check_query(path: Path, query: str, sequence: str) -> None:
    for place, (ours, theirs) in enumerate(zip(sequence, query, strict=False), 1):
        if ours != theirs:
            raise StructureError(
                f"{path}: its first sequence has {theirs} at position {place}, but the sequence "
                f"to sample has {ours}; give an alignment whose first sequence is that sequence"
            )
    if len(query) != len(sequence):
        raise StructureError(
            f"{path}: its first sequence has {len(query)} residues, but the sequence to sample "
            f"has {len(sequence)}; give an alignment whose first sequence is that sequence"
        )


def _columns(path: Path, records: list[tuple[str, str]]) -> list[str]:
    """Aligned sequences without the columns where the first one has a gap; upper case."""
    lengths = {len(text) for _, text in records}
    lower = any(letter.islower() for _, text in records for letter in text)
    if lower and (path.name.removesuffix(".gz").endswith(".a3m") or len(lengths) > 1):
        # A3M: lower-case letters are insertions and have no column; dots stand beside them.
        kept = [
            (name, "".join(c for c in text if not c.islower() and c != "."))
            for name, text in records
        ]
        records = kept
    first, query = records[0]
    for name, text in records:
        if len(text) != len(query):
            raise StructureError(
                f"{path}: {name!r} has {len(text)} columns, but {first!r} has {len(query)}; give "
                "an alignment (A3M, aligned FASTA or Stockholm)"
            )
    columns = [k for k, letter in enumerate(query) if letter not in _GAPS]
    if not columns:
        raise StructureError(f"{path}: the first sequence, {first!r}, has no residues")
    return ["".join([text[k] for k in columns]).upper() for _, text in records]


def _records(path: Path) -> list[tuple[str, str]]:
    """Names and texts of the sequences of a file."""
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        lines = data.decode("utf-8-sig").splitlines()
    except OSError as error:
        raise StructureError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (UnicodeDecodeError, EOFError, zlib.error):
        raise StructureError(f"{path}: not a text file; give A3M, FASTA or Stockholm") from None
    stockholm = bool(lines) and lines[0].startswith("# STOCKHOLM")
    records = _stockholm(lines) if stockholm else _fasta(lines)
    if not records:
        raise StructureError(f"{path}: no sequences; give A3M, FASTA or Stockholm")
    return records


def _stockholm(lines: list[str]) -> list[tuple[str, str]]:
    found: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("//"):
            break
        words = line.split()
        if len(words) == 2 and not line.startswith("#"):
            found.setdefault(words[0], []).append(words[1])
    return [(name, "".join(parts)) for name, parts in found.items()]


def _fasta(lines: list[str]) -> list[tuple[str, str]]:
    """Records of a FASTA file; names may occur twice. Comments of A3M files are left out."""
    found: list[tuple[str, list[str]]] = []
    for line in map(str.strip, lines):
        if line.startswith(">"):
            found.append((line[1:].split(maxsplit=1)[0] if line[1:].strip() else "?", []))
        elif line and not line.startswith("#") and found:
            found[-1][1].append("".join(line.split()))
    # Secondary structure that HHsuite writes before the query.
    return [(name, "".join(parts)) for name, parts in found if not name.startswith("ss_")]

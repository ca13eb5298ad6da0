"""Amino-acid sequences: validation, chains, FASTA files, and encoding for the networks."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

import numpy as np

from ..errors import SequenceError

AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"
UNKNOWN = 20  # index in network input of any residue but these 20 ("X")
MAX_LENGTH = 1024
CHAIN_GAP = 65  # step of the residue index between chains; beyond every relative position
UNRELATED = 33  # steps of the residue index from here on mean "not close in sequence"

THREE_LETTER = {
    "A": "ALA", "C": "CYS", "D": "ASP", "E": "GLU", "F": "PHE", "G": "GLY", "H": "HIS",
    "I": "ILE", "K": "LYS", "L": "LEU", "M": "MET", "N": "ASN", "P": "PRO", "Q": "GLN",
    "R": "ARG", "S": "SER", "T": "THR", "V": "VAL", "W": "TRP", "Y": "TYR",
}  # fmt: skip
ONE_LETTER = {three: one for one, three in THREE_LETTER.items()}

_UPPER = {ord(letter.lower()): letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
_REMEDY = {
    "X": "name the residue, or leave it out",
    "B": "write D or N",
    "Z": "write E or Q",
    "J": "write L or I",
    "U": "selenocysteine is not modelled; write C",
    "O": "pyrrolysine is not modelled; write K",
    "-": "remove the gaps",
    "*": "remove the stop",
}


def parse_sequence(text: str) -> tuple[str, ...]:
    """Validate a sequence and split it into chains.

    Parameters
    ----------
    text : str
        One-letter codes of the 20 amino acids, ``:`` between chains. White space is ignored;
        lower case is accepted.

    Returns
    -------
    tuple of str
        One upper-case string per chain.

    Raises
    ------
    SequenceError
        The sequence is empty, too short or too long, or has an unknown letter. The message names
        the letter, its position (from 1) and its chain.
    """
    if not isinstance(text, str):
        raise SequenceError(f"sequence is {type(text).__name__}, expected a string of letters")
    # Only ASCII letters are converted: 'ß'.upper() is 'SS', which would add two serines.
    chains = tuple("".join(part.split()).translate(_UPPER) for part in text.split(":"))
    if not any(chains):
        raise SequenceError("the sequence is empty; give one-letter amino acids, 'AAA:BBB'")
    for number, chain in enumerate(chains, 1):
        where = f" of chain {number}" if len(chains) > 1 else ""
        if not chain:
            raise SequenceError(f"chain {number} of {len(chains)} is empty; remove the extra ':'")
        for position, letter in enumerate(chain, 1):
            if letter not in AMINO_ACIDS:
                remedy = _REMEDY.get(letter, f"use the letters {AMINO_ACIDS}")
                raise SequenceError(
                    f"{letter!r} at position {position}{where} is not one of the 20 amino acids; "
                    + remedy
                )
        if len(chain) < 2:
            raise SequenceError(f"one residue ({chain}){where}: at least 2 are needed")
    total = sum(map(len, chains))
    if total > MAX_LENGTH:
        raise SequenceError(
            f"the sequence has {total} residues, at most {MAX_LENGTH} are supported; sample its "
            "domains separately"
        )
    return chains


def encode_sequence(sequence: str) -> np.ndarray:
    """Index of each letter in `AMINO_ACIDS`, int64 [L]; 20 for any other letter."""
    table = np.full(256, UNKNOWN, np.int64)
    table[np.frombuffer(AMINO_ACIDS.encode(), np.uint8)] = np.arange(20)
    return table[np.frombuffer(sequence.encode("latin-1", "replace"), np.uint8)]


def sequence_layout(chains: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Network input for chains without gaps.

    Returns
    -------
    amino_acids, chain_index, residue_index : ndarray, int64 [L]
        The residue index rises by 1 within a chain and by 65 between chains.
    """
    chain = np.repeat(np.arange(len(chains)), [len(c) for c in chains])
    index = np.arange(len(chain)) + (CHAIN_GAP - 1) * chain
    return encode_sequence("".join(chains)), chain, index


def read_fasta(path: str | os.PathLike) -> dict[str, str]:
    """Sequences of a FASTA file (also .gz), keyed by the first word of the header.

    Raises
    ------
    SequenceError
        The file is not FASTA or a sequence is invalid. The message names the file and the line or
        record.
    """
    out = {}
    for name, text in read_records(path).items():
        try:
            out[name] = ":".join(parse_sequence(text))
        except SequenceError as error:
            raise SequenceError(f"{path}, {name}: {error}") from None
    return out


def read_records(path: str | os.PathLike) -> dict[str, str]:
    """Records of a FASTA file; unlike `read_fasta`, without validation of the letters."""
    path = Path(path)
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise SequenceError(f"{path}: cannot be read ({error})") from None
    except (UnicodeDecodeError, EOFError, zlib.error):
        raise SequenceError(f"{path}: not a text file; FASTA expected") from None
    records: dict[str, list[str]] = {}
    current: list[str] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if line.startswith(">"):
            words = line[1:].split()
            if not words:
                raise SequenceError(f"{path}, line {number}: a header without a name")
            if words[0] in records:
                raise SequenceError(f"{path}, line {number}: {words[0]!r} occurs twice; rename one")
            current = records[words[0]] = []
        elif line:
            if current is None:
                raise SequenceError(
                    f"{path}, line {number}: text before the first '>'; FASTA expected"
                )
            current.append(line)
    if not records:
        raise SequenceError(f"{path}: no sequences; FASTA expected")
    return {name: "".join(lines) for name, lines in records.items()}

"""Token layout of ESM3 for sequences and structures, special tokens included."""

from __future__ import annotations

import numpy as np

#: Structure tokens: codes 0..4095, then five special tokens.
CODES = 4096
MASK, EOS, BOS, PAD, CHAIN_BREAK = range(CODES, CODES + 5)

_LETTERS = "LAGVSERTIDPKQNFYMHWCX"  # numbered from 4
#: Sequence tokens by letter or name; ``_`` is the mask token.
SEQUENCE = {"BOS": 0, "PAD": 1, "EOS": 2, "BREAK": 31, "_": 32}
SEQUENCE.update({letter: number for number, letter in enumerate(_LETTERS, 4)})


def esm3_layout(chains: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Sequence tokens of chains and the positions of their residues.

    Returns
    -------
    tokens : ndarray, int64 [P]
        BOS, residues, EOS, with a break token between chains: P = L + 1 + number of chains.
    positions : ndarray, int64 [L]
        Index in `tokens` of each residue, in sequence order.
    """
    tokens, positions = [SEQUENCE["BOS"]], []
    for number, chain in enumerate(chains):
        if number:
            tokens.append(SEQUENCE["BREAK"])
        positions += range(len(tokens), len(tokens) + len(chain))
        tokens += (SEQUENCE.get(letter, SEQUENCE["X"]) for letter in chain)
    return np.array([*tokens, SEQUENCE["EOS"]], np.int64), np.array(positions, np.int64)


def structure_row(tokens: np.ndarray, positions: np.ndarray, length: int) -> np.ndarray:
    """Full rows int64 [F, P] with the residue tokens [F, L] (-1 is masked) at `positions` [L].

    P is `length`; BOS, EOS and chain breaks fill the other positions.
    """
    row = np.full((len(tokens), length), CHAIN_BREAK, np.int64)
    row[:, 0], row[:, -1] = BOS, EOS
    row[:, positions] = np.where(tokens < 0, MASK, tokens)
    return row

"""Backbones and residue numbers of several chains in one compressed block of bytes.

Coordinates are stored as `openmm_slm.data.coordinate_codes`. A block holds so few chains that one
of them is decoded in some 10 ms, and so many that they compress well.
"""

from __future__ import annotations

import lzma
from collections.abc import Sequence

import numpy as np

from ..data.coordinate_codes import (
    BackboneCodes,
    codable,
    decode_backbone,
    encode_backbone,
    step_of,
)

# Streams of a block: type, shape of a record, and the low bits of the place that predict a byte.
_STREAMS = {
    "numbers": ("<i4", (), 2),
    "present": ("u1", (), 0),
    "anchor": ("u1", (), 0),
    "start": ("<i4", (3, 3), 2),
    "bonds": ("i1", (4, 2), 3),
    "torsions": ("i1", (4,), 2),
}


def pack_block(
    backbones: Sequence[np.ndarray], numbers: Sequence[np.ndarray], error: float
) -> bytes:
    """Compress chains.

    Parameters
    ----------
    backbones : sequence of ndarray [L, 4, 3]
        N, CA, C and O in nm. A residue that lacks an atom is stored as absent.
    numbers : sequence of ndarray, int [L]
        Residue numbers.
    error : float
        Largest displacement of an atom in nm.

    Returns
    -------
    bytes
    """
    joined = np.concatenate(backbones).astype(np.float32)
    begin = np.concatenate([np.arange(len(chain)) == 0 for chain in backbones])
    present = codable(joined)
    first = (begin | ~np.roll(present, 1))[present]
    codes = encode_backbone(joined[present], first, step_of(error))
    streams = {
        "numbers": np.concatenate([np.diff(values, prepend=0) for values in numbers]),
        "present": np.packbits(present),
        "anchor": np.packbits(codes.anchor),
        "start": codes.start,
        "bonds": codes.bonds,
        "torsions": codes.torsions,
    }
    parts = []
    for name, (kind, _, places) in _STREAMS.items():
        raw = np.ascontiguousarray(streams[name], kind).tobytes()
        parts.append(lzma.compress(raw, lzma.FORMAT_RAW, filters=_filters(places)))
    sizes = np.array([len(part) for part in parts], "<u4")
    return sizes.tobytes() + b"".join(parts)


class Block:
    """The chains of a block of bytes, decoded one at a time.

    Parameters
    ----------
    packed : bytes
        From `pack_block`.
    lengths : sequence of int
        Lengths of its chains.
    error : float
        As given to `pack_block`.
    """

    def __init__(self, packed: bytes, lengths: Sequence[int], error: float) -> None:
        self._step = step_of(error)
        self._end = np.cumsum(lengths)
        self._begin = self._end - lengths
        total = int(self._end[-1])
        place = 4 * len(_STREAMS)
        sizes = np.frombuffer(packed[:place], "<u4").tolist()
        found = {}
        for (name, (kind, shape, places)), size in zip(_STREAMS.items(), sizes, strict=True):
            raw = lzma.decompress(
                packed[place : place + size], lzma.FORMAT_RAW, filters=_filters(places)
            )
            found[name] = np.frombuffer(raw, kind).reshape(-1, *shape)
            place += size
        self._numbers = found["numbers"]
        self._present = np.unpackbits(found["present"], count=total).astype(bool)
        count = int(self._present.sum())
        anchor = np.unpackbits(found["anchor"], count=count).astype(bool)
        self._codes = BackboneCodes(anchor, found["start"], found["bonds"], found["torsions"])

    def numbers(self, chain: int) -> np.ndarray:
        """Residue numbers int32 [L] of a chain, given by its place in the block."""
        return np.cumsum(self._numbers[self._begin[chain] : self._end[chain]]).astype(np.int32)

    def backbone(self, chain: int) -> np.ndarray:
        """Backbone float32 [L, 4, 3] in nm; NaN in residues that lack an atom."""
        begin, end = self._begin[chain], self._end[chain]
        present = self._present[begin:end]
        out = np.full((len(present), 4, 3), np.nan, np.float32)
        first = int(self._present[:begin].sum())
        part = slice(first, first + int(present.sum()))
        anchors = int(self._codes.anchor[:first].sum())
        anchor = self._codes.anchor[part]
        codes = BackboneCodes(
            anchor,
            self._codes.start[anchors : anchors + int(anchor.sum())],
            self._codes.bonds[part],
            self._codes.torsions[part],
        )
        if present.any():
            out[present] = decode_backbone(codes, self._step)
        return out

    @staticmethod
    def decode(blocks: Sequence[Block]) -> np.ndarray:
        """Backbones float32 [R, 4, 3] of all chains of several blocks, one after the other.

        This takes a fifth of the time of decoding chain by chain.
        """
        parts = [block._codes for block in blocks]
        joined = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("anchor", "start", "bonds", "torsions")
        )
        present = np.concatenate([block._present for block in blocks])
        out = np.full((len(present), 4, 3), np.nan, np.float32)
        out[present] = decode_backbone(BackboneCodes(*joined), blocks[0]._step)
        return out


def _filters(places: int) -> list[dict]:
    return [{
        "id": lzma.FILTER_LZMA2, "preset": 6, "lc": 0 if places else 4, "lp": places, "pb": places,
    }]  # fmt: skip

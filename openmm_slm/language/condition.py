"""Condition of a language model: numbers per residue, in addition to the sequence.

The condition of a sequence of L residues is an array [L, D] that the user computes: embeddings of a
large protein language model, secondary structure, chemical shifts. `condition_input` adds it to a
network.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import SLMError


@dataclass(frozen=True, eq=False)
class SequenceCondition:
    """Condition of one sequence.

    Attributes
    ----------
    values : ndarray, float32 [L, D]
        One row per residue, all chains, in sequence order.
    embeddings : str, optional
        Identity of the embedding model (`embedding.Embedder.identity`); None if not known.
    source : str, optional
        File or model that the values come from.
    """

    values: np.ndarray
    embeddings: str | None = None
    source: str | None = None

    @classmethod
    def of(cls, given: object, sequence: str) -> SequenceCondition:
        """Condition of a sequence from an array [L, D] or a ``.npy`` file.

        Raises
        ------
        SLMError
            The file cannot be read, or the values are not a finite array with L rows.
        """
        if isinstance(given, cls):
            given._check(sequence)
            return given
        source = None
        if isinstance(given, (str, os.PathLike)):
            source = os.path.abspath(given)
            try:
                given = np.load(Path(given), allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise SLMError(
                    f"condition {source}: cannot be read as a .npy file ({error}); write it with "
                    "numpy.save"
                ) from None
        try:
            values = np.asarray(given, np.float32)
        except (TypeError, ValueError) as error:
            raise SLMError(f"condition: not an array of numbers ({error})") from None
        made = cls(np.ascontiguousarray(values), None, source)
        made._check(sequence)
        return made

    def _check(self, sequence: str) -> None:
        length = residues(sequence)
        shape, where = self.values.shape, f"condition {self.source or ''}".strip()
        if len(shape) != 2 or shape[0] != length or not shape[1]:
            raise SLMError(
                f"{where} has shape {list(shape)}, expected [{length}, D]: one row for each "
                "residue of the sequence"
            )
        if not np.isfinite(self.values).all():
            row = int((~np.isfinite(self.values)).any(1).argmax())
            raise SLMError(f"{where} is not finite in row {row} (residues are counted from 0)")

    def identity(self) -> dict[str, str | None]:
        """Entries of ``run.json``: source, embedding model and checksum."""
        digest = hashlib.sha256(str(self.values.shape).encode() + self.values.tobytes())
        return {
            "source": self.source,
            "embeddings": self.embeddings,
            "sha256": digest.hexdigest()[:16],
        }


def residues(sequence: str) -> int:
    """Number of residues in a sequence, X included."""
    return len("".join(sequence.split()).replace(":", ""))


def fitting_condition(
    given: object, sequence: str, size: int | None, trained_on: str | None
) -> np.ndarray | None:
    """Validate a condition for a model with `size` numbers per residue (None: no condition).

    Returns
    -------
    ndarray, float32 [L, size], or None

    Raises
    ------
    SLMError
        The model needs a condition and none is given, or the reverse; the size differs; or the
        embeddings are known to differ from those that the model was `trained_on`.
    """
    if given is None and size is None:
        return None
    length = residues(sequence)
    named = f" of {trained_on}" if trained_on else ""
    if given is None:
        raise SLMError(
            f"this model was trained with a condition{named}; give condition, an array "
            f"[{length}, {size}]"
        )
    if size is None:
        raise SLMError("this model was trained without condition; leave condition out")
    made = SequenceCondition.of(given, sequence)
    if made.values.shape[1] != size:
        raise SLMError(
            f"condition has shape {list(made.values.shape)}, this model was trained with "
            f"[{length}, {size}]{named}"
        )
    if made.embeddings and trained_on and made.embeddings != trained_on:
        raise SLMError(
            f"condition is of {made.embeddings}, this model was trained with that of {trained_on}"
        )
    return made.values

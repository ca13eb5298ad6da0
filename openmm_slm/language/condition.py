"""What a language model may be told of a sequence beside its letters: numbers per residue.

The condition of a sequence of L residues is an array [L, D], whatever the user computed: embeddings
of a large protein language model, secondary structure, chemical shifts. What a network makes of it
is in `condition_input`.
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
    """Numbers of each residue of one sequence.

    Attributes
    ----------
    values : ndarray, float32 [L, D]
        Of the residues of all chains, in the order of the sequence.
    embeddings : str, optional
        What they are (`embedding.Embedder.identity`); None: the user knows.
    source : str, optional
        File or model they come from.
    """

    values: np.ndarray
    embeddings: str | None = None
    source: str | None = None

    @classmethod
    def of(cls, given: object, sequence: str) -> SequenceCondition:
        """The condition of a sequence from an array [L, D] or a ``.npy`` file of one.

        Raises
        ------
        SLMError
            The file cannot be read, or it is no array of finite numbers with L rows.
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
            raise SLMError(f"{where} is not finite in row {row} (of residues from 0)")

    def identity(self) -> dict[str, str | None]:
        """What ``run.json`` says of it: where it came from, what it is, and a checksum."""
        digest = hashlib.sha256(str(self.values.shape).encode() + self.values.tobytes())
        return {
            "source": self.source,
            "embeddings": self.embeddings,
            "sha256": digest.hexdigest()[:16],
        }


def residues(sequence: str) -> int:
    """How many letters, X among them, a sequence has."""
    return len("".join(sequence.split()).replace(":", ""))


def fitting_condition(
    given: object, sequence: str, size: int | None, trained_on: str | None
) -> np.ndarray | None:
    """The condition that a model of `size` numbers a residue (None: of no condition) gets.

    Returns
    -------
    ndarray, float32 [L, size], or None

    Raises
    ------
    SLMError
        There is one and the model has none, or the other way about; it has another size; it is
        known to be of other embeddings than the model was `trained_on`.
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

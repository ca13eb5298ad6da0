"""What a search of a library finds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, eq=False)
class LibraryHit:
    """A library chain aligned to part of a query.

    Attributes
    ----------
    number : int
        Index of the chain in the library.
    id, pdb, chain : str
        Id of the library chain, its PDB entry and chain name.
    places : ndarray, int [2, P]
        Aligned residues of the query (first row) and of the hit; ascending, from 0.
    identity : float
        Share of the aligned pairs that are identical.
    coverage : float
        Share of the query that is aligned.
    bits : float
        Score: E = N 2^-bits for N chains searched.
    e_value : float
        Expected number of chance hits with at least this score.
    probability : float
        Calibrated probability that the query threaded on the hit has the right fold (TM-score of
        at least 0.5 over the length of the query).
    stretch_probability : float
        The same for the stretch of the query from the first to the last aligned residue, such as
        one domain of several.
    """

    number: int
    id: str
    pdb: str
    chain: str
    places: np.ndarray
    identity: float
    coverage: float
    bits: float
    e_value: float
    probability: float
    stretch_probability: float

    @property
    def span(self) -> tuple[int, int]:
        """First aligned query residue, and the one after the last."""
        return int(self.places[0, 0]), int(self.places[0, -1]) + 1

    @property
    def closeness(self) -> float:
        """How well the hit serves as a template, compared with other hits of the same query.

        Bits and aligned residues, those that are identical counted one and a half times. A close
        relative may have fewer bits than others of its family, because bits compare the query with
        a profile. Chosen on validation chains for the TM-score of the first hit.
        """
        aligned = self.places.shape[1]
        return self.bits + aligned * (1 + 0.5 * self.identity)

    def moved(self, by: int, length: int) -> LibraryHit:
        """The hit of a part of a query, in the numbering of the whole query of `length` residues.

        ``probability`` is still that of the part.
        """
        places = self.places + [[by], [0]]
        return replace(self, places=places, coverage=places.shape[1] / length)

    def summary(self) -> dict[str, object]:
        """Record of the hit for ``run.json``."""
        first, end = self.span
        return {
            "id": self.id,
            "pdb": self.pdb,
            "chain": self.chain,
            "residues": [first + 1, end],
            "identity": round(self.identity, 3),
            "coverage": round(self.coverage, 3),
            "bits": round(self.bits, 1),
            "e_value": float(f"{self.e_value:.2g}"),
            "probability": round(self.probability, 3),
            "stretch_probability": round(self.stretch_probability, 3),
        }

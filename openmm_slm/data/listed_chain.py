"""One row of a list of chains."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ListedChain:
    """One row of a list of chains (see `openmm_slm.data.chain_list`).

    Attributes
    ----------
    pdb : str
        PDB id in lower case.
    chains : tuple of str
    split : str
    cluster : str or None
        None if the list has no such column.
    stretches : tuple of (int, str)
        Length and first letters of the wanted stretch of each chain; empty for whole chains.
    extra : tuple of (str, str)
        Other columns; they are copied into the index.
    """

    pdb: str
    chains: tuple[str, ...]
    split: str
    cluster: str | None
    stretches: tuple[tuple[int, str], ...]
    extra: tuple[tuple[str, str], ...]

    @property
    def columns(self) -> dict[str, str]:
        """Columns that the list adds to the index."""
        cluster = {} if self.cluster is None else {"cluster": self.cluster}
        return {**dict(self.extra), "split": self.split, **cluster}

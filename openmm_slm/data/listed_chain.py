"""One chain of a list of chains."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ListedChain:
    """One row of a list.

    `cluster` is None where the list has none, `stretches` are (length, first letters) of each
    chain, or empty; `extra` are columns that only go into the index.
    """

    pdb: str
    chains: tuple[str, ...]
    split: str
    cluster: str | None
    stretches: tuple[tuple[int, str], ...]
    extra: tuple[tuple[str, str], ...]

    @property
    def columns(self) -> dict[str, str]:
        """What the index says of the entry beside its structure."""
        cluster = {} if self.cluster is None else {"cluster": self.cluster}
        return {**dict(self.extra), "split": self.split, **cluster}

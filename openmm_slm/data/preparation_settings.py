"""Settings of `prepare`: which entries are kept, how they are clustered and split."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import SLMError
from ..files.options import documented, option, set_checked


@documented
@dataclass(frozen=True)
class PreparationSettings:
    """Settings of `openmm_slm.data.prepare.prepare`; checked when the object is made.

    Parameters
    ----------
    {options}

    Raises
    ------
    SLMError
        Names the setting, its value and the allowed values.
    """

    chains: str | None = option(
        None,
        "path, optional",
        """List of chains (see `openmm_slm.data.chain_list`). Only these chains are taken, from
        files named by PDB id, with the splits of the list. Chains that are not found appear in the
        report. ``"default"`` is the list that the shipped models were trained on.""",
        brief="CSV file of chains and their splits; other chains are ignored. 'default': the "
        "training chains of the shipped models. INPUT is then a folder of files named by PDB id.",
    )
    top: str | None = option(
        None,
        "path, optional",
        "Topology of the trajectories; not needed for formats that contain it (GRO, HDF5).",
        brief="Topology file, for trajectories in XTC, DCD, ...",
    )
    stride: int = option(
        1,
        "int",
        "Take every `stride`-th frame of a trajectory.",
        brief="Use every n-th frame.",
    )
    min_length: int = option(
        20,
        "int",
        "Smallest number of residues of an entry.",
        brief="Minimum residues per entry.",
    )
    max_length: int = option(
        1024,
        "int",
        "Largest number of residues of an entry.",
        brief="Maximum residues per entry.",
    )
    max_resolution: float | None = option(
        3.5,
        "float, optional",
        """Largest resolution in Å; None for no limit. Files without one (NMR, predictions) are
        kept.""",
        brief="Maximum resolution in Å. Files that state none are kept.",
    )
    min_complete: float = option(
        0.9,
        "float",
        "Smallest share of residues that have N, CA and C.",
        brief="Minimum share of residues with N, CA and C.",
    )
    max_breaks: int = option(
        10,
        "int",
        """Largest number of breaks inside chains. A break is a pair of neighbours whose C and N
        are absent or 2 Å or more apart.""",
        brief="Maximum breaks within chains.",
    )
    max_unknown: float = option(
        0.1,
        "float",
        "Largest share of residues that are not standard amino acids (X).",
        brief="Maximum share of unknown residues (X) in a sequence.",
    )
    complexes: bool = option(False, "bool", "Make one entry of all chains of a file.")
    cluster: bool = option(
        False,
        "bool",
        """Cluster chains with MMseqs2 at `identity` and 80 % coverage; otherwise only identical
        chains share a cluster. Entries with chains in a common cluster form one cluster.""",
        brief="Cluster chains with MMseqs2 (80 % coverage).",
    )
    identity: float = option(
        0.3,
        "float",
        "Sequence identity of the clusters.",
        brief="Sequence identity within clusters.",
    )
    validation_share: float = option(
        0.0,
        "float",
        """Share of the clusters in the split ``val``, chosen by a hash of the first sequence of
        the cluster. Clusters in neither share are ``train``.""",
        brief="Share of the clusters put into the split val.",
    )
    test_share: float = option(
        0.0,
        "float",
        "Share of the clusters in the split ``test``, chosen as for `validation_share`.",
        brief="Share of the clusters put into the split test.",
    )

    def __post_init__(self) -> None:
        for name in ("chains", "top"):
            path = getattr(self, name)
            set_checked(self, name, None if path is None else str(path))
        shares = self.validation_share + self.test_share
        for fits, name, expected in (
            (self.stride >= 1, "stride", "1 or more"),
            (self.min_length >= 2, "min_length", "2 or more"),
            (self.max_length >= self.min_length, "max_length", "min_length or more"),
            (self.max_resolution is None or self.max_resolution > 0, "max_resolution",
             "more than 0 Å, or None"),
            (0 < self.min_complete <= 1, "min_complete", "more than 0, up to 1"),
            (self.max_breaks >= 0, "max_breaks", "0 or more"),
            (0 <= self.max_unknown <= 1, "max_unknown", "a share from 0 to 1"),
            (0 < self.identity <= 1, "identity", "more than 0, up to 1"),
            (0 <= self.test_share <= 1, "test_share", "a share from 0 to 1"),
            (self.validation_share >= 0 and shares <= 1, "validation_share",
             "0 or more, and at most 1 together with test_share"),
        ):  # fmt: skip
            if not fits:
                raise SLMError(f"{name} is {getattr(self, name)!r}, expected {expected}")
        for name in ("top", "complexes", "cluster", "validation_share", "test_share"):
            if self.chains is not None and getattr(self, name):
                raise SLMError(
                    f"{name} is {getattr(self, name)!r} with a list of chains, but the list "
                    "defines entries and splits; leave one of them out"
                )

"""Sequence clusters of entries, and splits into training, validation and test by cluster."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ..errors import SLMError

COVERAGE = 0.8  # of both sequences


def find_mmseqs() -> str:
    """Path of the MMseqs2 program.

    Raises
    ------
    SLMError
        It is not installed.
    """
    program = shutil.which("mmseqs")
    if program is None:
        raise SLMError(
            "clustering needs MMseqs2, but mmseqs is not on the PATH; install it (conda install "
            "-c conda-forge -c bioconda mmseqs2) or do not cluster"
        )
    return program


def assign_clusters(
    sequences: Sequence[str], identity: float | None, folder: Path, threads: int = 1
) -> list[int]:
    """Assign each entry to a cluster, given as the number of the cluster's first entry.

    Chains are clustered first. Complexes that share a cluster of chains, directly or through other
    complexes, then form one cluster (single linkage). A common partner chain can make such a
    cluster large, but no chain is ever in two clusters.

    Parameters
    ----------
    sequences : sequence of str
        One per entry, ``:`` between chains.
    identity : float, optional
        Sequence identity of MMseqs2 clusters. None: only identical chains share a cluster.
    folder : Path
        Working folder of MMseqs2.
    threads : int
        Threads of MMseqs2.
    """
    chains = list(dict.fromkeys(chain for text in sequences for chain in text.split(":")))
    group = {chain: chain for chain in chains}
    if identity is not None and len(chains) > 1:
        group |= _mmseqs(chains, identity, folder, threads)
    parent: dict[str, str] = {}

    def root(label: str) -> str:
        while (above := parent.get(label, label)) != label:
            parent[label] = parent.get(above, above)
            label = above
        return label

    labels = [[group[chain] for chain in text.split(":")] for text in sequences]
    for first, *others in labels:
        for other in others:
            parent[root(other)] = root(first)
    representative: dict[str, int] = {}
    return [representative.setdefault(root(own[0]), i) for i, own in enumerate(labels)]


def _mmseqs(chains: list[str], identity: float, folder: Path, threads: int) -> dict[str, str]:
    """Cluster representative of each chain."""
    folder.mkdir(parents=True, exist_ok=True)
    fasta, result = folder / "chains.fasta", folder / "result"
    fasta.write_text(
        "".join(f">{number}\n{chain}\n" for number, chain in enumerate(chains)), encoding="utf-8"
    )
    command = [find_mmseqs(), "easy-cluster", fasta, result, folder / "work", "-v", "1",
               "--min-seq-id", str(identity), "-c", str(COVERAGE), "--cov-mode", "0",
               "--threads", str(threads)]  # fmt: skip
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        message = (done.stdout + done.stderr).strip().splitlines()[-3:]
        raise SLMError(f"mmseqs ended with code {done.returncode}: {' '.join(message)}")
    pairs = (
        line.split()
        for line in Path(f"{result}_cluster.tsv").read_text(encoding="utf-8").splitlines()
    )
    return {chains[int(member)]: chains[int(first)] for first, member in pairs}


def split_of(sequence: str, validation_share: float, test_share: float) -> str:
    """Split (``test``, ``val`` or ``train``) of the cluster whose first entry has this sequence.

    The split depends on a hash of the sequence alone. Adding data does not move a cluster to
    another split as long as its first entry stays first.
    """
    digest = hashlib.sha256(sequence.encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < test_share:
        return "test"
    return "val" if place < test_share + validation_share else "train"

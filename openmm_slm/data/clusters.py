"""Clusters of entries, and splits that no cluster crosses."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ..errors import SLMError

COVERAGE = 0.8  # of both sequences


def find_mmseqs() -> str:
    """Path of MMseqs2; SLMError where there is none."""
    program = shutil.which("mmseqs")
    if program is None:
        raise SLMError(
            "clustering needs MMseqs2, and no mmseqs is on the PATH; install it (conda install "
            "-c conda-forge -c bioconda mmseqs2) or leave clustering out"
        )
    return program


def assign_clusters(
    sequences: Sequence[str], identity: float | None, folder: Path, threads: int = 1
) -> list[int]:
    """For each entry the number of the first entry of its cluster.

    Chains are clustered, not entries: complexes that share a cluster of chains, directly or
    through others, are one cluster (single linkage). That makes clusters large where many
    complexes have a partner in common, but no chain is ever in two of them.

    Parameters
    ----------
    sequences : sequence of str
        One an entry, ``:`` between chains.
    identity : float, optional
        Of MMseqs2's clusters; without it only identical chains go together.
    folder : Path
        For MMseqs2's files.
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
    """Representative of each chain."""
    folder.mkdir(parents=True, exist_ok=True)
    fasta, result = folder / "chains.fasta", folder / "result"
    fasta.write_text("".join(f">{number}\n{chain}\n" for number, chain in enumerate(chains)))
    command = [find_mmseqs(), "easy-cluster", fasta, result, folder / "work", "-v", "1",
               "--min-seq-id", str(identity), "-c", str(COVERAGE), "--cov-mode", "0",
               "--threads", str(threads)]  # fmt: skip
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        told = (done.stdout + done.stderr).strip().splitlines()[-3:]
        raise SLMError(f"mmseqs ended with code {done.returncode}: {' '.join(told)}")
    pairs = (line.split() for line in Path(f"{result}_cluster.tsv").read_text().splitlines())
    return {chains[int(member)]: chains[int(first)] for first, member in pairs}


def split_of(sequence: str, validation_share: float, test_share: float) -> str:
    """``test``, ``val`` or ``train`` of the cluster whose first entry has this sequence.

    The hash makes it a property of the sequence: more data do not move a cluster to another split
    as long as its first entry stays the first.
    """
    digest = hashlib.sha256(sequence.encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < test_share:
        return "test"
    return "val" if place < test_share + validation_share else "train"

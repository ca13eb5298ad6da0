"""A structure library of random chains, made in a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from builders import ideal_backbone

from openmm_slm.data.shards import ShardWriter
from openmm_slm.library.building import build_library
from openmm_slm.protein.sequence import encode_sequence
from openmm_slm.protein.sequence_search import substitution_frequencies

LETTERS = "ACDEFGHIKLMNPQRSTVWY"


def random_sequence(rng: np.random.Generator, length: int) -> str:
    return "".join(rng.choice(list(LETTERS), length))


def mutated(rng: np.random.Generator, sequence: str, share: float) -> str:
    """The sequence with a share of its letters drawn again."""
    changed = rng.random(len(sequence)) < share
    other = random_sequence(rng, len(sequence))
    return "".join(b if c else a for a, b, c in zip(sequence, other, changed, strict=True))


def write_profiles(path: Path, chains: dict[str, str]) -> Path:
    """Profiles that BLOSUM62 expects."""
    expected = substitution_frequencies()
    columns = [expected[encode_sequence(sequence)] for sequence in chains.values()]
    q = np.rint(255 * np.sqrt(np.concatenate(columns))).astype(np.uint8)
    np.savez(path, id=list(chains), lens=[len(s) for s in chains.values()], q=q)
    return path


def write_library_shards(folder: Path, chains: int = 90) -> dict[str, str]:
    """Random chains of helices and strands, two of 70 with gaps in number or atoms; sequences."""
    rng = np.random.default_rng(0)
    writer, written = ShardWriter(folder / "shards", prefix="backbone"), {}
    for number in range(chains):
        length = int(rng.integers(50, 90))
        helix = np.repeat(rng.random(9) < 0.5, 10)[:length]
        phi = np.where(helix, -60, -120) + rng.normal(0, 8, length)
        psi = np.where(helix, -45, 130) + rng.normal(0, 8, length)
        xyz = ideal_backbone(np.radians(phi), np.radians(psi), np.full(length, np.pi))
        numbers = np.arange(length) + 5
        if number == 3:
            numbers[20:] += 7
            xyz[30, 1] = np.nan
        name, sequence = f"chain{number}", random_sequence(rng, length)
        writer.add(
            name, sequence, xyz, np.diff(numbers, prepend=4) != 1, numbers,
            split="test" if number % 10 == 9 else "train", cluster=f"family{number}",
            pdb=f"{number:03d}X", chain="A", cluster90=number // 2,
        )  # fmt: skip
        written[name] = sequence
    writer.close()
    return written


def write_small_library(folder: Path) -> dict[str, str]:
    """A library in ``folder/library``; sequences of its chains by id."""
    chains = write_library_shards(folder)
    write_profiles(folder / "profiles.npz", chains)
    build_library(folder / "shards", folder / "library", profiles=folder / "profiles.npz")
    return chains

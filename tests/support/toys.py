"""Things small enough to know: joints over a few tokens, and data and sizes to train in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from all_atoms import template_chain
from builders import ideal_backbone

from openmm_slm.allatom.builder import AtomBuilder
from openmm_slm.allatom.ideal import measure_geometry
from openmm_slm.allatom.rotamers import has_atom
from openmm_slm.data.shards import ShardWriter
from openmm_slm.protein.sequence import encode_sequence

LETTERS = "ACDEFGHIKLMNPQRSTVWY"
TINY = {
    "model": {
        "encoder_width": 32, "encoder_layers": 1, "neighbours": 8, "decoder_width": 32,
        "decoder_heads": 2, "decoder_layers": 2, "pair": 8, "refinements": 1,
    },
    "training": {"warmup": 5, "validate_every": 1000, "log_every": 1, "bf16": False, "seed": 3},
    "data": {"residues": 128, "crop": 32},
    "loss": {"soft_steps": 4},
}  # fmt: skip
TINY_LM = {
    "model": {"trunk_width": 32, "trunk_layers": 1, "trunk_heads": 2, "width": 32, "layers": 1,
              "heads": 2},
    "training": {"warmup": 5, "validate_every": 1000, "log_every": 1, "bf16": False},
    "data": {"residues": 256},
}  # fmt: skip

TINY_PACKER = {
    "model": {"width": 48, "edge_width": 24, "layers": 1, "neighbours": 8},
    "training": {
        "warmup": 5, "validate_every": 1000, "log_every": 1, "bf16": False, "learning_rate": 4e-3,
        "ema": 0.9,
    },
    "data": {"residues": 256},
}  # fmt: skip


TINY_BACKMAPPING = {
    "model": {"width": 48, "layers": 1, "near": 4, "near_width": 8},
    "training": {
        "steps": 60, "learning_rate": 0.01, "warmup": 5, "ema": 0.8, "bf16": False,
        "validate_every": 20,
    },
    "data": {"residues": 200, "noised": 0.0},
}  # fmt: skip


def joint(vocabulary: int, length: int, seed: int = 0) -> np.ndarray:
    """A correlated distribution over vocabulary^length, one axis a position."""
    p = np.random.default_rng(seed).gamma(0.5, size=(vocabulary,) * length) + 0.01
    return p / p.sum()


def exact_denoiser(p: np.ndarray):
    """Log p(z_l | visible tokens) of a joint, by summation; the mask token is the vocabulary."""
    length, vocabulary = p.ndim, p.shape[0]
    known: dict[tuple, np.ndarray] = {}

    def conditional(tokens: tuple[int, ...], position: int) -> np.ndarray:
        seen = tuple(slice(None) if t == vocabulary else t for t in tokens)
        free = [i for i in range(length) if tokens[i] == vocabulary]
        axes = tuple(k for k, i in enumerate(free) if i != position)
        return np.log(p[seen].sum(axis=axes) / p[seen].sum())

    def denoise(tokens: torch.Tensor, where: torch.Tensor, time: object = None) -> torch.Tensor:
        rows = []
        for b, position in where.nonzero().tolist():
            key = (*tokens[b].tolist(), position)
            if key not in known:
                known[key] = conditional(key[:-1], position)
            rows.append(known[key])
        return torch.tensor(np.array(rows))

    return denoise


def write_shards(directory: Path) -> Path:
    """Helices and strands of random lengths in random families; one has a gap."""
    rng = np.random.default_rng(0)
    writer = ShardWriter(directory, atoms=4, prefix="backbone", residues_per_shard=400)
    for number in range(24):
        length = int(rng.integers(24, 70))
        helix = rng.random(length) < 0.6
        phi = np.where(helix, -60, -120) + rng.normal(0, 8, length)
        psi = np.where(helix, -45, 130) + rng.normal(0, 8, length)
        xyz = ideal_backbone(np.radians(phi), np.radians(psi), np.full(length, np.pi))
        numbers, broken = np.arange(1, length + 1), np.zeros(length, bool)
        if number == 5:
            numbers[12:] += 7
            broken[12] = True
            xyz[3] = np.nan
        writer.add(
            f"chain{number}", "".join(rng.choice(list(LETTERS), length)), xyz, broken, numbers,
            split="val" if number >= 20 else "train", cluster=f"family{number // 2}", note=number,
        )  # fmt: skip
    writer.close()
    return directory


def write_side_chains(directory: Path) -> Path:
    """Strands and helices whose chi follow from the amino acid: chi_n of row k is 1.1 k + 2 n."""
    rng = np.random.default_rng(1)
    builder = AtomBuilder(measure_geometry([(template_chain(), encode_sequence(LETTERS))]))
    writer = ShardWriter(directory, atoms=14, prefix="heavy")
    for number in range(12):
        length = int(rng.integers(30, 50))
        phi = np.radians(rng.choice([-60, -120]) + rng.normal(0, 5, length))
        psi = np.radians(rng.choice([-45, 130]) + rng.normal(0, 5, length))
        backbone = ideal_backbone(phi, psi, np.full(length, np.pi)).astype(np.float32)
        sequence = "".join(rng.choice(list(LETTERS), length))
        aa = encode_sequence(sequence)
        chi = np.angle(np.exp(1j * (1.1 * aa[:, None] + 2 * np.arange(4))))
        chi[aa == LETTERS.index("P"), :2] = 0.4, -0.6
        values = (torch.as_tensor(x) for x in (backbone, aa, chi))
        atoms = np.where(has_atom[aa][..., None], builder(*values).numpy(), np.nan)
        writer.add(
            f"chain{number}", sequence, atoms, np.arange(length) == 0, np.arange(1, length + 1),
            split="val" if number >= 10 else "train", cluster=str(number),
        )  # fmt: skip
    writer.close()
    return directory

"""Torsions of disordered samples beside those of coil in known structures, with its sequences."""

from __future__ import annotations

import os

import numpy as np

from ..comparison.observables import karplus
from ..data.coil_chains import coil_chain, coil_stretches
from ..data.shards import ShardDataset
from ..protein.geometry import backbone_torsions
from ..sampling.backbones import BackboneSampler
from ..sampling.block_making import resolved
from ..sampling.ensemble import EnsembleGenerator
from ..sampling.request import make_request
from .text_table import Column, text_table

_CHAINS, _LENGTHS = 12, (40, 100)
_FEWEST = 20  # residues of an amino acid whose mean coupling is compared
_COLUMNS = {
    "alpha, %": Column("alpha", 1, 100),
    "beta, %": Column("beta", 1, 100),
    "PII, %": Column("polyproline", 1, 100),
    "phi > 0, %": Column("left", 1, 100),
    "3J(HN,HA), Hz": Column("coupling", 2),
}


def backbone_sampler(generator: EnsembleGenerator, sequence: str, seed: int) -> BackboneSampler:
    """Sampler of the backbones of a protein that is disordered as a whole."""
    request = make_request(sequence, 1, disordered="all", settings={"seed": seed})
    request = resolved(request, generator.language_model)
    return BackboneSampler(generator.tokenizer, generator.language_model, *request)


def torsions_table(
    generator: EnsembleGenerator, data: str | os.PathLike, *, split: str = "test", n: int, seed: int
) -> str:
    """Table of Ramachandran regions and mean couplings, and their correlation by amino acid.

    The reference are stretches of coil of one split, joined to chains (`data.coil_chains`); the
    samples have the sequences of these chains. Glycine and proline are left out. Regions: alpha has
    phi < 0 and psi from -80 to 20 degrees; of the others, beta has phi below -90 degrees, and
    polyproline II phi from -90 to 0.
    """
    stretches = coil_stretches(ShardDataset(data, split, ("backbone", "heavy")))
    letters, sides = [], ([], [])
    for number in range(_CHAINS):
        rng = np.random.default_rng([seed, number])
        sequence, native = coil_chain(rng, stretches, _LENGTHS)
        sampler = backbone_sampler(generator, sequence, seed)
        samples = sampler.draw(np.arange(n)).atom14[:, :, :4]
        letters.append(list(sequence)[1:-1])
        for side, backbone in zip(sides, (native[None], samples), strict=True):
            phi, psi, _ = backbone_torsions(backbone)
            side.append(np.stack([phi, psi], -1)[:, 1:-1])
    letters = np.concatenate(letters)
    native, samples = (np.concatenate(side, 1) for side in sides)
    plain = ~np.isin(letters, ("G", "P"))
    rows = {"coil": _regions(native[:, plain]), "samples": _regions(samples[:, plain])}
    by_letter = [
        [karplus(x[:, letters == letter, 0]).mean() for x in (native, samples)]
        for letter in np.unique(letters[plain])
        if (letters == letter).sum() >= _FEWEST
    ]
    correlation = np.corrcoef(*np.transpose(by_letter))[0, 1]
    title = f"{_CHAINS} chains of {split} coil, {n} samples of each (without glycine and proline)"
    last = f"mean 3J of {len(by_letter)} amino acids: correlation {correlation:.2f}"
    return text_table(title, rows, _COLUMNS) + "\n" + last


def _regions(torsions: np.ndarray) -> dict[str, float]:
    """Shares of regions, and the mean coupling, of phi and psi [F, R, 2] (radians)."""
    phi, psi = np.degrees(torsions[..., 0]), np.degrees(torsions[..., 1])
    alpha = (phi < 0) & (psi > -80) & (psi < 20)
    return {
        "alpha": alpha.mean(),
        "beta": ((phi < -90) & ~alpha).mean(),
        "polyproline": ((phi >= -90) & (phi < 0) & ~alpha).mean(),
        "left": (phi >= 0).mean(),
        "coupling": karplus(torsions[..., 0]).mean(),
    }

"""``openmm-slm benchmark backmapping``: all atoms built from CA alone."""

from __future__ import annotations

import os

import numpy as np
from tqdm.auto import tqdm

from ..allatom.completer import AtomCompleter
from ..data.shards import ShardDataset
from ..language.interface import check_integer
from ..models.registry import load_backmapper, load_packer
from ..protein.atoms import ATOM14
from ..protein.structure import ProteinStructure, from_backbone
from ..protein.trajectory import from_trajectory
from .samples import choose_chains
from .text_table import Column, text_table

LONGEST = 300  # residues of a chain
DISPLACED = (0.0, 0.01, 0.02)  # nm, root mean square displacement of the given CA
_COLUMNS = {
    "N, C, O, A": Column("rmsd", 2, 10),
    "N": Column("N", 2, 10),
    "C": Column("C", 2, 10),
    "O": Column("O", 2, 10),
    "CA moved, A": Column("moved", 2, 10),
    "valid, %": Column("valid", 0, 100),
    "wrong omega": Column("omega", 0),
    "D residues": Column("d_residues", 0),
}


def benchmark_backmapping(
    data: str | os.PathLike,
    model: str | os.PathLike = "default",
    device: str = "auto",
    *,
    split: str = "test",
    chains: int = 100,
    seed: int = 0,
    progress: bool = True,
) -> str:
    """Table of all-atom structures built from the CA of native chains.

    Parameters
    ----------
    data : path
        Shard directory.
    split : str
    chains : int
        Chains of at most 300 residues, of different clusters.
    seed : int
        Of the displacements.

    Returns
    -------
    str
        A row for each displacement of the given CA. Root mean square distances from the native
        atoms, without superposition, are medians over chains; the two end residues are left out.
        CA moved is from where they were given. Peptides that are twisted, or cis where there is no
        proline, and D residues are summed.
    """
    check_integer("chains", chains, 1, "chains to build")
    mapper, packer = load_backmapper(model, device), load_packer(model, device)
    dataset = ShardDataset(data, split, ("backbone", "heavy", "shard"))
    entries = choose_chains(dataset, chains, LONGEST)
    rng, rows, count = np.random.default_rng(seed), {}, 0
    with tqdm(total=len(entries) * len(DISPLACED), unit="chain", disable=not progress) as bar:
        for rms in DISPLACED:
            found = []
            for entry in entries:
                native = from_backbone(entry.backbone[None], entry.sequence)
                noise = rng.normal(size=(native.n_residues, 3)) * rms / np.sqrt(3)
                found.append(_rebuilt(native, noise, mapper.complete, packer))
                bar.update()
            label = f"displaced by {10 * rms:g} A" if rms else "exact"
            rows[label] = {
                name: np.median([one[name] for one in found]) for name in ("N", "C", "O", "rmsd")
            }
            rows[label] |= {
                "moved": np.median([one["moved"] for one in found]),
                "valid": np.mean([one["valid"] for one in found]),
                "omega": sum(one["omega"] for one in found),
                "d_residues": sum(one["d_residues"] for one in found),
            }
            count = len(found)
    return text_table(f"{split}: {count} chains, all atoms from CA alone", rows, _COLUMNS)


def _rebuilt(native: ProteinStructure, noise: np.ndarray, build, packer) -> dict[str, float]:
    """Figures of one chain; see `benchmark_backmapping`."""
    true = native.backbone[0]
    given = np.full((1, native.n_residues, 4, 3), np.nan, np.float32)
    given[0, :, 1] = true[:, 1] + noise
    structure = build(from_backbone(given, native.sequence))
    completer = AtomCompleter(structure, packer, hydrogens=False)
    made, report = completer.complete(structure.atom14, np.ones(native.n_residues))
    x = from_trajectory(made).backbone[0]
    off = (((x - true) ** 2).sum(-1))[1:-1]
    names = ATOM14["G"][:4]
    figures = {name: float(np.sqrt(off[:, slot].mean())) for slot, name in enumerate(names)}
    return figures | {
        "rmsd": float(np.sqrt(off[:, [0, 2, 3]].mean())),
        "moved": float(np.sqrt(((x[:, 1] - given[0, :, 1]) ** 2).sum(-1).mean())),
        "valid": float(report["valid"][0]),
        "omega": int(report["wrong_omega"][0]),
        "d_residues": int(report["d_residues"][0]),
    }

"""Evaluate how accurately a tokenizer reconstructs structures.

Used for validation in training and by ``openmm-slm benchmark reconstruction``.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from ..data.padding import pad_entries
from ..data.shards import Entry, ShardDataset
from ..networks.rigid_frames import frames_from_backbone
from ..projection.close_peptides import close_peptide_bonds
from ..protein import geometry
from ..protein.protein import Protein
from ..protein.superposition import rmsd
from ..tokenizer.dvae import DVAE
from ..tokenizer.losses import local_error
from ..tokenizer.starts import Start
from ..validity.close_contacts import ca_clashes
from .starts import deformed

LENGTHS = (64, 128, 256, 512)
SOFT = 0.1  # nm, displacement of the starting frames


def _batches(dataset: ShardDataset, rows: Sequence[int], residues: int) -> Iterator[list[Entry]]:
    """Batches of entries of similar length, with at most about `residues` padded residues."""
    batch: list[Entry] = []
    for row in sorted(rows, key=lambda r: dataset.lengths[r]):
        entry = dataset[row]
        if batch and len(entry.sequence) * (len(batch) + 1) > residues:
            yield batch
            batch = []
        batch.append(entry)
    if batch:
        yield batch


def chain_metrics(
    predicted: np.ndarray, true: np.ndarray, mask: np.ndarray, chain_break: np.ndarray
) -> dict[str, float]:
    """Metrics of one reconstructed chain.

    Parameters
    ----------
    predicted, true : ndarray [L, 4, 3]
        Backbones in nm.
    mask : ndarray, bool [L]
        Residues with coordinates.
    chain_break : ndarray, bool [L]

    Returns
    -------
    dict
        ``rmsd`` (CA, nm); ``local`` (mean distance in nm of N, CA, C, O of residues i-6..i+6 in the
        frame of i); ``lddt`` (CA, cutoff 1.5 nm); ``broken`` (share of peptide bonds more than
        0.01 nm from ideal); ``clashes`` (CA pairs closer than 0.3 nm, two or more residues apart);
        ``clashing`` (1 if there are any); ``wrong_omega`` (share of peptide bonds with cis and
        trans exchanged).
    """
    bonded = ~chain_break[1:] & mask[1:] & mask[:-1]
    length = geometry.peptide_bond_lengths(predicted, chain_break)[1:][bonded]
    omega = [geometry.backbone_torsions(x, chain_break)[2][1:][bonded] for x in (predicted, true)]
    cis = [np.abs(x) < np.pi / 2 for x in omega]
    tensors = [torch.as_tensor(x)[None] for x in (predicted, np.nan_to_num(true), mask)]
    local = local_error(
        tensors[0],
        frames_from_backbone(tensors[0]),
        tensors[1],
        frames_from_backbone(tensors[1]),
        tensors[2],
        clamp=float("inf"),
    )
    clashes = int(ca_clashes(predicted[mask, 1]))
    per_residue = max(1, bonded.sum())
    return {
        "rmsd": float(rmsd(predicted[mask, 1], true[mask, 1])),
        "local": float(local),
        "lddt": float(geometry.lddt_ca(predicted[mask, 1], true[mask, 1])[1]),
        "broken": float((np.abs(length - 0.133) > 0.01).sum() / per_residue),
        "wrong_omega": float((cis[0] != cis[1]).sum() / per_residue),
        "clashes": clashes,
        "clashing": float(clashes > 0),
    }


@torch.no_grad()
def reconstruct_chains(
    model: DVAE,
    dataset: ShardDataset,
    rows: Sequence[int],
    residues: int = 4096,
    *,
    shuffle: bool = False,
    start: float | None = None,
    project: bool = False,
) -> tuple[list[dict], np.ndarray]:
    """Encode and decode entries of a dataset.

    Parameters
    ----------
    model : DVAE
    dataset : ShardDataset
    rows : sequence of int
    residues : int
        Padded residues per batch.
    shuffle : bool
        Permute the tokens of each chain before decoding: the baseline from sequence and length.
    start : float, optional
        Decode from starting frames at this level: the true chain displaced by `start` nm (CA root
        mean square) along soft modes.
    project : bool
        Also close peptide bonds and move overlapping residues apart, as in sampling.

    Returns
    -------
    table : list of dict
        One row per entry: ``id``, ``cluster``, ``length`` and the values of `chain_metrics`;
        ``chain_rmsd``, the mean over chains superposed separately; ``predicted_lddt`` and
        ``observed_lddt``, arrays over residues. The prefix ``projected_`` marks values after
        projection.
    counts : ndarray, int64 [V]
        Number of uses of each code.
    """
    model.eval()
    device = next(model.parameters()).device
    table, counts = [], np.zeros(model.quantizer.size, np.int64)
    for entries in _batches(dataset, rows, residues):
        batch = pad_entries(entries)
        tensors = {k: torch.as_tensor(v).to(device) for k, v in batch.items()}
        mask = tensors["mask"]
        tokens = model.tokenize(tensors["backbone"], mask, tensors["index"])
        counts += np.bincount(tokens[mask].cpu().numpy(), minlength=len(counts))
        begun = None if start is None else _displaced(batch, entries, start, device)
        if shuffle:
            for row, here in enumerate(batch["mask"]):
                present = np.flatnonzero(here)
                order = _random(entries[row]).permutation(present)
                tokens[row, present] = tokens[row, order]
        out = model.reconstruct(tokens, tensors["amino_acids"], mask, tensors["index"], begun)
        backbones = out.backbones[-1].float().cpu().numpy()
        predicted = out.predicted_lddt().cpu().numpy()
        for row, entry in enumerate(entries):
            n = len(entry.sequence)
            here, decoded = batch["mask"][row, :n], backbones[row, :n]
            known = here, entry.chain_break
            ca = decoded[here, 1], entry.backbone[here, 1]
            figures = chain_metrics(decoded, entry.backbone, *known)
            figures["chain_rmsd"] = _chain_rmsd(*ca, entry.chain_index[here])
            if project:
                protein = Protein(entry.sequence, entry.chain_break)
                decoded = close_peptide_bonds(decoded[None], protein)[0][0]
                projected = chain_metrics(decoded, entry.backbone, *known)
                figures |= {f"projected_{name}": value for name, value in projected.items()}
            table.append(
                {
                    "id": entry.id,
                    "cluster": entry.cluster,
                    "length": n,
                    **figures,
                    "predicted_lddt": predicted[row, :n][here],
                    "observed_lddt": geometry.lddt_ca(*ca)[0],
                }
            )
    return table, counts


def _displaced(batch: dict, entries: list[Entry], rms: float, device: torch.device) -> Start:
    """Starting frames: each entry displaced by `rms` nm along soft modes of its elastic network."""
    moved = batch["backbone"].copy()
    for row, (entry, here) in enumerate(zip(entries, batch["mask"], strict=True)):
        moved[row, here] = deformed(_random(entry), moved[row, here], rms, turn=False)
    level = np.where(batch["mask"], np.float32(rms), np.float32(np.inf))
    return Start.from_backbone(
        *(torch.as_tensor(values, device=device) for values in (moved, level))
    )


def _chain_rmsd(predicted: np.ndarray, true: np.ndarray, chain_index: np.ndarray) -> float:
    """Mean RMSD over chains (nm), each superposed separately."""
    chains = (chain_index == k for k in np.unique(chain_index))
    return float(np.mean([rmsd(predicted[c], true[c]) for c in chains]))


def _random(entry: Entry) -> np.random.Generator:
    """Random generator that depends on the id of the entry only."""
    return np.random.default_rng(zlib.crc32(entry.id.encode()))


def by_cluster(table: list[dict], name: str, longest: int | None = None) -> np.ndarray:
    """Cluster means of one column over chains of at most `longest` residues."""
    groups: dict[str, list[float]] = {}
    for row in table:
        if longest is None or row["length"] <= longest:
            groups.setdefault(row["cluster"], []).append(row[name])
    return np.array([np.mean(values) for values in groups.values()])


def perplexity(counts: np.ndarray) -> float:
    """Exponential of the entropy of code usage."""
    share = counts[counts > 0] / counts.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def summarize(table: list[dict], counts: np.ndarray, prefix: str = "") -> dict[str, float]:
    """Summarise a table of `reconstruct_chains` over clusters.

    Distances (Å) and lDDT are medians over clusters, rates are means. With `prefix`
    ``"projected_"``, the values after projection are used.
    """

    def values(name: str, longest: int | None = None) -> np.ndarray:
        return by_cluster(table, prefix + name, longest)

    summary = {}
    for longest in LENGTHS:
        found = values("rmsd", longest)
        summary[f"rmsd_{longest}"] = 10 * float(np.median(found)) if len(found) else float("nan")
    summary["local"] = 10 * float(np.median(values("local")))
    summary["lddt"] = float(np.median(values("lddt")))
    for name in ("broken", "wrong_omega", "clashing"):
        summary[name] = float(values(name).mean())
    summary["codes"] = int((counts > 0).sum())
    summary["perplexity"] = perplexity(counts)
    return summary


def validation_metrics(
    data: str | os.PathLike, chains: int = 48, max_length: int = 256
) -> Callable[[DVAE], dict[str, float]]:
    """Function that validates a dVAE in training, on one chain from each of `chains` clusters."""
    try:
        dataset = ShardDataset(data, "val", ("backbone", "heavy", "shard"))
    except ValueError:  # user data may have no validation split
        return lambda model: {}
    groups = [g[dataset.lengths[g] <= max_length] for g in dataset.clusters()]
    rows = [int(g[0]) for g in groups if len(g)][:chains]

    def validate(model: DVAE) -> dict[str, float]:
        figures = summarize(*reconstruct_chains(model, dataset, rows))
        soft, _ = reconstruct_chains(model, dataset, rows, start=SOFT)
        return {**figures, "soft_rmsd": 10 * float(np.median(by_cluster(soft, "rmsd")))}

    return validate

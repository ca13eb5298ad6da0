"""``openmm-slm benchmark samples``: validity and secondary structure of samples from sequence."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from tqdm.auto import tqdm

from ..allatom.side_chain_fitting import fit_side_chains
from ..data.shards import Entry, ShardDataset
from ..errors import StructureError
from ..projection.close_peptides import close_peptide_bonds
from ..protein.protein import Protein
from ..protein.sequence import sequence_layout
from ..protein.structure import ProteinStructure, from_backbone
from ..protein.trajectory import backbone_trajectory
from ..sampling.ensemble import EnsembleGenerator
from ..validity.criteria import CLOSEST_CA
from ..validity.report import all_atom_report, backbone_report

STATES = np.array(["H", "E", "C"])


def choose_chains(
    dataset: ShardDataset,
    chains: int,
    longest: int = 256,
    suitable: Callable[[Entry], bool] = lambda entry: True,
) -> list[Entry]:
    """Gap-free chains of 40 to `longest` residues, one a cluster, evenly spread over lengths.

    Chains of which `suitable` is false are passed over.
    """
    first: dict[str, Entry] = {}
    for number in range(len(dataset)):
        if not 40 <= dataset.lengths[number] <= longest:
            continue
        entry = dataset[number]
        whole = np.isfinite(entry.backbone).all() and entry.chain_break.sum() == 1
        if whole and "X" not in entry.sequence and entry.cluster not in first and suitable(entry):
            first[entry.cluster] = entry
    if len(first) < chains:
        raise StructureError(
            f"{dataset.directory}: {len(first)} suitable gap-free chains of 40 to {longest} "
            f"residues in clusters of their own, {chains} are asked for"
        )
    ranked = sorted(first.values(), key=lambda entry: (len(entry.sequence), entry.id))
    return [ranked[i] for i in np.linspace(0, len(ranked) - 1, chains).round().astype(int)]


def native_structure(
    atoms: np.ndarray, sequence: str, chain_ids: tuple[str, ...] | None = None
) -> ProteinStructure:
    """Structure of atoms [L, 4 or 14, 3], with side chains where there are some."""
    structure = from_backbone(atoms[None, :, :4], sequence, chain_ids)
    atom14 = structure.atom14.copy()
    atom14[0, :, : atoms.shape[1]] = atoms
    return replace(structure, atom14=atom14)


def secondary_structure(backbone: np.ndarray, sequence: str) -> np.ndarray:
    """Helix, strand or coil (``H``, ``E``, ``C``; DSSP by MDTraj) of backbones: [F, L]."""
    import mdtraj

    return mdtraj.compute_dssp(backbone_trajectory(backbone, sequence), simplified=True)


def agreement(states: np.ndarray, native: np.ndarray) -> tuple[float, float]:
    """Share of residues in the native's state, and the share expected by chance."""
    share = (states == native).mean()
    chance = sum((states == s).mean() * (native == s).mean() for s in STATES)
    return float(share), float(chance)


def benchmark_samples(
    data: str | os.PathLike,
    model: str | os.PathLike = "default",
    split: str = "test",
    device: str = "auto",
    *,
    chains: int = 20,
    n: int = 10,
    seed: int = 0,
    progress: bool = True,
) -> str:
    """Table of validity before and after the projection, and of secondary structure.

    Parameters
    ----------
    data : path
        Shard directory.
    chains, n : int
        Chains of the split (see `choose_chains`) and samples of each.

    Returns
    -------
    str
        Every figure is a mean over chains.
    """
    generator = EnsembleGenerator.from_pretrained(model, device)
    entries = choose_chains(ShardDataset(data, split, ("backbone", "heavy", "shard")), chains)
    rows = [
        _measure(generator, entry, n, seed)
        for entry in tqdm(entries, unit="chain", disable=not progress)
    ]
    mean = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    lengths = [len(entry.sequence) for entry in entries]
    lines = [
        f"{split}: {chains} chains of {min(lengths)}-{max(lengths)} residues, {n} samples each; "
        "means over chains",
        f"{'share of frames, %':44} {'decoded':>9} {'projected':>9}",
    ]
    for label, key in (
        ("valid as N, CA, C and O", "valid"),
        ("valid with side chains", "whole"),
        ("every C-N within 0.015 nm", "bonds"),
        ("no cis or twisted omega (cis X-Pro allowed)", "omega"),
        ("no CA pair under 0.3 nm", "apart"),
        ("residues, %, in favoured Ramachandran regions", "favoured"),
    ):
        before, after = (100 * mean[f"{key}_{when}"] for when in ("before", "after"))
        lines.append(f"{label:44} {before:9.1f} {after:9.1f}")
    lines += [
        f"{'moved by the projection, nm: largest':44} {'':9} {mean['moved']:9.3f}",
        f"{'  RMS over residues (of the largest in each)':44} {'':9} {mean['moved_rms']:9.3f}",
        f"{'secondary structure, 3 states':44} {'samples':>9} {'rebuilt':>9} {'native':>9}",
        f"{'agreement with the native, %':44} {100 * mean['same']:9.1f} "
        f"{100 * mean['same_rebuilt']:9.1f}",
        f"{'expected of the composition alone, %':44} {100 * mean['chance']:9.1f} "
        f"{100 * mean['chance_rebuilt']:9.1f}",
    ]
    for state, label in zip("HE", ("helix, % of residues", "strand, % of residues"), strict=True):
        lines.append(
            f"{label:44} {100 * mean[f'{state}_samples']:9.1f} "
            f"{100 * mean[f'{state}_rebuilt']:9.1f} {100 * mean[f'{state}_native']:9.1f}"
        )
    lines.append(f"{'radius of gyration / native':44} {mean['rg']:9.2f} {mean['rg_rebuilt']:9.2f}")
    return "\n".join(lines)


def _extent(backbone: np.ndarray) -> np.ndarray:
    """Radius of gyration of the CA atoms, nm [F]."""
    ca = backbone[:, :, 1] - backbone[:, :, 1].mean(1, keepdims=True)
    return np.sqrt((ca**2).sum(-1).mean(-1))


def _measure(generator: EnsembleGenerator, entry: Entry, n: int, seed: int) -> dict[str, float]:
    """Figures of one chain: samples, the native, and the native encoded and decoded again."""
    sequence, native = entry.sequence, entry.backbone[None]
    broken = entry.chain_break
    amino_acids, _, index = sequence_layout((sequence,))
    drawn = generator.language_model.sample(sequence, range(n), seed=seed)
    tokenizer = generator.tokenizer
    decoded = tokenizer.decode_tokens(drawn.tokens, amino_acids, index)
    tokens = tokenizer.encode_backbone(native, np.ones((1, len(sequence)), bool), index)
    rebuilt = tokenizer.decode_tokens(tokens, amino_acids, index)
    rebuilt, _ = close_peptide_bonds(rebuilt, Protein(sequence, broken))
    projected, _ = close_peptide_bonds(decoded, Protein(sequence, broken))
    bare = np.full((*projected.shape[:2], 14, 3), np.nan, np.float32)
    bare[:, :, :4] = projected

    def pack(atom14: np.ndarray, passes: int = 3) -> np.ndarray:
        return generator.packer.pack(atom14, amino_acids, index, passes=passes)

    fitted, _ = fit_side_chains(pack, bare, Protein(sequence, broken), np.ones(len(sequence)))
    projected = fitted[:, :, :4]
    moved = np.linalg.norm(projected[:, :, :3] - decoded[:, :, :3], axis=-1).max(-1)
    figures = {"moved": moved.max(1).mean(), "moved_rms": np.sqrt((moved**2).mean())}
    for when, frames, packed in (
        ("before", decoded, pack(decoded)),
        ("after", projected, fitted),
    ):
        report = backbone_report(frames, Protein(sequence, broken))
        figures[f"valid_{when}"] = report["valid"].mean()
        whole = all_atom_report(packed, Protein(sequence, broken))
        figures[f"whole_{when}"] = whole["valid"].mean()
        figures[f"favoured_{when}"] = whole["ramachandran_favoured"].mean() / len(sequence)
        figures[f"bonds_{when}"] = (report["broken_bonds"] == 0).mean()
        figures[f"omega_{when}"] = (report["wrong_omega"] == 0).mean()
        figures[f"apart_{when}"] = (report["closest_ca_nm"] >= CLOSEST_CA).mean()
    true = secondary_structure(native, sequence)
    figures |= {f"{state}_native": (true == state).mean() for state in "HE"}
    for name, frames, suffix in (("samples", projected, ""), ("rebuilt", rebuilt, "_rebuilt")):
        states = secondary_structure(frames, sequence)
        figures[f"same{suffix}"], figures[f"chance{suffix}"] = agreement(states, true)
        figures |= {f"{state}_{name}": (states == state).mean() for state in "HE"}
        figures[f"rg{suffix}"] = (_extent(frames) / _extent(native)).mean()
    return figures

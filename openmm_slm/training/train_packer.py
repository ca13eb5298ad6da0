"""Train the side-chain packer."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ..allatom.ideal import measure_geometry
from ..allatom.packer_network import ABSENT, GUESSED, KNOWN, PackerConfig, PackerNetwork
from ..allatom.rotamers import chi_difference, chi_torsions, has_atom
from ..data.padding import pad_entries
from ..data.shards import ShardDataset
from ..errors import StructureError
from ..files.json_settings import build, check_names, merge
from ..networks.storage import load_module
from ..protein.sequence import encode_sequence
from .batches import ClusterSampler
from .loop import LoopConfig
from .network_training import if_there_is_data, one_of_each_cluster, train_network

DATA = {
    "residues": 2048, "max_length": 512, "prefix": None, "min_complete": 0.95,
    "exclude_sources": (),
}  # fmt: skip
LOSS = {"noise_nm": 0.015, "noised": 0.5, "recycled": 0.6, "revealed": 0.25}


def side_chain_entries(
    data: str | os.PathLike,
    split: str,
    prefix: list[str] | None = None,
    min_complete: float = 0.95,
    exclude_sources: tuple[str, ...] = (),
) -> ShardDataset:
    """Entries of a split with at least the share `min_complete` of their heavy atoms.

    Entries are left out if their index column ``source`` contains one of `exclude_sources`.
    """
    dataset = ShardDataset(data, split, tuple(prefix) if prefix else ("heavy", "shard"))

    def usable(number: int) -> bool:
        if any(name in dataset.rows[number].get("source", "") for name in exclude_sources):
            return False
        entry = dataset[number]
        if entry.atoms.shape[1] < 14:
            return False
        wanted = has_atom[encode_sequence(entry.sequence)]
        return np.isfinite(entry.atoms).all(-1)[wanted].mean() >= min_complete

    kept = [usable(number) for number in range(len(dataset))]
    if not any(kept):
        raise StructureError(
            f"{data}: no entry of split {split!r} has {min_complete:.0%} of its heavy atoms; "
            "prepare structures with side chains, or lower data.min_complete"
        )
    dataset.rows = [row for row, good in zip(dataset.rows, kept, strict=True) if good]
    dataset.lengths = dataset.lengths[kept]
    return dataset


def packer_batch(sampler: ClusterSampler, residues: int, seed: int, step: int) -> dict:
    """Batch `step`: whole chains of about `residues` residues together (see `packer_arrays`)."""
    rng = np.random.default_rng([seed, step])
    entries, filled = [], 0
    while filled < residues:
        entries.append(sampler.dataset[sampler.number(rng)])
        filled += len(entries[-1].sequence)
    return packer_arrays(entries)


def packer_arrays(entries: list) -> dict[str, np.ndarray]:
    """Arrays of `pad_entries`, plus ``atom14`` [B, L, 14, 3] (nm) and ``chi`` [B, L, 4] (rad)."""
    batch = pad_entries(entries)
    b, length = batch["mask"].shape
    batch["chi"] = np.full((b, length, 4), np.nan, np.float32)
    batch["atom14"] = np.zeros((b, length, 14, 3), np.float32)
    for row, entry in enumerate(entries):
        n = len(entry.sequence)
        batch["chi"][row, :n] = chi_torsions(entry.atoms, batch["amino_acids"][row, :n])
        centre = entry.backbone[np.isfinite(entry.backbone).all((1, 2)), 1].mean(0)
        batch["atom14"][row, :n] = np.nan_to_num(entry.atoms - centre)
    return batch


def packer_loss(model: PackerNetwork, batch: dict, step: int, options: dict):
    """Cross entropy of chi1..chi4, each given the earlier ones, and values to log.

    In some batches the network sees side chains built from its own first prediction (without
    gradient). In some chains the true side chains of some residues are known to it.
    """
    mask, backbone = batch["mask"], batch["backbone"]
    b = len(mask)
    device = mask.device
    noised = (torch.rand(b, 1, 1, 1, device=device) < options["noised"]).float()
    sigma = torch.rand(b, 1, 1, 1, device=device) * options["noise_nm"] * noised
    backbone = backbone + sigma * torch.randn_like(backbone)
    true_chi, aa = batch["chi"][mask], batch["amino_acids"][mask]
    there = torch.isfinite(true_chi)
    true_chi = torch.nan_to_num(true_chi)

    share = torch.rand(b, 1, device=device) * (
        torch.rand(b, 1, device=device) < options["revealed"]
    )
    revealed = (torch.rand(mask.shape, device=device) < share)[mask]
    atoms = batch["atom14"][mask]
    whole = (atoms.abs().sum(-1) > 0) | ~model.builder.present[aa]
    revealed &= whole.all(-1) & (aa < 20)
    encoded = model.encode(backbone, batch["amino_acids"], mask, batch["index"])
    state = torch.where(revealed, KNOWN, ABSENT)
    known = (true_chi, atoms)
    recycled = torch.rand((), device=device) < options["recycled"]
    if recycled:
        with torch.no_grad():
            nodes = model.environments(encoded, known, state)
            drawn = torch.rand(len(aa), 4, device=device)
            sampled = torch.rand((), device=device) < 0.3
            chi, _ = model.choose(nodes, drawn if sampled else None)
            guess = model.builder(encoded.atoms, aa, chi)
        keep = revealed.unsqueeze(-1)
        known = (
            torch.where(keep, true_chi, chi), torch.where(keep.unsqueeze(-1), atoms, guess),
        )  # fmt: skip
        state = torch.where(revealed, KNOWN, GUESSED)
    nodes = model.environments(encoded, known, state)
    target = model.target(true_chi, aa)
    wanted = there & ~revealed.unsqueeze(-1)
    earlier = true_chi + 0.08 * torch.randn_like(true_chi)
    parts = []
    for number in range(4):
        rows = torch.nonzero(wanted[:, number]).squeeze(1)
        value = model.logits(nodes[rows], earlier[rows, :number]).log_softmax(-1)
        parts.append(-(target[rows, number] * value).sum(-1))
    counted = torch.cat(parts)
    loss = counted.sum() / max(1, len(counted))
    terms = {f"chi{n + 1}": part.detach().mean() for n, part in enumerate(parts)}
    return loss, {"residues": mask.sum(), "recycled": float(recycled), **terms}


def validation(dataset: ShardDataset, residues: int = 12_000, passes: int = 3) -> Callable:
    """Function that evaluates a packer on one chain per cluster, up to `residues` residues.

    It returns the share of chi angles within 40 degrees after the first and the last pass.
    """
    chosen = one_of_each_cluster(dataset, residues)
    batches = [packer_arrays(chosen[i : i + 8]) for i in range(0, len(chosen), 8)]

    def evaluate(model: PackerNetwork) -> dict[str, float]:
        device = model.period.device
        errors: dict[int, list[np.ndarray]] = {0: [], passes - 1: []}
        for arrays in batches:
            batch = {k: torch.as_tensor(v, device=device) for k, v in arrays.items()}
            mask = batch["mask"]
            aa = batch["amino_acids"][mask]
            with torch.autocast(device.type, torch.bfloat16):
                encoded = model.encode(
                    batch["backbone"], batch["amino_acids"], mask, batch["index"]
                )
                state, known = torch.full_like(aa, ABSENT), None
                for number in range(passes):
                    chi, _ = model.choose(model.environments(encoded, known, state))
                    if number in errors:
                        off = chi_difference(
                            chi.cpu().numpy(), batch["chi"][mask].cpu().numpy(), aa.cpu().numpy()
                        )
                        errors[number].append(off)
                    known = (chi, model.builder(encoded.atoms, aa, chi))
                    state = torch.full_like(aa, GUESSED)
        out = {}
        for number, parts in errors.items():
            off = np.concatenate(parts)
            for n in range(4):
                here = off[np.isfinite(off[:, n]), n]
                out[f"chi{n + 1}_pass{number + 1}"] = float((here < np.radians(40)).mean())
        return out

    return evaluate


def train_packer(
    config: dict,
    data: str | os.PathLike,
    directory: str | os.PathLike,
    *,
    device: str = "cpu",
    time_limit: float | None = None,
    resume: bool = False,
    init_from: str | os.PathLike | None = None,
    decay: int | None = None,
    progress: bool = True,
) -> Path:
    """Train the packer on the side chains of the ``train`` split of a shard directory.

    Parameters
    ----------
    config : dict
        Sections ``model`` (`PackerConfig`), ``training`` (`LoopConfig`), ``data``, ``loss``.
    data : path
        Shard directory with all heavy atoms.
    directory : path
        Folder to write: checkpoints, logs and the exported model.
    device : str
    time_limit : float, optional
        Seconds after which training stops.
    resume : bool
        Continue from the checkpoint in `directory`.
    init_from : path, optional
        Model directory with the initial weights and side-chain geometry.
    decay : int, optional
        Anneal the learning rate to zero over this many steps and export to ``decayed/``.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Path
        The exported model directory.
    """
    check_names(config, {"model", "training", "data", "loss"}, "config")
    chosen = merge(DATA, config.get("data", {}), "data")
    options = merge(LOSS, config.get("loss", {}), "loss")
    loop = build(LoopConfig, config.get("training", {}), "training")
    select = {k: chosen[k] for k in ("prefix", "min_complete", "exclude_sources")}
    dataset = side_chain_entries(data, "train", **select)
    sampler = ClusterSampler(dataset, max_length=chosen["max_length"])
    torch.manual_seed(loop.seed)
    if init_from is None:
        model = PackerNetwork(build(PackerConfig, config.get("model", {}), "model"))
        some = np.random.default_rng(loop.seed).permutation(len(dataset))[:500]
        entries = (dataset[int(number)] for number in some)
        geometry = measure_geometry((e.atoms, encode_sequence(e.sequence)) for e in entries)
        model.builder.set_geometry(geometry)
    else:
        model = load_module(init_from, PackerNetwork)
    validate = if_there_is_data(lambda: validation(side_chain_entries(data, "val", **select)))
    return train_network(
        model,
        lambda m, batch, step: packer_loss(m, batch, step, options),
        lambda step: packer_batch(sampler, chosen["residues"], loop.seed, step),
        validate,
        directory,
        loop,
        device,
        {"data": chosen, "loss": options},
        time_limit=time_limit,
        resume=resume,
        decay=decay,
        progress=progress,
    )

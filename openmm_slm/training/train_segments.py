"""Train the network that ranks sampled segments."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ..analysis.fluctuations import correlation
from ..data.segment_decoys import SegmentDecoys, read_decoys
from ..files.json_settings import build, check_names, merge
from ..language.segment_network import LEAST, SegmentConfig, SegmentNetwork
from ..networks.storage import load_module
from ..protein.sequence import UNKNOWN
from .loop import LoopConfig
from .network_training import train_network

DATA = {
    "segments": 4, "samples": 24, "left_out": 0.06, "dropped": 0.2, "noise_nm": 0.01,
    "without_sidechains": 0.3,
}  # fmt: skip
LOSS = {"choice": 1.0, "whole": 1.0, "residues": 0.5, "sharpness": 4.0, "width_nm": 0.05}
_FAR = 100.0  # nm: where padding is


def segment_loss(model: SegmentNetwork, batch: dict, options: dict):
    """Sum of three losses, and values to log.

    ``choice`` is the divergence of the softmax of expected deviations over the samples of a segment
    from that of the true RMSD, exp(-RMSD / ``width_nm``). ``whole`` and ``residues`` are errors
    (Huber) of the logarithms of RMSD and of deviations of CA.
    """
    residues, whole = model(*(batch[name] for name in _INPUT))
    samples = len(whole) // len(batch["count"])
    rmsd = batch["rmsd"]
    wanted = torch.softmax(-rmsd.view(-1, samples) / options["width_nm"], -1)
    given = torch.log_softmax(-options["sharpness"] * whole.view(-1, samples), -1)
    real = batch["rows"] >= 0
    terms = {
        "choice": F.kl_div(given, wanted, reduction="batchmean"),
        "whole": F.huber_loss(whole, (rmsd + LEAST).log()),
        "residues": F.huber_loss(residues[real], (batch["deviation"][real] + LEAST).log()),
    }
    loss = sum(options[name] * value for name, value in terms.items())
    logged = {name: value.detach() for name, value in terms.items()}
    return loss, {"residues": int(real.sum()), **logged}


_INPUT = ("backbone", "letters", "index", "rows", "strain", "sidechains")


def stack_decoys(
    chosen: list[SegmentDecoys], samples: list[np.ndarray], letters: list[np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """Arrays of some samples of segments, padded; each segment has the same number of samples."""
    size = max(len(each.letters) for each in chosen)
    longest = max(each.sampled.shape[1] for each in chosen)
    out: dict[str, list] = {name: [] for name in (*_INPUT, "rmsd", "deviation")}
    for k, (each, mine) in enumerate(zip(chosen, samples, strict=True)):
        number, rows = len(mine), np.flatnonzero(each.segment)
        x = np.zeros((number, size, 4, 3), np.float32)
        x[:] = _padding(size)
        x[:, : len(each.letters)] = each.backbone
        x[:, rows] = each.sampled[mine]
        sidechains = np.full((size, 10, 3), np.nan, np.float32)
        sidechains[: len(each.letters)] = each.sidechains
        given = each.letters if letters is None else letters[k]
        deviation, rmsd = each.deviations()
        padded = np.full((number, longest), -1)
        padded[:, : len(rows)] = rows
        apart = np.zeros((number, longest), np.float32)
        apart[:, : len(rows)] = deviation[mine]
        rest = size - len(given)
        out["backbone"].append(x)
        out["letters"].append(np.tile(np.r_[given, np.full(rest, UNKNOWN)], (number, 1)))
        out["index"].append(np.tile(np.r_[each.index, -10 * np.arange(1, rest + 1)], (number, 1)))
        out["rows"].append(padded)
        out["strain"].append(each.strain[mine])
        out["sidechains"].append(np.tile(sidechains, (number, 1, 1, 1)))
        out["rmsd"].append(rmsd[mine])
        out["deviation"].append(apart)
    arrays = {name: np.concatenate(values) for name, values in out.items()}
    for name in ("letters", "index", "rows"):
        arrays[name] = arrays[name].astype(np.int64)
    return {**arrays, "count": np.ones(len(chosen), np.int64)}


def _padding(size: int) -> np.ndarray:
    """Backbones [size, 4, 3] of residues far from everything."""
    shape = np.array([[0, 0.146, 0], [0, 0, 0], [0.153, 0, 0], [0.2, 0.1, 0]], np.float32)
    return shape + _FAR * (1 + np.arange(size, dtype=np.float32)[:, None, None])


class DecoySampler:
    """Draw segments at random, and samples of them."""

    def __init__(self, decoys: list[SegmentDecoys], options: dict) -> None:
        self.decoys, self.options = decoys, options

    def batch(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Arrays of `stack_decoys`.

        For robustness, atoms are displaced, and some of the surroundings, of the amino acids and
        of the side chains are left out.
        """
        options, chosen, samples, letters = self.options, [], [], []
        for number in rng.integers(len(self.decoys), size=options["segments"]):
            each = self.decoys[number]
            more = len(each.sampled) < options["samples"]
            samples.append(rng.choice(len(each.sampled), options["samples"], replace=more))
            share = rng.random(2) * options["dropped"]
            share[1] /= 2
            rows = np.flatnonzero(each.segment)
            apart = np.abs(np.arange(len(each.letters))[:, None] - rows).min(1)
            kept = (apart < 3) | (rng.random(len(apart)) > share[0] * (rng.random() < 0.5))
            unknown = rng.random(kept.sum()) < share[1]
            letters.append(np.where(unknown, UNKNOWN, each.letters[kept]))
            sidechains = each.sidechains[kept].copy()
            if rng.random() < options["without_sidechains"]:
                sidechains[:] = np.nan
            chosen.append(
                SegmentDecoys(
                    each.id, each.letters[kept], each.index[kept], each.segment[kept],
                    each.backbone[kept], each.sampled, each.strain, sidechains,
                )
            )  # fmt: skip
        arrays = stack_decoys(chosen, samples, letters)
        noise = rng.normal(size=arrays["backbone"].shape) * options["noise_nm"] * rng.random()
        arrays["backbone"] = (arrays["backbone"] + noise).astype(np.float32)
        return arrays


def validation(decoys: list[SegmentDecoys]) -> Callable:
    """Function that measures a network on segments.

    It returns the mean rank correlation of expected and true RMSD within a segment, and the mean
    RMSD (nm) of the samples that are ranked first, of the best sixth, and of the true best.
    """
    batches = [stack_decoys([each], [np.arange(len(each.sampled))]) for each in decoys]

    def evaluate(model: SegmentNetwork) -> dict[str, float]:
        device = next(model.parameters()).device
        found = []
        for arrays in batches:
            inputs = (torch.as_tensor(arrays[name], device=device) for name in _INPUT)
            expected, rmsd = model(*inputs)[1].cpu().numpy(), arrays["rmsd"]
            order = expected.argsort()
            ranks = order.argsort().astype(float), rmsd.argsort().argsort().astype(float)
            best = rmsd[order[: -(-len(order) // 6)]].mean()
            found.append((correlation(*ranks), rmsd[order[0]], best, rmsd.min()))
        names = ("rank_r", "first", "best_sixth", "lowest")
        return dict(zip(names, np.mean(found, 0).tolist(), strict=True))

    return evaluate


def train_segments(
    config: dict,
    decoys: str | os.PathLike,
    directory: str | os.PathLike,
    *,
    device: str = "cpu",
    time_limit: float | None = None,
    resume: bool = False,
    init_from: str | os.PathLike | None = None,
    decay: int | None = None,
    progress: bool = True,
) -> Path:
    """Train the network that ranks sampled segments (see `train_packer`).

    The config has the sections ``model`` (`SegmentConfig`), ``training`` (`LoopConfig`), ``data``
    and ``loss``. `decoys` is a folder as in `openmm_slm.data.segment_decoys`. Segments of a share
    ``left_out`` of the entries, chosen by their names, are for validation.
    """
    check_names(config, {"model", "training", "data", "loss"}, "config")
    chosen = merge(DATA, config.get("data", {}), "data")
    options = merge(LOSS, config.get("loss", {}), "loss")
    loop = build(LoopConfig, config.get("training", {}), "training")
    every = read_decoys(decoys)
    out = np.array([zlib.crc32(each.id.encode()) / 2**32 < chosen["left_out"] for each in every])
    fitted, left_out = ([every[k] for k in np.flatnonzero(part)] for part in (~out, out))
    sampler = DecoySampler(fitted, chosen)
    torch.manual_seed(loop.seed)
    if init_from is None:
        model = SegmentNetwork(build(SegmentConfig, config.get("model", {}), "model"))
    else:
        model = load_module(init_from, SegmentNetwork)
    return train_network(
        model,
        lambda m, batch, step: segment_loss(m, batch, options),
        lambda step: sampler.batch(np.random.default_rng([loop.seed, step])),
        validation(left_out) if left_out else None,
        directory,
        loop,
        device,
        {"data": chosen, "loss": options},
        time_limit=time_limit,
        resume=resume,
        decay=decay,
        progress=progress,
    )

"""Train the network of springs that tells how a structure moves."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ..analysis.fluctuations import correlation
from ..data.motion_data import KINDS, MotionData
from ..data.shards import ShardDataset
from ..errors import SLMError, StructureError
from ..files.json_settings import build, check_names, merge
from ..motions.network_covariance import mean_square, network_covariance
from ..motions.spring_network import SpringConfig, SpringNetwork
from ..networks.rigid_frames import full_precision
from ..networks.storage import load_module, save_module
from .fit_readout import fit_readout
from .loop import LoopConfig
from .motion_batches import MotionSampler, each_observation, stack_observations
from .motion_losses import bfactor_loss, displacement_loss, pearson, profile_loss, size_loss
from .network_training import if_there_is_data, train_network

MODEL = {"crystal": True, "loosest": 1.5}
DATA = {"bfactors": 4, "pair": 4, "size": 1, "max_length": 160, "prefix": None}
LOSS = {
    "bfactors": 1.0, "pair": 0.3, "profile": 1.0, "size": 0.3, "rigid": 0.5, "noise_nm": 0.02,
    "crystal": True,
}  # fmt: skip
_TERMS = (*KINDS, "profile")
_LONGEST = 300  # residues of a chain in the validation, and in the fit of the readout
_MEASURED = {"bfactors": 100, "pair": 40, "size": 60}  # observations in the validation, of each


def motion_loss(model: SpringNetwork, batch: dict, options: dict):
    """Weighted sum of the mean losses of each kind of observation, and values to log.

    Pairs have two, `displacement_loss` and `profile_loss`. With ``crystal``, B-factors train the
    springs of the network for them (`SpringNetwork.crystal_springs`).

    Atoms are displaced at random by ``noise_nm`` (root mean square), as structures are not exact.
    """
    terms: dict[str, list[torch.Tensor]] = {name: [] for name in _TERMS}
    with full_precision(batch["backbone"]):
        noise = torch.randn_like(batch["backbone"]) * options["noise_nm"] / 3**0.5
        batch = {**batch, "backbone": batch["backbone"] + noise}
        for kind, graph, target in each_observation(batch):
            crystal = kind == 0 and options["crystal"]
            springs = model.crystal_springs(graph) if crystal else model(graph)
            covariance = network_covariance(graph.ca, springs)
            if kind == 0:
                value = bfactor_loss(covariance, graph.ca, target[:, 0], options["rigid"])
            elif kind == 1:
                value = sum(displacement_loss(covariance, graph.ca, target))
                if options["profile"]:
                    terms["profile"].append(profile_loss(covariance, target))
            else:
                value = size_loss(covariance, target[0])
            terms[KINDS[kind]].append(value)
    means = {name: torch.stack(each).mean() for name, each in terms.items() if each}
    loss = sum(options[name] * value for name, value in means.items())
    logged = {name: means[name].detach() if name in means else float("nan") for name in _TERMS}
    return loss, {"residues": int(batch["lengths"].sum()), **logged}


def validation(fitted: MotionData | None, chosen: MotionData | None) -> Callable:
    """Function that measures a network.

    B-factors are those of `chosen`, the validation split; pairs and sizes are those of training
    chains whose clusters are left out of the fit. It returns the median correlation of B-factors
    with mean squares, the mean of both forms of `displacement_loss`, the mean correlation of RMSF
    with how far residues moved, and the correlation and the median error of the logarithms of mean
    RMSF.
    """
    rows = [[], [], []]
    if chosen is not None:
        rows[0] = [(chosen, row) for row in chosen.rows[0]]
    if fitted is not None:
        rows[1:] = [[(fitted, row) for row in fitted.part(k, "choose")] for k in (1, 2)]
    batches = []
    for kind, name in enumerate(KINDS):
        seen: dict[tuple[str, str], object] = {}
        for data, row in rows[kind]:
            found = None
            if len(seen) < _MEASURED[name] and (key := data.cluster(row)) not in seen:
                found = data.observation(kind, row)
            if found is not None:
                seen[key] = found
        batches += [stack_observations([one]) for one in seen.values()]
    if not batches:
        raise StructureError("no observations to validate on")

    def evaluate(model: SpringNetwork) -> dict[str, float]:
        device = next(model.parameters()).device
        values: dict[str, list[float]] = {
            name: [] for name in ("bfactors", "pair", "single", "moved_r", "predicted", "measured")
        }
        for arrays in batches:
            batch = {k: torch.as_tensor(v, device=device) for k, v in arrays.items()}
            for kind, graph, target in each_observation(batch):
                springs = model(graph) if kind else model.crystal_springs(graph)
                covariance = network_covariance(graph.ca, springs)
                square = mean_square(covariance)
                if kind == 0:
                    known = torch.isfinite(target[:, 0])
                    r = pearson(square[known], target[known, 0].double())
                    values["bfactors"].append(float(r))
                elif kind == 1:
                    whole, alone = displacement_loss(covariance, graph.ca, target)
                    values["pair"].append(float(whole))
                    values["single"].append(float(alone))
                    known = torch.isfinite(target).all(-1)
                    far = target[known].double().norm(dim=-1)
                    values["moved_r"].append(float(pearson(square[known].sqrt(), far)))
                else:
                    values["predicted"].append(float(square.sqrt().mean().log()))
                    values["measured"].append(float(target[0, 0].log()))
        predicted, measured = values.pop("predicted"), values.pop("measured")
        off = np.subtract(predicted, measured)
        return {
            "bfactors": _median(values["bfactors"]),
            "pair": _mean(values["pair"]),
            "single": _mean(values["single"]),
            "moved_r": _mean(values["moved_r"]),
            "size_r": correlation(np.array(predicted), np.array(measured)) if len(off) else np.nan,
            "size_off": _median(np.abs(off)),
        }

    return evaluate


def _median(values) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def _mean(values) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def train_motions(
    config: dict,
    data: str | os.PathLike,
    motions: str | os.PathLike,
    directory: str | os.PathLike,
    *,
    device: str = "cpu",
    time_limit: float | None = None,
    resume: bool = False,
    init_from: str | os.PathLike | None = None,
    decay: int | None = None,
    progress: bool = True,
) -> Path:
    """Train the network of springs (see `train_packer`).

    The config has the sections ``model`` (`SpringConfig`), ``training`` (`LoopConfig`), ``data``
    and ``loss``. `motions` is a directory as in `openmm_slm.data.motion_data`. Afterwards the
    readout of B-factors is fitted to chains with up to 300 residues (`fit_readout`).
    """
    check_names(config, {"model", "training", "data", "loss"}, "config")
    chosen = merge(DATA, config.get("data", {}), "data")
    options = merge(LOSS, config.get("loss", {}), "loss")
    loop = build(LoopConfig, config.get("training", {}), "training")
    prefix = tuple(chosen["prefix"] or ("backbone", "heavy", "shard"))
    observed = MotionData(motions, ShardDataset(data, "train", prefix), chosen["max_length"])
    sampler = MotionSampler(observed, {name: chosen[name] for name in KINDS})
    torch.manual_seed(loop.seed)
    if init_from is None:
        model = SpringNetwork(build(SpringConfig, MODEL | config.get("model", {}), "model"))
    else:
        model = load_module(init_from, SpringNetwork)
    if options["crystal"] and chosen["bfactors"] and model.crystal_network is None:
        raise SLMError(
            f"{init_from or 'model'}: the network has no springs for B-factors; set bfactors in "
            "data to 0, or crystal in loss to false, so that all springs learn from B-factors"
        )

    def make_validation() -> Callable:
        try:
            left_out = MotionData(motions, ShardDataset(data, "val", prefix), _LONGEST)
        except StructureError:
            left_out = None
        return validation(observed, left_out)

    whole = MotionData(motions, observed.dataset, _LONGEST)

    def export(trained: SpringNetwork, where: Path) -> None:
        if whole.part(0, "fit"):
            trained = fit_readout(copy.deepcopy(trained), whole)
        save_module(where, trained)

    return train_network(
        model,
        lambda m, batch, step: motion_loss(m, batch, options),
        lambda step: sampler.batch(np.random.default_rng([loop.seed, step])),
        if_there_is_data(make_validation),
        directory,
        loop,
        device,
        {"data": chosen, "loss": options},
        time_limit=time_limit,
        resume=resume,
        decay=decay,
        progress=progress,
        export=export,
    )

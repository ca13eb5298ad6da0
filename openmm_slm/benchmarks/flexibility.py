"""``openmm-slm benchmark flexibility``: predicted motion of known structures."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import numpy as np
from tqdm.auto import tqdm

from ..analysis.fluctuations import correlation, rank_correlation
from ..data.motion_data import MotionData, Observation
from ..data.shards import ShardDataset
from ..errors import StructureError
from ..models.registry import load_springs
from ..motions.springs import Springs, unconnected
from ..plots.profiles import rmsf_about_mean
from ..protein.elastic_network import PackedNetwork, gaussian_network, network_modes
from ..protein.sequence import AMINO_ACIDS
from ..protein.trajectory import from_trajectory
from .intervals import median_interval
from .references import load_ensemble, read_references
from .text_table import Column, text_table

#: (backbone [L, 4, 3] in nm, sequence, residue index) -> mean square fluctuation [L] of CA.
Method = Callable[[np.ndarray, str, np.ndarray], np.ndarray]
CRYSTAL, OURS = "predicted B-factors", "learned springs"
_COLUMNS = {
    "median r": Column("r", 3),
    "from": Column("low", 3),
    "to": Column("high", 3),
    "saturated": Column("saturated", 3),
    "rank r": Column("rank", 3),
    "s a chain": Column("seconds", 3),
}
_SIZES = {
    "pairs of conformers, rank r": Column("pairs", 3),
    "chains": Column("chains", 0),
    "log mean RMSF, r": Column("size_r", 3),
    "predicted / MD": Column("ratio", 2),
    "off, %": Column("off", 0, 100),
    "clusters": Column("clusters", 0),
}
_MD = {
    "r": Column("r", 2),
    "rank r": Column("rank", 2),
    "mean RMSF, A": Column("mean", 2, 10),
    "MD, A": Column("md", 2, 10),
}


def methods(springs: Springs) -> dict[str, Method]:
    """The model, and springs that depend on distance alone.

    `CRYSTAL` gives ``bfactors`` of `flexibility`, and `OURS` its RMSF.
    """

    def anisotropic(backbone: np.ndarray, sequence: str, index: np.ndarray) -> np.ndarray:
        stiffness, modes = network_modes(backbone[:, 1])
        return (modes**2 / stiffness).sum(1).reshape(-1, 3).sum(1)

    return {
        CRYSTAL: lambda x, sequence, index: springs.motions(x, sequence, index).crystal,
        OURS: lambda x, sequence, index: np.einsum(
            "iaia->i", springs.covariance(x, sequence, index)
        ),
        "GNM": lambda x, sequence, index: gaussian_network(x[:, 1]),
        "ANM": anisotropic,
        "packed springs": lambda x, sequence, index: PackedNetwork(x[:, 1], index).mean_square(),
    }


def benchmark_flexibility(
    data: str | os.PathLike,
    motions: str | os.PathLike,
    model: str | os.PathLike = "default",
    device: str = "auto",
    *,
    split: str = "test",
    references: str | os.PathLike | None = None,
    longest: int = 512,
    progress: bool = True,
) -> str:
    """Tables of the predicted motion of native chains.

    Parameters
    ----------
    data : path
        Shard directory.
    motions : path
        Directory as in `openmm_slm.data.motion_data`.
    split : str
        Split whose B-factors are compared.
    references : path, optional
        See `openmm_slm.benchmarks.references`; rows with "MD" in their kind.
    longest : int
        Chains with more residues are left out.

    Returns
    -------
    str
        *B-factors*: median over chains of the correlation with the predicted mean square
        fluctuation m and its 95 % interval; with m / (m + 3 mean of m), because atoms that move far
        are given too small B or left out of a model; and the rank correlation. *Left-out clusters*
        of the ``train`` split, which no fit has seen: median rank correlation of the predicted RMSF
        with the displacement between conformers (one pair a cluster); correlation of the logarithms
        of the mean RMSF with that in MD, the median of the ratio, and the median error. *MD*: the
        profile from the first frame against that of all frames.
    """
    found = methods(load_springs(model, device))
    prefix = ("backbone", "heavy", "shard")
    tables = []
    try:
        chosen = MotionData(motions, ShardDataset(data, split, prefix), longest)
        tables.append(_bfactors(found, chosen, split, progress))
    except StructureError as error:  # user data may have no such split
        tables.append(f"{split}: {error}")
    try:
        fitted = MotionData(motions, ShardDataset(data, "train", prefix), longest)
        tables.append(_left_out(found, fitted, progress))
    except StructureError as error:
        tables.append(f"train: {error}")
    if references is not None:
        tables += _references(found, references)
    return "\n\n".join(tables)


def _sequence(observation: Observation) -> str:
    return "".join((AMINO_ACIDS + "X")[k] for k in observation.amino_acids)


def _predicted(method: Method, observation: Observation) -> np.ndarray:
    """Mean square fluctuations [N]; NaN where the method has none (loose parts)."""
    try:
        return method(
            observation.backbone.astype(np.float64), _sequence(observation), observation.index
        )
    except StructureError:
        return np.full(len(observation.index), np.nan)


def _bfactors(found: dict[str, Method], data: MotionData, split: str, progress: bool) -> str:
    observed = [o for row in data.rows[0] if (o := data.observation(0, row))]
    rows = {}
    for name, method in found.items():
        r, saturated, rank, seconds = [], [], [], 0.0
        for one in tqdm(observed, unit="chain", desc=name, disable=not progress):
            begin = time.process_time()
            square = _predicted(method, one)
            seconds += time.process_time() - begin
            known = np.isfinite(one.target[:, 0])
            b = one.target[known, 0].astype(np.float64)
            r.append(correlation(square[known], b))
            saturated.append(correlation(square[known] / (square[known] + 3 * square.mean()), b))
            rank.append(rank_correlation(square[known], b))
        value, low, high = median_interval(r)
        rows[name] = {
            "r": value, "low": low, "high": high, "saturated": np.nanmedian(saturated),
            "rank": np.nanmedian(rank), "seconds": seconds / max(1, len(observed)),
        }  # fmt: skip
    title = f"B-factors of {len(observed)} {split} chains"
    return text_table(title, rows, _COLUMNS)


def _one_a_cluster(data: MotionData, kind: int) -> Iterator[Observation]:
    """The first observation of each cluster that is left out for reports."""
    seen = set()
    for row in data.part(kind, "report"):
        if (cluster := data.cluster(row)) not in seen and (one := data.observation(kind, row)):
            seen.add(cluster)
            yield one


def _left_out(found: dict[str, Method], data: MotionData, progress: bool) -> str:
    pairs = [one for one in _one_a_cluster(data, 1) if not unconnected(one.backbone[:, 1]).any()]
    sizes = list(_one_a_cluster(data, 2))
    rows = {}
    for name, method in found.items():
        rank = []
        for one in tqdm(pairs, unit="pair", desc=name, disable=not progress):
            square = _predicted(method, one)
            known = np.isfinite(one.target[:, 0])
            moved = np.linalg.norm(one.target[known].astype(np.float64), axis=-1)
            rank.append(rank_correlation(square[known], moved))
        rows[name] = {"pairs": np.nanmedian(rank) if rank else np.nan, "chains": len(rank)}
        if name == OURS and len(sizes) > 2:
            mean = np.array([np.sqrt(_predicted(method, one)).mean() for one in sizes])
            true = np.array([one.target[0, 0] for one in sizes], np.float64)
            off = np.log(mean / true)
            rows[name] |= {
                "size_r": float(np.corrcoef(np.log(mean), np.log(true))[0, 1]),
                "ratio": float(np.exp(np.median(off))),
                "off": float(np.exp(np.median(np.abs(off))) - 1),
                "clusters": len(sizes),
            }
    return text_table("Left-out clusters of training chains", rows, _SIZES)


def _references(found: dict[str, Method], directory: str | os.PathLike) -> list[str]:
    tables = []
    for reference in read_references(directory):
        if not reference.is_md:
            continue
        ensemble = load_ensemble(reference)
        first = from_trajectory(ensemble[0])
        whole = first.backbone_mask[0] & np.isfinite(first.backbone[0]).all((1, 2))
        ca = [atom.index for atom in ensemble.topology.atoms if atom.name == "CA"]
        true = rmsf_about_mean(ensemble.xyz[:, ca].astype(np.float64))[whole]
        sequence = "".join(np.array(list(first.sequence))[whole])
        rows = {}
        for name, method in found.items():
            x = first.backbone[0, whole].astype(np.float64)
            try:
                rmsf = np.sqrt(method(x, sequence, first.residue_index[whole]))
            except StructureError:
                continue
            rows[name] = {"r": correlation(rmsf, true), "rank": rank_correlation(rmsf, true)}
            if name == OURS:
                rows[name] |= {"mean": rmsf.mean(), "md": true.mean()}
        tables.append(
            text_table(f"{reference.id}: RMSF of {ensemble.n_frames} frames of MD", rows, _MD)
        )
    return tables

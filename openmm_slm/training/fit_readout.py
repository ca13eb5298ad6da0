"""Fit the readout of B-factors to the chains of a motions directory."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..data.motion_data import MotionData
from ..errors import StructureError
from ..motions.bfactor_readout import FEATURES, BFactorReadout, crystal_features
from ..motions.network_covariance import mean_square, network_covariance
from ..motions.spring_network import SpringNetwork
from ..networks.rigid_frames import full_precision
from .motion_batches import each_observation, stack_observations

_EXTREME = 0.02  # share of B-factors at each end that are clipped
_FEWEST = 15  # residues with a B-factor
_PENALTY = 0.03  # of squared weights, relative to the number of residues


@torch.no_grad()
def fit_readout(network: SpringNetwork, data: MotionData) -> SpringNetwork:
    """Give a network of springs a `BFactorReadout`, fitted by ridge regression.

    The targets are the B-factors of each chain, less their mean and over their SD. A cluster has
    the weight of one chain. Chains of the clusters that `MotionData.part` leaves out are not used.
    """
    network.eval()
    device = next(network.parameters()).device
    counts: dict[str, int] = {}
    rows = data.part(0, "fit")
    for row in rows:
        counts[data.cluster(row)] = counts.get(data.cluster(row), 0) + 1
    matrix = torch.zeros(FEATURES, FEATURES, dtype=torch.float64)
    vector, residues = torch.zeros(FEATURES, dtype=torch.float64), 0.0
    for row in rows:
        if (one := data.observation(0, row)) is None:
            continue
        arrays = stack_observations([one])
        batch = {k: torch.as_tensor(v, device=device) for k, v in arrays.items()}
        _, graph, target = next(each_observation(batch))
        known = torch.isfinite(target[:, 0])
        b = target[known, 0].double()
        if len(b) < _FEWEST or b.std() == 0:
            continue
        with full_precision(graph.ca):
            square = mean_square(network_covariance(graph.ca, network.crystal_springs(graph)))
            features = crystal_features(graph, square)[known].double().cpu()
        b = b.clamp(b.quantile(_EXTREME), b.quantile(1 - _EXTREME)).cpu()
        weight = 1 / counts[one.cluster]
        matrix += weight * features.T @ features
        vector += weight * features.T @ ((b - b.mean()) / b.std(correction=0))
        residues += weight * len(b)
    if not residues:
        raise StructureError(f"{data.directory}: no B-factors to fit the readout to")
    weights = ridge(matrix, vector, residues)
    network.config = replace(network.config, readout=True)
    network.readout = BFactorReadout().to(device)
    network.readout.weight.copy_(weights)
    return network


def ridge(matrix: torch.Tensor, vector: torch.Tensor, rows: float) -> torch.Tensor:
    """Weights [D] of a ridge regression of y on x, from x^T x [D, D] and x^T y [D] over `rows`.

    Each column of x is penalised as if it had unit variance.
    """
    scale = (matrix.diagonal() / rows).sqrt().clamp(min=1e-6)
    scaled = matrix / (scale.unsqueeze(1) * scale)
    eye = torch.eye(len(matrix), dtype=matrix.dtype)
    return torch.linalg.solve(scaled + _PENALTY * rows * eye, vector / scale) / scale

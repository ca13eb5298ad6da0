"""Which springs, and draws from them, move what conformers do: tools/measure_networks.py DATA.

The pairs of `measure_conformers.py`, CA alone, without the model. How a network of springs on the
first structure correlates with the distance of the two at each residue (all: its covariance; five:
five draws; pooled: residues of all pairs together), and the gain of TM-score to the second. Draws
have 1 Å in root mean square: each, or a typical protein over its draws, and soft ones more.
`PackedNetwork` was chosen with it.
"""

from __future__ import annotations

import sys

import numpy as np
from measure_conformers import N, pairs

from openmm_slm.benchmarks.pairs import distances_after_fit, pooled_correlation, score_pair
from openmm_slm.protein.elastic_network import network_hessian, packed_stiffness, spring_hessian

SIZE = 0.1  # nm
FLOOR = 3e-4
APART = 10  # residue index: as if no two residues were neighbours in a chain
NETWORKS = {
    "cutoff 1.5 nm": network_hessian,
    "distance^-6": lambda ca: spring_hessian(ca, packed_stiffness(ca, APART * np.arange(len(ca)))),
    "distance^-6, chain": lambda ca: spring_hessian(ca, packed_stiffness(ca)),
}
#: name: (each draw of one size, power of the stiffness that a mode's amplitude falls with)
DRAWS = {
    "thermal, of one size": (True, 0.5),
    "thermal": (False, 0.5),
    "response": (False, 1.0),
}


def drawn(seed: int, weighted: np.ndarray, one_size: bool, warmth: float) -> np.ndarray:
    """N displacements [N, L, 3] from modes times their amplitudes [3 L, K]."""
    normal = np.random.default_rng(seed).standard_normal((N, weighted.shape[1]))
    moves = (normal @ weighted.T).reshape(N, -1, 3)
    if one_size:
        return moves * (SIZE / np.sqrt((moves**2).sum(-1).mean(1)))[:, None, None]
    return moves * (SIZE * warmth / np.sqrt((weighted**2).sum() / moves.shape[1]))


def main(data: str, most: int = 100) -> None:
    found = [[x.backbone[:, 1].astype(np.float64) for x in pair] for pair in pairs(data, most)]
    print(f"{len(found)} pairs, {N} draws each; mean and its standard error")
    print(f"{'springs':20}{'draws':22}   r, all       r, five    pooled    gain, five")
    for network, make in NETWORKS.items():
        modes = [np.linalg.eigh(make(one)) for one, _ in found]
        modes = [(values[6:] + FLOOR, vectors[:, 6:]) for values, vectors in modes]
        warmth = [np.sqrt((1 / k).sum() / len(k)) for k, _ in modes]
        for draw, (one_size, power) in DRAWS.items():
            whole, rows = [], []
            for number, ((k, vectors), (one, two)) in enumerate(zip(modes, found, strict=True)):
                weighted = vectors * k**-power
                spread = np.sqrt((weighted**2).sum(1).reshape(-1, 3).sum(1))
                whole.append(np.corrcoef(spread, distances_after_fit(one, two))[0, 1])
                moves = drawn(number, weighted, one_size, warmth[number] / np.median(warmth))
                rows.append(score_pair(one, two, one + moves))
            figures = [whole, [row["r"] for row in rows], [row["gain"] for row in rows]]
            a, b, c = ((np.mean(x), np.std(x) / np.sqrt(len(x))) for x in figures)
            print(
                f"{network:20}{draw:22} {a[0]:.3f} {a[1]:.3f}  {b[0]:.3f} {b[1]:.3f}  "
                f"{pooled_correlation(rows):.3f}  {c[0]:7.4f} {c[1]:.4f}",
                flush=True,
            )


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(sys.argv[1], *map(int, sys.argv[2:]))

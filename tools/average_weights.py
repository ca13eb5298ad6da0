"""Average the weights of two language models: average_weights.py NEW OLD SHARE OUT.

OUT has SHARE of NEW and the rest of OLD where both have a weight, and all other weights of NEW. A
network that was trained further for one task keeps more of what it knew before (Wortsman et al.,
"Robust fine-tuning of zero-shot models", 2022).
"""

from __future__ import annotations

import sys
from pathlib import Path

from openmm_slm.networks.storage import load_network, read_config, save_network


def main(new: str, old: str, share: str, output: str) -> None:
    config, weights = load_network(Path(new))
    before = load_network(Path(old))[1]
    for name, value in weights.items():
        if name in before and before[name].shape == value.shape:
            weights[name] = before[name].lerp(value, float(share))
    stored = read_config(new)
    more = {name: stored[name] for name in ("tokenizer", "no_sequence") if name in stored}
    save_network(output, stored["kind"], config, weights, **more)


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])

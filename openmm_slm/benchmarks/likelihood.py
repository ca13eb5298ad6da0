"""How well a language model predicts the tokens of structures it has not seen."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..models.registry import find_device, load_language_model
from ..training.train_language_model import nats_of_split


def benchmark_likelihood(
    data: str | os.PathLike,
    tokens: str | os.PathLike,
    models: Sequence[str | os.PathLike],
    split: str = "test",
    device: str = "auto",
) -> str:
    """Table of nats per token (negative bound, mean over clusters) of each model on a split."""
    evaluate = nats_of_split(data, tokens, split)
    device = find_device(device)
    lines = [f"{'model':40} {'sequence':>8} {'nats/token':>10} {'+-':>6} {'clusters':>8}"]
    for name in models:
        network = load_language_model(name, device).network
        result = evaluate(network)
        seen = "yes" if network.config.use_sequence else "no"
        lines.append(
            f"{str(name)[-40:]:40} {seen:>8} {result['nats_per_token']:10.3f} "
            f"{result['standard_error']:6.3f} {result['clusters']:8.0f}"
        )
    return "\n".join(lines)

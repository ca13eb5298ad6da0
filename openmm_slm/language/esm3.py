"""ESM3 and ESMDiff as structure language models: `esm3_network` samples as others do.

Residues whose tokens are given keep their letters in view, and so do those to be found: only
structure tokens are ever masked. BOS, EOS and chain breaks are no residues, and have no tokens.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch

from ..networks.esm3_tokens import BOS, esm3_layout
from ..protein.sequence import parse_sequence
from .esm3_network import ESM3Network, ESMDiffNetwork
from .iterative import entropy_sample, iterative_sample
from .masked_model import MaskedModel
from .sampling import ORDERS, Denoiser, ancestral_sample


class ESM3Model(MaskedModel):
    """ESM3 as it was released.

    By default it decodes iteratively (see `iterative`), from temperature 1.4 and the likeliest 90 %
    as Lu et al. (2025) did: that makes samples, not draws from a stated distribution. ``order``
    has the other ways.

    Parameters
    ----------
    network : ESM3Network
    device : str
    """

    orders = {"iterative": iterative_sample, "entropy": entropy_sample, **ORDERS}
    temperature, top_p = 1.4, 0.9

    def __init__(self, network: ESM3Network, device: str = "cpu") -> None:
        super().__init__(network, device)

    def read(
        self, sequence: str, condition: object = None, *, hidden: bool = False
    ) -> Callable[[int], Denoiser]:
        self.check_condition(condition, sequence)
        chains = parse_sequence(sequence)
        if hidden:
            chains = tuple("_" * len(chain) for chain in chains)
        row, positions = (torch.as_tensor(x, device=self.device) for x in esm3_layout(chains))

        def denoise(tokens: torch.Tensor, where: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
            sequence_tokens = row.expand(len(tokens), -1)
            structure_tokens = torch.full_like(sequence_tokens, BOS)  # the ends: as the sequence's
            structure_tokens[:, positions] = tokens
            network = self.network
            states = network.hidden(sequence_tokens, structure_tokens, network.extra(time))
            # Special tokens, MASK among them, are no structure: the codes alone can be drawn.
            return network.structure_head(states[:, positions][where])[:, : self.vocabulary]

        return lambda rows: denoise

    def frames_together(self, length: int) -> int:
        """A function of the length alone: few on a CPU, which 256 positions keep busy."""
        positions = 256 if self.device.type == "cpu" else 4096
        return int(min(64, max(1, positions // length)))


class ESMDiffModel(ESM3Model):
    """ESM3 fine-tuned as a masked diffusion of structure tokens (Lu et al., 2025).

    Parameters
    ----------
    network : ESMDiffNetwork
    device : str
    """

    #: As published, the share of masked tokens falls to 1e-5 in equal steps; then none is left.
    orders = {**ORDERS, "ancestral": functools.partial(ancestral_sample, end=1e-5)}
    temperature, top_p = 1.0, 1.0

    def __init__(self, network: ESMDiffNetwork, device: str = "cpu") -> None:
        super().__init__(network, device)

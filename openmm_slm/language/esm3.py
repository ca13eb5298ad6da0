"""ESM3 and ESMDiff as structure language models (the networks are in `esm3_network`).

Only structure tokens are masked; the amino acid of every residue stays visible. BOS, EOS and chain
breaks are not residues: no tokens are sampled for them.
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
    """ESM3 as released.

    By default it decodes iteratively (see `iterative`) with initial temperature 1.4 and top_p 0.9,
    as Lu et al. (2025) did. Such samples do not follow an explicit distribution. ``order`` selects
    other methods.

    Parameters
    ----------
    network : ESM3Network
    device : str
        Torch device.
    """

    orders = {"iterative": iterative_sample, "entropy": entropy_sample, **ORDERS}
    temperature, top_p = 1.4, 0.9
    folds = True

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
            # `hidden` sets the special tokens; BOS is a placeholder.
            structure_tokens = torch.full_like(sequence_tokens, BOS)
            structure_tokens[:, positions] = tokens
            network = self.network
            states = network.hidden(sequence_tokens, structure_tokens, network.extra(time))
            # Leave out the special tokens (MASK included), so that only codes can be sampled.
            return network.structure_head(states[:, positions][where])[:, : self.vocabulary]

        return lambda rows: denoise

    def frames_together(self, length: int) -> int:
        """Batch size for 4,096 positions (256 on a CPU); depends on the length only."""
        positions = 256 if self.device.type == "cpu" else 4096
        return int(min(64, max(1, positions // length)))


class ESMDiffModel(ESM3Model):
    """ESM3 fine-tuned as a masked diffusion model of structure tokens (Lu et al., 2025).

    Parameters
    ----------
    network : ESMDiffNetwork
    device : str
        Torch device.
    """

    #: As published, the masked fraction falls to 1e-5 in equal steps; a last step unmasks the rest.
    orders = {**ORDERS, "ancestral": functools.partial(ancestral_sample, end=1e-5)}
    temperature, top_p = 1.0, 1.0

    def __init__(self, network: ESMDiffNetwork, device: str = "cpu") -> None:
        super().__init__(network, device)

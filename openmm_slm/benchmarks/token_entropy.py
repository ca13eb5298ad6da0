"""How much of a token its neighbours tell: what a tokenizer leaves to its language model.

A small network predicts a token from the two tokens on either side and the amino acids of all
five residues. Its cross-entropy on chains of other families bounds the conditional entropy

    H(z_i | z_{i-2}, z_{i-1}, z_{i+1}, z_{i+2}, a_{i-2}, ..., a_{i+2})

from above; the unigram cross-entropy less it is what the neighbourhood tells. Two tokenizers of one
reconstruction error differ in this: tokens that are noise to their neighbours must be memorised.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from ..data.padding import pad_entries
from ..data.shards import ShardDataset
from ..tokenizer.dvae import DVAE

AROUND = (-2, -1, 1, 2)
LETTERS = 22  # 20 amino acids, unknown, no residue


@dataclass(frozen=True, eq=False)
class TokenChain:
    """Tokens int64 [L] (-1: none), amino acids int64 [L] (0..20), residue index int64 [L]."""

    tokens: np.ndarray
    amino_acids: np.ndarray
    index: np.ndarray


@dataclass(frozen=True)
class TokenEntropy:
    """Nats per token of held-out chains.

    Attributes
    ----------
    unigram : float
        Cross-entropy under the frequencies of the training chains.
    conditional : float
        Under the network that sees the neighbours.
    standard_error : float
        Of `conditional`, over chains.
    trained, scored : int
        Tokens.
    """

    unigram: float
    conditional: float
    standard_error: float
    trained: int
    scored: int

    @property
    def told(self) -> float:
        """Bits of a token that its neighbours tell."""
        return (self.unigram - self.conditional) / float(np.log(2))


@torch.no_grad()
def tokenize_chains(
    model: DVAE, dataset: ShardDataset, rows: Sequence[int], residues: int = 4096
) -> list[TokenChain]:
    """Posterior modes of entries of a dataset, those of similar length together."""
    model.eval()
    device = next(model.parameters()).device
    chains: list[TokenChain] = []
    order = sorted(rows, key=lambda row: dataset.lengths[row])
    while order:
        size = max(1, residues // int(dataset.lengths[order[-1]]))
        order, some = order[:-size], order[-size:]
        entries = [dataset[row] for row in some]
        batch = pad_entries(entries)
        tensors = (torch.as_tensor(batch[k], device=device) for k in ("backbone", "mask", "index"))
        tokens = model.tokenize(*tensors).cpu().numpy()
        for number, entry in enumerate(entries):
            n = len(entry.sequence)
            letters, index = (batch[name][number, :n] for name in ("amino_acids", "index"))
            chains.append(TokenChain(tokens[number, :n], letters, index))
    return chains


def neighbourhoods(chain: TokenChain, vocabulary: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens [T] that are there, tokens [T, 4] and amino acids [T, 5] around each.

    A residue beyond an end or a gap of the chain is none: its token is `vocabulary`, its amino
    acid the last letter.
    """
    length = len(chain.tokens)
    here = np.arange(length)
    tokens = np.full((length, len(AROUND)), vocabulary)
    letters = np.full((length, len(AROUND) + 1), LETTERS - 1)
    letters[:, -1] = chain.amino_acids
    for column, offset in enumerate(AROUND):
        there = np.clip(here + offset, 0, length - 1)
        joined = chain.index[there] - chain.index == offset
        known = joined & (chain.tokens[there] >= 0)
        tokens[known, column] = chain.tokens[there][known]
        letters[joined, column] = chain.amino_acids[there][joined]
    present = chain.tokens >= 0
    return chain.tokens[present], tokens[present], letters[present]


class NeighbourModel(nn.Module):
    """Logits of a token given its neighbourhood.

    Parameters
    ----------
    vocabulary : int
    width : int
        Of each embedding.
    hidden : int
    """

    def __init__(self, vocabulary: int, width: int = 32, hidden: int = 192) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.token = nn.ModuleList(nn.Embedding(vocabulary + 1, width) for _ in AROUND)
        self.letter = nn.ModuleList(nn.Embedding(LETTERS, width) for _ in range(len(AROUND) + 1))
        self.network = nn.Sequential(
            nn.Dropout(0.1),
            nn.Linear((2 * len(AROUND) + 1) * width, hidden),
            nn.GELU(),
            nn.Dropout(0.1),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, vocabulary),
        )
        for table in (*self.token, *self.letter):
            nn.init.normal_(table.weight, std=0.3)

    def forward(self, tokens: torch.Tensor, letters: torch.Tensor) -> torch.Tensor:
        """Tokens [T, 4] and amino acids [T, 5] around -> [T, V]."""
        parts = [table(tokens[:, i]) for i, table in enumerate(self.token)]
        parts += [table(letters[:, i]) for i, table in enumerate(self.letter)]
        return self.network(torch.cat(parts, -1))

    @torch.no_grad()
    def nats(self, examples: Sequence[torch.Tensor]) -> torch.Tensor:
        """-log p [T] of tokens [T] given those and the amino acids around."""
        self.eval()
        parts = zip(*(x.split(4096) for x in examples), strict=True)
        found = [F.cross_entropy(self(z, a), token, reduction="none") for token, z, a in parts]
        return torch.cat(found)


def _examples(chains: Sequence[TokenChain], vocabulary: int) -> list[torch.Tensor]:
    parts = zip(*(neighbourhoods(chain, vocabulary) for chain in chains), strict=True)
    return [torch.as_tensor(np.concatenate(part)).long() for part in parts]


def fit_neighbour_model(
    chains: Sequence[TokenChain],
    vocabulary: int,
    *,
    epochs: int = 8,
    batch: int = 1024,
    learning_rate: float = 3e-3,
    bf16: bool = False,
    seed: int = 0,
) -> NeighbourModel:
    """Train on nine chains of ten; the tenths choose the epoch. `bf16` speeds up the products."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = NeighbourModel(vocabulary)
        optimizer = torch.optim.AdamW(model.parameters(), learning_rate, weight_decay=0.01)
        seen = _examples([c for i, c in enumerate(chains) if i % 10], vocabulary)
        unseen = _examples(chains[::10], vocabulary)
        steps = epochs * -(-len(seen[0]) // batch)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
        best, lowest, worse = model.state_dict(), float("inf"), 0
        for _ in range(epochs):
            model.train()
            for rows in torch.randperm(len(seen[0])).split(batch):
                token, tokens, letters = (x[rows] for x in seen)
                optimizer.zero_grad(set_to_none=True)
                with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                    logits = model(tokens, letters)
                F.cross_entropy(logits.float(), token).backward()
                optimizer.step()
                schedule.step()
            nats = float(model.nats(unseen).mean())
            worse = worse + 1 if nats > lowest else 0
            if worse == 2:
                break
            if nats < lowest:
                best, lowest = copy.deepcopy(model.state_dict()), nats
    model.load_state_dict(best)
    return model.eval()


def score_neighbour_model(
    model: NeighbourModel, train: Sequence[TokenChain], scored: Sequence[TokenChain]
) -> TokenEntropy:
    """Entropies of `scored` chains, of families that are not in `train`."""
    seen, unseen = (_examples(chains, model.vocabulary) for chains in (train, scored))
    # Half a count each: a token that training never saw has a probability.
    counts = torch.bincount(seen[0], minlength=model.vocabulary).double() + 0.5
    unigram = float(-(counts / counts.sum()).log()[unseen[0]].mean())
    nats = model.nats(unseen).double()
    mean = float(nats.mean())
    lengths = [int((chain.tokens >= 0).sum()) for chain in scored]
    excess = np.array([float((part - mean).sum()) for part in nats.split(lengths)])
    error = float(np.sqrt((excess**2).sum()) / len(nats))
    return TokenEntropy(unigram, mean, error, len(seen[0]), len(nats))


def token_entropy(
    train: Sequence[TokenChain], scored: Sequence[TokenChain], vocabulary: int, **options
) -> TokenEntropy:
    """Fit a `NeighbourModel` on `train`, score it on `scored`; `options` of the fit."""
    return score_neighbour_model(fit_neighbour_model(train, vocabulary, **options), train, scored)

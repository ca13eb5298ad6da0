"""Structure tokenizers by the ``kind`` in the config.json of their network."""

from __future__ import annotations

from .dvae import DVAE
from .dvae_tokenizer import DVAETokenizer
from .esm3 import ESM3Tokenizer, ESM3TokenizerNetwork
from .interface import StructureTokenizer

TOKENIZERS: dict[str, type[StructureTokenizer]] = {
    DVAE.kind: DVAETokenizer,
    ESM3TokenizerNetwork.kind: ESM3Tokenizer,
}

"""ESM3 of the esm package, tiny and with random weights, and what is imported from it."""

from __future__ import annotations

import types

import pytest
import torch

from openmm_slm.language.esm3_network import ESMDiffConfig, ESMDiffNetwork
from openmm_slm.models.esm3_import import FILES, import_esm3
from openmm_slm.networks.storage import save_module, tokenizer_fingerprint
from openmm_slm.tokenizer.esm3 import ESM3Tokenizer


@pytest.fixture(scope="session")
def published():
    """ESM3, encoder and decoder of the package; weights made larger, for tokens that differ."""
    pytest.importorskip("esm", reason="needs the esm package (openmm_slm[esm3])")
    from esm.models.esm3 import ESM3
    from esm.models.vqvae import StructureTokenDecoder, StructureTokenEncoder

    torch.manual_seed(0)
    tokenizers = types.SimpleNamespace(sequence=types.SimpleNamespace(mask_token_id=32))
    esm3 = ESM3(64, 1, 4, 2, None, None, None, tokenizers)
    encoder = StructureTokenEncoder(64, 1, 8, 2, 8, 4096)
    decoder = StructureTokenDecoder(64, 1, 2)
    with torch.no_grad():
        for name, weight in encoder.named_parameters():
            weight.mul_(1 if "norm" in name else 4)
    return esm3.eval(), encoder.eval(), decoder.eval()


@pytest.fixture(scope="session")
def release(published, tmp_path_factory):
    """A folder with the files of the release."""
    folder = tmp_path_factory.mktemp("release")
    (folder / "data" / "weights").mkdir(parents=True)
    for module, name in zip(published, FILES, strict=True):
        torch.save(module.state_dict(), folder / "data" / "weights" / name)
    return folder


@pytest.fixture(scope="session")
def imported(release, tmp_path_factory):
    return import_esm3(release, tmp_path_factory.mktemp("models") / "esm3")


@pytest.fixture
def at_hand(imported, monkeypatch):
    """`model="esm3"` finds the weights."""
    monkeypatch.setenv("OPENMM_SLM_ESM3", str(imported))


@pytest.fixture(scope="session")
def esmdiff(imported, tmp_path_factory):
    torch.manual_seed(1)
    where = tmp_path_factory.mktemp("models") / "esmdiff"
    network = ESMDiffNetwork(ESMDiffConfig(64, 1, 4, 2))
    save_module(where, network, tokenizer=tokenizer_fingerprint(imported / "tokenizer"))
    return where


@pytest.fixture(scope="session")
def tokenizer(imported):
    return ESM3Tokenizer.load(imported / "tokenizer")

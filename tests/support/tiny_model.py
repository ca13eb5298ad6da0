"""A model with a language model so small that it trains in seconds; its tokenizer is shipped."""

from __future__ import annotations

import json
from pathlib import Path

import mdtraj as md
import torch

import openmm_slm
from openmm_slm.language.t5 import T5, T5Config
from openmm_slm.models.registry import find_part
from openmm_slm.networks.storage import save_module, tokenizer_fingerprint

SEQUENCE = "NLYIQWLKDGGPSSGRPPPS"


def write_tiny_model(directory: Path) -> Path:
    """Random weights; all parts but the language model are those of the default model."""
    torch.manual_seed(0)
    config = T5Config(
        vocabulary=512, trunk_width=32, trunk_layers=1, trunk_heads=2, width=32, layers=1, heads=2,
        structure=1, edge=16, neighbours=8,
    )  # fmt: skip
    tokenizer = tokenizer_fingerprint(find_part("default", "tokenizer"))
    save_module(directory / "language_model", T5(config), tokenizer=tokenizer)
    parts = {"format": 1, "kind": "model", "parts": ["language_model"]}
    (directory / "config.json").write_text(json.dumps(parts))
    return directory


def simulation(n: int = 40) -> md.Trajectory:
    """Backbones sampled around a structure, in place of a simulation."""
    quiet = {"sidechains": None, "relatives": None, "progress": False, "device": "cpu"}
    start = openmm_slm.generate_ensemble(SEQUENCE, 1, seed=1, **quiet)
    return openmm_slm.generate_ensemble(SEQUENCE, n, seed=2, template=start, **quiet)

"""Conformational ensembles of proteins from structure language models, for OpenMM and MDTraj.

>>> import openmm_slm
>>> traj = openmm_slm.generate_ensemble("GYDPETGTWG", n=4, seed=1)

A name is imported on first use, so that ``import openmm_slm`` is fast.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "Ensemble": "sampling.result",
    "EnsembleGenerator": "sampling.ensemble",
    "generate_ensemble": "sampling.ensemble",
    "compare": "comparison.comparing",
    "complete": "sampling.completion",
    "finetune": "training.finetuning",
    "Flexibility": "motions.result",
    "flexibility": "sampling.flexibility",
    "geometry_report": "validity.report",
    "relax": "relaxation.relaxing",
    "seed_simulations": "seeding.simulating",
    "select_seeds": "seeding.selecting",
    "write_seeds": "seeding.writing",
    "load_language_model": "models.registry",
    "load_packer": "models.registry",
    "load_tokenizer": "models.registry",
    "ProteinStructure": "protein.structure",
    "load_structure": "protein.loading",
    "read_structure": "protein.loading",
    "read_fasta": "protein.sequence",
    "parse_sequence": "protein.sequence",
    "StructureLanguageModel": "language.interface",
    "StructureTokenizer": "tokenizer.interface",
}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> object:
    if name in _HOME:
        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))

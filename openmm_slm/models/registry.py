"""Find and load models by shipped name, path, or a name registered by another package.

A model is a directory with ``config.json``, ``README.md`` (the model card) and a sub-directory for
each part: ``tokenizer``, ``language_model`` and, if the model has its own, ``packer``,
``backmapping``, ``motions`` and ``segments``.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelError, counted
from ..files.named_directories import find_named, registered_directories
from ..networks.storage import load_module, read_config, tokenizer_fingerprint
from .esm3_import import release_files
from .esm3_weights import converted, find_esm3

if TYPE_CHECKING:
    from ..allatom.backmapping import Backmapper
    from ..allatom.packer import SideChainPacker
    from ..language.interface import StructureLanguageModel
    from ..language.segment_ranker import SegmentRanker
    from ..motions.springs import Springs
    from ..tokenizer.interface import StructureTokenizer

ENTRY_POINTS = "openmm_slm.models"
#: Models whose weights the user provides: functions that find their directory.
BROUGHT = {"esm3": find_esm3}


def shipped_models() -> dict[str, Path]:
    """Models shipped with the package: name -> directory."""
    here = Path(__file__).parent
    return {path.parent.name: path.parent for path in sorted(here.glob("*/config.json"))}


def registered_models() -> dict[str, object]:
    """Models of other packages: name -> entry point whose value is (or returns) a directory."""
    return registered_directories(ENTRY_POINTS)


def find_model(model: str | os.PathLike) -> Path:
    """Directory of a model, given by shipped name, registered name or path.

    Raises
    ------
    ModelError
        There is no such model. The message lists the known names.
    """
    shipped, registered = shipped_models(), registered_models()
    if named := find_named(str(model), shipped, registered):
        return named
    if str(model) in BROUGHT:
        return BROUGHT[str(model)]()
    path = Path(model)
    if path.is_dir():
        if not (path / "config.json").is_file() and release_files(path):
            return converted(path)
        read_config(path)
        return path
    known = sorted(shipped) + sorted(registered) + sorted(BROUGHT)
    raise ModelError(
        f"model {str(model)!r} is neither a directory nor one of {', '.join(known) or '(none)'}"
    )


def find_device(device: str = "auto") -> str:
    """Torch device by name; ``"auto"`` is the GPU if torch finds one, else the CPU."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    # An unknown name, torch built without CUDA (an assertion), or a device without kernels.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(
            f'device {device!r} cannot be used: {reason}; use "auto" or "cpu"'
        ) from None
    return device


def find_part(model: str | os.PathLike, part: str) -> Path:
    """Directory of a part, such as ``tokenizer`` or ``packer``.

    The directory of a single network, as exported by the trainers, is also accepted. A missing
    tokenizer is replaced by that of the family (of the default model, or of ESM3; `check_parts`
    verifies that the language model was trained on its tokens). Any other missing part is replaced
    by that of the default model, because it does not depend on the tokens.
    """
    from ..language.families import FAMILIES, family_of
    from ..tokenizer.kinds import TOKENIZERS

    directory = find_model(model)
    if (directory / part).is_dir():
        return directory / part
    kind = read_config(directory).get("kind")
    if kind == "model" and part == "language_model":
        raise ModelError(f"{directory}: the model directory has no {part}; fetch the model again")
    single = kind in (*TOKENIZERS, "packer") and part not in ("backmapping", "motions", "segments")
    if part == "language_model" or single or kind == part:
        return directory
    if part == "tokenizer":
        language_model = directory / "language_model" if kind == "model" else directory
        name = family_of(read_config(language_model).get("kind"))
        if name is not None:
            return find_part(FAMILIES[name].tokenizer, part)
    return shipped_models()["default"] / part


def model_identity(model: str | os.PathLike = "default") -> dict[str, str]:
    """Identity of a model's weights: its name (or absolute path) and a checksum."""
    named = str(model) in {*shipped_models(), *registered_models(), *BROUGHT}
    checksums = [
        sorted(read_config(find_part(model, part))["sha256"].items())
        for part in ("tokenizer", "language_model", "packer", "motions", "segments")
    ]
    digest = hashlib.sha256(json.dumps(checksums).encode()).hexdigest()[:16]
    return {"name": str(model) if named else str(Path(model).resolve()), "sha256": digest}


def load_tokenizer(
    model: str | os.PathLike = "default", device: str = "auto"
) -> StructureTokenizer:
    """Load the tokenizer of a model.

    Parameters
    ----------
    model : str or path
        Shipped name, registered name, or model directory.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ...

    Returns
    -------
    StructureTokenizer
        ``tok.encode(traj)`` -> tokens [F, L]; ``tok.decode(tokens, seq)`` -> Trajectory.
    """
    from ..tokenizer.kinds import TOKENIZERS

    directory = find_part(model, "tokenizer")
    kind = read_config(directory).get("kind")
    if kind not in TOKENIZERS:
        raise ModelError(f"{directory}: holds {kind!r}, expected one of {', '.join(TOKENIZERS)}")
    return TOKENIZERS[kind].load(directory, find_device(device))


def load_language_model(
    model: str | os.PathLike = "default", device: str = "auto"
) -> StructureLanguageModel:
    """Load the structure language model of a model (see `load_tokenizer`)."""
    from ..language.families import FAMILIES, family_of

    directory = find_part(model, "language_model")
    config = read_config(directory)
    kind = config.get("kind")
    name = family_of(kind)
    if name is None:
        kinds = ", ".join(family.network.kind for family in FAMILIES.values())
        raise ModelError(f"{directory}: holds {kind!r}, expected a language model ({kinds})")
    family = FAMILIES[name]
    model = family.model(load_module(directory, family.network), find_device(device))
    model.guided = bool(config.get("no_sequence"))
    model.embeddings = config.get("embeddings")
    return model


def finds_folds(model: str | os.PathLike) -> bool:
    """Whether the language model of a model finds folds by itself (ESM3), without loading it."""
    from ..language.families import FAMILIES, family_of

    name = family_of(read_config(find_part(model, "language_model")).get("kind"))
    return name is not None and getattr(FAMILIES[name].model, "folds", False)


def knows_disorder(model: str | os.PathLike) -> bool:
    """Whether a language model has labels of disordered residues, without loading it."""
    sizes = read_config(find_part(model, "language_model")).get("config", {})
    return bool(sizes.get("disorder"))


def load_packer(model: str | os.PathLike = "default", device: str = "auto") -> SideChainPacker:
    """Load the side-chain packer of a model (see `load_tokenizer`)."""
    from ..allatom.packer import SideChainPacker

    return SideChainPacker.load(find_part(model, "packer"), find_device(device))


def load_backmapper(model: str | os.PathLike = "default", device: str = "auto") -> Backmapper:
    """Load the network of a model that builds backbones from CA traces (see `load_tokenizer`)."""
    from ..allatom.backmapping import Backmapper

    return Backmapper.load(find_part(model, "backmapping"), find_device(device))


def load_springs(model: str | os.PathLike = "default", device: str = "auto") -> Springs:
    """Load the network of a model that tells how a structure moves (see `load_tokenizer`)."""
    from ..motions.springs import Springs

    return Springs.load(find_part(model, "motions"), find_device(device))


def load_segment_ranker(
    model: str | os.PathLike = "default", device: str = "auto"
) -> SegmentRanker:
    """Load the network of a model that ranks sampled segments (see `load_tokenizer`)."""
    from ..language.segment_ranker import SegmentRanker

    return SegmentRanker.load(find_part(model, "segments"), find_device(device))


def check_parts(model: str | os.PathLike = "default") -> None:
    """Raise ModelError if the language model was trained on the tokens of another tokenizer.

    Sampling would not fail: every tokenizer decodes any tokens. A language model imported without
    a tokenizer may state the kind of its tokenizer instead of a checksum.
    """
    part, tokenizer = find_part(model, "language_model"), find_part(model, "tokenizer")
    trained_on = read_config(part).get("tokenizer")
    found = tokenizer_fingerprint(tokenizer)
    if trained_on not in (found, read_config(tokenizer).get("kind")):
        raise ModelError(
            f"{part}: trained on the tokens of tokenizer {trained_on}, but the model's is {found}; "
            "tokenize the data with this tokenizer and train again"
        )


def verify_model(model: str | os.PathLike = "default") -> list[str]:
    """Load each part of a model and verify its checksums; returns one line per part.

    Raises
    ------
    ModelError
        A file is missing or changed, or the parts do not belong together.
    """
    networks = {
        "tokenizer": load_tokenizer(model, "cpu").model,
        "language_model": load_language_model(model, "cpu").network,
        "packer": load_packer(model, "cpu").network,
        "backmapping": load_backmapper(model, "cpu").network,
        "motions": load_springs(model, "cpu").network,
        "segments": load_segment_ranker(model, "cpu").network,
    }
    check_parts(model)
    lines = []
    for part, network in networks.items():
        directory = find_part(model, part)
        shards = read_config(directory)["sha256"]
        size = sum((directory / name).stat().st_size for name in shards)
        count = sum(parameter.numel() for parameter in network.parameters())
        lines.append(
            f"{part}: {network.kind}, {count / 1e6:.2f} M parameters, "
            f"{counted(len(shards), 'shard')} of {size / 2**20:.1f} MiB, checksums right"
        )
    return [*lines, "the language model was trained on this tokenizer's tokens"]


def describe_model(model: str | os.PathLike = "default") -> str:
    """Path, configs and model card of a model, as text."""
    directory = find_model(model)
    lines = [f"path: {directory}"]
    for part in read_config(directory).get("parts", [""]):
        config = read_config(directory / part)
        sizes = ", ".join(f"{name} {value}" for name, value in config["config"].items())
        lines.append(f"{part or 'network'}: {config['kind']} ({sizes})")
    card = directory / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else "(this model has no card)"
    return "\n".join([*lines, "", text])

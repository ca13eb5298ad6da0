"""Find and download the weights of ESM3.

The package does not ship them. `esm3_import` converts the three files of the release once to a
model directory, which is then used like any other model.
"""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

from ..errors import ModelError, require
from ..protein.cache_folder import cache_folder
from .esm3_import import FILES, FOLDER, import_esm3, release_files

logger = logging.getLogger(__name__)

#: Licence by repository on the Hugging Face hub, the older repository first.
HUB = {
    "EvolutionaryScale/esm3-sm-open-v1": "Cambrian Non-Commercial License Agreement, also at "
    "https://www.evolutionaryscale.ai/policies/cambrian-non-commercial-license-agreement",
    "biohub/esm3-sm-open-v1": "the licence that its card names",
}


def find_esm3() -> Path:
    """Find the model directory of ESM3, without network access.

    Searches ``$OPENMM_SLM_ESM3`` (a model directory, or a folder with the files of the release),
    then the Hugging Face cache. Files of the release are converted on first use.

    Raises
    ------
    ModelError
        The weights are not on this machine. The message explains how to get them.
    """
    given = os.environ.get("OPENMM_SLM_ESM3")
    if given:
        if (Path(given) / "config.json").is_file():
            return Path(given)
        if release_files(given) is None:
            raise ModelError(
                f"OPENMM_SLM_ESM3 is {given}, which contains neither the config.json of a model "
                f"directory nor {', '.join(FILES)} (there or in {FOLDER})"
            )
        return converted(given)
    folders = [folder for name in HUB if (folder := _in_hub_cache(name)) is not None]
    for folder in folders:
        if release_files(folder) is not None:
            return converted(folder)
    raise ModelError(
        "the weights of ESM3 are not on this machine. Either put the three files of the release "
        f"({', '.join(FILES)}) into FOLDER/{FOLDER} and set OPENMM_SLM_ESM3=FOLDER, or read the "
        "licence and run 'openmm-slm models download esm3 --accept-licence'"
    )


def _in_hub_cache(name: str) -> Path | None:
    """Snapshot of a hub repository in the local cache; None if it was not downloaded."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        return None
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (OSError, ValueError):  # not in the cache
        return None


def converted(folder: str | os.PathLike) -> Path:
    """Model directory in the cache for a folder of the release, converted on first use."""
    files = release_files(folder)
    stamp = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    name = "esm3-" + hashlib.sha256(repr(stamp).encode()).hexdigest()[:12]
    where = cache_folder() / name
    if not (where / "config.json").is_file():
        logger.warning("converting the weights of ESM3 from %s to %s (once)", folder, where)
        import_esm3(folder, where)
    return where


def licence() -> str:
    """Licence notice to show before a download."""
    lines = [f"  https://huggingface.co/{name}: {text}" for name, text in HUB.items()]
    return "\n".join(
        [
            "ESM3's weights have a licence of their own, not that of this package. It may forbid",
            "commercial use. The text is in the repository of the weights:",
            *lines,
        ]
    )


def download_esm3(accepted: bool, hub: str | None = None) -> Path:
    """Download and convert the files of the release; `find_esm3` then finds them.

    Parameters
    ----------
    accepted : bool
        True if the user has read and accepted the licence (`licence`).
    hub : str, optional
        One of `HUB`; default: the first from which the download succeeds.

    Returns
    -------
    Path
        Model directory.

    Raises
    ------
    ModelError
        The licence was not accepted, or the download failed.
    """
    if not accepted:
        raise ModelError("read the licence, then download the weights with --accept-licence")
    if hub is not None and hub not in HUB:
        raise ModelError(f"hub is {hub!r}; choose one of {', '.join(HUB)}")
    snapshot_download = require("huggingface_hub", "esm3").snapshot_download
    failed = []
    for name in [hub] if hub else list(HUB):
        try:
            files = [f"{FOLDER}/{file}" for file in FILES]
            return converted(snapshot_download(name, allow_patterns=[*files, "LICENSE*", "*.md"]))
        except (OSError, ValueError) as error:
            if isinstance(error, ModelError):
                raise
            failed.append(f"{name}: {str(error).splitlines()[0]}")
    raise ModelError(
        "the weights could not be downloaded; if a repository requires it, accept its terms in "
        f"the browser and log in with 'hf auth login'. {'; '.join(failed)}"
    )

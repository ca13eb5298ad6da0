"""ESM3's weights: where they are on this machine, and how they get there.

The package ships none of them. What the user has is the release, three files, of which
`esm3_import` makes a model directory once: so everything holds for ESM3 that holds for the other
models.
"""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

from ..errors import ModelError, require
from .esm3_import import FILES, FOLDER, import_esm3, release_files

logger = logging.getLogger(__name__)

#: Repositories on the Hugging Face hub that have them, the older first: what licence each names.
HUB = {
    "EvolutionaryScale/esm3-sm-open-v1": "Cambrian Non-Commercial License Agreement, also at "
    "https://www.evolutionaryscale.ai/policies/cambrian-non-commercial-license-agreement",
    "biohub/esm3-sm-open-v1": "the licence that its card names",
}


def cache_folder() -> Path:
    """Where converted weights are kept: ``$OPENMM_SLM_CACHE``, else ``~/.cache/openmm_slm``."""
    return Path(os.environ.get("OPENMM_SLM_CACHE") or Path.home() / ".cache" / "openmm_slm")


def find_esm3() -> Path:
    """Model directory of ESM3.

    From ``$OPENMM_SLM_ESM3`` (a model directory, or a folder with the files of the release), from
    an earlier conversion, or from the hub's cache, never from the network.

    Raises
    ------
    ModelError
        Nowhere: which files go where, and what downloads them.
    """
    given = os.environ.get("OPENMM_SLM_ESM3")
    if given:
        if (Path(given) / "config.json").is_file():
            return Path(given)
        if release_files(given) is None:
            raise ModelError(f"OPENMM_SLM_ESM3 is {given}, which has neither {_WANTED}")
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


_WANTED = f"a config.json of a model directory nor {', '.join(FILES)} (here or in {FOLDER})"


def _in_hub_cache(name: str) -> Path | None:
    """Snapshot of a hub repository that was downloaded before."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        return None
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (OSError, ValueError):  # what the hub raises where nothing is cached
        return None


def converted(folder: str | os.PathLike) -> Path:
    """Model directory of a folder of the release, made in the cache when it is first asked for."""
    files = release_files(folder)
    stamp = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    name = "esm3-" + hashlib.sha256(repr(stamp).encode()).hexdigest()[:12]
    where = cache_folder() / name
    if not (where / "config.json").is_file():
        logger.warning("converting the weights of ESM3 in %s once, to %s", folder, where)
        import_esm3(folder, where)
    return where


def licence() -> str:
    """What is to be known before a download."""
    lines = [f"  https://huggingface.co/{name}: {text}" for name, text in HUB.items()]
    return "\n".join(
        [
            "ESM3's weights have a licence of their own, not that of this package; it may forbid",
            "commercial use. Its text is in the repository that you download them from:",
            *lines,
        ]
    )


def download_esm3(accepted: bool, hub: str | None = None) -> Path:
    """Download the files of the release, and convert them: `find_esm3` then has them.

    Parameters
    ----------
    accepted : bool
        The user has read the licence (`licence`) and accepts it.
    hub : str, optional
        One of `HUB`; default: the first that can be reached.

    Raises
    ------
    ModelError
        The licence was not accepted, or no repository gives the files.
    """
    if not accepted:
        raise ModelError("read the licence, then give --accept-licence to download the weights")
    if hub is not None and hub not in HUB:
        raise ModelError(f"hub is {hub!r}; choose one of {', '.join(HUB)}")
    snapshot_download = require("huggingface_hub", "esm3").snapshot_download
    failed = []
    for name in [hub] if hub else list(HUB):
        try:
            wanted = [f"{FOLDER}/{file}" for file in FILES]
            return converted(snapshot_download(name, allow_patterns=[*wanted, "LICENSE*", "*.md"]))
        except (OSError, ValueError) as error:
            if isinstance(error, ModelError):
                raise
            failed.append(f"{name}: {str(error).splitlines()[0]}")
    raise ModelError(
        "the weights could not be downloaded; where a repository asks for it, accept its terms in "
        f"the browser and log in with 'hf auth login'. {'; '.join(failed)}"
    )

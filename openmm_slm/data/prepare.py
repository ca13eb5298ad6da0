"""Convert structures and trajectories into training shards.

Files are read a few at a time; each group becomes one part under ``parts/``. Once all parts exist,
they are clustered, merged into shards (see `openmm_slm.data.shards`) and removed. After any
interruption the same call continues the run and gives identical files. ``index.csv`` is written
last: its presence marks a finished folder.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from .. import __version__
from ..errors import SLMError, require
from ..files.folder_lock import FolderLock
from ..files.frame_reader import read_topology
from ..files.json_file import write_json
from ..files.options import takes
from .chain_list import find_list, match, read_chain_list
from .clusters import find_mmseqs
from .inputs import Source, find_sources
from .merge import format_counts, merge, summarise
from .preparation_settings import PreparationSettings
from .preparation_workers import Job, run_jobs

logger = logging.getLogger(__name__)

FILES_PER_JOB = 16


@takes(PreparationSettings)
def prepare(
    inputs: Iterable[str | os.PathLike] | str | os.PathLike,
    output: str | os.PathLike,
    *,
    settings: dict[str, Any],
    processes: int | None = None,
    progress: bool = True,
) -> Path:
    """Write a shard directory with the proteins of structure files and trajectories.

    Parameters
    ----------
    inputs : path or iterable of paths
        PDB and mmCIF files (also ``.gz``), folders that contain them, names of structures
        (``pdb:5PTI``), and trajectories that MDTraj reads. Each chain of the first model of a
        structure file is one entry, ``<stem>_<chain>``. Each frame of a trajectory is one entry
        with all its chains, ``<stem>_<frame>``. If two stems are equal, the folder is added:
        ``run2-traj_0``.
    output : path
        Folder to write: shards, ``index.csv``, ``report.csv`` (one row per entry or file: kept, or
        skipped and why) and ``prepare.json`` (settings).
    processes : int, optional
        Number of worker processes; default: one per CPU available to this process. It does not
        change the result. With one, files are read in this process, and a file that crashes its
        reader ends the run. Scripts that use more need ``if __name__ == "__main__":``.
    progress : bool
        Show a progress bar.
    {options}

    Returns
    -------
    Path
        `output`.

    Raises
    ------
    StructureError
        An input cannot be used, or no entry is kept; the message says why.
    SLMError
        A setting is out of range, the folder holds other data, another process is writing to it,
        or MMseqs2 is missing.

    Examples
    --------
    >>> prepare("pdbs/", "shards", validation_share=0.05)  # doctest: +SKIP
    """
    inputs = [inputs] if isinstance(inputs, (str, os.PathLike)) else list(inputs)
    chosen = PreparationSettings(**settings)
    if processes is not None and processes < 1:
        raise SLMError(f"processes is {processes}; use at least 1")
    listed = None if chosen.chains is None else read_chain_list(find_list(chosen.chains))
    sources, absent = find_sources(inputs, chosen.top), []
    if listed is not None:
        sources, absent = match(sources, listed)
    require("gemmi")
    if chosen.top is not None:
        read_topology(chosen.top)
    if chosen.cluster:
        find_mmseqs()
    output = Path(output)
    with FolderLock(output):
        if _begin(output, {**asdict(chosen), **_inventory(inputs, sources, chosen.top)}):
            logger.info("%s is finished: %s", output, format_counts(summarise(output)))
            # Parts are left if an earlier run was stopped while it removed them.
            shutil.rmtree(output / "parts", ignore_errors=True)
            return output
        parts = output / "parts"
        parts.mkdir(exist_ok=True)
        jobs = _jobs(sources)
        remaining = [job for job in jobs if not job.part(parts).exists()]
        processes = processes or _cpus()
        done = len(sources) - sum(len(job.sources) for job in remaining)
        with tqdm(
            total=len(sources), initial=done, disable=not progress, unit="file", mininterval=1
        ) as bar:
            run_jobs(remaining, chosen, parts, processes, lambda path: bar.update())
        written = [path for job in jobs for path in job.parts(parts)]
        merge(output, written, asdict(chosen), processes, absent)
        shutil.rmtree(parts)
    logger.info("%s: %s", output, format_counts(summarise(output)))
    return output


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _inventory(inputs: list, sources: list[Source], top: str | None) -> dict:
    names = "".join(f"{source.path}\t{source.size}\n" for source in sources)
    names += "".join(repr(source.listed) for source in sources if source.listed)
    names += "" if top is None else f"{top}\t{os.path.getsize(top)}\n"
    return {
        "inputs": [str(path) for path in inputs],
        "files": len(sources),
        "files_sha256": hashlib.sha256(names.encode()).hexdigest(),
    }


def _begin(output: Path, run: dict) -> bool:
    """Record the settings in the folder; True if a finished run with them is there."""
    run = {"openmm_slm": __version__, **run}
    path = output / "prepare.json"
    try:
        if path.exists():
            before = json.loads(path.read_text(encoding="utf-8"))
            for name, value in run.items():
                if before.get(name) != value:
                    raise SLMError(
                        f"{output}: prepared with {name} {before.get(name)!r}, now it is "
                        f"{value!r}; choose another output folder or remove this folder"
                    )
            return (output / "index.csv").exists()
        if (output / "index.csv").exists():
            raise SLMError(f"{output}: holds other shards; choose another output folder")
        write_json(path, run)
    except OSError as error:
        raise SLMError(
            f"{output}: cannot be written ({error.strerror}); choose another output folder"
        ) from None
    return False


def _jobs(sources: list[Source]) -> list[Job]:
    """Jobs of one trajectory or up to 16 structure files; independent of `processes`."""
    structures = [source for source in sources if not source.trajectory]
    groups = [
        tuple(structures[at : at + FILES_PER_JOB])
        for at in range(0, len(structures), FILES_PER_JOB)
    ]
    groups += [(source,) for source in sources if source.trajectory]
    return [Job(number, group) for number, group in enumerate(groups)]

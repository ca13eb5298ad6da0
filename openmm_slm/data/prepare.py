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
from pathlib import Path

from tqdm.auto import tqdm

from .. import __version__
from ..errors import SLMError, require
from ..files.folder_lock import FolderLock
from ..files.frame_reader import read_topology
from ..files.json_file import write_json
from .chain_list import find_list, match, read_chain_list
from .clusters import find_mmseqs
from .entries import Limits
from .inputs import Source, find_sources
from .merge import format_counts, merge, summarise
from .preparation_workers import Job, run_jobs

logger = logging.getLogger(__name__)

FILES_PER_JOB = 16


def prepare(
    inputs: Iterable[str | os.PathLike] | str | os.PathLike,
    output: str | os.PathLike,
    *,
    chains: str | os.PathLike | None = None,
    top: str | os.PathLike | None = None,
    stride: int = 1,
    min_length: int = 20,
    max_length: int = 1024,
    max_resolution: float | None = 3.5,
    min_complete: float = 0.9,
    max_breaks: int = 10,
    max_unknown: float = 0.1,
    complexes: bool = False,
    cluster: bool = False,
    identity: float = 0.3,
    validation_share: float = 0.0,
    test_share: float = 0.0,
    processes: int | None = None,
    progress: bool = True,
) -> Path:
    """Write a shard directory with the proteins of structure files and trajectories.

    Parameters
    ----------
    inputs : path or iterable of paths
        PDB and mmCIF files (also ``.gz``), folders that contain them, and trajectories that MDTraj
        reads. Each chain of the first model of a structure file is one entry, ``<stem>_<chain>``.
        Each frame of a trajectory is one entry with all its chains, ``<stem>_<frame>``. If two
        stems are equal, the folder is added: ``run2-traj_0``.
    output : path
        Folder to write: shards, ``index.csv``, ``report.csv`` (one row per entry or file: kept, or
        skipped and why) and ``prepare.json`` (settings).
    chains : path, optional
        List of chains (see `openmm_slm.data.chain_list`). Only these chains are taken, from files
        named by PDB id, with the splits of the list. Chains that are not found appear in the
        report. ``"default"`` is the list that the shipped models were trained on.
    top : path, optional
        Topology of the trajectories; not needed for formats that contain it (HDF5).
    stride : int
        Take every `stride`-th frame of a trajectory.
    min_length, max_length : int
        Range of the number of residues of an entry.
    max_resolution : float, optional
        Largest resolution in Å; None for no limit. Files without one (NMR, predictions) are kept.
    min_complete : float
        Smallest share of residues that have N, CA and C.
    max_breaks : int
        Largest number of breaks inside chains. A break is a pair of neighbours whose C and N are
        absent or 2 Å or more apart.
    max_unknown : float
        Largest share of residues that are not standard amino acids (X).
    complexes : bool
        Make one entry of all chains of a file.
    cluster : bool
        Cluster chains with MMseqs2 at `identity` and 80 % coverage; otherwise only identical chains
        share a cluster. Entries with chains in a common cluster form one cluster.
    identity : float
        Sequence identity of the clusters.
    validation_share, test_share : float
        Shares of the clusters in the splits ``val`` and ``test``, chosen by a hash of the first
        sequence of the cluster. All others are ``train``.
    processes : int, optional
        Number of worker processes; default: one per CPU available to this process. It does not
        change the result. With one, files are read in this process, and a file that crashes its
        reader ends the run. Scripts that use more need ``if __name__ == "__main__":``.
    progress : bool
        Show a progress bar.

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
    settings = {
        "chains": None if chains is None else str(chains),
        "top": None if top is None else str(top), "stride": stride, "min_length": min_length,
        "max_length": max_length, "max_resolution": max_resolution, "min_complete": min_complete,
        "max_breaks": max_breaks, "max_unknown": max_unknown, "complexes": complexes,
        "cluster": cluster, "identity": identity, "validation_share": validation_share,
        "test_share": test_share,
    }  # fmt: skip
    _check(settings)
    if processes is not None and processes < 1:
        raise SLMError(f"processes is {processes}; use at least 1")
    limits = Limits(**{name: settings[name] for name in Limits.__dataclass_fields__})
    listed = None if chains is None else read_chain_list(find_list(chains))
    sources, absent = find_sources(inputs, top), []
    if listed is not None:
        sources, absent = match(sources, listed)
    require("gemmi")
    if top is not None:
        read_topology(top)
    if cluster:
        find_mmseqs()
    output = Path(output)
    with FolderLock(output):
        if _begin(output, {**settings, **_inventory(inputs, sources, settings["top"])}):
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
            run_jobs(remaining, limits, parts, processes, lambda path: bar.update())
        written = [path for job in jobs for path in job.parts(parts)]
        merge(output, written, settings, processes, absent)
        shutil.rmtree(parts)
    logger.info("%s: %s", output, format_counts(summarise(output)))
    return output


def _check(settings: dict) -> None:
    shares = settings["validation_share"] + settings["test_share"]
    for fits, name, expected in (
        (settings["stride"] >= 1, "stride", "1 or more"),
        (settings["min_length"] >= 2, "min_length", "2 or more"),
        (settings["max_length"] >= settings["min_length"], "max_length", "min_length or more"),
        (settings["max_resolution"] is None or settings["max_resolution"] > 0, "max_resolution",
         "more than 0 Å, or None"),
        (0 < settings["min_complete"] <= 1, "min_complete", "more than 0, up to 1"),
        (settings["max_breaks"] >= 0, "max_breaks", "0 or more"),
        (0 <= settings["max_unknown"] <= 1, "max_unknown", "a share from 0 to 1"),
        (0 < settings["identity"] <= 1, "identity", "more than 0, up to 1"),
        (0 <= settings["test_share"] <= 1, "test_share", "a share from 0 to 1"),
        (settings["validation_share"] >= 0 and shares <= 1, "validation_share",
         "0 or more, and at most 1 together with test_share"),
    ):  # fmt: skip
        if not fits:
            raise SLMError(f"{name} is {settings[name]!r}, expected {expected}")
    if settings["chains"] is not None:
        for name in ("top", "complexes", "cluster", "validation_share", "test_share"):
            if settings[name]:
                raise SLMError(
                    f"{name} is {settings[name]!r} with a list of chains, but the list defines "
                    "entries and splits; leave one of them out"
                )


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

"""Ensembles for the records of a FASTA file, with job arrays, resume, and a table of failures."""

from __future__ import annotations

import csv
import logging
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from tqdm.auto import tqdm

from ..data.embed_sequences import is_model
from ..errors import SequenceError, SLMError
from ..files.folder_lock import FolderLock
from ..files.job_shards import JobShard
from ..files.options import takes
from ..plots.report_page import page_is_old, write_report_page
from ..protein.sequence import parse_sequence, read_records
from .ensemble import EnsembleGenerator
from .known_structures import AUTO
from .prefetch import in_order
from .request import make_request
from .settings import SamplingSettings
from .workers import dask_workers, write_there

logger = logging.getLogger(__name__)
_AT_ONCE = 256  # most sequences in progress on a cluster; each has a thread here


@dataclass(frozen=True)
class FastaRun:
    """Results of a FASTA file.

    Attributes
    ----------
    folders : list of Path
        Folders of the finished ensembles, in the order of the file.
    failures : dict of str
        Reason of each failure, by name of the record.
    table : Path
        CSV file of the failures; it exists only if a record failed.
    """

    folders: list[Path]
    failures: dict[str, str]
    table: Path


@takes(SamplingSettings)
def sample_fasta(
    fasta: str | os.PathLike,
    output: str | os.PathLike,
    n: int = 500,
    *,
    shard: str | None = None,
    model: str | os.PathLike = "default",
    device: str = "auto",
    resume: bool = False,
    report: bool = False,
    template: object = None,
    relatives: str | os.PathLike | None = AUTO,
    msa: str | os.PathLike | None = None,
    resample: object = None,
    condition: object = None,
    disordered: object = AUTO,
    settings: dict[str, Any],
    progress: bool = True,
    dask: object = None,
) -> FastaRun:
    """Sample an ensemble for each sequence of a FASTA file.

    A sequence that fails (a letter that is not an amino acid, too many residues, too little memory)
    is logged, written to ``failures.csv`` and skipped; the same call with `resume` tries it again.
    Short sequences are sampled first, so that most ensembles are finished early and the long
    sequences, which need the most memory, come last.

    Parameters
    ----------
    fasta : path
    output : path
        Receives one folder per record, named after the first word of its header (characters other
        than letters, digits, ``.``, ``_`` and ``-`` become ``_``). All shards may share it.
    n : int
        Number of conformations per sequence.
    shard : str, optional
        ``"3/8"``: only the third of eight parts of the file that take about the same time. An
        ensemble does not depend on `shard`. Without a seed, each ensemble draws its own and stores
        it in ``run.json``. The failures of a shard are in ``failures_3_of_8.csv``.
    model, device, progress
        As in `generate_ensemble`.
    resume : bool
        Skip finished ensembles and continue interrupted ones.
    report : bool
        Write an HTML page (`write_report_page`) into each folder when its ensemble is finished,
        unless it has a page that is newer than its frames.
    template, relatives, msa, resample, condition, disordered
        As in `generate_ensemble`.
    {options}
    dask : distributed.Client or str, optional
        As in `generate_ensemble`. Several sequences are in progress at a time.

    Returns
    -------
    FastaRun

    Raises
    ------
    ValueError
        All before any sampling: the file is not FASTA, two records have the same name or folder, a
        setting is invalid for every record, another process samples this shard, or `resume` is
        False and an ensemble exists.
    OSError
        The disk is full or unavailable, which concerns all sequences.
    """
    known = {
        "template": template, "relatives": relatives, "msa": msa, "resample": resample,
        "condition": condition, "disordered": disordered,
    }  # fmt: skip
    texts = read_records(fasta)
    folders = {name: Path(output) / folder for name, folder in _folders(texts, fasta).items()}
    if len(texts) > 1 and not (condition is None or is_model(condition)):
        raise SLMError(
            f"condition is an array for one sequence, but {fasta} has {len(texts)}; give the name "
            "of an ESM model, or one sequence at a time"
        )
    part = JobShard.of(shard) if shard is not None else JobShard(1, 1)
    lengths = {name: _residues(text) for name, text in texts.items()}
    mine = part.share({name: _cost(length) for name, length in lengths.items()})
    checked = _checked((text for name, text in texts.items() if lengths[name]), n, known, settings)
    there = [folders[name] for name in mine if (folders[name] / "run.json").exists()]
    if there and not resume:
        raise SLMError(
            f"{there[0]} already holds an ensemble; choose another output folder, or continue with "
            "resume (--resume)"
        )
    if not mine:
        logger.info("shard %s of %s has no records", part, fasta)
        return FastaRun([], {}, failures_table(output, part))
    generator = EnsembleGenerator.from_pretrained(model, device)
    if checked:
        generator.language_model.check_options(checked.steps, checked.order, checked.guidance)
    options = {**known, **settings, "resume": resume, "progress": False}
    table = failures_table(output, part)
    drawing = Lock()  # Matplotlib draws in one thread at a time

    def write(name: str) -> Exception | None:
        """Write one ensemble; the error of a sequence that failed."""
        try:
            if workers is None:
                generator.write(texts[name], folders[name], n, **options)
            else:
                with workers.cluster.turns:
                    write_there(
                        workers, texts[name], folders[name], n, known, settings, resume=resume
                    )
            if report and page_is_old(folders[name]):
                with drawing:
                    write_report_page(folders[name])
        except OSError:
            raise
        except Exception as error:  # from any library; the other sequences go on
            return error
        return None

    with (
        dask_workers(dask, model, device) as workers,
        FolderLock(output, table.with_suffix(".lock").name),
    ):
        failures = _Failures(table)
        shortest = sorted(mine, key=lengths.__getitem__)
        at_once = 1 if workers is None else min(len(shortest), _AT_ONCE)
        written = zip(shortest, in_order(write, shortest, at_once), strict=True)
        for name, error in tqdm(
            written, total=len(shortest), unit="sequence", disable=not progress
        ):
            if error is not None:
                failures.add(name, error)
    done = [folders[name] for name in mine if name not in failures.reasons]
    return FastaRun(done, failures.reasons, failures.path)


def failures_table(output: str | os.PathLike, part: JobShard) -> Path:
    """Path of the failures of a shard; each shard writes its own table."""
    which = f"_{part.number}_of_{part.count}" if part.count > 1 else ""
    return Path(output) / f"failures{which}.csv"


class _Failures:
    """Table of failures, rewritten atomically at each one; no file if there is none."""

    def __init__(self, path: Path) -> None:
        self.path, self.reasons = path, {}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # earlier failures are tried again

    def add(self, name: str, error: Exception) -> None:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        self.reasons[name] = kind + " ".join(str(error).split())
        logger.warning("%s is skipped: %s", name, self.reasons[name])
        logger.info("traceback of the failure", exc_info=error)
        temporary = self.path.with_suffix(".tmp")
        with open(temporary, "w", newline="", encoding="utf-8") as handle:
            csv.writer(handle).writerows([("name", "reason"), *self.reasons.items()])
        temporary.replace(self.path)


def _folders(names: Iterable[str], fasta: str | os.PathLike) -> dict[str, str]:
    """A folder name for each record, distinct on file systems that ignore case too."""
    out: dict[str, str] = {}
    taken: dict[str, str] = {}
    for name in names:
        out[name] = re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".") or "_"
        other = taken.setdefault(out[name].lower(), name)
        if other != name:
            raise SequenceError(
                f"{fasta}: {other!r} and {name!r} would share the folder {out[name]!r}; rename one"
            )
    return out


def _residues(text: str) -> int:
    """Number of residues; 0 for an invalid sequence, which fails at once."""
    try:
        return sum(map(len, parse_sequence(text)))
    except SequenceError:
        return 0


def _cost(length: int) -> float:
    """Relative time per frame: a term per residue and one per pair (docs/large_jobs.md)."""
    return length * (1 + length / 100)


def _checked(texts: Iterable[str], n: int, known: dict, settings: dict) -> SamplingSettings | None:
    """Settings checked against the first record they fit; raise if they fit none."""
    refused = None
    for text in texts:
        try:
            return make_request(text, n, **known, settings=settings)[0]
        except ValueError as error:
            refused = refused or error
    if refused:
        raise refused
    return None

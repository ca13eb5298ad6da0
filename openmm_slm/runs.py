"""Ensembles of many sequences, and runs done again."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

from tqdm.auto import tqdm

from .ensemble import EnsembleGenerator
from .errors import ModelError, SequenceError, SLMError
from .models.registry import model_identity
from .output import read_run
from .sequence import read_fasta
from .settings import SamplingSettings
from .templates import Template, check_settings

logger = logging.getLogger(__name__)


def sample_fasta(
    fasta: str | os.PathLike,
    output: str | os.PathLike,
    n: int = 500,
    *,
    model: str | os.PathLike = "default",
    device: str = "auto",
    resume: bool = False,
    progress: bool = True,
    **settings: object,
) -> list[Path]:
    """Sample an ensemble of each sequence of a FASTA file.

    Parameters
    ----------
    fasta : path
        All records are checked before the first is sampled.
    output : path
        Receives one folder for each record, named by the first word of its header (characters
        other than letters, digits, ``.``, ``_`` and ``-`` become ``_``).
    n : int
        Conformations of each.
    model, device, resume, progress
        As in `generate_ensemble`; with `resume` finished records are passed over.
    **settings
        Other settings of `EnsembleGenerator.write`.

    Returns
    -------
    list of Path
        The folders, in the order of the file.

    Raises
    ------
    ValueError
        A bad record or setting, or two names that make one folder name.
    """
    records = read_fasta(fasta)
    folders = _folders(records, fasta)
    for sequence in records.values():
        check_settings(sequence, n, **settings)
    generator = EnsembleGenerator.from_pretrained(model, device)
    options = {**settings, "resume": resume, "progress": False}
    # Short ones first: most are there early, and what a long one cannot do is known last.
    order = sorted(folders, key=lambda name: len(records[name]))
    for name in tqdm(order, unit="sequence", disable=not progress):
        generator.write(records[name], Path(output) / folders[name], n, **options)
    return [Path(output) / folder for folder in folders.values()]


def _folders(names: Iterable[str], fasta: str | os.PathLike) -> dict[str, str]:
    """A folder name for each record; case-blind file systems must keep them apart."""
    out: dict[str, str] = {}
    taken: dict[str, str] = {}
    for name in names:
        out[name] = re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".") or "_"
        other = taken.setdefault(out[name].lower(), name)
        if other != name:
            raise SequenceError(
                f"{fasta}: {other!r} and {name!r} would both be written to {out[name]!r}; "
                "rename one"
            )
    return out


def repeat_run(
    run: str | os.PathLike,
    output: str | os.PathLike,
    *,
    device: str = "auto",
    resume: bool = False,
    progress: bool = True,
) -> Path:
    """Sample once more what a ``run.json`` describes.

    With the versions and threads it names (a difference is logged) the files come out the same.

    Parameters
    ----------
    run : path
        ``run.json``, or the folder that holds it.
    output : path
        Another folder.

    Raises
    ------
    SLMError
        The file is none of ours, its settings are out of range, or the model it names has other
        weights here.
    """
    values = read_run(run)
    before = values.get("model")
    if not before:
        raise ModelError(f"{run}: made with a model of no name; sample with that model again")
    now = model_identity(before["name"])
    if now != before:
        raise ModelError(
            f"{run}: made with weights {before['sha256']} of {before['name']}, which are "
            f"{now['sha256']} here; install the version of openmm_slm it names"
        )
    names = [field.name for field in fields(SamplingSettings)]
    missing = sorted(set(names) - values.keys())
    if missing:
        raise SLMError(f"{run}: has no {missing[0]}; it was written by another version")
    settings = {name: values[name] for name in names}
    if settings["template"]:
        settings["template"] = _same_template(settings["template"], settings["sequence"], run)
    generator = EnsembleGenerator.from_pretrained(before["name"], device)
    options = {"resume": resume, "progress": progress}
    where = generator.write(settings.pop("sequence"), output, **settings, **options)
    changed = _changed(values.get("environment", {}), read_run(where)["environment"])
    if changed:
        logger.warning("last digits may differ from %s: %s", run, changed)
    return where


def _same_template(before: dict, sequence: str, run: str | os.PathLike) -> str:
    """Path of the template of a run.json, if it is still what it was."""
    path = before.get("path")
    if not path:
        raise SLMError(f"{run}: made from a template in memory; sample from that again")
    now = Template.of(path, sequence).identity(path)
    if now["sha256"] != before.get("sha256"):
        raise SLMError(
            f"{run}: made from {path} when its checksum was {before.get('sha256')}; it is "
            f"{now['sha256']} now"
        )
    return path


def _changed(before: dict, now: dict) -> str:
    return ", ".join(
        f"{name} {before.get(name)!r} then, {now.get(name)!r} now"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    )

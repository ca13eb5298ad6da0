"""Repeats a run from its ``run.json``."""

from __future__ import annotations

import logging
import os
from dataclasses import fields
from pathlib import Path

from ..data.embed_sequences import condition_of
from ..errors import ModelError, SLMError
from ..files.ensemble_folder import read_run
from ..language.condition import SequenceCondition
from ..models.registry import model_identity
from .ensemble import generate_ensemble
from .known_structures import find_known_structures
from .settings import SamplingSettings
from .states import read_template
from .template import Template

logger = logging.getLogger(__name__)


def repeat_run(
    run: str | os.PathLike,
    output: str | os.PathLike,
    *,
    device: str = "auto",
    resume: bool = False,
    progress: bool = True,
    dask: object = None,
) -> Path:
    """Repeat the sampling run that a ``run.json`` describes.

    The files are identical if library versions and number of threads are those in ``run.json``; a
    difference is logged.

    Parameters
    ----------
    run : path
        ``run.json``, or the folder that contains it.
    output : path
        New folder to write.
    device, resume, progress, dask
        As in `generate_ensemble`.

    Raises
    ------
    SLMError
        The file is not a ``run.json`` of a sampling run, a setting is invalid, or the installed
        weights of its model differ.
    """
    values = read_run(run)
    before = values.get("model")
    if not before:
        raise ModelError(
            f"{run}: the run used a model in memory, which has no name; sample with it again"
        )
    now = model_identity(before["name"])
    if now != before:
        raise ModelError(
            f"{run}: the run used weights of {before['name']} with checksum {before['sha256']}, "
            f"but here it is {now['sha256']}; install the version of openmm_slm named in the file"
        )
    names = [field.name for field in fields(SamplingSettings)]
    missing = sorted(set(names) - values.keys())
    if missing:
        raise SLMError(
            f"{run}: no setting {missing[0]!r}; repeat the run with the version of openmm_slm that "
            "wrote the file"
        )
    settings = {name: values[name] for name in names}
    settings["relatives"] = None
    template = settings.pop("template")
    if template and "library" in template:
        settings |= _same_structures(template, settings["sequence"], run)
    elif template:
        name = "relatives" if template.get("relatives") else "template"
        settings[name] = _same_template(template, settings, run)
    if settings["condition"]:
        settings["condition"] = _same_condition(settings["condition"], settings["sequence"], run)
    where = generate_ensemble(
        settings.pop("sequence"), **settings, model=before["name"], device=device, output=output,
        resume=resume, progress=progress, dask=dask,
    )  # fmt: skip
    changed = _changed(values.get("environment", {}), read_run(where)["environment"])
    if changed:
        logger.warning("coordinates may differ in the last digits from %s: %s", run, changed)
    return where


def _same_template(before: dict, settings: dict, run: str | os.PathLike) -> str | tuple | list:
    """Path or name of the template in a run.json; raise if the template has changed."""
    path, sequence = before.get("path"), settings["sequence"]
    if not path:
        raise SLMError(
            f"{run}: the run used a template in memory; sample again and pass that template"
        )
    if before.get("relatives"):
        now = Template.of_relatives(path, sequence)[0].identity(path)
    else:
        each = before.get("states", [before])
        files = [(x["path"], x["top"]) if "top" in x else x["path"] for x in each]
        path = files if "states" in before else files[0]
        now = read_template(path, sequence, settings["min_plddt"], settings["keep"])[1]
    for name in ("sha256", "kept_sha256"):
        if now.get(name) != before.get(name):
            raise SLMError(
                f"{run}: the template {path} has changed: its checksum was {before.get(name)} and "
                f"is {now.get(name)} now; restore the file"
            )
    return path


def _same_structures(before: dict, sequence: str, run: str | os.PathLike) -> dict[str, object]:
    """Library and alignment in a run.json; raise if other structures are found now."""
    given = {"relatives": before["library"], "msa": before["msa"]}
    known = find_known_structures(sequence, **given)
    if known is None or known[1]["sha256"] != before["sha256"]:
        raise SLMError(
            f"{run}: the library {before['library']} has changed; install the version of "
            "openmm_slm that wrote the file, or restore the library"
        )
    return given


def _same_condition(before: dict, sequence: str, run: str | os.PathLike) -> SequenceCondition:
    """The condition in a run.json; raise if it has changed."""
    source = before.get("source")
    if not source:
        raise SLMError(
            f"{run}: the run used a condition in memory; sample again and pass that condition"
        )
    made = condition_of(source, sequence)
    now = made.identity()
    if now["sha256"] != before.get("sha256"):
        raise SLMError(
            f"{run}: the condition {source} has changed: its checksum was {before.get('sha256')} "
            f"and is {now['sha256']} now; restore the file"
        )
    return made


def _changed(before: dict, now: dict) -> str:
    """Entries of the environment that differ, as text."""
    return ", ".join(
        f"{name} {before.get(name)!r} then, {now.get(name)!r} now"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    )

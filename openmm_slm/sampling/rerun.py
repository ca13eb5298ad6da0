"""Runs done again."""

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
from .ensemble import EnsembleGenerator
from .settings import SamplingSettings
from .template import Template

logger = logging.getLogger(__name__)


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
    if template := settings.pop("template"):
        name = "relatives" if template.get("relatives") else "template"
        settings[name] = _same_template(template, settings["sequence"], run)
    if settings["condition"]:
        settings["condition"] = _same_condition(settings["condition"], settings["sequence"], run)
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
    if before.get("relatives"):
        template, _ = Template.of_relatives(path, sequence)
    else:
        template = Template.of(path, sequence)
    now = template.identity(path)
    if now["sha256"] != before.get("sha256"):
        raise SLMError(
            f"{run}: made from {path} when its checksum was {before.get('sha256')}; it is "
            f"{now['sha256']} now"
        )
    return path


def _same_condition(before: dict, sequence: str, run: str | os.PathLike) -> SequenceCondition:
    """The condition of a run.json, if it is still what it was."""
    source = before.get("source")
    if not source:
        raise SLMError(f"{run}: made with a condition in memory; sample with that again")
    made = condition_of(source, sequence)
    now = made.identity()
    if now["sha256"] != before.get("sha256"):
        raise SLMError(
            f"{run}: made with the condition {source} when its checksum was "
            f"{before.get('sha256')}; it is {now['sha256']} now"
        )
    return made


def _changed(before: dict, now: dict) -> str:
    return ", ".join(
        f"{name} {before.get(name)!r} then, {now.get(name)!r} now"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    )

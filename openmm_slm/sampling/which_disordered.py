"""Which residues of a request are disordered: given by the user, or found."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from itertools import groupby

import numpy as np

from ..disorder.prediction import THRESHOLD, disorder_score
from ..errors import StructureError
from .template import Template

logger = logging.getLogger(__name__)

AUTO, ALL, NONE = "auto", "all", "none"
SHORTEST_CHAIN = 24  # residues; shorter peptides are not predicted
SHORTEST_STRETCH = 10  # residues without known structure
SHORTEST_RUN = 20  # residues of a predicted stretch in a chain without any known structure


def disordered_residues(
    given: str | Iterable[int] | None, sequence: str, template: Template | None
) -> np.ndarray:
    """Residues to sample as disordered, bool [L].

    Parameters
    ----------
    given : str or iterable of int
        ``"auto"``, ``"all"``, ``"none"`` or None, or residues as in `Template.select`.
    sequence : str
        ``:`` between chains.
    template : Template, optional
        Given by the user, or made of relatives.

    Raises
    ------
    StructureError
        The selection is not valid, or leaves a template without residues.
    """
    length = len(sequence.replace(":", ""))
    if given is None or (isinstance(given, str) and given == NONE):
        return np.zeros(length, bool)
    if isinstance(given, str) and given == AUTO:
        return _found(sequence, template)
    if isinstance(given, str) and given == ALL:
        chosen = np.ones(length, bool)
    else:
        chosen = (template or _numbered(sequence)).select(given, "disordered")
    if template is not None and (template.known & ~chosen).any(1).min() == 0:
        raise StructureError(
            f"disordered is {given!r}, which leaves no residue of the template; name fewer "
            "residues, or leave out template and relatives (relatives=None)"
        )
    return chosen


def _found(sequence: str, template: Template | None) -> np.ndarray:
    """Residues of low pLDDT, and residues without known structure that are predicted."""
    unsure = np.zeros(len(sequence.replace(":", "")), bool)
    if template is not None and template.left_out.get("unsure"):
        unsure = np.isfinite(template.b_factor).all(0) & ~template.known.any(0)
    known = unsure if template is None else template.known.any(0) | unsure
    predicted = np.zeros(len(known), bool)
    first = 0
    for chain in sequence.split(":"):
        rows = slice(first, first + len(chain))
        predicted[rows] = _predicted(chain, known[rows])
        first += len(chain)
    for why, which in (("pLDDT", unsure), ("their sequence", predicted)):
        if which.any():
            names = numbered_rows(which, sequence)
            logger.info("residues %s are taken as disordered by %s", names, why)
    return unsure | predicted


def _predicted(chain: str, known: np.ndarray) -> np.ndarray:
    """Predicted residues of one chain, among those that are not `known`."""
    out = np.zeros(len(chain), bool)
    if len(chain) < SHORTEST_CHAIN:
        return out
    score = disorder_score(chain)
    if not known.any() and score.mean() < THRESHOLD:
        # Part of a chain of unknown structure: only where the score is high throughout.
        above = score > THRESHOLD
        for value, first, end in _runs(above):
            out[first:end] = value and end - first >= SHORTEST_RUN
        return out
    for value, first, end in _runs(~known):
        if value and end - first >= SHORTEST_STRETCH:
            out[first:end] = score[first:end].mean() > THRESHOLD
    return out


def _runs(values: np.ndarray) -> list[tuple[bool, int, int]]:
    edges = np.flatnonzero(np.diff(values)) + 1
    bounds = [0, *edges.tolist(), len(values)]
    return [(bool(values[a]), a, b) for a, b in zip(bounds[:-1], bounds[1:], strict=True)]


def _numbered(sequence: str) -> Template:
    """A template without atoms: chains A, B, ... numbered from 1."""
    length = len(sequence.replace(":", ""))
    return Template.of_frames(sequence, np.full((1, length, 14, 3), np.nan, np.float32), ())


def numbered_rows(which: np.ndarray, sequence: str) -> str:
    """Residues bool [L] as text, counted from 1 in each chain: ``1-40, 90-110``."""
    parts, first = [], 0
    chains = sequence.split(":")
    for number, chain in enumerate(chains, 1):
        rows = np.flatnonzero(which[first : first + len(chain)]).tolist()
        first += len(chain)
        for _, run in groupby(enumerate(rows), lambda item: item[1] - item[0]):
            inside = [row + 1 for _, row in run]
            place = f" of chain {number}" if len(chains) > 1 else ""
            parts.append(f"{inside[0]}-{inside[-1]}{place}")
    return ", ".join(parts)

"""Several states of one protein as templates, and the template frame from which a frame starts."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace

import numpy as np

from ..errors import StructureError, counted
from ..files.formats import is_trajectory
from ..protein.keep_selection import NONE
from ..protein.kept_groups import together
from ..protein.named_structures import is_name
from ..protein.superposition import superpose
from .template import Template

_FEWEST = 4  # residues that all states of a path have in common


def read_template(
    template: object, sequence: str, min_plddt: float | None = None, keep: str = NONE
) -> tuple[Template, dict[str, object]]:
    """Template of a sequence, and its entry in ``run.json``.

    Parameters
    ----------
    template : object
        As in `Template.of`, or a list of such: states of one protein, numbered from 0. Chain names
        and residue numbers are those of state 0.
    sequence : str
        ``:`` between chains.
    min_plddt : float, optional
        See `Template.of`.
    keep : str
        See `Template.of`. Of several states, those groups stay that all have.

    Raises
    ------
    StructureError
        As in `Template.of`; the message names the state. The list is empty, or a residue is a D
        amino acid in one state only.
    """
    if not isinstance(template, list):
        read = _one(template, sequence, min_plddt, keep)
        return read, read.identity(template)
    if not template:
        raise StructureError("template is an empty list; give at least one state, or None")
    states = []
    for number, source in enumerate(template):
        try:
            states.append(_one(source, sequence, min_plddt, keep))
        except StructureError as error:
            name = f" ({source})" if isinstance(source, (str, os.PathLike)) else ""
            raise StructureError(f"state {number}{name}: {error}") from None
    identities = [state.identity(source) for state, source in zip(states, template, strict=True)]
    digest = "".join(f"{each['sha256']}{each.get('kept_sha256', '')}" for each in identities)
    paths = [identity["path"] for identity in identities]
    return _joined(states, keep), {
        "path": None if None in paths else paths,
        "sha256": hashlib.sha256(digest.encode()).hexdigest()[:16],
        "states": identities,
    }


def _one(template: object, sequence: str, min_plddt: float | None, keep: str) -> Template:
    """Template of a single source; a tuple must be a trajectory and its topology."""
    if isinstance(template, tuple):
        if len(template) != 2:
            raise StructureError(
                f"template is a tuple of {len(template)}; a tuple is (trajectory, topology), "
                "several states are a list: [first, second]"
            )
        first = template[0]
        is_path = isinstance(first, (str, os.PathLike)) and not is_name(first)
        if not is_path or (os.path.isfile(first) and not is_trajectory(first)):
            raise StructureError(
                f"template is a tuple, (trajectory, topology), but {first} contains its topology; "
                "leave the topology out (--top), or give several states as a list, "
                "[first, second] (--template FIRST --template SECOND)"
            )
    return Template.of(template, sequence, min_plddt, keep)


def _joined(states: list[Template], keep: str) -> Template:
    first = states[0]
    _refuse_other_hands(states)
    plddt = [state.b_factor for state in states]
    complete = all(values is not None for values in plddt)
    variants: tuple[str, ...] = ()
    if any(state.variants for state in states):
        each = [state.variants or ("",) * first.known.shape[1] for state in states]
        variants = tuple(
            next(filter(None, forms), "") for forms in zip(*each, strict=True)
        )  # of the first state that says one
    return replace(
        first,
        atom14=np.concatenate([state.atom14 for state in states]),
        known=np.concatenate([state.known for state in states]),
        variants=variants,
        b_factor=np.concatenate(plddt) if complete else None,
        left_out=next((state.left_out for state in states if state.left_out), {})
        if complete
        else {},
        trace=None,
        kept=together([state.kept for state in states], keep),
        state=np.repeat(np.arange(len(states)), [len(state.atom14) for state in states]),
    )


def _refuse_other_hands(states: list[Template]) -> None:
    """Raise StructureError if a residue is D in one state and L in another."""
    present = [state.known.any(0) for state in states]
    for number, state in enumerate(states[1:], 1):
        other = (states[0].d_residues != state.d_residues) & present[0] & present[number]
        if other.any():
            row = int(other.argmax())
            raise StructureError(
                f"state {number}: residue {residue_name(states[0], row)} is a D amino acid in one "
                "state only; give states of one molecule"
            )


def residue_name(template: Template, row: int) -> str:
    """A residue as in ``A:L35``: chain, letter, number."""
    chain = int(np.cumsum(template.chain_break)[row]) - 1
    letter = template.sequence.replace(":", "")[row]
    return f"{template.chain_ids[chain]}:{letter}{template.residue_number[row]}"


def template_rows(template: Template, frames: np.ndarray) -> np.ndarray:
    """Frames of the template from which frames start: used in turn, and states in turn first."""
    if template.state is None:
        return frames % len(template.atom14)
    count = np.bincount(template.state)
    state = frames % len(count)
    return (np.cumsum(count) - count)[state] + frames // len(count) % count[state]


def template_uses(template: Template, frames: np.ndarray) -> np.ndarray:
    """How often frames start from the same frame of the template (`template_rows`) before."""
    if template.state is None:
        return frames // len(template.atom14)
    count = np.bincount(template.state)
    return frames // len(count) // count[frames % len(count)]


def on_path(template: Template) -> Template:
    """States of a path: superposed on the first, without the residues that one of them lacks.

    Raises
    ------
    StructureError
        A state has several frames, or all states together have fewer than 4 residues in common.
    """
    if template.state is None:
        return template  # SamplingSettings says what is missing
    count = np.bincount(template.state)
    if (count > 1).any():
        number = int((count > 1).argmax())
        raise StructureError(
            f"state {number} has {count[number]} frames, but a path needs one frame for each "
            "state; choose one of them"
        )
    common = template.known.all(0)
    if common.sum() < _FEWEST:
        raise StructureError(
            f"the states have {counted(common.sum(), 'residue')} in common; a path needs "
            f"{_FEWEST} or more"
        )
    atom14 = template.atom14.copy()
    for number in range(1, len(atom14)):
        ca, target = atom14[number, :, 1], atom14[0, :, 1]
        _, rotation, shift = superpose(ca, target, common)
        atom14[number] = atom14[number] @ rotation.T.astype(np.float32) + shift.astype(np.float32)
    return replace(template, atom14=atom14).without(~common)

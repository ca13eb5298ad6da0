"""A user's request: settings checked, template and condition mapped to the sequence."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..allatom.kept_hydrogens import with_hydrogens
from ..data.embed_sequences import condition_of
from ..errors import StructureError
from ..language.condition import SequenceCondition
from ..protein.keep_selection import NONE, check_keep
from ..protein.sequence import parse_sequence
from .known_structures import AUTO, find_known_structures, warn_unknown
from .settings import SamplingSettings
from .states import on_path, read_template
from .template import Template
from .which_disordered import ALL, disordered_residues


class SamplingRequest(NamedTuple):
    """All that one run needs besides the model.

    Attributes
    ----------
    settings : SamplingSettings
    template : Template, optional
    condition : SequenceCondition, optional
    """

    settings: SamplingSettings
    template: Template | None = None
    condition: SequenceCondition | None = None


def make_request(
    sequence: str,
    n: int,
    *,
    template: object = None,
    relatives: str | os.PathLike | None = AUTO,
    msa: str | os.PathLike | None = None,
    resample: object = None,
    condition: object = None,
    disordered: object = AUTO,
    folds: bool = False,
    labels: bool = True,
    settings: dict[str, Any],
) -> SamplingRequest:
    """Check the arguments of `generate_ensemble` and map template and condition to the sequence.

    Parameters
    ----------
    sequence, n, template, relatives, msa, resample, condition, disordered
        See `openmm_slm.generate_ensemble`.
    folds : bool
        The language model finds folds by itself: ``relatives="auto"`` looks nothing up.
    labels : bool
        The language model knows labels of disordered residues; without, ``disordered="auto"`` finds
        none.
    settings : dict
        The options of `SamplingSettings`, by name.

    Raises
    ------
    ValueError
        See `SamplingSettings`, `Template` and `condition_of`.
    """
    chains = ":".join(parse_sequence(sequence))
    mapped = embedded = identity = None
    unknown = False
    if relatives is None and msa is not None:
        raise StructureError("msa is used to find relatives, but relatives is None; leave out one")
    if relatives not in (None, AUTO) or msa is not None:
        for name, value in {"template": template, "resample": resample}.items():
            if value is not None:
                raise StructureError(
                    f"{name} and {'relatives' if msa is None else 'msa'} exclude each other: "
                    "relatives are used as templates, and all their residues may move; leave out "
                    "one"
                )
    # Options that name parts of a template need the user's own; without it they are refused below.
    own = resample is not None or settings.get("min_plddt") is not None
    unasked = relatives == AUTO and msa is None and (folds or _is(disordered, ALL))
    if relatives is not None and template is None and not (own or unasked):
        mapped, identity = find_known_structures(chains, relatives, msa) or (None, None)
        unknown = mapped is None
    if template is not None:
        keep = settings.get("keep", AUTO)
        mapped, identity = read_template(template, chains, settings.get("min_plddt"), keep)
        if settings.get("path"):
            mapped = on_path(mapped)
        if settings.get("hydrogens", True) and settings.get("sidechains", True):
            mapped = replace(mapped, kept=with_hydrogens(mapped.kept))
        resample = None if resample is None else np.flatnonzero(mapped.select(resample)).tolist()
    elif check_keep(settings.get("keep", AUTO)) not in (AUTO, NONE):
        raise StructureError(
            f"keep is {settings['keep']!r}, but no template is given; give template, or leave keep "
            "out"
        )
    held = resample is not None or settings.get("path")
    if _is(disordered, AUTO) and (held or not labels):
        disordered = None
    loose = disordered_residues(disordered, chains, mapped)
    if unknown and not loose.all():
        warn_unknown(chains)
    if loose.any():
        settings = {**settings, "disordered": np.flatnonzero(loose).tolist()}
        if mapped is not None:
            mapped = mapped.without(loose)
            moved = settings.get("noise") is not None or settings.get("deform") is not None
            if template is not None and not moved:
                resample = sorted({*(resample or ()), *settings["disordered"]})
    checked = SamplingSettings(chains, n, template=identity, resample=resample, **settings)
    if condition is not None:  # last: a large model may have to compute it
        embedded = condition_of(condition, chains)
        checked = replace(checked, condition=embedded.identity())
    return SamplingRequest(checked, mapped, embedded)


def _is(given: object, name: str) -> bool:
    return isinstance(given, str) and given == name

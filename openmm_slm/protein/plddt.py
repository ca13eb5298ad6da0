"""Confidence of predicted models: is the B column pLDDT, and which residues have too little.

The B column counts as pLDDT where the file itself says so, and states no experiment:

- mmCIF: ``_ma_qa_metric.type`` is one of the pLDDT of ModelCIF. AlphaFold DB, AlphaFold 3, Boltz
  and others write it. Values of the types "in [0,1]" are multiplied by 100.
- PDB: the title is that of AlphaFold DB, ``ALPHAFOLD ... PREDICTION FOR ...``.

Experiments are known by ``_exptl.method`` or EXPDTA, or by a resolution. Values are never used to
tell: crystals have B factors between 0 and 100 too. For files that say neither, a user who gives
`min_plddt` says that the B column is pLDDT.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import replace
from itertools import groupby
from numbers import Real
from typing import NamedTuple

import numpy as np

from ..errors import SLMError, StructureError
from .structure import ProteinStructure

logger = logging.getLogger(__name__)

MIN_PLDDT = 50.0  # below it, AlphaFold DB calls a residue "very low"


class Origin(NamedTuple):
    """Whether a file is "predicted" or from "experiment" ("" if unknown), and a factor for B."""

    kind: str = ""
    scale: float = 1.0


def origin_of_mmcif(block) -> Origin:
    """Origin of a block that gemmi read."""
    found = {"_exptl.method": [], "_ma_qa_metric.type": []}
    resolution = ("_refine.ls_d_res_high", "_em_3d_reconstruction.resolution")
    for tag in (*found, *resolution):
        found[tag] = [value.strip("'\"").lower() for value in block.find_values(tag)]
    methods = [value for value in found["_exptl.method"] if not _is_model(value)]
    if methods or any(_is_number(value) for tag in resolution for value in found[tag]):
        return Origin("experiment")
    for value in found["_ma_qa_metric.type"]:
        if value.startswith("plddt"):
            return Origin("predicted", 100.0 if value.endswith("in [0,1]") else 1.0)
    return Origin()


def origin_of_pdb(text: str) -> Origin:
    """Origin of the text of a PDB file."""
    method = re.search(r"^EXPDTA    (.*)", text, re.MULTILINE)
    resolution = r"^REMARK   2 RESOLUTION\.\s+\d+\.\d+ ANGSTROM"
    if (method and not _is_model(method[1].lower())) or re.search(resolution, text, re.MULTILINE):
        return Origin("experiment")
    titled = re.search(r"^TITLE     ALPHAFOLD\b.*\bPREDICTION FOR\b", text, re.MULTILINE)
    return Origin("predicted" if titled else "")


def _is_model(method: str) -> bool:
    return method.strip() in ("", "?", ".", "theoretical model")


def _is_number(value: str) -> bool:
    return bool(re.fullmatch(r"\d+(\.\d*)?", value))


def checked_plddt(min_plddt: object) -> float | None:
    """`min_plddt` as a number; SLMError unless it is one from 0 to 100, or None."""
    if min_plddt is None:
        return None
    if isinstance(min_plddt, bool) or not isinstance(min_plddt, Real) or not 0 <= min_plddt <= 100:
        raise SLMError(f"min_plddt is {min_plddt!r}; give 0 to 100, or None")
    return float(min_plddt)


def unsure(structure: ProteinStructure, min_plddt: float | None = None) -> np.ndarray | None:
    """Residues with pLDDT under `min_plddt`, bool [F, L]; None if the B column is no pLDDT.

    Parameters
    ----------
    structure : ProteinStructure
    min_plddt : float, optional
        0 to 100. Default: 50 for files that state pLDDT. A number says that B is pLDDT; 0 means
        that all residues are sure.

    Raises
    ------
    StructureError
        `min_plddt` is given for an experiment or without a B column, or the values are no pLDDT.
    """
    if min_plddt is None and structure.origin != "predicted":
        return None
    wanted = MIN_PLDDT if min_plddt is None else min_plddt
    b = structure.b_factor
    if wanted == 0:
        return np.zeros(structure.atom14.shape[:2], bool)
    if b is None or not np.isfinite(b).any():
        raise StructureError(
            f"min_plddt is {wanted:g}, but the template has no B factors; give a PDB or mmCIF file "
            "of a predicted model, or leave min_plddt out"
        )
    if structure.origin == "experiment":
        raise StructureError(
            f"min_plddt is {wanted:g}, but the template is from an experiment, and its B factors "
            "are not pLDDT; leave min_plddt out"
        )
    low, high = float(np.nanmin(b)), float(np.nanmax(b))
    if low < 0 or not 1 < high <= 100:
        raise StructureError(
            f"the B factors of the template are {low:g} to {high:g}, but pLDDT is 0 to 100; write "
            "pLDDT into the B column, or copy all residues (min_plddt=0)"
        )
    with np.errstate(invalid="ignore"):
        return b < wanted


def sure_part(
    structure: ProteinStructure, min_plddt: float | None, name: str | os.PathLike
) -> tuple[ProteinStructure, dict[str, object]]:
    """The structure without the atoms of residues of low pLDDT; a warning names these.

    Parameters
    ----------
    structure, min_plddt
        See `unsure`.
    name : str or path
        Of the structure, for the warning.

    Returns
    -------
    structure : ProteinStructure
    left_out : dict
        ``min_plddt``, and ``unsure``: the residues as text. Empty if B is no pLDDT.

    Raises
    ------
    StructureError
        See `unsure`; or no residue of a frame is left.
    """
    min_plddt = checked_plddt(min_plddt)
    low = unsure(structure, min_plddt)
    if low is None:
        return structure, {}
    wanted = MIN_PLDDT if min_plddt is None else min_plddt
    if low.all(1).any():
        raise StructureError(
            f"{name}: no residue has pLDDT of {wanted:g} or more (the highest is "
            f"{np.nanmax(structure.b_factor):g}); lower min_plddt, or leave the template "
            "out and sample all residues as disordered (disordered='all')"
        )
    names = numbered(structure, low.any(0))
    if names:
        logger.warning(
            "%s: sampled, not copied, because pLDDT is under %g: %d of %d residues (%s)",
            name, wanted, low.any(0).sum(), structure.n_residues, names,
        )  # fmt: skip
    atom14 = np.where(low[..., None, None], np.nan, structure.atom14).astype(np.float32)
    return replace(structure, atom14=atom14), {"min_plddt": wanted, "unsure": names}


def numbered(structure: ProteinStructure, residues: np.ndarray) -> str:
    """Chains and numbers of residues (a mask [L]): ``A:1-12, A:80``."""
    parts = []
    rows = np.flatnonzero(residues).tolist()
    for _, run in groupby(enumerate(rows), lambda item: item[1] - item[0]):
        inside = [row for _, row in run]
        for chain, same in groupby(inside, lambda row: structure.chain_index[row]):
            first, *rest = same
            last = f"-{structure.residue_number[rest[-1]]}" if rest else ""
            number = structure.residue_number[first]
            parts.append(f"{structure.chain_ids[chain]}:{number}{last}")
    return ", ".join(parts)

"""Trajectories, weights and lengths from files, for the command line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StructureError, require
from .comparing import compare
from .report import FILES, as_text, check_free

if TYPE_CHECKING:
    import mdtraj

_OWN_TOPOLOGY = (".pdb", ".pdb.gz", ".cif", ".cif.gz", ".h5", ".gro", ".pdbx")


def compare_files(
    samples: Path,
    reference: Path,
    output: Path,
    *,
    top: Path | None = None,
    reference_top: Path | None = None,
    weights: Path | None = None,
    reference_weights: Path | None = None,
    lag: int = 20,
    lengths: str | None = None,
    seed: int = 0,
) -> str:
    """Compare what two files hold, save it in `output`, and return the table as text."""
    check_free(output)
    found = compare(
        load_frames(samples, top),
        load_frames(reference, reference_top),
        weights=None if weights is None else load_numbers(weights),
        reference_weights=None if reference_weights is None else load_numbers(reference_weights),
        lengths=None if lengths is None else parse_lengths(lengths),
        tica_lag=lag or None,
        seed=seed,
    )
    found.save(output)
    return f"{as_text(found.table)}\n{output}: {', '.join(FILES)}"


def load_frames(path: str | os.PathLike, top: str | os.PathLike | None) -> mdtraj.Trajectory:
    """Frames of a file, or of a folder that `openmm-slm sample` wrote."""
    md = require("mdtraj")
    path = Path(path)
    if path.is_dir():
        top = top or path / "topology.pdb"
        path = path / "samples.xtc"
    for file in (path, *([Path(top)] if top else [])):
        if not file.is_file():
            raise StructureError(f"{file}: no such file")
    own = path.name.lower().endswith(_OWN_TOPOLOGY)
    if not own and top is None:
        raise StructureError(
            f"{path} has no topology of its own; name a PDB file of it "
            "(--top for the samples, --reference-top for the reference)"
        )
    try:
        return md.load(str(path), **({} if own else {"top": str(top)}))
    except (OSError, ValueError, TypeError, IndexError, KeyError, RuntimeError) as error:
        raise StructureError(f"{path}: cannot be read ({error})") from None


def load_numbers(path: str | os.PathLike) -> np.ndarray:
    """Numbers [F] of a text file, one a line."""
    try:
        return np.loadtxt(path, ndmin=1)
    except (OSError, ValueError) as error:
        raise StructureError(f"{path}: not readable as one number a line ({error})") from None


def parse_lengths(text: str) -> list[int]:
    """Lengths of trajectories, "400,400,376", or a file with one a line."""
    values = load_numbers(text) if Path(text).is_file() else text.split(",")
    try:
        lengths = [int(value) for value in values]
    except ValueError:
        lengths = []
    if not lengths or min(lengths) < 1:
        raise StructureError(
            f"lengths are {text!r}; give numbers of frames as in 400,400,376, or a file of them"
        )
    return lengths

"""``openmm-slm benchmark disordered``: sizes and helices of disordered proteins."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from ..disorder.wished_size import radius_of_gyration
from ..errors import SLMError, require
from ..sampling.ensemble import EnsembleGenerator
from .coil_torsions import backbone_sampler, torsions_table
from .tails import tails_table
from .text_table import Column, text_table

_FORMULA = 0.254, 0.522  # nm and exponent: fit of measured radii against the number of residues


@dataclass(frozen=True)
class MeasuredProtein:
    """A disordered protein and its measured radius of gyration (nm)."""

    name: str
    sequence: str
    rg: float


def read_proteins(path: str | os.PathLike) -> list[MeasuredProtein]:
    """Read a CSV file with the columns ``name``, ``sequence`` and ``exp_rg_nm``.

    Raises
    ------
    SLMError
        The file cannot be read, a column is missing, or a radius is no positive number.
    """
    try:
        with open(path, newline="", encoding="utf-8") as handle:
            rows = list(csv.DictReader(handle))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SLMError(f"{path}: cannot be read ({error}); give a CSV file") from None
    found = []
    for number, row in enumerate(rows, 2):
        try:
            one = MeasuredProtein(row["name"], row["sequence"], float(row["exp_rg_nm"]))
        except (KeyError, TypeError, ValueError):
            one = None
        if one is None or not 0 < one.rg < 100:
            raise SLMError(
                f"{path}, line {number}: give name, sequence and exp_rg_nm (nm, above 0)"
            )
        found.append(one)
    if not found:
        raise SLMError(f"{path}: no proteins; give name, sequence and exp_rg_nm in each line")
    return found


def benchmark_disordered(
    proteins: str | os.PathLike | None = None,
    data: str | os.PathLike | None = None,
    model: str | os.PathLike = "default",
    device: str = "auto",
    *,
    n: int = 100,
    seed: int = 1,
) -> str:
    """Tables of radii of gyration and secondary structure, of torsions, and of tails on folds.

    Parameters
    ----------
    proteins : path, optional
        See `read_proteins`. The radii are those of CA, root mean square over frames.
    data : path, optional
        Shard directory with coil (`torsions_table`) and folds (`tails_table`); these get half as
        many frames.
    n : int
        Frames per protein.
    """
    if proteins is None and data is None:
        raise SLMError("neither proteins nor data is given; give one of them, or both")
    listed = None if proteins is None else read_proteins(proteins)
    generator, parts = EnsembleGenerator.from_pretrained(model, device), []
    if listed is not None:
        parts.append(sizes_table(generator, listed, n, seed))
    if data is not None:
        parts.append(torsions_table(generator, data, n=max(2, n // 2), seed=seed))
        parts.append(tails_table(generator, data, n=max(2, n // 2), seed=seed))
    return "\n\n".join(parts)


def sizes_table(
    generator: EnsembleGenerator, proteins: list[MeasuredProtein], n: int, seed: int
) -> str:
    """Radii of gyration, secondary structure and seconds of proteins, and a summary."""
    md, table = require("mdtraj"), {}
    for one in proteins:
        start = perf_counter()
        sampler = backbone_sampler(generator, one.sequence, seed)
        drawn = sampler.draw(np.arange(n))
        seconds = perf_counter() - start
        trajectory, report = sampler.judged(drawn)
        states = md.compute_dssp(trajectory)
        size = radius_of_gyration(drawn.atom14[:, :, 1])
        table[one.name] = {
            "residues": len(one.sequence),
            "rg": np.sqrt((size**2).mean()),
            "spread": size.std(),
            "measured": one.rg,
            "formula": _FORMULA[0] * len(one.sequence) ** _FORMULA[1],
            "helix": (states == "H").mean(),
            "strand": (states == "E").mean(),
            "valid": report["valid"].mean(),
            "seconds": seconds,
        }
    columns = {
        "residues": Column("residues", 0),
        "Rg, nm": Column("rg", 2),
        "SD": Column("spread", 2),
        "measured": Column("measured", 2),
        "formula": Column("formula", 2),
        "helix, %": Column("helix", 0, 100),
        "strand, %": Column("strand", 0, 100),
        "valid, %": Column("valid", 0, 100),
        "seconds": Column("seconds", 1),
    }
    title = f"{len(table)} disordered proteins, {n} frames each (backbones)"
    return text_table(title, table, columns) + "\n" + summary(table)


def summary(table: dict[str, dict[str, float]]) -> str:
    """Errors of the radii of gyration, and their exponent in the number of residues."""
    length, rg, measured, formula = (
        np.array([row[name] for row in table.values()])
        for name in ("residues", "rg", "measured", "formula")
    )
    lines = []
    for name, values in (("these samples", rg), ("0.254 N^0.522", formula)):
        error = values - measured
        size, bias = np.abs(error).mean(), error.mean()
        lines.append(f"{name}: mean absolute error {size:.3f} nm, bias {bias:+.3f} nm")
    if len(table) > 2:
        beyond = np.corrcoef(np.log(rg / formula), np.log(measured / formula))[0, 1]
        exponent = np.polyfit(np.log(length), np.log(rg), 1)[0]
        lines.append(
            f"correlation {np.corrcoef(rg, measured)[0, 1]:.2f}, beyond length {beyond:.2f}; "
            f"exponent {exponent:.2f} (measured "
            f"{np.polyfit(np.log(length), np.log(measured), 1)[0]:.2f})"
        )
    return "\n".join(lines)

"""Bring what the project's training collection knows about motions into a motions directory.

Not part of the installed package: `python tools/convert_motions.py SOURCE_DIR OUTPUT_DIR`.
RMSF of MD at 320 K become those at 300 K: between 320 and 348 K they grow with the square of the
temperature (median over the chains with a mean below 0.1 nm).
"""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path

from openmm_slm.data.motion_data import BFACTORS, PAIRS, SIZES

COOLER = 0.1 * (300 / 320) ** 2  # A at 320 K to nm at 300 K


def main(source: str, output: str) -> None:
    root, where = Path(source), Path(output)
    where.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(root / "bfactors_ca.npz", where / BFACTORS)
    shutil.copyfile(root / "conformer_pairs.csv", where / PAIRS)
    with (root / "mdcath_rmsf.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    with (where / SIZES).open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["id", "mean", "median", "sd"])
        for row in rows:
            values = (float(row[f"{name}320_A"]) for name in ("mean", "median", "sd"))
            writer.writerow([row["manifest_id"], *(f"{COOLER * v:.5f}" for v in values)])


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])

"""Solvated seeds written as OpenMM, AMBER and GROMACS files.

Run: python examples/amber_gromacs_export.py [--quick]
"""

import sys
import tempfile
from pathlib import Path

from openmm import unit

import openmm_slm

quick = "--quick" in sys.argv

# %% [markdown]
# Sample a few conformations and write two of them, in boxes of the same size with the same number
# of waters.

# %%
samples = openmm_slm.generate_ensemble("GYDPETGTWG", n=8, seed=1, relax=True)
out = openmm_slm.write_seeds(
    samples,
    Path(tempfile.mkdtemp()) / "seeds",
    n=2,
    formats=("openmm", "amber", "gromacs"),
    forcefield="amber14",
    solvent="explicit",
    same_box=True,
    padding=(0.6 if quick else 1.0) * unit.nanometer,
    cutoff=(0.8 if quick else 1.0) * unit.nanometer,
    ionic_strength=0.15 * unit.molar,
    temperature=300 * unit.kelvin,
    equilibration=(0.1 if quick else 20) * unit.picosecond,
)

# %% [markdown]
# `write_seeds` has read the AMBER and GROMACS files back and compared their energies with OpenMM's.

# %%
print((out / "seeds.csv").read_text())
print((out / "seed_000" / "energies.csv").read_text())
print(*sorted(path.name for path in (out / "seed_000").iterdir()), sep="\n")

# %% [markdown]
# `run.py` needs only OpenMM:  python seeds/seed_000/run.py 50000

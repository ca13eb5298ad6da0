"""A loop of a user's PDB file rebuilt, and simulated.

Run: python examples/rebuild_loop.py [--quick]
"""

import sys
from importlib.resources import files

import mdtraj as md
import numpy as np

import openmm_slm

quick = "--quick" in sys.argv

# %% [markdown]
# The file: villin headpiece in water, which OpenMM brings along. Yours goes here.

# %%
native = md.load(str(files("openmm") / "app" / "data" / "test.pdb"))
native = native.atom_slice(native.topology.select("protein"))
native.save_pdb("villin.pdb")
sequence = native.topology.to_fasta()[0]
print(sequence)

# %% [markdown]
# Residues 15 to 20 (rows from 0), between two helices, are sampled; all other atoms stay.

# %%
loop = list(range(15, 21))
rebuilt = openmm_slm.generate_ensemble(
    sequence, n=8 if quick else 50, template="villin.pdb", resample=loop, seed=1, relax=True
)
backbone = rebuilt.topology.select("backbone")
kept = [i for i in backbone if rebuilt.topology.atom(i).residue.index not in loop]
moved = [i for i in backbone if rebuilt.topology.atom(i).residue.index in loop]
rebuilt.superpose(rebuilt, 0, atom_indices=kept)
for name, atoms in (("the rest", kept), ("the loop", moved)):
    spread = 10 * np.sqrt(rebuilt.xyz[:, atoms].var(0).sum(-1).mean())
    print(f"spread of {name}: {spread:.2f} Å")

# %% [markdown]
# Simulations from the two loops that differ most.

# %%
for simulation in openmm_slm.seed_simulations(
    rebuilt, n=2, solvent="implicit", equilibration=0.1 if quick else 20
):
    simulation.step(100 if quick else 50_000)
    state = simulation.context.getState(getEnergy=True)
    print("frame", simulation.frame, state.getPotentialEnergy())

"""Resample a loop of a PDB file, and simulate it.

Run: python examples/rebuild_loop.py [--quick]
"""

import sys
from importlib.resources import files

import mdtraj as md
import numpy as np

import openmm_slm

quick = "--quick" in sys.argv

# %% [markdown]
# The input is villin headpiece in water, a file that comes with OpenMM. Use your own here.

# %%
native = md.load(str(files("openmm") / "app" / "data" / "test.pdb"))
native = native.atom_slice(native.topology.select("protein"))
native.save_pdb("villin.pdb")
sequence = native.topology.to_fasta()[0]
print(sequence)

# %% [markdown]
# Sample residues 15 to 20 (rows from 0): the end of the second helix and the turn after it. All
# other residues keep their coordinates until the frames are relaxed.

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
# Start simulations from the two conformations that differ most.

# %%
for simulation in openmm_slm.seed_simulations(
    rebuilt, n=2, solvent="implicit", equilibration=0.1 if quick else 20
):
    simulation.step(100 if quick else 50_000)
    state = simulation.context.getState(getEnergy=True)
    print("frame", simulation.frame, state.getPotentialEnergy())

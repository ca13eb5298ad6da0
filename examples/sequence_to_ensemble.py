"""From a sequence to an ensemble and a figure.

Run: python examples/sequence_to_ensemble.py [--quick]
"""

import sys

import mdtraj as md
from matplotlib.figure import Figure

import openmm_slm

quick = "--quick" in sys.argv

# %% [markdown]
# Sample conformations of chignolin and minimise them with OpenMM. Frame i depends only on the seed
# and on i.

# %%
sequence = "GYDPETGTWG"
traj = openmm_slm.generate_ensemble(sequence, n=8 if quick else 200, seed=1, relax=True)
print(traj)

# %% [markdown]
# The report says whether each frame is valid, and why not; `pandas.DataFrame(report)` is a table.

# %%
report = openmm_slm.geometry_report(traj)
print(f"{report['valid'].sum()} of {traj.n_frames} frames are valid")

# %% [markdown]
# The result is an `mdtraj.Trajectory`, so MDTraj's functions apply.

# %%
phi, psi = md.compute_phi(traj)[1], md.compute_psi(traj)[1]
figure = Figure(figsize=(9, 4))
left, right = figure.subplots(1, 2)
left.plot(phi[:, :-1].ravel(), psi[:, 1:].ravel(), ".", markersize=2)
left.set(xlabel="phi (rad)", ylabel="psi (rad)", title=sequence)
right.hist(10 * md.compute_rg(traj), bins=20)
right.set(xlabel="radius of gyration (Å)", ylabel="frames")
figure.tight_layout()
figure.savefig("sequence_to_ensemble.png", dpi=120)
print("sequence_to_ensemble.png")

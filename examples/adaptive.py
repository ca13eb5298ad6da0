"""Adaptive sampling of Trp-cage: sample, simulate, fine-tune, and sample again.

Run: python examples/adaptive.py [--short | --quick]
"""

import sys

import mdtraj as md
import numpy as np

import openmm_slm

quick = "--quick" in sys.argv
short = "--short" in sys.argv
if quick:
    rounds, n_samples, n_seeds, steps, every, equilibration = 1, 12, 2, 300, 10, 0.2
    tuning = {"steps": 2, "samples": 4}
elif short:
    rounds, n_samples, n_seeds, steps, every, equilibration = 2, 40, 3, 5_000, 25, 1
    tuning = {"steps": 30, "samples": 20}
else:  # an hour or more; equilibration is in ps
    rounds, n_samples, n_seeds, steps, every, equilibration = 3, 100, 5, 50_000, 250, 20
    tuning = {"hours": 0.2}

# %% [markdown]
# Each round samples around the first structure, simulates from the least populated samples, and
# tunes the model to all simulations so far.

# %%
sequence = "NLYIQWLKDGGPSSGRPPPS"
first = openmm_slm.generate_ensemble(sequence, n=1, seed=1, relax=True)


def simulate(frames: md.Trajectory, n: int, length: int, name: str) -> list[md.Trajectory]:
    """Simulations in implicit solvent from n frames, the least populated ones."""
    method = "least-populated" if n < frames.n_frames else "kcenters"
    runs = []
    for simulation in openmm_slm.seed_simulations(
        frames, n=n, solvent="implicit", method=method, equilibration=equilibration
    ):
        file = f"{name}_{simulation.frame}.dcd"
        reporter = md.reporters.DCDReporter(file, every)
        simulation.reporters.append(reporter)
        simulation.step(length)
        reporter.close()
        runs.append(md.load(file, top=frames.topology))
    return runs


model, adaptive = "default", []
for number in range(rounds):
    samples = openmm_slm.generate_ensemble(
        sequence, n=n_samples, template=first, noise=0.3, model=model, relax=True, seed=number
    )
    adaptive += simulate(samples, n_seeds, steps, f"adaptive{number}")
    model = openmm_slm.finetune(adaptive, f"adaptive-model{number}", model=model, **tuning)
    print("round", number, "simulations", len(adaptive), "model", model)

# %% [markdown]
# One plain simulation of the same total length, from the first structure.

# %%
plain = simulate(first, 1, steps * len(adaptive), "plain")

# %% [markdown]
# States are clusters of the frames of both: each frame is within 0.15 nm (RMSD of CA) of the centre
# of its state.

# %%
together = md.join([*adaptive, *plain])
together = together.atom_slice(together.topology.select("name CA"))
labels = np.full(together.n_frames, -1)
for state in range(together.n_frames):
    free = np.flatnonzero(labels < 0)
    if not len(free):
        break
    near = md.rmsd(together, together, int(free[0])) < 0.15
    labels[near & (labels < 0)] = state
size = sum(run.n_frames for run in adaptive)
print("frames", size, "and", plain[0].n_frames)
print("states of the adaptive simulations", len(set(labels[:size])))
print("states of the plain simulation", len(set(labels[size:])))

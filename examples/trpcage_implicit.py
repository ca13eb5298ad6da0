"""Trp-cage in implicit solvent: simulations from samples, compared with each other.

Run: python examples/trpcage_implicit.py [--quick]
"""

import sys

import mdtraj as md

import openmm_slm

quick = "--quick" in sys.argv
n_samples, n_runs, steps, every = (12, 2, 200, 10) if quick else (200, 10, 50_000, 250)

# %% [markdown]
# Sample and relax conformations, then select frames that cover them evenly.

# %%
sequence = "NLYIQWLKDGGPSSGRPPPS"
samples = openmm_slm.generate_ensemble(sequence, n=n_samples, seed=1, relax=True)
seeds = openmm_slm.select_seeds(samples, n=n_runs, method="kcenters")
print("frames", seeds)

# %% [markdown]
# Run one equilibrated `openmm.app.Simulation` in OBC2 after the other, with MDTraj's reporters.

# %%
runs = []
simulations = openmm_slm.seed_simulations(
    samples, frames=seeds, solvent="implicit", equilibration=0.2 if quick else 20
)
for simulation in simulations:
    name = f"trpcage_{simulation.frame}.dcd"
    reporter = md.reporters.DCDReporter(name, every)
    simulation.reporters.append(reporter)
    simulation.step(steps)
    reporter.close()
    runs.append(md.load(name, top=samples.topology))
    print(name, runs[-1])

# %% [markdown]
# Compare each run, and the samples, with all runs together. No residue changes its chirality.

# %%
together = md.join(runs)
lag = 2 if quick else 20
lengths = [run.n_frames for run in runs]
rows = {f"run {k}": run for k, run in enumerate(runs)}
for name, ensemble in {**rows, "samples": samples}.items():
    found = openmm_slm.compare(
        ensemble, together, lengths=lengths, tica_lag=lag, tica_components=5, n_bootstrap=10
    )
    table = found.table
    print(f"\n{name} against all runs")
    print(table[["value", "floor", "unit"]].head(6).round(3).to_string())
print("D residues:", openmm_slm.geometry_report(together)["d_residues"].sum())

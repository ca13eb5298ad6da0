"""Plots of ensembles; they need Matplotlib (the extra ``plots``).

Each function takes an `mdtraj.Trajectory` or an `openmm_slm.Ensemble` and returns Matplotlib Axes;
``ax.figure.savefig("x.png")`` writes the figure. It draws on `ax` if given, else on a new figure
without a window.
"""

from .contact_maps import plot_contact_map
from .frames import plot_report
from .planes import plot_ramachandran, plot_tic_free_energy
from .profiles import plot_rmsf, plot_token_entropy
from .superposition import plot_ensemble

__all__ = [
    "plot_contact_map",
    "plot_ensemble",
    "plot_ramachandran",
    "plot_report",
    "plot_rmsf",
    "plot_tic_free_energy",
    "plot_token_entropy",
]

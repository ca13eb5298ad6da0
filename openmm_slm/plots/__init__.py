"""Pictures of ensembles. Needs Matplotlib (the extra ``plots``).

Each function takes an `mdtraj.Trajectory` or an `openmm_slm.Ensemble` and, where wanted, the
Matplotlib Axes to draw on, and returns the Axes; ``ax.figure.savefig("x.png")`` writes it. Without
`ax` the figure is a new one that belongs to no window.
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

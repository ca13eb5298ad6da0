"""Interactive view of an ensemble in a notebook; needs py3Dmol (the extra ``view``)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..analysis.fluctuations import mean_structure
from ..errors import SLMError, require
from .residues import ca_rows, frames_of
from .superposition import evenly_spaced

if TYPE_CHECKING:
    import mdtraj
    import py3Dmol

    from ..protein.trajectory import HasTrajectory

_VIRIDIS = ((68, 1, 84), (62, 73, 137), (38, 130, 142), (53, 183, 121), (170, 220, 50))


def view_ensemble(
    traj: mdtraj.Trajectory | HasTrajectory, *, shown: int = 20, width: int = 640, height: int = 480
) -> py3Dmol.view:
    """Show superposed frames as cartoons, coloured from dark to light along the sequence.

    The browser downloads the viewer's script, 3Dmol.js, when the notebook shows it.

    Parameters
    ----------
    traj : mdtraj.Trajectory or Ensemble
    shown : int
        Largest number of frames to show, evenly spaced.
    width, height : int
        Size in pixels.

    Returns
    -------
    py3Dmol.view
        A notebook displays it as the last value of a cell; its methods change the view.

    Raises
    ------
    SLMError
        `traj` has no protein or no finite frame, or `shown` is below 1.
    MissingDependencyError
        py3Dmol is missing: the extra ``view``.
    """
    library = require("py3Dmol", "view")
    if shown < 1:
        raise SLMError(f"shown is {shown}; show at least one frame")
    traj = frames_of(traj)
    pdb = _pdb(_superposed(traj[evenly_spaced(traj.n_frames, shown)]))
    viewer = library.view(width=width, height=height)
    viewer.addModels(pdb, "pdb")
    # Ribbons need the direction of the peptide oxygen. Without O a trace is drawn.
    kind = {} if " O  " in pdb else {"style": "trace"}
    for chain, colours in _colours(pdb).items():
        scheme = {"prop": "resi", "map": colours}
        viewer.setStyle({"chain": chain}, {"cartoon": {"colorscheme": scheme, **kind}})
    viewer.zoomTo()
    return viewer


def _superposed(traj: mdtraj.Trajectory) -> mdtraj.Trajectory:
    """Heavy atoms of the protein, each frame superposed on the mean structure of CA."""
    atoms = ca_rows(traj.topology)[1]
    mean = mean_structure(traj.xyz[:, atoms], np.ones(traj.n_frames))
    mean = require("mdtraj").Trajectory(mean, None)
    moved = traj.slice(range(traj.n_frames), copy=True)
    moved.superpose(mean, 0, atom_indices=atoms, ref_atom_indices=np.arange(len(atoms)))
    return moved.atom_slice(moved.topology.select("protein and element != H"))


def _pdb(traj: mdtraj.Trajectory) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frames.pdb"
        traj.save_pdb(str(path))
        return path.read_text(encoding="utf-8")


def _colours(pdb: str) -> dict[str, dict[int, str]]:
    """Colour (viridis) of each residue, by chain name and residue number in the PDB file."""
    first = pdb.split("ENDMDL")[0].splitlines()
    residues = [line[21:26] for line in first if line[:4] == "ATOM" and line[12:16] == " CA "]
    maps: dict[str, dict[int, str]] = {}
    for residue, share in zip(residues, np.linspace(0, 1, len(residues)), strict=True):
        maps.setdefault(residue[0], {})[int(residue[1:])] = _viridis(share)
    return maps


def _viridis(share: float) -> str:
    """Colour at `share` of viridis without its pale end, interpolated between five colours."""
    rgb = [np.interp(share, np.linspace(0, 1, 5), column) for column in np.transpose(_VIRIDIS)]
    return "#" + "".join(f"{round(value):02x}" for value in rgb)

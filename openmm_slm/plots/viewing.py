"""An ensemble to turn with the mouse, in a notebook. Needs py3Dmol (the extra ``view``)."""

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
    """Superposed frames as cartoons, dark to light along the sequence.

    The viewer's script, 3Dmol.js, is fetched by the browser when the notebook shows it.

    Parameters
    ----------
    traj : mdtraj.Trajectory or Ensemble
    shown : int
        So many frames at most, evenly spaced.
    width, height : int
        Pixels.

    Returns
    -------
    py3Dmol.view
        Shown where it is the last value of a notebook's cell; its methods change it.

    Raises
    ------
    SLMError
        No protein, no finite frame, or `shown` below 1.
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
    # A ribbon needs the direction of the peptide's oxygen; CA alone give a line.
    kind = {} if " O  " in pdb else {"style": "trace"}
    for chain, colours in _colours(pdb).items():
        scheme = {"prop": "resi", "map": colours}
        viewer.setStyle({"chain": chain}, {"cartoon": {"colorscheme": scheme, **kind}})
    viewer.zoomTo()
    return viewer


def _superposed(traj: mdtraj.Trajectory) -> mdtraj.Trajectory:
    """Heavy atoms of the protein, each frame on the mean structure of CA."""
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
        return path.read_text()


def _colours(pdb: str) -> dict[str, dict[int, str]]:
    """Colour of each residue number of each chain, as a PDB file names them; of viridis."""
    first = pdb.split("ENDMDL")[0].splitlines()
    places = [line[21:26] for line in first if line[:4] == "ATOM" and line[12:16] == " CA "]
    maps: dict[str, dict[int, str]] = {}
    for place, share in zip(places, np.linspace(0, 1, len(places)), strict=True):
        maps.setdefault(place[0], {})[int(place[1:])] = _between(share)
    return maps


def _between(share: float) -> str:
    """Viridis without its palest end, by interpolation of five of its colours."""
    at = [np.interp(share, np.linspace(0, 1, 5), column) for column in np.transpose(_VIRIDIS)]
    return "#" + "".join(f"{round(value):02x}" for value in at)

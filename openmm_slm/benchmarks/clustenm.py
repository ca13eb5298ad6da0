"""ClustENM, to compare with (Kaynak, Zhang, Bahar and Doruker, Bioinformatics 2021).

It moves a structure along modes of an elastic network, takes one conformer of each cluster, and
minimises its energy. The package itself does not need ProDy.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import require
from ..files.quiet import without_warnings
from ..sampling.completion import complete

if TYPE_CHECKING:
    import mdtraj

_MODES, _RMSD = 3, 1.0  # of ProDy's defaults; Angstrom
_DRAWN = 10  # conformers for each one that is kept


def clustenm(start: mdtraj.Trajectory, n: int, seed: int) -> mdtraj.Trajectory:
    """Conformers from one generation of ClustENM, all atoms.

    Energies are minimised in implicit solvent, without the simulations that may follow. The number
    of clusters is `n`.

    Parameters
    ----------
    start : mdtraj.Trajectory
        One frame; missing side chains are built.
    n, seed : int

    Raises
    ------
    MissingDependencyError
        ProDy is not installed (``pip install prody``).
    """
    md, prody = require("mdtraj"), require("prody")
    prody.LOGGER.verbosity = "none"
    with tempfile.TemporaryDirectory() as folder, without_warnings():
        path = Path(folder) / "start.pdb"
        complete(start, hydrogens=False, progress=False).save_pdb(path)
        made = prody.ClustENM()
        made.setAtoms(prody.parsePDB(str(path)))
        np.random.seed(seed)  # ProDy draws from NumPy's global generator
        made.run(
            n_modes=_MODES, n_confs=_DRAWN * n, rmsd=_RMSD, n_gens=1, maxclust=n, sim=False,
            outlier=False, platform="CPU", threads=1,
        )  # fmt: skip
        prody.writePDB(str(path), made.getAtoms())
        frame = md.load(str(path))
    return md.Trajectory(made.getCoordsets()[1:] / 10, frame.topology)  # the first is the start

"""Folder ``westpa``: basis states and scripts of a weighted-ensemble simulation with WESTPA."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import require
from ..protein.superposition import rmsd_matrix
from .features import ca_positions
from .seeding_settings import SeedSettings

if TYPE_CHECKING:
    from .frames import CandidateFrames

FOLDER = "westpa"
_BINS = 10
_NARROWEST = 0.02  # nm

_CONFIG = """\
# A skeleton: choose the progress coordinate (pcoord.py), the bins and the length of segments.
#   export WEST_SIM_ROOT=$PWD
#   w_init --bstate-file bstates/bstates.txt
#   w_run
west:
  system:
    driver: westpa.core.systems.WESTSystem
    system_options:
      pcoord_ndim: 1
      pcoord_len: 2
      pcoord_dtype: !!python/name:numpy.float32
      bins:
        type: RectilinearBinMapper
        boundaries:
          - [{bins}, 'inf']  # CA RMSD from the first basis state, nm
      bin_target_counts: 4
  propagation:
    max_total_iterations: 100
    max_run_wallclock: 72:00:00
    propagator: executable
    gen_istates: false
  data:
    west_data_file: west.h5
    data_refs:
      segment: $WEST_SIM_ROOT/traj_segs/{{segment.n_iter:06d}}/{{segment.seg_id:06d}}
      basis_state: $WEST_SIM_ROOT/bstates/{{basis_state.auxref}}
      initial_state: $WEST_SIM_ROOT/istates/{{initial_state.state_id}}
  executable:
    environ:
      SEGMENT_STEPS: {steps}  # of {timestep:g} fs
    propagator:
      executable: $WEST_SIM_ROOT/propagate.py
      stdout: $WEST_SIM_ROOT/seg_logs/{{segment.n_iter:06d}}-{{segment.seg_id:06d}}.log
      stderr: stdout
    get_pcoord:
      executable: $WEST_SIM_ROOT/get_pcoord.py
      stdout: /dev/null
"""

_PCOORD = '''\
"""The progress coordinate: CA RMSD (nm) from the first basis state. Replace it by your own."""

import os
from pathlib import Path

import numpy as np
from openmm import XmlSerializer, app

root = Path(os.environ["WEST_SIM_ROOT"])
topology = app.PDBxFile(str(root / "common_files" / "topology.cif")).topology
ca = [a.index for a in topology.atoms() if a.name == "CA" and len(list(a.residue.atoms())) > 1]


def positions(state_file):
    state = XmlSerializer.deserialize(Path(state_file).read_text())
    return state.getPositions(asNumpy=True)._value[ca]


def pcoord(state_file):
    x, y = positions(state_file), positions(root / "bstates" / "{first}" / "state.xml")
    x, y = x - x.mean(0), y - y.mean(0)
    u, s, v = np.linalg.svd(x.T @ y)
    s[-1] *= np.sign(np.linalg.det(u @ v))
    return float(np.sqrt(max(0.0, (x**2).sum() + (y**2).sum() - 2 * s.sum()) / len(x)))
'''

_GET = '''\
#!/usr/bin/env python
"""Called by WESTPA: the progress coordinate of a basis state."""

import os
import sys
from pathlib import Path

sys.path.insert(0, os.environ["WEST_SIM_ROOT"])
from pcoord import pcoord

value = pcoord(Path(os.environ["WEST_STRUCT_DATA_REF"]) / "state.xml")
Path(os.environ["WEST_PCOORD_RETURN"]).write_text(f"{value}\\n")
'''

_PROPAGATE = '''\
#!/usr/bin/env python
"""Called by WESTPA in the folder of a segment: continue the parent, write state.xml."""

import os
import sys
from pathlib import Path

from openmm import XmlSerializer, app

sys.path.insert(0, os.environ["WEST_SIM_ROOT"])
from pcoord import pcoord, root, topology

common, parent = root / "common_files", Path(os.environ["WEST_PARENT_DATA_REF"])
system = XmlSerializer.deserialize((common / "system.xml").read_text())
integrator = XmlSerializer.deserialize((common / "integrator.xml").read_text())
integrator.setRandomNumberSeed(int(os.environ["WEST_RAND16"]) + 1)
simulation = app.Simulation(topology, system, integrator)
simulation.loadState(str(parent / "state.xml"))
simulation.step(int(os.environ["SEGMENT_STEPS"]))
simulation.saveState("state.xml")
values = [pcoord(parent / "state.xml"), pcoord("state.xml")]
Path(os.environ["WEST_PCOORD_RETURN"]).write_text("".join(f"{value}\\n" for value in values))
'''


def write_westpa(
    output: Path, seeds: list[str], shares: np.ndarray, spread: float, settings: SeedSettings
) -> None:
    """Write the folder for seeds whose folders are in `output`.

    Parameters
    ----------
    output : path
    seeds : list of str
        Names of their folders.
    shares : ndarray [n]
        Probability of each.
    spread : float
        Largest CA RMSD from the first seed (nm), to which the bins reach.
    settings : SeedSettings
    """
    folder = output / FOLDER
    (folder / "bstates").mkdir(parents=True)
    for name in ("traj_segs", "seg_logs", "common_files"):
        (folder / name).mkdir()
    for name in ("system.xml", "integrator.xml", "topology.cif"):
        shutil.copy(output / seeds[0] / name, folder / "common_files" / name)
    app = require("openmm.app")
    for name in seeds:
        (folder / "bstates" / name).mkdir()
        shutil.copy(output / name / "state.xml", folder / "bstates" / name / "state.xml")
        read = app.PDBxFile(str(output / name / "topology.cif"))
        with open(folder / "bstates" / name / "structure.pdb", "w", encoding="utf-8") as handle:
            app.PDBFile.writeFile(read.topology, read.positions, handle, keepIds=True)
    shutil.copy(
        folder / "bstates" / seeds[0] / "structure.pdb", folder / "common_files" / "topology.pdb"
    )
    lines = [
        f"{name} {share:.8f} {name}" for name, share in zip(seeds, shares.tolist(), strict=True)
    ]
    _write(folder / "bstates" / "bstates.txt", "\n".join(lines) + "\n")
    edges = np.linspace(0, max(1.2 * spread, _BINS * _NARROWEST), _BINS + 1)
    _write(
        folder / "west.cfg",
        _CONFIG.format(
            bins=", ".join(f"{edge:.3f}" for edge in edges), timestep=settings.timestep,
            steps=round(20_000 / settings.timestep),
        ),
    )  # fmt: skip
    _write(folder / "pcoord.py", _PCOORD.replace("{first}", seeds[0]))
    for name, text in (("get_pcoord.py", _GET), ("propagate.py", _PROPAGATE)):
        _write(folder / name, text)
        (folder / name).chmod(0o755)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def populations(ensemble: CandidateFrames, frames: list[int]) -> tuple[np.ndarray, float]:
    """Shares [n] of the valid frames that are nearest to each of n frames, and the spread of these.

    The spread is the largest CA RMSD (nm) of the n frames from the first.
    """
    ca = ca_positions(ensemble.trajectory)
    nearest = rmsd_matrix(ca[ensemble.valid], ca[frames]).argmin(1)
    shares = np.bincount(nearest, minlength=len(frames)) / len(nearest)
    return shares, float(rmsd_matrix(ca[frames], ca[frames[:1]]).max())

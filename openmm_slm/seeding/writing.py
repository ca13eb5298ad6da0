"""`write_seeds`: write simulations to folders; they run without this package."""

from __future__ import annotations

import csv
import logging
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from ..errors import SLMError, require
from ..files.ensemble_folder import environment
from ..files.json_file import write_json
from ..files.options import takes
from ..files.report_table import Report
from .building import Seed, SeedBuilder
from .exporting import EXPORTED, check_formats, to_parmed, write_amber, write_gromacs
from .frames import CandidateFrames
from .reading_back import ExportError, compare_energies, energies, read_back
from .replica_exchange import check_number, write_replica_exchange
from .script import run_script
from .seeding_settings import SeedSettings
from .selecting import DRAWN, method_of
from .simulating import built, prepare
from .westpa import populations, write_westpa

if TYPE_CHECKING:
    import mdtraj

    from ..protein.trajectory import HasTrajectory

logger = logging.getLogger(__name__)

_COLUMNS = (
    "seed", "frame", "state", "written", "atoms", "waters", "positive_ions", "negative_ions",
    "volume_nm3", "energy_kj_mol", "ca_moved_nm", "error",
)  # fmt: skip


@takes(SeedSettings, leave_out=("solvent",))
def write_seeds(
    ens_or_traj: HasTrajectory | mdtraj.Trajectory | str | os.PathLike,
    output: str | os.PathLike,
    n: int = 10,
    formats: str | Iterable[str] = ("openmm",),
    *,
    solvent: str = "explicit",
    report: Report | np.ndarray | str | None = None,
    frames: Iterable[int] | None = None,
    method: str | None = None,
    features: str = "ca-rmsd",
    weights: np.ndarray | str | os.PathLike | None = None,
    lag: int = 20,
    per_state: bool = False,
    top: str | os.PathLike | None = None,
    settings: dict[str, Any],
    progress: bool = True,
) -> Path:
    """Write simulations that start from frames of an ensemble, one folder per seed.

    ``seed_000/`` has ``system.xml``, ``state.xml``, ``integrator.xml``, ``topology.cif`` and
    ``run.py``, which only needs OpenMM. The format amber adds ``system.prmtop`` and
    ``system.inpcrd``, gromacs adds ``system.top`` and ``system.gro``. These files are read back and
    their energies compared with OpenMM's term by term (``energies.csv``). The format
    replica-exchange adds ``replica_exchange/run.py``, which exchanges temperatures between the
    seeds; westpa adds ``westpa``, with the seeds as basis states of a weighted-ensemble simulation.
    ``seeds.csv`` has one row per seed, ``run.json`` all settings.

    Parameters
    ----------
    ens_or_traj : Ensemble, mdtraj.Trajectory, or path
        See `seed_simulations`.
    output : path
        Folder to write; it must be empty or not exist.
    n : int
        Number of seeds.
    formats : iterable of "openmm", "amber", "gromacs", "replica-exchange", "westpa"
        Formats to write; the OpenMM files are always written. The last two need seeds of one
        System: in explicit solvent, ``same_box``.
    solvent, report, frames, method, features, weights, lag, per_state, top
        See `seed_simulations`.
    progress : bool
        Show a progress bar.
    {options}

    Returns
    -------
    Path
        `output`. A seed that failed has no folder; its row in ``seeds.csv`` says why.

    Raises
    ------
    ValueError
        Errors of `seed_simulations`; the folder is not empty; a format cannot store what the
        settings need (the message says why). After all other seeds are written: the energies of
        exported files differ from OpenMM's, or no seed could be written.
    """
    chosen_settings = SeedSettings(solvent=solvent, **settings)
    formats = check_formats(formats, chosen_settings)
    output = Path(output)
    _check_free(output)
    ensemble, chosen, builder = prepare(
        ens_or_traj, n, report, frames, method, features, weights, lag, per_state, top,
        chosen_settings,
    )  # fmt: skip
    if "replica-exchange" in formats:
        check_number(len(chosen))
    output.mkdir(parents=True, exist_ok=True)
    is_path = isinstance(ens_or_traj, (str, os.PathLike))
    has_file = isinstance(weights, (str, os.PathLike))
    selection = {
        "method": method_of(method, weights), "features": features,
        "weights": str(weights) if has_file else None if weights is None else "an array",
        "lag": lag if features == "tica" else None, "per_state": per_state,
    }  # fmt: skip
    run = {
        "task": "seed", "input": str(ens_or_traj) if is_path else repr(ensemble.trajectory),
        "frames": chosen.tolist(), "formats": list(formats),
        **(selection if frames is None else dict.fromkeys(selection)),
        **asdict(chosen_settings),
        "environment": environment(
            chosen_settings.platform or "OpenMM's choice", torch=False, openmm=True
        ),
    }  # fmt: skip
    write_json(output / "run.json", run)
    rows, unwritten = [], []
    bar = tqdm(total=len(chosen), unit="seed", disable=not progress)
    with bar:
        for number, (frame, seed, error) in enumerate(built(builder, chosen)):
            name = f"seed_{number:03d}"
            try:
                if seed is not None:
                    _write_seed(output, name, seed, formats, builder)
            except SLMError as failure:  # this seed's files are wrong; go on with the others
                seed, error = None, str(failure)
                unwritten.append(error)
                logger.warning("frame %d is not written: %s", frame, error)
            state = "" if ensemble.state is None else int(ensemble.state[frame])
            rows.append(_row(name, frame, state, seed, error))
            _write_rows(output / "seeds.csv", _COLUMNS, rows)
            bar.update()
    if not any(row[3] for row in rows):
        raise SLMError(f"no seed of {len(rows)} could be written; the first: {rows[0][-1]}")
    _join(output, formats, rows, ensemble, method_of(method, weights), chosen_settings)
    if unwritten:
        raise ExportError(
            f"{len(unwritten)} of {len(rows)} seeds {'has' if len(unwritten) == 1 else 'have'} no "
            f"folder ({output / 'seeds.csv'} says which), the others are there; the first: "
            f"{unwritten[0]}"
        )
    return output


def _join(
    output: Path,
    formats: tuple[str, ...],
    rows: list[tuple],
    ensemble: CandidateFrames,
    method: str,
    settings: SeedSettings,
) -> None:
    """Write the folders that join the seeds that could be written."""
    names, frames = zip(*[row[:2] for row in rows if row[3]], strict=True)
    if "replica-exchange" in formats:
        write_replica_exchange(output, list(names), settings)
    if "westpa" in formats:
        shares, spread = populations(ensemble, list(frames))
        if method == DRAWN:  # with probabilities of the weights, so each stands for as much
            shares = np.full(len(names), 1 / len(names))
        write_westpa(output, list(names), shares, spread, settings)


def _check_free(output: Path) -> None:
    if output.exists() and not output.is_dir():
        raise SLMError(f"{output} is a file; choose another output folder")
    if output.is_dir() and any(output.iterdir()):
        raise SLMError(f"{output} is not empty; choose another output folder")


def _write_seed(
    output: Path, name: str, seed: Seed, formats: tuple[str, ...], builder: SeedBuilder
) -> None:
    part = output / f".{name}.part"
    part.mkdir()
    try:
        _write_openmm(part, name, seed, builder.settings)
        if {*formats} & {*EXPORTED}:
            _export(part, seed, formats, builder)
        part.replace(output / name)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _write_openmm(folder: Path, name: str, seed: Seed, settings: SeedSettings) -> None:
    mm, app = require("openmm"), require("openmm.app")
    nm = require("openmm.unit").nanometer
    simulation = seed.simulation
    (folder / "system.xml").write_text(
        mm.XmlSerializer.serialize(simulation.system), encoding="utf-8"
    )
    (folder / "integrator.xml").write_text(
        mm.XmlSerializer.serialize(simulation.integrator), encoding="utf-8"
    )
    simulation.saveState(str(folder / "state.xml"))
    if seed.box is not None:
        simulation.topology.setPeriodicBoxVectors([mm.Vec3(*v) for v in seed.box.tolist()] * nm)
    with open(folder / "topology.cif", "w", encoding="utf-8") as handle:
        app.PDBxFile.writeFile(simulation.topology, seed.xyz * nm, handle, keepIds=True)
    (folder / "run.py").write_text(run_script(name, seed.frame, settings), encoding="utf-8")


def _export(folder: Path, seed: Seed, formats: tuple[str, ...], builder: SeedBuilder) -> None:
    topology, settings = seed.simulation.topology, builder.settings
    system = builder.flexible(topology)
    ours = energies(system, seed.xyz, seed.box)
    made = to_parmed(topology, system, seed.xyz, seed.box)
    rows = []
    if "amber" in formats:
        write_amber(made, topology, folder, settings)
        rows += compare_energies("amber", ours, read_back("amber", folder, settings, system))
    if "gromacs" in formats:
        write_gromacs(made, folder)
        rows += compare_energies("gromacs", ours, read_back("gromacs", folder, settings, system))
    columns = ("format", "term", "openmm_kj_mol", "read_back_kj_mol", "relative_deviation")
    _write_rows(folder / "energies.csv", columns, rows)


def _row(name: str, frame: int, state: int | str, seed: Seed | None, error: str) -> tuple:
    if seed is None:
        return (name, frame, state, 0, *[""] * 7, error)
    counts = seed.counts
    molecules = (0, 0, 0) if counts is None else (counts.waters, counts.positive, counts.negative)
    volume = "" if seed.box is None else f"{abs(np.linalg.det(seed.box)):.6g}"
    return (
        name, frame, state, 1, len(seed.xyz), *molecules, volume, f"{seed.energy:.8g}",
        f"{seed.ca_moved:.4g}", "",
    )  # fmt: skip


def _write_rows(path: Path, columns: tuple[str, ...], rows: list) -> None:
    part = path.with_name(f".{path.name}.part")
    with open(part, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(columns)
        writer.writerows(rows)
    part.replace(path)

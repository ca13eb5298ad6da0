"""`complete` adds missing atoms to frames of any origin."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm.auto import tqdm

from ..allatom.completer import AtomCompleter, check_backbone, check_method, with_oxygens
from ..allatom.topology import check_ph, check_protonation
from ..errors import StructureError, counted
from ..files.checksum import numbers_checksum
from ..files.ensemble_folder import environment
from ..files.frame_reader import StructureReader
from ..files.stream import Block, check_resume, to_folder, to_memory
from ..models.registry import load_backmapper, load_packer, model_identity
from ..networks.forks import one_thread_if_forked
from ..protein.atoms import residue_letter
from ..protein.ca_trace import lone_ca
from ..protein.keep_selection import is_bulk
from ..protein.structure import ProteinStructure
from ..protein.unmodelled import (
    check_units,
    refuse_cyclic,
    warn_of_caps,
    warn_of_d_residues,
    warn_of_rebuilt,
)
from .kept_input import KeptInput, KeptPositions
from .workers import dask_workers, one_thread

if TYPE_CHECKING:
    import mdtraj

    from ..allatom.backmapping import Backmapper

logger = logging.getLogger(__name__)
_one_at_a_time = threading.Lock()

BLOCK = 100  # frames in memory at once; the first block decides the disulfides
#: A block of frames, and the positions of what is kept beside them.
Given = tuple[ProteinStructure, np.ndarray | None]


def complete(
    trajectory: mdtraj.Trajectory | ProteinStructure | str | os.PathLike,
    sidechains: str = "packer",
    hydrogens: bool = True,
    ph: float = 7.0,
    disulfides: str | Iterable[tuple[int, int]] | None = "auto",
    *,
    protonation: str = "input",
    keep: str = "auto",
    top: str | os.PathLike | mdtraj.Topology | None = None,
    model: str | os.PathLike = "default",
    device: str = "auto",
    output: str | os.PathLike | None = None,
    resume: bool = False,
    progress: bool = True,
    dask: object = None,
) -> mdtraj.Trajectory | Path:
    """Add missing side chains, hydrogens and OXT to frames of a protein.

    Parameters
    ----------
    trajectory : mdtraj.Trajectory, ProteinStructure, or path
        A path is a PDB or mmCIF file, the name of a structure (``pdb:5PTI``), or a trajectory file
        with `top`, which is read block by block. Every residue must have N, CA and C, or a CA
        alone, as in frames of coarse-grained models: then its backbone is built, for which CA move
        a little. Side-chain atoms that are present are kept, missing heavy atoms are built, and
        hydrogens are replaced. Caps of chain ends (ACE, NME, NH2) are kept.
    sidechains : "packer" or "pdbfixer"
        The package's packer, or PDBFixer with its errors corrected (seconds to a minute per frame).
    hydrogens : bool
        Add hydrogens. False: heavy atoms only.
    ph : float
        pH that determines the protonation states; chain ends without a cap are charged.
    disulfides : "auto", "none" or iterable of (int, int)
        Bonded cysteines, counted from 0 as ``residue.index`` in the result. "auto": pairs within
        0.25 nm (SG-SG, or 0.5 nm CB-CB if SG is missing) in more than half of the first 100
        frames.
    protonation : "input" or "ph"
        "input" keeps forms of the input other than those of pH 7 (ASH, GLH, LYN, HIP, CYM) and the
        tautomers of neutral histidines (HID, HIE), which residue names or hydrogens state; a
        warning names the residues. `ph` determines all others; with "ph", it determines all.
    keep : str
        What stays besides protein, where it is in each frame: ``"auto"`` (ligands, cofactors,
        nucleic acids and metals within 0.6 nm of the protein in the first frame), ``"all"`` (waters
        and ions too), ``"none"``, or an MDTraj selection. See docs/ligands.md.
    top : path or mdtraj.Topology, optional
        Topology for trajectory files without one, such as XTC and DCD.
    model : str or path
        Model whose packer and backmapping network are used.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ...
    output : path, optional
        Stream to this folder instead of returning a Trajectory: ``topology.pdb``,
        ``samples.xtc``, ``report.csv`` (one row per frame), ``run.json``.
    resume : bool
        With `output`: continue an interrupted run there.
    dask : distributed.Client or str, optional
        Dask workers that complete the frames: a client, the address of a scheduler, a scheduler
        file, or ``"local"``. See docs/large_jobs.md.

    Returns
    -------
    mdtraj.Trajectory
        The same number of frames, with one topology for which
        ``ForceField.createSystem(traj.topology.to_openmm())`` works, if the force field has
        parameters for what is kept. With `output`: the folder, as a Path. One warning counts the
        invalid frames. If CA were given alone, the report has the column ``ca_moved_nm``, the root
        mean square distance of CA from where they were.

    Raises
    ------
    ValueError
        Residues other than the 20 standard ones, missing backbone atoms, duplicate atoms, a cyclic
        chain, or coordinates that are not finite; or `keep` selects nothing, or protein. The
        message names the residue or frame.

    Examples
    --------
    >>> import openmm_slm
    >>> traj = openmm_slm.generate_ensemble("GYDPETGTWG", n=2, sidechains=None, seed=1)
    >>> openmm_slm.complete(traj).n_atoms
    138
    """
    check_method(sidechains)
    check_ph(ph)
    check_protonation(protonation)
    check_resume(resume, output)
    one_thread_if_forked()
    reader = StructureReader(trajectory, top)
    if reader.topology is not None:
        _check_ca(reader.topology)
    n = reader.n_frames
    first, frames = next(reader.with_all_atoms(0, BLOCK))
    places = KeptPositions(trajectory, top, reader, keep, first, frames, hydrogens)
    kept = places.kept
    del frames
    lone = lone_ca(first)
    mapper = load_backmapper(model, device) if lone.any() else None
    if mapper:
        logger.info("building the backbone of %s from CA alone", counted(lone.sum(), "residue"))
        warn_of_rebuilt(first, lone)

    first = with_oxygens(mapper.complete(first) if mapper else first)
    check_backbone(first)
    check_units(first)
    refuse_cyclic(first)
    as_d = np.zeros(first.n_residues, bool)
    as_d[warn_of_d_residues(first, "of the input stay D")] = True
    warn_of_caps([cap for cap in first.caps if cap.row < 0])
    packer = load_packer(model, device) if sidechains == "packer" else None
    options = {
        "sidechains": sidechains, "hydrogens": hydrogens, "ph": ph, "protonation": protonation,
        "disulfides": disulfides, "d_residues": as_d, "kept": kept and kept.groups,
    }  # fmt: skip
    completer = AtomCompleter(first, packer, **options)

    def given(start: int) -> Iterator[Given]:
        for structure, frames in reader.with_all_atoms(start, BLOCK):
            size = structure.n_frames
            yield structure, places.of_block(start, size, frames)
            start += size

    def blocks(start: int) -> Iterator[Block]:
        done = start
        if done == n:
            return
        if workers is None:
            made = map(_block_completer(completer, mapper, lone, kept), given(start))
        else:
            setup = workers.source, first, lone, {**options, "disulfides": bonded}, kept
            made = workers.cluster.blocks(completed_blocks, setup, given(start))
        with tqdm(total=n, initial=start, unit="frame", disable=not progress) as bar:
            for trajectory, report in made:
                yield trajectory, {"frame": done + np.arange(len(trajectory)), **report}
                done += len(trajectory)
                bar.update(len(trajectory))

    bonded = [tuple(pair) for pair in completer.protein.disulfides]
    if output is not None:
        run = {
            "task": "complete", "input": str(trajectory), "sequence": first.chain_sequences, "n": n,
            "numbers": numbers_checksum(
                first.chain_ids, first.residue_number, first.insertion_code
            ),
            "seed": None, "sidechains": sidechains, "hydrogens": hydrogens, "ph": ph,
            "protonation": protonation,
            "disulfides": [list(pair) for pair in bonded],
            "keep": keep, **(kept.given.identity() if kept else {}),
            "model": model_identity(model),
            "environment": environment(str(packer.device) if packer else "cpu"),
        }  # fmt: skip
        with dask_workers(dask, model, device) as workers:
            return to_folder(output, run, blocks, resume=resume)
    with dask_workers(dask, model, device) as workers:
        out = to_memory(blocks(0), _reasons(kept))[0]
    if hasattr(trajectory, "unitcell_vectors"):
        out.time, out.unitcell_vectors = trajectory.time, trajectory.unitcell_vectors
    return out


def _reasons(kept: KeptInput | None) -> str:
    """Where the reasons for invalid frames are: `geometry_report` leaves waters out."""
    if kept and any(is_bulk(residue) for residue in kept.groups.topology.residues):
        return "report.csv gives the reasons: call complete with output"
    return "openmm_slm.geometry_report gives the reasons"


def completed_blocks(setup: tuple) -> Callable[[Given], Block]:
    """In a Dask worker: a function that completes a block of frames."""
    source, first, lone, options, kept = setup
    mapper = load_backmapper(*source) if lone.any() else None
    packer = load_packer(*source) if options["sidechains"] == "packer" else None
    one_thread()
    make = _block_completer(AtomCompleter(first, packer, **options), mapper, lone, kept)

    def alone(block: Given) -> Block:
        one_thread()
        on_cpu = packer is not None and packer.device.type == "cpu"
        with nullcontext() if on_cpu else _one_at_a_time:  # GPUs and PDBFixer are shared
            return make(block)

    return alone


def _block_completer(
    completer: AtomCompleter, mapper: Backmapper | None, lone: np.ndarray, kept: KeptInput | None
) -> Callable[[Given], Block]:
    """A function that completes a block of frames; `lone` [L] are residues of a CA alone."""

    def make(given: Given) -> Block:
        block, xyz = given
        beside = kept and kept.completed(xyz)
        movable = lone.astype(float) if mapper else None
        ready = with_oxygens(mapper.complete(block) if mapper else block)
        made, report = completer.complete(ready.atom14, movable, caps=block.caps, kept=beside)
        if mapper:
            report["ca_moved_nm"] = _ca_moved(made, block)
        return made, report

    return make


def _ca_moved(made: mdtraj.Trajectory, given: ProteinStructure) -> np.ndarray:
    """Root mean square distance [F] of CA from those given, nm."""
    ca = [atom.index for atom in made.topology.atoms if atom.name == "CA"]
    return np.sqrt(((made.xyz[:, ca] - given.atom14[:, :, 1]) ** 2).sum(-1).mean(1))


def _check_ca(topology: mdtraj.Topology) -> None:
    """Raise StructureError for an amino acid without CA, which `from_trajectory` leaves out."""
    for residue in topology.residues:
        names = {atom.name for atom in residue.atoms}
        if residue_letter(residue.name) != "X" and "CA" not in names and names & {"N", "C"}:
            raise StructureError(
                f"{residue} (residue {residue.index}) has no CA; every residue needs N, CA and C: "
                "rebuild the backbone, or remove the residue"
            )

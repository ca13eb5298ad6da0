"""`complete`: the missing atoms of anybody's frames."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm.auto import tqdm

from ..allatom.completer import AtomCompleter, check_backbone, check_method, with_oxygens
from ..allatom.topology import check_ph
from ..errors import StructureError, require
from ..files.ensemble_folder import EnsembleWriter, environment
from ..models.registry import load_packer, model_identity
from ..protein.atoms import residue_letter
from ..protein.loading import load_structure
from ..protein.structure import ProteinStructure

if TYPE_CHECKING:
    import mdtraj

logger = logging.getLogger(__name__)

BLOCK = 100  # frames in memory at once; disulfides are decided on the first of them
_WHOLE_FILES = (".pdb", ".ent", ".cif", ".mmcif", ".pdbx")


def complete(
    trajectory: mdtraj.Trajectory | ProteinStructure | str | os.PathLike,
    sidechains: str = "packer",
    hydrogens: bool = True,
    ph: float = 7.0,
    disulfides: str | Iterable[tuple[int, int]] | None = "auto",
    *,
    top: str | os.PathLike | mdtraj.Topology | None = None,
    model: str | os.PathLike = "default",
    device: str = "auto",
    output: str | os.PathLike | None = None,
    resume: bool = False,
    progress: bool = True,
) -> mdtraj.Trajectory | Path:
    """Add the atoms that frames of a protein lack: side chains, hydrogens, OXT.

    Parameters
    ----------
    trajectory : mdtraj.Trajectory, ProteinStructure, or path
        A PDB or mmCIF file, or a trajectory file with `top`, which is read piece by piece. N, CA
        and C of every residue are needed. Side-chain atoms that are there are kept, other heavy
        atoms are built; hydrogens are replaced. Waters, ions and ligands are left out.
    sidechains : "packer" or "pdbfixer"
        Our packer, or PDBFixer with what it gets wrong put right (seconds to a minute a frame).
    hydrogens : bool
        False: heavy atoms and OXT only.
    ph : float
        Decides protonation; chain ends are charged.
    disulfides : "auto", "none" or iterable of (int, int)
        Bonded cysteines (rows from 0, as MDTraj's ``residue.index`` of the result). "auto": CB-CB
        within 0.5 nm in more than half of the first 100 frames; where SG are there, SG-SG within
        0.25 nm.
    top : path or mdtraj.Topology, optional
        For trajectory files that have no topology of their own.
    model : str or path
        Where the packer is.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ...
    output : path, optional
        Stream to this folder instead of returning a Trajectory: ``topology.pdb``,
        ``samples.xtc``, ``report.csv`` (one row a frame), ``run.json``.
    resume : bool
        With `output`: continue an interrupted run there.

    Returns
    -------
    mdtraj.Trajectory
        As many frames, one topology; ``ForceField.createSystem(traj.topology.to_openmm())`` works.
        Or the output folder as a Path. Frames that are not valid are counted in one warning.

    Raises
    ------
    ValueError
        Residues outside the 20, absent backbone atoms, atoms that occur twice, coordinates that
        are not finite; the message names the residue or frame.

    Examples
    --------
    >>> import openmm_slm
    >>> traj = openmm_slm.generate_ensemble("GYDPETGTWG", n=2, sidechains=None, seed=1)
    >>> openmm_slm.complete(traj).n_atoms
    138
    """
    check_method(sidechains)
    check_ph(ph)
    if resume and output is None:
        raise ValueError("resume is set without output; give the folder to continue")
    n, blocks = _source(trajectory, top)
    first = with_oxygens(next(blocks(0)))
    check_backbone(first)
    packer = load_packer(model, device) if sidechains == "packer" else None
    completer = AtomCompleter(
        first, packer, sidechains=sidechains, hydrogens=hydrogens, ph=ph, disulfides=disulfides
    )

    def completed(start: int) -> Iterator[tuple[mdtraj.Trajectory, dict]]:
        done = start
        if done == n:
            return
        with tqdm(total=n, initial=start, unit="frame", disable=not progress) as bar:
            for block in blocks(start):
                made, report = completer.complete(with_oxygens(block).atom14)
                yield made, {"frame": done + np.arange(len(made)), **report}
                done += len(made)
                bar.update(len(made))

    if output is not None:
        run = {
            "task": "complete", "input": str(trajectory), "sequence": first.chain_sequences, "n": n,
            "seed": None, "sidechains": sidechains, "hydrogens": hydrogens, "ph": ph,
            "disulfides": [list(pair) for pair in completer.protein.disulfides],
            "model": model_identity(model),
            "environment": environment(str(packer.device) if packer else "cpu"),
        }  # fmt: skip
        with EnsembleWriter(output, run, resume) as writer:
            for made, report in completed(writer.done):
                writer.add(made, report, slice(None))
        _warn(writer.invalid, n, f"see {Path(output) / 'report.csv'}")
        return Path(output)
    parts = list(completed(0))
    invalid = sum(int((~report["valid"]).sum()) for _, report in parts)
    _warn(invalid, n, "openmm_slm.geometry_report says why")
    out = require("mdtraj").join([made for made, _ in parts], check_topology=False)
    if hasattr(trajectory, "unitcell_vectors"):
        out.time, out.unitcell_vectors = trajectory.time, trajectory.unitcell_vectors
    return out


def _source(
    trajectory: mdtraj.Trajectory | ProteinStructure | str | os.PathLike,
    top: str | os.PathLike | mdtraj.Topology | None,
) -> tuple[int, Callable[[int], Iterator[ProteinStructure]]]:
    """Number of frames, and what gives them in blocks from a multiple of `BLOCK` on."""
    path = Path(trajectory) if isinstance(trajectory, (str, os.PathLike)) else None
    name = path.name.lower().removesuffix(".gz") if path else ""
    if path is None or name.endswith(_WHOLE_FILES):
        structure = _protein(trajectory)

        def slices(start: int) -> Iterator[ProteinStructure]:
            for i in range(start, structure.n_frames, BLOCK):
                yield replace(structure, atom14=structure.atom14[i : i + BLOCK])

        return structure.n_frames, slices
    md = require("mdtraj")
    if not path.is_file():
        raise StructureError(f"{path}: no such file")
    options = {} if top is None else {"top": top if hasattr(top, "atoms") else str(top)}
    try:
        with md.open(str(path)) as handle:
            n = len(handle)
        next(md.iterload(str(path), chunk=1, **options))
    except (OSError, ValueError, TypeError, StopIteration) as error:
        raise StructureError(
            f"{path}: cannot be read ({error}); give a trajectory that MDTraj reads and, unless it "
            "has one, its topology (top, --top)"
        ) from None

    def pieces(start: int) -> Iterator[ProteinStructure]:
        for piece in md.iterload(str(path), chunk=BLOCK, skip=start, **options):
            if not np.isfinite(piece.xyz).all():
                bad = start + int(np.flatnonzero(~np.isfinite(piece.xyz).all((1, 2)))[0])
                raise StructureError(
                    f"{path}: frame {bad} has coordinates that are not finite; remove it"
                )
            start += len(piece)
            yield _protein(piece)

    return n, pieces


def _protein(trajectory: mdtraj.Trajectory | ProteinStructure | str | os.PathLike):
    """`load_structure`, but amino acids without CA are refused where it sets them aside."""
    for residue in getattr(getattr(trajectory, "topology", None), "residues", ()):
        names = {atom.name for atom in residue.atoms}
        if residue_letter(residue.name) != "X" and "CA" not in names and names & {"N", "C"}:
            raise StructureError(
                f"{residue} (residue {residue.index}) has no CA; N, CA and C of every residue are "
                "needed: rebuild the backbone, or leave the residue out"
            )
    return load_structure(trajectory)


def _warn(invalid: int, n: int, where: str) -> None:
    if invalid:
        logger.warning("%d of %d frames are not valid; %s", invalid, n, where)

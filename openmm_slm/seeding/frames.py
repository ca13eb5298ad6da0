"""Candidate frames for seeds: read them, find the valid ones, remove solvent."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SLMError, StructureError, counted
from ..files.frame_columns import frame_columns
from ..files.frame_reader import FrameReader
from ..files.report_table import Report
from ..protein.atoms import CAPS
from ..protein.chains import protein_chains
from ..protein.keep_selection import (
    AUTO,
    is_bulk,
    kept_residues,
    listed,
    membrane,
    other_residues,
)
from ..protein.kept_images import beside_protein
from ..relaxation.chemistry import chemistry
from ..validity.report import geometry_report
from .judging import judge_md

if TYPE_CHECKING:
    import mdtraj

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class CandidateFrames:
    """F frames, and whether each is valid.

    Attributes
    ----------
    trajectory : mdtraj.Trajectory
    valid : ndarray, bool [F]
    d_residues : tuple of int
        Rows of D amino acids, which stay D.
    state : ndarray, int [F], optional
        State of each frame, if the ensemble was sampled from several.
    """

    trajectory: mdtraj.Trajectory
    valid: np.ndarray
    d_residues: tuple[int, ...] = ()
    state: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        source: object,
        report: Report | np.ndarray | str | None = None,
        top: str | os.PathLike | None = None,
    ) -> CandidateFrames:
        """Get frames from an Ensemble, a Trajectory or files.

        Parameters
        ----------
        source : Ensemble, mdtraj.Trajectory, or path
            A path is a trajectory file, the name of a structure (``pdb:1D3Z``) or an output folder
            of `openmm-slm sample`.
        report : dict, array of bool [F], or "md", optional
            Report with a column ``valid``. Default: the report of the Ensemble, or
            `openmm_slm.geometry_report`. "md" applies the criteria for frames of a simulation,
            whose bonds and peptides vibrate (see `openmm_slm.seeding.judging`).
        top : path, optional
            Topology of a trajectory file without one.

        Raises
        ------
        StructureError
            There are no frames, the report has another number of frames, or a chain is cyclic.
        """
        if report is None:
            report = getattr(source, "report", None)
        trajectory = FrameReader(source, top).load()
        as_d = tuple(chemistry(trajectory))
        valid = _valid(trajectory, report, as_d)
        columns = report if isinstance(report, dict) else frame_columns(source, len(valid))
        finite = np.isfinite(trajectory.xyz).all((1, 2))
        return cls(trajectory, valid & finite, as_d, columns.get("state"))


def _valid(
    trajectory: mdtraj.Trajectory, report: object, d_residues: tuple[int, ...]
) -> np.ndarray:
    if report is None:
        rows = np.zeros(sum(len(chain) for _, chain in protein_chains(trajectory.topology)), bool)
        rows[list(d_residues)] = True
        report = geometry_report(trajectory, d_residues=rows)
    elif isinstance(report, str):
        if report != "md":
            raise StructureError(f"report is {report!r}; give a report, an array of bool, or 'md'")
        report = judge_md(trajectory, d_residues)
    try:
        valid = np.asarray(report if isinstance(report, np.ndarray) else report["valid"], bool)
    except (KeyError, TypeError, IndexError):
        raise StructureError(
            "the report has no column 'valid'; give the report of EnsembleGenerator.sample, "
            "openmm_slm.relax or openmm_slm.geometry_report, or an array of bool"
        ) from None
    if valid.shape != (trajectory.n_frames,):
        raise StructureError(
            f"the report is of {counted(len(valid), 'frame')}, but the trajectory has "
            f"{trajectory.n_frames}; give the report of these frames"
        )
    return valid


def solute(trajectory: mdtraj.Trajectory, keep: str = AUTO) -> mdtraj.Trajectory:
    """The protein and what `keep` names (`kept_residues`), without the solvent.

    In a periodic box, ligands and ions are moved to the image nearest to the protein.

    Raises
    ------
    SLMError
        There is a membrane, or `keep` is a selection that does not fit.
    """
    topology = trajectory.topology
    protein = {r.index for _, chain in protein_chains(topology) for r in chain}
    if not protein:
        raise StructureError(f"no protein residue in {trajectory.n_residues} residues")
    if lipids := membrane(topology.residues):
        raise SLMError(
            f"{counted(len(lipids), 'lipid')} ({listed(lipids[:3])}, ...): membranes are not "
            "supported; remove them (Trajectory.atom_slice), or set up the System yourself"
        )
    movable = [r for r in other_residues(topology) if keep != AUTO or not r.is_water]
    trajectory = beside_protein(trajectory, movable)
    kept = {residue.index for residue in kept_residues(trajectory, keep, "the ensemble", False)}
    stay = [r for r in topology.residues
            if r.index in protein | kept or r.name in CAPS]  # fmt: skip
    if len(stay) == trajectory.n_residues:
        return trajectory
    gone = {r.index for r in topology.residues} - {r.index for r in stay}
    others = [residue for residue in topology.residues
              if residue.index in gone and not is_bulk(residue)]  # fmt: skip
    removed = counted(len(gone) - len(others), "water or ion", "waters and ions")
    logger.info("removed %s; seeds are solvated again", removed)
    if others:
        logger.warning("left out of the seeds: %s; choose what stays with keep", listed(others))
    return trajectory.atom_slice([atom.index for residue in stay for atom in residue.atoms])

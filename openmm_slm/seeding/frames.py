"""Candidate frames for seeds: read them, find the valid ones, remove solvent."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SLMError, StructureError
from ..files.frame_columns import frame_columns
from ..files.frame_reader import FrameReader
from ..files.report_table import Report
from ..protein.atoms import CAPS
from ..protein.chains import protein_chains
from ..relaxation.chemistry import chemistry
from ..validity.report import geometry_report
from .judging import judge_md

if TYPE_CHECKING:
    import mdtraj
    from mdtraj.core.topology import Residue

logger = logging.getLogger(__name__)

_BULK_IONS = {"LI", "NA", "K", "RB", "CS", "F", "CL", "BR", "I", "SOD", "CLA", "POT"}


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
            f"the report is of {len(valid)} frames, but the trajectory has "
            f"{trajectory.n_frames}; give the report of these frames"
        )
    return valid


def protein_only(trajectory: mdtraj.Trajectory) -> mdtraj.Trajectory:
    """Remove the waters and monovalent ions of an earlier simulation.

    Raises
    ------
    SLMError
        There is something else: ligands, lipids, nucleic acids, bound metal ions.
    """
    protein = {r for _, chain in protein_chains(trajectory.topology) for r in chain}
    kept, dropped = [], 0
    for residue in trajectory.topology.residues:
        if residue in protein or residue.name in CAPS:
            kept += [atom.index for atom in residue.atoms]
        elif residue.is_water or _is_bulk_ion(residue):
            dropped += 1
        else:
            raise SLMError(
                f"residue {residue.name} {residue.resSeq} is neither protein nor water nor a "
                "monovalent ion; ligands, membranes and metals are not supported: remove it "
                "(Trajectory.atom_slice), or set up the System yourself"
            )
    if not protein:
        raise StructureError(f"no protein residue in {trajectory.n_residues} residues")
    if not dropped:
        return trajectory
    logger.info("removed %d waters and ions; seeds are solvated again", dropped)
    return trajectory.atom_slice(kept)


def _is_bulk_ion(residue: Residue) -> bool:
    return residue.n_atoms == 1 and residue.name.upper().rstrip("+-") in _BULK_IONS

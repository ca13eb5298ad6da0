"""How a structure moves: the result of `openmm_slm.flexibility`."""

from __future__ import annotations

import csv
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..files.topology_file import write_pdb
from ..protein.structure import ProteinStructure

logger = logging.getLogger(__name__)

_B = 8 * np.pi**2 / 3 * 100  # B-factor (A^2) of a mean square displacement of 1 nm^2


@dataclass(frozen=True, eq=False)
class Flexibility:
    """Thermal motion of CA at 300 K about one structure.

    Attributes
    ----------
    structure : ProteinStructure
        The structure, with one frame.
    rmsf : ndarray, float64 [L]
        Root mean square fluctuation of each CA, nm; NaN for a residue without CA.
    covariance : ndarray, float64 [L, 3, L, 3]
        <dx_i dx_j> of CA, nm^2, without rigid-body motion; NaN for a residue without CA.
    stiffness : ndarray, float64 [2, L, L]
        Stiffness of the springs between CA, along and across the line between them, in kT / nm^2
        at 300 K; 0 where there is no spring.
    bfactors : ndarray, float64 [L]
        Predicted B-factors (A^2) of a crystal. Their mean is that of `rmsf` squared. Their profile
        is a linear readout of the structure and of other springs, which learned from B-factors
        (`openmm_slm.motions.bfactor_readout`); NaN as in `rmsf`.
    """

    structure: ProteinStructure
    rmsf: np.ndarray
    covariance: np.ndarray
    stiffness: np.ndarray
    bfactors: np.ndarray

    def correlation(self) -> np.ndarray:
        """Correlation [L, L] of the displacements of residues, from -1 to 1; NaN as in `rmsf`."""
        together = np.einsum("iaja->ij", self.covariance)
        return together / np.outer(self.rmsf, self.rmsf)

    def modes(self, number: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """Collective motions, largest first.

        Parameters
        ----------
        number : int

        Returns
        -------
        size : ndarray [k]
            Root mean square amplitude of each mode, nm: root of an eigenvalue of the covariance.
        direction : ndarray [k, L, 3]
            Unit vectors; NaN for a residue without CA. k is at most 3 L - 6.
        """
        known = np.isfinite(self.rmsf)
        size = 3 * int(known.sum())
        matrix = self.covariance[known][:, :, known].reshape(size, size)
        value, vector = np.linalg.eigh(matrix)
        number = max(0, min(number, size - 6))
        direction = np.full((number, len(known), 3), np.nan)
        direction[:, known] = vector[:, ::-1][:, :number].T.reshape(number, -1, 3)
        return np.sqrt(np.maximum(value[::-1][:number], 0)), direction

    def save(self, directory: str | os.PathLike) -> Path:
        """Write the motion to a folder, which is made if it is missing.

        ``flexibility.csv`` has the RMSF (nm) and B-factor (A^2) of each residue;
        ``flexibility.pdb`` is the structure with these B-factors; ``covariance.npz`` has
        ``covariance`` and ``stiffness``.
        """
        where = Path(directory)
        where.mkdir(parents=True, exist_ok=True)
        made = self.structure
        temporary = where / "flexibility.tmp"
        with temporary.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle)
            writer.writerow(["chain", "residue", "amino_acid", "rmsf_nm", "bfactor_A2"])
            for row, letter in enumerate(made.sequence):
                number = f"{made.residue_number[row]}{made.insertion_code[row]}"
                chain = made.chain_ids[made.chain_index[row]]
                values = self.rmsf[row], self.bfactors[row]
                writer.writerow([chain, number, letter, f"{values[0]:.5f}", f"{values[1]:.2f}"])
        temporary.replace(where / "flexibility.csv")
        trajectory = made.to_trajectory()
        each = np.nan_to_num(np.minimum(self.bfactors, 99.99))  # MDTraj writes no larger ones
        kept = made.atom_mask.all(0)
        temporary = where / "flexibility.tmp.pdb"
        reasons = write_pdb(trajectory, temporary, np.repeat(each, kept.sum(1)))
        if reasons:
            logger.warning(
                "flexibility.csv has the names that PDB cannot hold; in flexibility.pdb %s", reasons
            )
        temporary.replace(where / "flexibility.pdb")
        temporary = where / "covariance.tmp.npz"
        np.savez_compressed(
            temporary,
            covariance=self.covariance.astype(np.float32),
            stiffness=self.stiffness.astype(np.float32),
        )
        temporary.replace(where / "covariance.npz")
        return where


def bfactors_of(mean_square: np.ndarray) -> np.ndarray:
    """B-factors (A^2) of mean square displacements (nm^2): 8 pi^2 / 3 of them."""
    return _B * mean_square

"""Map an all-atom topology to residues, and check the validity of its frames."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SLMError, StructureError, counted
from ..files.report_table import Report
from ..protein.atoms import residue_letter
from ..protein.chains import protein_chains
from ..protein.keep_selection import other_residues
from ..protein.obstacles import ObstacleAtoms
from ..protein.protein import Protein
from ..protein.superposition import rmsd
from ..protein.trajectory import atom_slots
from ..validity.handedness import wrong_hands
from ..validity.kept_contacts import kept_report
from ..validity.report import OXT_NAMES, all_atom_report

if TYPE_CHECKING:
    import mdtraj


class FrameJudge:
    """Check frames of one topology, with the bonds of the topology.

    Parameters
    ----------
    topology : mdtraj.Topology
        With all heavy atoms and bonds.
    disulfides : iterable of (int, int), optional
        Rows of bonded cysteines. Default: the S-S bonds of the topology.
    cis_allowed : iterable of int
        Rows of residues, besides prolines, whose preceding peptide may be cis.
    d_residues : iterable of int
        Rows of D amino acids; all others have to be L.

    Attributes
    ----------
    protein : Protein
        It has a chain break before residue i if the topology has no bond from C of i - 1 to N.
    index : ndarray, int [L, 14]
        Atom number in the topology of each slot of `ATOM14`; -1 if absent.
    oxygen : ndarray, int [L]
        Atom number of OXT; -1 if absent.
    others : ndarray, int [K]
        Heavy atoms of ligands, ions and waters.

    Raises
    ------
    StructureError
        There is no protein, or a residue has two atoms of one name.
    """

    def __init__(
        self,
        topology: mdtraj.Topology,
        disulfides: Iterable[tuple[int, int]] | None = None,
        cis_allowed: Iterable[int] = (),
        d_residues: Iterable[int] = (),
    ) -> None:
        self.topology = topology
        self.residues = [r for _, chain in protein_chains(topology) for r in chain]
        if len(self.residues) < 2:
            raise StructureError(
                f"the topology has {counted(len(self.residues), 'protein residue')} (of "
                f"{topology.n_residues}); at least 2 are needed"
            )
        self.index = atom_slots(self.residues)
        # By number: bonds of a copied topology have the atoms of the original.
        row = {residue.index: i for i, residue in enumerate(self.residues)}
        self.oxygen = np.full(len(row), -1)
        for i, residue in enumerate(self.residues):
            for atom in residue.atoms:
                if atom.name in OXT_NAMES and atom.index not in self.index[i]:
                    self.oxygen[i] = atom.index
        bonds = {tuple(sorted((a.index, b.index))) for a, b in topology.bonds}
        joined = zip(self.index[:-1, 2].tolist(), self.index[1:, 0].tolist(), strict=True)
        joined = [tuple(sorted(pair)) in bonds for pair in joined]
        chain_break = np.append(True, ~np.array(joined, bool))
        if disulfides is None:
            disulfides = {
                tuple(sorted((row[a.residue.index], row[b.residue.index])))
                for a, b in topology.bonds
                if a.name == b.name == "SG" and {a.residue.index, b.residue.index} <= row.keys()
            }
        self.protein = Protein(
            "".join(residue_letter(r.name) for r in self.residues),
            chain_break,
            disulfides=sorted(disulfides),
            cis_allowed=_mask("cis_allowed", cis_allowed, len(row)),
            d_residues=_mask("d_residues", d_residues, len(row)),
        )
        self._obstacles = ObstacleAtoms.of(
            topology, other_residues(topology), row, self.protein.sequence
        )
        self.others = self._obstacles.index

    def atom14(self, xyz: np.ndarray) -> np.ndarray:
        """Convert frames [F, A, 3] to atom14 float32 [F, L, 14, 3]; NaN where absent."""
        return np.where(self.index[..., None] >= 0, xyz[:, self.index], np.float32(np.nan))

    def report(self, xyz: np.ndarray) -> Report:
        """`all_atom_report` of frames [F, A, 3] (nm); a frame with a non-finite atom is NaN.

        With ligands, ions or waters it has the columns of `kept_report` too.
        """
        xyz = np.asarray(xyz, np.float32)
        xyz = np.where(np.isfinite(xyz).all((1, 2), keepdims=True), xyz, np.float32(np.nan))
        oxygen = np.where(self.oxygen[:, None] >= 0, xyz[:, self.oxygen], np.float32(np.nan))
        atom14 = self.atom14(xyz)
        report = all_atom_report(atom14, self.protein, terminal_oxygen=oxygen)
        if len(self.others):
            atoms = np.concatenate([atom14, oxygen[:, :, None]], 2)
            report |= kept_report(atoms, self.protein.sequence, self._obstacles.at(xyz))
            report["valid"] = report["valid"] & (report["kept_clashes"] == 0)
        return report

    def wrong_hands(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Residues of a frame [A, 3] with wrong chirality at CA and at CB: two masks bool [L]."""
        protein = self.protein
        at_ca, at_cb = wrong_hands(self.atom14(x[None]), protein.sequence, protein.d_residues)
        return at_ca[0], at_cb[0]

    def moved(self, before: np.ndarray, after: np.ndarray) -> dict[str, np.ndarray]:
        """RMSD [F] (nm) of CA and of heavy atoms between frames [F, A, 3] after superposition."""
        heavy = self.index[self.index >= 0]
        atoms = {"ca_moved_nm": self.index[:, 1], "heavy_moved_nm": heavy}
        return {name: rmsd(before[:, i], after[:, i]) for name, i in atoms.items()}

    def atom_name(self, number: int) -> str:
        """Name of an atom for messages: ``CB of PHE 4``."""
        atom = self.topology.atom(int(number))
        return f"{atom.name} of {atom.residue.name} {atom.residue.resSeq}"


def _mask(name: str, rows: Iterable[int], length: int) -> np.ndarray:
    """Rows as bool [length]."""
    mask = np.zeros(length, bool)
    for row in rows:
        if row >= length:
            raise SLMError(f"{name} has {row}; the protein has rows 0 to {length - 1}")
        mask[row] = True
    return mask

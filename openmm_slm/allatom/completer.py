"""Complete backbones, or frames with some heavy atoms, to all atoms of one topology."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StructureError, counted, require
from ..files.report_table import Report
from ..protein.atoms import ATOM14, D_AMINO_ACIDS
from ..protein.caps import Cap
from ..protein.geometry import place_oxygen
from ..protein.kept_groups import KeptGroups, joined
from ..protein.obstacles import Obstacles
from ..protein.protein import Protein
from ..protein.sequence import encode_sequence
from ..protein.structure import ProteinStructure
from ..protein.unmodelled import residue_label
from ..validity.kept_contacts import kept_report
from ..validity.report import all_atom_report
from .capping import bonded_caps, rows_in_order, same_caps, with_cap_rows
from .protonation import kept_variants, report_protonation
from .side_chain_fitting import fit_side_chains
from .topology import define_topology, placed_atoms

if TYPE_CHECKING:
    import mdtraj

    from .packer import SideChainPacker

logger = logging.getLogger(__name__)

METHODS = ("packer", "pdbfixer")
CANDIDATES = 8  # frames from which the reference frame for protonation is chosen


class AtomCompleter:
    """Complete frames of one protein; all share one topology, disulfides and protonation.

    Parameters
    ----------
    structure : ProteinStructure
        Frames that determine the topology: disulfides follow from all of them, protonation from
        the frame with the fewest clashes among the first 8, before atoms are added.
    packer : SideChainPacker, optional
        Required for ``sidechains="packer"``.
    sidechains : "packer" or "pdbfixer"
    hydrogens, ph, protonation, disulfides
        See `openmm_slm.complete`.
    cis_allowed, d_residues : ndarray, bool [L], optional
        See `Protein`.
    kept : KeptGroups, optional
        Groups that stay beside the protein.
    kept_part : ndarray, int [K], optional
        Rigid part of the protein to which each kept atom belongs.

    Attributes
    ----------
    protein : Protein
    topology : AllAtomTopology
        The protein.
    frame_topology : mdtraj.Topology
        The protein, and the kept groups behind it.

    Raises
    ------
    ValueError
        See `openmm_slm.complete`.
    """

    def __init__(
        self,
        structure: ProteinStructure,
        packer: SideChainPacker | None = None,
        *,
        sidechains: str = "packer",
        hydrogens: bool = True,
        ph: float = 7.0,
        protonation: str = "input",
        disulfides: str | Iterable[tuple[int, int]] | None = "auto",
        cis_allowed: np.ndarray | None = None,
        d_residues: np.ndarray | None = None,
        kept: KeptGroups | None = None,
        kept_part: np.ndarray | None = None,
    ) -> None:
        check_method(sidechains)
        check_backbone(structure)
        self.structure, self.packer, self.sidechains = structure, packer, sidechains
        self.protein = Protein.of(structure, disulfides, cis_allowed, d_residues)
        first = structure.atom14[: CANDIDATES if sidechains == "packer" else 1]
        finite = np.isfinite(first[:, :, :4]).all((1, 2, 3))
        if not finite.any():
            raise StructureError(
                f"no finite N, CA, C and O of all residues in the first "
                f"{counted(len(first), 'frame')}; give frames with complete backbones"
            )
        clashes = all_atom_report(first, self.protein)["clashes"] if len(first) > 1 else [0]
        frame = int(np.argmin(np.where(finite, clashes, np.inf)))
        chosen = slice(frame, frame + 1)
        packed = self.heavy_atoms(first[chosen])
        self.kept, self._kept_part = kept, kept_part
        stated = kept_variants(structure, protonation, ph)
        stated = kept.coordinated(stated) if kept else stated
        self.topology = define_topology(
            replace(structure.frames(chosen), atom14=packed, variants=stated),
            hydrogens=hydrogens, ph=ph, disulfides=self.protein.disulfides,
        )  # fmt: skip
        if hydrogens:
            report_protonation(structure, self.topology.variants, protonation, ph)
        self._caps = bonded_caps(structure)
        self._placed = placed_atoms(self.topology)
        self.frame_topology = self.topology.topology
        if kept:
            rows = [row if row < len(self.protein) else -1 for row in rows_in_order(structure)]
            self.frame_topology = joined(self.frame_topology, kept, np.array(rows))

    def heavy_atoms(
        self, atom14: np.ndarray, obstacles: Obstacles | None = None, passes: int = 3
    ) -> np.ndarray:
        """All heavy atoms [F, L, 14, 3] of frames [F, L, 4 or 14, 3]; see `SideChainPacker.pack`.

        Frames with non-finite N, CA, C or O are NaN in the result.
        """
        structure = self.structure
        if self.sidechains == "pdbfixer":
            from .pdbfixer_sidechains import build_with_pdbfixer

            padded = np.full((*atom14.shape[:2], 14, 3), np.nan, np.float32)
            padded[:, :, : atom14.shape[2]] = atom14
            return build_with_pdbfixer(replace(structure, atom14=padded), progress=False)[0]
        return self.packer.pack(
            atom14,
            encode_sequence(self.protein.sequence),
            self.protein.residue_index,
            disulfides=self.protein.disulfides,
            passes=passes,
            obstacles=obstacles,
        )

    def _incomplete(self, atom14: np.ndarray) -> np.ndarray:
        """Residues [F, L] of frames [F, L, 4 or 14, 3] that lack heavy atoms."""
        count = np.array([len(ATOM14[letter]) for letter in self.protein.sequence])
        there = np.isfinite(atom14).all(-1).sum(-1)
        return there < count

    def complete(
        self,
        atom14: np.ndarray,
        movable: np.ndarray | None = None,
        caps: Iterable[Cap] = (),
        rigid: np.ndarray | None = None,
        kept: np.ndarray | None = None,
    ) -> tuple[mdtraj.Trajectory, Report]:
        """All atoms of frames [F, L, 4 or 14, 3], and the validity report of each frame.

        With `movable` [L], clashing residues move apart if the packer finds no rotamer that fits
        (see `fit_side_chains`). The report then has the column ``room_moved_nm``. `caps` are those
        of these frames, if the structure has caps; `rigid` [L] is as in `all_atom_report`;
        residues that lack atoms, which are built here, are never part of it. `kept` are the
        positions of the kept groups, float32 [F, K, 3]; side chains avoid them.
        """
        md = require("mdtraj")
        displacement = {}
        if rigid is not None:
            rigid = np.where(self._incomplete(atom14), -1, rigid)
        around = None if kept is None else self.kept.obstacles(kept, self._kept_part)
        if movable is None or self.sidechains != "packer":
            packed = self.heavy_atoms(atom14, around)
        else:
            packed, moved = fit_side_chains(
                self.heavy_atoms, atom14, self.protein, movable, obstacles=around
            )
            displacement = {"room_moved_nm": moved}
        xyz = self._placed.place(with_cap_rows(packed, same_caps(caps, self._caps)))
        atoms = zip(self.topology.topology.atoms, self.topology.residue.tolist(), strict=True)
        oxygen = np.full((*packed.shape[:2], 3), np.nan, np.float32)
        for index, row in [(atom.index, row) for atom, row in atoms if atom.name == "OXT"]:
            oxygen[:, row] = xyz[:, index]
        report = all_atom_report(packed, self.protein, terminal_oxygen=oxygen, rigid=rigid)
        if around is not None:
            xyz = np.concatenate([xyz, kept], 1)
            atoms = np.concatenate([packed, oxygen[:, :, None]], 2)
            report |= kept_report(atoms, self.protein.sequence, around, rigid)
            report["valid"] = report["valid"] & (report["kept_clashes"] == 0)
        return md.Trajectory(xyz, self.frame_topology), {**report, **displacement}


def check_method(sidechains: str) -> None:
    """Raise ValueError unless `sidechains` is the name of a method."""
    if sidechains not in METHODS:
        raise ValueError(f"sidechains is {sidechains!r}, expected one of {', '.join(METHODS)}")


def check_backbone(structure: ProteinStructure) -> None:
    """Raise StructureError for unknown residues, and for N, CA or C missing in all frames."""
    mask = structure.atom_mask.any(0)
    for row, letter in enumerate(structure.sequence):
        if letter == "X" and structure.names and structure.names[row] in D_AMINO_ACIDS:
            raise StructureError(
                f"{residue_label(structure, row)} is a D amino acid, not one of the 20: its "
                "side chain cannot be built; remove it, or build it with another program"
            )
        if letter == "X":
            raise StructureError(
                f"{residue_label(structure, row)} is not one of the 20 amino acids: its side chain "
                "cannot be built; remove it, or replace it (PDBFixer.replaceNonstandardResidues)"
            )
        for slot in range(3):
            if not mask[row, slot]:
                raise StructureError(
                    f"{residue_label(structure, row)} has no {ATOM14[letter][slot]}; every residue "
                    "needs N, CA and C: rebuild the backbone, or remove the residue"
                )


def with_oxygens(structure: ProteinStructure) -> ProteinStructure:
    """Place missing O atoms from N, CA and C; other atoms do not change."""
    atom14 = structure.atom14
    absent = ~np.isfinite(atom14[:, :, 3]).all(-1) & structure.backbone_mask
    if not absent.any():
        return structure
    logger.info("placed O of %d residues from N, CA and C", int(absent.any(0).sum()))
    atom14 = atom14.copy()
    placed = place_oxygen(atom14, structure.chain_break)
    atom14[:, :, 3] = np.where(absent[..., None], placed, atom14[:, :, 3])
    return replace(structure, atom14=atom14)

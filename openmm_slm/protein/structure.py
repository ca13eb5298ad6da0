"""Protein structures as arrays, the form that networks and reports read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StructureError, counted, require
from .atoms import ATOM14
from .caps import Cap
from .mdtraj_topology import protein_topology
from .sequence import CHAIN_GAP

if TYPE_CHECKING:
    import mdtraj

UNBONDED_GAP = 33  # step of the residue index across a break of unknown length
PEPTIDE_BOND = 0.2  # nm; a C-N distance of this or more is a chain break

CHAIN_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def chain_names(names: list[str]) -> tuple[str, ...]:
    """Unique chain names: blank and repeated ones are replaced by unused letters."""
    out: list[str] = []
    taken = set(names)
    free = (n for n in (*CHAIN_LETTERS, *(a + b for a in CHAIN_LETTERS for b in CHAIN_LETTERS)))
    for name in names:
        if not name.strip() or name in out:
            name = next(n for n in free if n not in taken)
        out.append(name)
    return tuple(out)


@dataclass(frozen=True, eq=False)
class ProteinStructure:
    """F conformations of one protein of L residues.

    Attributes
    ----------
    sequence : str
        L letters of the 20, or X; chains concatenated.
    atom14 : ndarray, float32 [F, L, 14, 3]
        nm; NaN where absent. Atom order as in `ATOM14`.
    chain_index : ndarray, int32 [L]
    chain_ids : tuple of str
    residue_number : ndarray, int32 [L]
    insertion_code : ndarray, '<U1' [L]
    chain_break : ndarray, bool [L]
        True where residue i is not bonded to residue i - 1: at chain starts, and where the first
        frame lacks C or N or their distance is 0.2 nm or more.
    names : tuple of str
        Residue names in the input, one for each residue; empty if there is no input.
    variants : tuple of str
        Protonation that the input states, one for each residue (`stated_variant`); or empty.
    caps : tuple of Cap
        Caps of chain ends in the input.
    b_factor : ndarray, float32 [F, L], optional
        B factors of CA in the input, as `openmm_slm.protein.plddt` reads them: Å², or pLDDT (0 to
        100) in predicted models. NaN where CA is absent.
    origin : str
        "predicted", "experiment", or "" if the input does not say (`openmm_slm.protein.plddt`).
    """

    sequence: str
    atom14: np.ndarray
    chain_index: np.ndarray
    chain_ids: tuple[str, ...]
    residue_number: np.ndarray
    insertion_code: np.ndarray
    chain_break: np.ndarray
    names: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    caps: tuple[Cap, ...] = ()
    b_factor: np.ndarray | None = None
    origin: str = ""

    @property
    def n_frames(self) -> int:
        """F."""
        return self.atom14.shape[0]

    @property
    def n_residues(self) -> int:
        """L, over all chains."""
        return self.atom14.shape[1]

    @property
    def atom_mask(self) -> np.ndarray:
        """bool [F, L, 14]."""
        return np.isfinite(self.atom14).all(-1)

    @property
    def backbone(self) -> np.ndarray:
        """float32 [F, L, 4, 3]: N, CA, C, O; nm, NaN where absent."""
        return self.atom14[:, :, :4]

    @property
    def backbone_mask(self) -> np.ndarray:
        """bool [F, L]: N, CA and C are present."""
        return np.isfinite(self.atom14[:, :, :3]).all((-1, -2))

    @property
    def chain_sequences(self) -> str:
        """Sequence with ``:`` between chains."""
        starts = np.flatnonzero(np.diff(self.chain_index, prepend=-1))
        ends = [*starts[1:], self.n_residues]
        return ":".join(self.sequence[a:b] for a, b in zip(starts, ends, strict=True))

    @property
    def residue_index(self) -> np.ndarray:
        """int32 [L]; see the function `residue_index`."""
        return residue_index(self.chain_index, self.residue_number, self.chain_break)

    def frames(self, which: slice) -> ProteinStructure:
        """Some of the frames."""
        caps = tuple(replace(cap, xyz=cap.xyz[which]) for cap in self.caps)
        b_factor = None if self.b_factor is None else self.b_factor[which]
        return replace(self, atom14=self.atom14[which], caps=caps, b_factor=b_factor)

    def to_trajectory(self, atoms: str = "heavy") -> mdtraj.Trajectory:
        """Trajectory of the atoms present in all frames (`atoms`: "heavy" or "backbone")."""
        if atoms not in ("heavy", "backbone"):
            raise StructureError(f"atoms is {atoms!r}, expected 'heavy' or 'backbone'")
        md = require("mdtraj")
        kept = np.asarray(self.atom_mask.all(0))
        if atoms == "backbone":
            kept = kept & (np.arange(14) < 4)
        if not kept.any():
            raise StructureError(
                "no atom is present in every frame; select frames that share atoms"
            )
        topology = protein_topology(
            self.sequence, tuple(self.chain_index.tolist()), self.chain_ids,
            tuple(self.residue_number.tolist()), tuple(self.chain_break.tolist()),
            tuple(map(tuple, kept.tolist())),
        ).copy()  # fmt: skip
        # MDTraj has no insertion codes. This attribute is lost when MDTraj copies the topology.
        codes = self.insertion_code[kept.any(1)]
        for residue, code in zip(topology.residues, codes.tolist(), strict=True):
            residue.insertion_code = code
        return md.Trajectory(self.atom14[:, kept], topology)


def residue_index(
    chain_index: np.ndarray, residue_number: np.ndarray, chain_break: np.ndarray
) -> np.ndarray:
    """Sequence positions for the networks, int32 [L], from 0.

    The step between bonded residues is 1. At a break within a chain it is the step of the residue
    numbers if that exceeds 1, else 33. Between chains it is 65. The networks clamp relative
    positions at 32, so 33 and more mean "unrelated".
    """
    jump = np.diff(residue_number)
    step = np.where(np.asarray(chain_break)[1:], np.where(jump > 1, jump, UNBONDED_GAP), 1)
    step = np.where(np.diff(chain_index) != 0, CHAIN_GAP, step)
    return np.concatenate([[0], np.cumsum(step)]).astype(np.int32)


def find_chain_breaks(backbone: np.ndarray, chain_index: np.ndarray) -> np.ndarray:
    """bool [L]: residue i is not bonded to residue i - 1 in one backbone [L, 4, 3]."""
    with np.errstate(invalid="ignore"):
        length = np.linalg.norm(backbone[1:, 0] - backbone[:-1, 2], axis=-1)
        bonded = (length < PEPTIDE_BOND) & (np.diff(chain_index) == 0)
    return np.concatenate([[True], ~bonded])


def split_at_breaks(structure: ProteinStructure, chains: int) -> ProteinStructure:
    """The same with a chain for each unbroken piece, if there are `chains` of them.

    Files of CHARMM, AMBER and GROMACS may have several proteins in one chain. Other structures come
    back as they are.
    """
    pieces = np.cumsum(structure.chain_break) - 1
    if pieces[-1] + 1 != chains:
        return structure
    first = np.flatnonzero(structure.chain_break)
    names = chain_names([structure.chain_ids[structure.chain_index[row]] for row in first])
    return replace(structure, chain_index=pieces.astype(np.int32), chain_ids=names)


def from_backbone(
    backbone: np.ndarray,
    sequence: str,
    chain_ids: tuple[str, ...] | None = None,
    residue_number: np.ndarray | None = None,
) -> ProteinStructure:
    """Structure of backbones without gaps.

    Parameters
    ----------
    backbone : ndarray, float32 [F, L, 4, 3]
        N, CA, C, O; nm.
    sequence : str
        L letters, ``:`` between chains.
    chain_ids : tuple of str, optional
        Default A, B, ...
    residue_number : ndarray, int [L], optional
        Default: from 1 in each chain.
    """
    chains = sequence.split(":")
    lengths = [len(chain) for chain in chains]
    foreign = sorted(set("".join(chains)) - set(ATOM14))
    if foreign:
        raise StructureError(f"the sequence has {foreign[0]!r}; use the 20 letters or X")
    if chain_ids is not None and len(chain_ids) != len(chains):
        raise StructureError(
            f"{counted(len(chain_ids), 'chain id')} for {counted(len(chains), 'chain')}; give one "
            "for each"
        )
    backbone = np.asarray(backbone)
    if backbone.shape[1:] != (sum(lengths), 4, 3):
        raise StructureError(
            f"backbone of shape {backbone.shape} for a sequence of {sum(lengths)} residues; "
            f"expected [F, {sum(lengths)}, 4, 3]"
        )
    numbers = np.concatenate([np.arange(1, n + 1) for n in lengths])
    if residue_number is not None:
        numbers = np.asarray(residue_number)
    atom14 = np.full((*backbone.shape[:2], 14, 3), np.nan, np.float32)
    atom14[:, :, :4] = backbone
    return ProteinStructure(
        "".join(chains),
        atom14,
        np.repeat(np.arange(len(chains)), lengths).astype(np.int32),
        tuple(chain_ids or chain_names([""] * len(chains))),
        numbers.astype(np.int32),
        np.full(len(numbers), "", "<U1"),
        np.concatenate([np.arange(n) == 0 for n in lengths]),
    )

"""Templates: known structures aligned to the sequence, and the choice of sampled residues."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from ..data.relatives import find_relatives
from ..errors import StructureError, counted
from ..files.checksum import numbers_checksum
from ..files.formats import needs_topology
from ..files.frame_reader import StructureReader
from ..models.registry import load_backmapper
from ..protein.ca_trace import lone_ca
from ..protein.geometry import backbone_torsions
from ..protein.keep_selection import NONE
from ..protein.kept_groups import KeptGroups
from ..protein.named_structures import place
from ..protein.plddt import sure_part
from ..protein.structure import ProteinStructure, chain_names, split_at_breaks
from ..protein.trajectory import backbone_trajectory
from ..protein.unmodelled import (
    check_units,
    refuse_cyclic,
    warn_of_caps,
    warn_of_d_residues,
    warn_of_rebuilt,
)
from .kept_template import read_kept
from .template_rows import aligned_rows, refuse_open_joints, residue_numbers

if TYPE_CHECKING:
    import mdtraj

_B_FACTOR = re.compile(r"\bbfactor\s*(<=|>=|<|>)\s*([-+]?\d*\.?\d+)")
_RANGE = re.compile(r"([^\s:,]+):(-?\d+)(?:-(-?\d+))?$")
#: What to do if the template has fewer, or more, chains than the sequence.
_REMEDY = (
    "give a template with all chains of the sequence, or take chains from the sequence",
    "take chains from the template that you do not sample, or separate the chains of the sequence "
    "with ':'",
)


@dataclass(frozen=True, eq=False)
class Template:
    """Frames of a known structure, aligned to the residues of a sequence.

    Attributes
    ----------
    sequence : str
        ``:`` between chains.
    atom14 : ndarray, float32 [T, L, 14, 3]
        nm; NaN for atoms that the template lacks.
    known : ndarray, bool [T, L]
        True where the template has N, CA and C, and is sure enough of them (`min_plddt`).
    chain_ids : tuple of str
    residue_number : ndarray, int32 [L]
        Residue numbers of the template; residues that it lacks are numbered on from their
        neighbours.
    chain_break : ndarray, bool [L]
        True at the first residue of each chain. Gaps within a chain are no breaks; they are
        sampled.
    insertion_code : ndarray, str [L], optional
        Of the template; empty where it lacks the residue.
    variants : tuple of str
        Protonation that the template states (`stated_variant`), for each residue; or empty.
    b_factor : ndarray, float32 [T, L], optional
        B factors (or pLDDT) of CA; NaN where the template lacks the residue.
    left_out : dict
        For ``run.json``: ``min_plddt``, and ``unsure``, the residues with less in any frame, which
        are sampled. Empty for a template without pLDDT.
    d_residues : ndarray, bool [L], optional
        D amino acids of the template. Sampled residues are L.
    trace : ndarray, float32 [T, M, 3], optional
        CA as given, of a template with residues that had a CA alone.
    names : tuple of str
        Structure of each frame, for frames of relatives; or empty.
    state : ndarray, int [T], optional
        State of each frame, for several states (`openmm_slm.sampling.states`).
    kept : KeptGroups, optional
        Ligands, ions and waters that stay.
    """

    sequence: str
    atom14: np.ndarray
    known: np.ndarray
    chain_ids: tuple[str, ...]
    residue_number: np.ndarray
    chain_break: np.ndarray
    insertion_code: np.ndarray | None = None
    variants: tuple[str, ...] = ()
    b_factor: np.ndarray | None = None
    left_out: dict[str, object] = field(default_factory=dict)
    d_residues: np.ndarray | None = None
    trace: np.ndarray | None = None
    names: tuple[str, ...] = ()
    state: np.ndarray | None = None
    kept: KeptGroups | None = None

    @classmethod
    def of(
        cls,
        template: mdtraj.Trajectory | ProteinStructure | str | os.PathLike | tuple,
        sequence: str,
        min_plddt: float | None = None,
        keep: str = NONE,
    ) -> Template:
        """Align a template to a sequence (chains separated by ``:``, in the template's order).

        A tuple is a trajectory file and its topology. Of predicted models, residues with pLDDT
        under `min_plddt` are left out (`openmm_slm.protein.plddt`). `keep` names the groups besides
        protein that stay (`openmm_slm.protein.keep_selection`).

        Raises
        ------
        StructureError
            The residues (the first mismatch is named) or the number of chains differ, the template
            has residues that the sequence lacks, or a frame has no complete residue. `min_plddt`
            does not fit the template, or `keep` selects nothing, or protein.
        """
        source, top = template if isinstance(template, tuple) else (template, None)
        if top is None:
            _check_format(source)
        found, trace = StructureReader(source, top).load(), None
        name = source if isinstance(source, (str, os.PathLike)) else "the template"
        found, left_out = sure_part(found, min_plddt, name)
        if (lone := lone_ca(found)).any():
            warn_of_rebuilt(found, lone)
            trace, found = found.atom14[:, :, 1], load_backmapper().complete(found)
        check_units(found)
        refuse_cyclic(found)
        as_d = warn_of_d_residues(found, "are not modelled; sampled residues are L")
        warn_of_caps(list(found.caps))
        ours = sequence.split(":")
        if len(found.chain_ids) != len(ours):
            found = split_at_breaks(found, len(ours))
        theirs = found.chain_sequences.split(":")
        if len(ours) != len(theirs):
            raise StructureError(
                f"the template has {counted(len(theirs), 'chain')} ({', '.join(found.chain_ids)}), "
                f"the sequence {len(ours)}; {_REMEDY[len(theirs) > len(ours)]}"
            )
        rows = np.full(len("".join(ours)), -1)
        first_ours = first_theirs = 0
        for name, a, b in zip(found.chain_ids, ours, theirs, strict=True):
            numbers = found.residue_number[first_theirs : first_theirs + len(b)]
            for i, j in aligned_rows(a, b, numbers, name):
                rows[first_ours + i] = first_theirs + j
            first_ours, first_theirs = first_ours + len(a), first_theirs + len(b)
        refuse_open_joints(found, rows, ours)
        present = rows >= 0
        atom14 = np.full((found.n_frames, len(rows), 14, 3), np.nan, np.float32)
        atom14[:, present] = found.atom14[:, rows[present]]
        codes = np.full(len(rows), "", "<U1")
        codes[present] = found.insertion_code[rows[present]]
        known = np.isfinite(atom14[:, :, :3]).all((-1, -2))
        atom14[~known] = np.nan
        lengths = [len(chain) for chain in ours]
        if not known.any(1).all():
            frame = int((~known.any(1)).argmax())
            raise StructureError(
                f"frame {frame} of the template has no residue with N, CA and C; leave it out"
            )
        return cls(
            sequence,
            atom14,
            known,
            found.chain_ids,
            residue_numbers(found.residue_number, rows, lengths),
            np.concatenate([np.arange(n) == 0 for n in lengths]),
            codes,
            tuple(found.variants[j] if j >= 0 and found.variants else "" for j in rows),
            _of_rows(found.b_factor, rows),
            left_out,
            np.isin(rows, as_d),
            trace,
            kept=read_kept(source, top, keep, rows, "".join(ours), atom14),
        )

    @classmethod
    def of_relatives(
        cls, data: str | os.PathLike, sequence: str
    ) -> tuple[Template, list[dict[str, object]]]:
        """Template with a frame for each relative of a chain in a shard directory.

        Also returns a description of the relatives, for ``run.json``.

        Raises
        ------
        StructureError
            See `find_relatives`.
        """
        atom14, relatives = find_relatives(sequence, data)
        names = tuple(str(relative["id"]) for relative in relatives)
        return cls.of_frames(sequence, atom14, names), relatives

    @classmethod
    def of_frames(cls, sequence: str, atom14: np.ndarray, names: tuple[str, ...]) -> Template:
        """Template of frames [T, L, 14, 3] of a sequence (``:`` between chains), numbered from 1.

        `names` says which structure each frame is of.
        """
        known = np.isfinite(atom14[:, :, :3]).all((-1, -2))
        chains = sequence.split(":")
        number = np.concatenate([np.arange(1, len(x) + 1, dtype=np.int32) for x in chains])
        return cls(
            sequence,
            np.where(known[..., None, None], atom14, np.float32(np.nan)),
            known,
            chain_names([""] * len(chains)),
            number,
            number == 1,
            names=names,
        )

    def identity(self, source: object) -> dict[str, object]:
        """Entry in ``run.json``: paths of files or the name, a checksum, `left_out`, and `kept`."""
        # Built backbones may differ in the last digits on another machine.
        given = self.atom14 if self.trace is None else self.trace
        numbers = numbers_checksum(self.chain_ids, self.residue_number, self.insertion_code)
        named = (self.sequence + numbers).encode()
        digest = hashlib.sha256(named + given.tobytes()).hexdigest()
        files = source if isinstance(source, tuple) else (source,)
        on_disk = all(isinstance(file, (str, os.PathLike)) for file in files)
        paths = [place(file) for file in files] if on_disk else [None]
        top = {"top": paths[1]} if len(paths) > 1 else {}
        kept = self.kept.identity() if self.kept else {}
        return {"path": paths[0], **top, "sha256": digest[:16], **self.left_out, **kept}

    @property
    def backbone(self) -> np.ndarray:
        """N, CA, C and O; float32 [T, L, 4, 3]."""
        return self.atom14[:, :, :4]

    def cis_peptides(self) -> np.ndarray:
        """Residues whose preceding peptide bond is cis in any frame; bool [L]."""
        with np.errstate(invalid="ignore"):
            omega = backbone_torsions(self.backbone, self.chain_break)[2]
            return (np.abs(omega) < np.pi / 2).any(0)

    def select(self, residues: str | Iterable[int], option: str = "resample") -> np.ndarray:
        """Mask of the residues that the user selected with an option; bool [L].

        Parameters
        ----------
        residues : str or iterable of int
            ``"H:95-102"`` (chain and residue numbers of the template; separate several with
            commas), a selection in MDTraj's language, which may also have ``bfactor < 50`` (of CA,
            mean over frames), or rows of the sequence from 0.

        Raises
        ------
        StructureError
            An unknown chain, a number or row out of range, an invalid selection, or no residue.
        """
        chosen = np.zeros(self.known.shape[1], bool)
        if not isinstance(residues, (str, Iterable)):
            raise StructureError(
                f"{option} is {residues!r}; give 'H:95-102', a selection, or rows from 0"
            )
        if not isinstance(residues, str):
            for row in residues:
                if isinstance(row, bool) or not isinstance(row, (int, np.integer)):
                    raise StructureError(f"{option} has {row!r}; give rows of the sequence from 0")
                if not 0 <= row < len(chosen):
                    raise StructureError(
                        f"{option} has row {row}; the sequence has rows 0 to {len(chosen) - 1}"
                    )
                chosen[row] = True
        elif all(_RANGE.match(part.strip()) for part in residues.split(",")):
            for part in residues.split(","):
                chosen |= self._range(option, *_RANGE.match(part.strip()).groups())
        else:
            chosen[self._selected(option, residues)] = True
        if not chosen.any():
            raise StructureError(
                f"{option} is {residues!r}, which selects no residue; select those to be sampled"
            )
        return chosen

    def _range(self, option: str, chain: str, first: str, last: str | None) -> np.ndarray:
        if chain not in self.chain_ids:
            raise StructureError(
                f"{option} names chain {chain!r}; the template has {', '.join(self.chain_ids)}"
            )
        low, high = int(first), int(last or first)
        if low > high:
            raise StructureError(f"{option} names {chain}:{low}-{high}; give {chain}:{high}-{low}")
        mine = np.cumsum(self.chain_break) - 1 == self.chain_ids.index(chain)
        numbers = self.residue_number
        found = mine & (numbers >= low) & (numbers <= high)
        if not found.any() or {low, high} - set(numbers[mine].tolist()):
            raise StructureError(
                f"{option} names {chain}:{low}-{high}; chain {chain} has residues "
                f"{numbers[mine].min()} to {numbers[mine].max()}"
            )
        return found

    def without(self, residues: np.ndarray) -> Template:
        """The template without the atoms of some residues (bool [L])."""
        if not residues.any():
            return self
        atom14 = np.where(residues[:, None, None], np.float32(np.nan), self.atom14)
        return replace(self, atom14=atom14, known=self.known & ~residues)

    def _selected(self, option: str, selection: str) -> list[int]:
        backbone = np.zeros((1, len(self.residue_number), 4, 3), np.float32)
        topology = backbone_trajectory(
            backbone, self.sequence, self.chain_ids, self.residue_number
        ).topology
        try:
            atoms = topology.select(_B_FACTOR.sub(self._by_b_factor, selection))
        except Exception as error:  # MDTraj passes on any exception of its parser
            raise StructureError(
                f"{option} {selection!r} is neither like 'H:95-102' nor an MDTraj selection "
                f"({str(error).splitlines()[0]})"
            ) from None
        return sorted({topology.atom(int(atom)).residue.index for atom in atoms})

    def _by_b_factor(self, condition: re.Match) -> str:
        """A condition on B factors as MDTraj's selection of the residues that meet it."""
        if self.b_factor is None:
            raise StructureError(
                f"the selection has {condition[0]!r}, but the template has no B factors; give a "
                "PDB or mmCIF file"
            )
        compare = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}
        mean = self.b_factor.mean(0)  # NaN, which meets no condition, where a residue is missing
        rows = np.flatnonzero(compare[condition[1]](mean, float(condition[2]))).tolist()
        return f"({' or '.join(f'resid {row}' for row in rows) or 'none'})"


def _of_rows(values: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    """Columns `rows` [L] of an array [T, M]; NaN for the row -1."""
    if values is None:
        return None
    return np.where(rows >= 0, values[:, rows], np.nan).astype(np.float32)


def _check_format(template: object) -> None:
    """Raise StructureError for a file of frames without a topology."""
    if needs_topology(template):
        raise StructureError(
            f"{template} contains no topology; give the template as PDB, mmCIF or GRO, or name "
            "a topology: --top, in Python template=(file, topology)"
        )

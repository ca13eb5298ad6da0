"""Disordered residues of a run: torsions by the language model, chains by Monte Carlo.

The language model samples tokens of the whole protein, told which residues are disordered; the
torsions of the decoded frames are a pool. `disorder.window_moves` makes chains of them that have
the right size and overlap neither themselves nor the rest of the structure.
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ..disorder.bead_energy import BeadEnergy
from ..disorder.moving_parts import MovingParts
from ..disorder.threaded_loops import threaded_loops
from ..disorder.window_moves import WindowMoves
from ..disorder.wished_size import WishedSize
from ..errors import counted, require
from ..language.interface import StructureLanguageModel
from ..language.masking import with_rim
from ..language.structure_context import StructureContext
from ..protein.chain_building import backbone_of, residue_axes
from ..protein.geometry import backbone_torsions
from ..protein.protein import Protein
from ..protein.ramachandran import OUTLIER, classify
from ..protein.sequence import sequence_layout
from ..tokenizer.interface import StructureTokenizer
from .domain_placement import beside
from .settings import SamplingSettings

if TYPE_CHECKING:
    from .template import Template

logger = logging.getLogger(__name__)

POOL = 64  # sampled conformations that torsions are taken from
_POOL_SEED = 0x5851F42D4C957F2D  # sets the pool's random stream apart from those of frames
_STEPS, _PER_RESIDUE = 200, 5  # moves of a frame: a number, and so many for each free residue
_ATTEMPTS = 5  # at a frame whose free residues pass through a closed loop of the fold
_ROOM = 0.3  # nm between a side chain of a body and the backbone of free residues
_FLAT = np.radians(150.0)  # peptide bonds closer to planar than this keep their omega


class DisorderedBackbones:
    """Builds the disordered residues of frames.

    Parameters
    ----------
    tokenizer : StructureTokenizer
    language_model : StructureLanguageModel
    settings : SamplingSettings
    template : Template, optional
        Structure of the other residues.
    protein : Protein
    condition : dict
        Argument ``condition`` of the language model, if it has one.
    first : ndarray [L, 4, 3], optional
        The other residues in one frame, which tells what touches what. None: they are not known
        beforehand, and count as one rigid body.
    """

    def __init__(
        self,
        tokenizer: StructureTokenizer,
        language_model: StructureLanguageModel,
        settings: SamplingSettings,
        template: Template | None,
        protein: Protein,
        condition: dict[str, object],
        first: np.ndarray | None,
    ) -> None:
        self.tokenizer, self.language_model = tokenizer, language_model
        self.settings, self.template, self.protein = settings, template, protein
        self.letters, self.chain, self.index = sequence_layout(tuple(settings.sequence.split(":")))
        self.disordered = np.isin(np.arange(len(self.chain)), settings.disordered)
        self._condition = condition
        ca = None if first is None else first[:, 1]
        self.parts = MovingParts.of(self.disordered, ca, ~protein.chain_break)
        loose = self.parts.loose_chains(self.chain)
        if template is not None and len(loose):
            logger.warning(
                "%s disordered as a whole and placed beside the others at random",
                counted(len(loose), "chain is", "chains are"),
            )

    @property
    def free(self) -> np.ndarray:
        """Residues that are built here, bool [L]: all but closed loops of a rigid body."""
        return self.parts.free

    @property
    def junctions(self) -> np.ndarray:
        """Residues of rigid bodies that are bonded to free ones; bool [L]."""
        free, bonded = self.parts.free, self.parts.bonded
        before = np.append(free[1:] & bonded[1:], False)
        return ~free & (before | (bonded & np.append(False, free[:-1])))

    @cached_property
    def moves(self) -> WindowMoves:
        """Monte Carlo sampler; the pool is sampled when it is first used."""
        atoms = None if self.template is None else self.template.atom14[0]
        energy = BeadEnergy(self.protein.sequence, self.index, self.parts.body, atom14=atoms)
        pool = torsions_of(self._pool(), self.protein)
        bias = None if self.settings.rg is None else WishedSize(self.settings.rg)
        return WindowMoves(self.parts, pool, energy, bias)

    def _pool(self) -> np.ndarray:
        """Conformations [P, L, 4, 3] from which torsions are taken."""
        length, more = len(self.chain), {}
        x, kept = np.full((length, 4, 3), np.nan, np.float32), np.zeros(length, bool)
        if self.template is not None:
            x, kept = self.template.backbone[0], self.template.known[0] & ~self.disordered
            tokens = self.tokenizer.encode_backbone(x[None], kept[None], self.index)[0]
            more["known"] = np.where(with_rim(~kept, self.chain), -1, tokens)
        level = np.where(kept, 0.0, np.inf)
        if self.language_model.sees_structure:
            more |= self._context(x, level)
            if kept.any():
                more["hints"] = tokens
        s = self.settings
        drawn = self.language_model.sample(
            s.sequence, range(POOL), seed=(s.seed + _POOL_SEED) % 2**63, temperature=s.temperature,
            top_p=s.top_p, steps=s.steps, order=s.order, guidance=s.guidance, **self._condition,
            **more,
        )  # fmt: skip
        start = [np.broadcast_to(y, (POOL, *y.shape)) for y in (x, level)] if kept.any() else ()
        decode = self.tokenizer.decode_with_confidence
        return decode(drawn.tokens, self.letters, self.index, *start)[0]

    def _context(self, backbone: np.ndarray, level: np.ndarray) -> dict[str, StructureContext]:
        context = StructureContext.of(backbone, level, self.index, self.disordered)
        return {"structure": context}

    def labels(self) -> dict[str, StructureContext]:
        """Labels alone as context of the language model, if it has a structure input."""
        if not self.language_model.sees_structure:
            return {}
        length = len(self.chain)
        return self._context(np.full((length, 4, 3), np.nan), np.full(length, np.inf))

    def tokens(self, backbone: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tokens int [F, L] of backbones [F, L, 4, 3], their log-probability [F], and its error.

        In nats. The probability is that of all tokens given the sequence and the labels.
        """
        mask = np.ones(backbone.shape[:2], bool)
        tokens = self.tokenizer.encode_backbone(backbone, mask, self.index)
        more = self.labels()
        sequence = self.settings.sequence
        probability = self.language_model.log_prob_and_error
        return tokens, *probability(tokens, sequence, **self._condition, **more)

    def build(self, frames: np.ndarray, atom14: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Replace the free residues of frames, and move rigid bodies with them.

        Parameters
        ----------
        frames : ndarray, int [F]
        atom14 : ndarray [F, L, 14, 3]
            nm; free residues may be NaN.

        Returns
        -------
        atom14 : ndarray, float32 [F, L, 14, 3]
            Free residues have N, CA, C and O. Rigid bodies keep all atoms; the largest one stays.
        threaded : ndarray, int [F]
            Closed loops of the rigid bodies that free residues pass through.
        """
        parts, old = self.parts, atom14.astype(float)
        rotation, origin, threaded = self._run(frames, old[:, :, :4])
        built = backbone_of(rotation, origin, self.protein.chain_break)
        made = old.copy()
        made[:, parts.free] = np.nan
        made[:, parts.free, :4] = built[:, parts.free]
        for body in range(1, parts.body.max(initial=0) + 1):
            inside = np.flatnonzero(parts.body == body)
            row = inside[0]
            turn = rotation[:, row] @ residue_axes(old[:, row]).swapaxes(-1, -2)
            away = old[:, inside] - old[:, row, None, None, 1]
            made[:, inside] = away @ turn[:, None].swapaxes(-1, -2) + origin[:, row, None, None]
        beside = self.junctions
        made[:, beside, 5:] = np.nan  # their side chains make room for the next residue
        before = np.flatnonzero(beside & np.append(parts.free[1:] & parts.bonded[1:], False))
        made[:, before, 3] = built[:, before, 3]  # O of a residue follows the next N
        self._make_room(made)
        return self._beside(frames, made).astype(np.float32), threaded

    def _run(
        self, frames: np.ndarray, backbone: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rotations, origins, and loops passed through; frames where it is not 0 are made again."""
        parts, steps = self.parts, number_of_moves(int(self.parts.free.sum()))
        rotation = np.empty((*backbone.shape[:2], 3, 3))
        origin = np.empty((*backbone.shape[:2], 3))
        threaded, again = np.zeros(len(frames), int), np.arange(len(frames))
        for attempt in range(_ATTEMPTS):
            made = self.moves.run(
                frames[again], backbone[again], steps, self.settings.seed, attempt
            )
            rotation[again], origin[again] = made
            threaded[again] = threaded_loops(made[1], parts.free, parts.bonded)
            again = np.flatnonzero(threaded)
            if not len(again):
                break
        return rotation, origin, threaded

    def _make_room(self, atom14: np.ndarray) -> None:
        """Remove side chains of bodies that overlap the backbone of free residues, in place.

        They are built anew, in another rotamer.
        """
        free, body = self.parts.free, np.flatnonzero(self.parts.body >= 0)
        if not free.any() or not len(body):
            return
        tree = require("scipy.spatial").cKDTree
        for x in atom14:
            atoms = np.argwhere(np.isfinite(x[body, 5:]).all(-1))
            if not len(atoms):
                continue
            built = tree(x[free, :4].reshape(-1, 3))
            distance, _ = built.query(x[body[atoms[:, 0]], 5 + atoms[:, 1]])
            x[body[atoms[distance < _ROOM, 0]], 5:] = np.nan

    def _beside(self, frames: np.ndarray, atom14: np.ndarray) -> np.ndarray:
        """Place chains that nothing holds beside the others."""
        loose = self.parts.loose_chains(self.chain)
        if not len(loose) or len(np.unique(self.chain)) == 1:
            return atom14
        out = atom14.copy()
        for number, frame in enumerate(frames):
            rng = np.random.Generator(
                np.random.Philox(key=[self.settings.seed, int(frame)], counter=[0, 0, 5, 0])
            )
            there = out[number, ~np.isin(self.chain, loose)]
            for one in loose:
                part = out[number, self.chain == one]
                if len(there):
                    part = beside(rng, there, part, 0, linked=False)
                out[number, self.chain == one] = part
                there = np.concatenate([there, part])
        return out


def number_of_moves(free: int) -> int:
    """Moves of a frame with so many free residues."""
    return _STEPS + _PER_RESIDUE * free


def torsions_of(backbone: np.ndarray, protein: Protein) -> np.ndarray:
    """Torsions [P, 3, L] of sampled backbones, without outliers; radians.

    Peptide bonds are trans, before proline too. A residue whose phi and psi are outliers of the
    Ramachandran map gets those of another conformation.
    """
    phi, psi, omega = backbone_torsions(backbone, protein.chain_break)
    with np.errstate(invalid="ignore"):
        omega = np.where(np.abs(omega) > _FLAT, omega, np.pi)
    # At chain ends, where one of them is undefined, the oxygen is placed as if it were this.
    phi, psi = np.nan_to_num(phi, nan=np.radians(-70)), np.nan_to_num(psi, nan=np.radians(140))
    outlier = classify(phi, psi, protein.sequence) == OUTLIER
    for row in np.flatnonzero(outlier.any(0) & ~outlier.all(0)):
        good, bad = np.flatnonzero(~outlier[:, row]), np.flatnonzero(outlier[:, row])
        other = good[np.arange(len(bad)) % len(good)]
        phi[bad, row], psi[bad, row] = phi[other, row], psi[other, row]
    return np.stack([phi, psi, omega], 1)

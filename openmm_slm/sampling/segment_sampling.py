"""Sampling of the residues of a template that are resampled, with all others held.

Language models that see the structure work in two steps. In the first, each frame gets several
*tries*, drawn and decoded without its segments; for each segment the try with the lowest cost is
chosen (`segment_scores`), where clashes cost most. Every fourth frame takes a library fragment
instead, as long as there are good ones. In the second step, the model samples the segments again
and sees those of the first, off by about 0.2 nm.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..language.interface import StructureLanguageModel, TokenSamples
from ..language.masking import with_rim
from ..language.structure_context import StructureContext
from ..library.registry import load_library
from ..projection.close_peptides import close_peptide_bonds
from ..protein.geometry import place_oxygen
from ..protein.protein import Protein
from ..tokenizer.interface import StructureTokenizer
from .segment_clashes import segment_clashes
from .segment_fragments import Segment, distinct, segments_of
from .segment_scores import segment_costs, segment_scores
from .settings import SamplingSettings
from .template import Template

#: Tries of a frame. On validation loops, 2 and 4 are worse, and 8 little better.
TRIES = 6
#: Residues in all tries of a frame: of many residues there are fewer tries, as each takes longer.
MOST_TRIED = 120
#: One frame in this many starts from a fragment.
EVERY = 4
#: Cost of each pair of clashing atoms of a try. With 0, samples are as good and fewer are valid.
CLASHED = 2.0
SEEN = 0.2  # nm, level of the segments in the second step
#: Known residues near the segments that the decoder sees, in the tries and in the second step. With
#: all residues, samples are no better.
NEAR_TRIES, NEAR_SECOND = 36, 56
#: Smallest fit (nats) of a fragment from which frames start. On validation loops, one in four with
#: a larger fit is better than 95 % of the tries, and one in 25 of the others.
LEAST_FIT = -8.0
_RANKED = 256  # fragments of a segment from which frames start, at most


@dataclass(frozen=True, eq=False)
class Decoded:
    """Frames whose segments were sampled.

    Attributes
    ----------
    drawn : TokenSamples
    backbone : ndarray, float32 [F, L, 4, 3]
        nm.
    lddt : ndarray [F]
        Mean predicted lDDT of the segments and their surroundings.
    fragments : ndarray, int [F, S]
        Fragment from which each segment starts; -1: none. S is that of the template's frame with
        most segments.
    """

    drawn: TokenSamples
    backbone: np.ndarray
    lddt: np.ndarray
    fragments: np.ndarray


class SegmentSampler:
    """Samples residues of a template and holds the others.

    Parameters
    ----------
    tokenizer : StructureTokenizer
    language_model : StructureLanguageModel
    settings : SamplingSettings
    template : Template
    protein : Protein
    letters : ndarray, int [L]
        Amino acid numbers.
    sampled : ndarray, bool [T, L]
        Residues that are sampled, for each frame of the template.
    draw : callable
        (frames, known tokens, number of the step, ...) -> TokenSamples.
    """

    def __init__(
        self,
        tokenizer: StructureTokenizer,
        language_model: StructureLanguageModel,
        settings: SamplingSettings,
        template: Template,
        protein: Protein,
        letters: np.ndarray,
        sampled: np.ndarray,
        draw: Callable[..., TokenSamples],
    ) -> None:
        self.tokenizer, self.language_model = tokenizer, language_model
        self.chosen, self.template, self.protein = settings.fragments, template, protein
        self.letters, self.sampled, self._draw = letters, sampled, draw
        self.index = protein.residue_index
        # No token may tell where sampled residues were. Next to them, tokens of the kept residues
        # differ from those of the whole chain, from which the decoder learned: they are hints, and
        # the tokens of the rim (`with_rim`) are sampled too.
        self.tokens = tokenizer.encode_backbone(template.backbone, ~sampled, self.index)
        chain = np.cumsum(template.chain_break)
        self._known = np.where(np.stack([with_rim(x, chain) for x in sampled]), -1, self.tokens)
        self._lock = threading.Lock()
        self._segments = lru_cache(maxsize=8)(self._find_segments)
        self._near = lru_cache(maxsize=8)(self._find_near)

    def sample(self, frames: np.ndarray, which: np.ndarray, again: int = 0) -> Decoded:
        """Sample frames [F] that start from the frames `which` [F] of the template.

        With `again` over 0, these are other samples, of which none starts from a fragment.
        """
        start = np.stack([self._start(row) for row in which])
        rows = np.unique(which)
        used = np.full((len(frames), max(len(self.segments(row)) for row in rows)), -1)
        level = np.where(self.sampled[which], np.inf, 0.0)
        if not self.language_model.sees_structure:
            drawn = self._draw(frames, self._known[which], 2 * again)
            return Decoded(drawn, *self._decode(drawn.tokens, start, level, which), used)
        for row in rows:
            mine = np.flatnonzero(which == row)
            start[mine], found = self.first(frames[mine], int(row), again)
            used[mine, : found.shape[1]] = found
        level = np.where(self.sampled[which], SEEN, 0.0)
        each = [StructureContext.of(x, s, self.index) for x, s in zip(start, level, strict=True)]
        context = StructureContext.stacked(each)
        hints = self.tokens[which]
        drawn = self._draw(
            frames, self._known[which], 2 * again + 1, structure=context, hints=hints
        )
        return Decoded(drawn, *self._decode(drawn.tokens, start, level, which), used)

    def segments(self, row: int) -> list[Segment]:
        """Segments of a frame of the template, with their fragments."""
        with self._lock:
            return self._segments(int(row))

    def scores(
        self,
        backbone: np.ndarray,
        which: np.ndarray,
        moved: np.ndarray,
        used: np.ndarray,
        without: np.ndarray | None = None,
    ) -> np.ndarray:
        """``segment_score`` [F] of frames; see `openmm_slm.sampling.segment_scores`.

        Parameters
        ----------
        backbone : ndarray [F, L, 4, 3]
        which : ndarray, int [F]
            Frame of the template of each frame.
        moved : ndarray [F]
            How far the projection moved atoms, nm.
        used : ndarray, int [F, S]
            `Decoded.fragments`.
        without : ndarray, bool [L], optional
            Segments of such residues alone do not count.
        """
        score = np.empty(len(which))
        without = np.zeros(len(self.letters), bool) if without is None else without
        for row in np.unique(which):
            mine, every = np.flatnonzero(which == row), self.segments(row)
            kept = [k for k, segment in enumerate(every) if not without[segment.rows].all()]
            score[mine] = segment_scores(
                backbone[mine],
                self.protein,
                [every[k] for k in kept],
                moved[mine],
                used[np.ix_(mine, kept)],
            )
        return score

    def names(self, which: np.ndarray, used: np.ndarray) -> np.ndarray:
        """Names [F] of the fragments used: chain and first residue, ``+`` between segments."""
        if self.chosen is None:
            return np.full(len(which), "")
        library, found = load_library(self.chosen["library"]), []
        for row, mine in zip(which, used, strict=True):
            parts = []
            for segment, k in zip(self.segments(row), mine, strict=False):
                if k >= 0:
                    number = int(segment.fragments.chain[k])
                    chain, first = library.chains[number], segment.fragments.first[k]
                    name = f"{chain.pdb}_{chain.chain}" if chain.pdb else chain.id
                    parts.append(f"{name}:{library.residue_numbers(number)[first]}")
            found.append("+".join(parts))
        return np.array(found)

    # -- parts ----------------------------------------------------------------------------------

    def first(self, frames: np.ndarray, row: int, again: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Backbones [F, L, 4, 3] of the first step, and the fragments used [F, segments].

        All frames [F] start from the frame `row` of the template.
        """
        start, out = self._start(row)[None], np.repeat(self._start(row)[None], len(frames), 0)
        level = np.where(self.sampled[row], np.inf, 0.0)[None]
        context = StructureContext.of(start[0], level[0], self.index)
        count = int(np.clip(MOST_TRIED // max(1, self.sampled[row].sum()), 1, TRIES))
        tries = (frames[:, None] * count + np.arange(count)).ravel()
        drawn = self._draw(
            tries, self._known[row], 2 * again, structure=context, hints=self.tokens[row]
        )
        rows = np.full(len(tries), row)
        x, _ = self._decode(drawn.tokens, start, level, rows, NEAR_TRIES)
        near, protein = self._near(row, NEAR_TRIES)
        closed, moved = close_peptide_bonds(
            x[:, near], protein, self.sampled[row][near].astype(float)
        )
        x[:, near] = closed
        shift = np.zeros(x.shape[:2])
        shift[:, near] = moved
        segments = self.segments(row)
        used = np.full((len(frames), len(segments)), -1)
        for number, segment in enumerate(segments):
            mine = segment.rows
            cost = segment_costs(x, self.protein, segment, shift[:, mine].max(1))
            cost += CLASHED * segment_clashes(x, self.protein, mine, self.template.atom14[row])
            best = np.arange(len(frames)) * count + cost.reshape(-1, count).argmin(1)
            out[:, mine] = x[best][:, mine]
            order = self._order(segment)
            turn = np.where(frames % EVERY == EVERY - 1, frames // EVERY, len(order))
            taken = (turn < len(order)) & (again == 0)
            if taken.any():
                used[taken, number] = order[turn[taken]]
                out[np.ix_(taken, mine, range(3))] = segment.fragments.backbone[used[taken, number]]
        out[:, self.sampled[row], 3] = place_oxygen(out, self.protein.chain_break)[
            :, self.sampled[row]
        ]
        return out, used

    def _order(self, segment: Segment) -> np.ndarray:
        """Fragments of a segment in the order in which frames start from them."""
        if not segment.fragments:
            return np.empty(0, int)
        order = distinct(segment.fragments, _RANKED)
        return order[segment.fragments.fit[order] >= LEAST_FIT]

    def _start(self, row: int) -> np.ndarray:
        """Backbone [L, 4, 3] of a frame of the template; O is placed where it is missing."""
        x = np.array(self.template.backbone[row], np.float32)
        placed = place_oxygen(x, self.protein.chain_break)
        x[:, 3] = np.where(np.isfinite(x[:, 3]), x[:, 3], placed)
        x[self.sampled[row]] = np.where(
            np.isfinite(x[self.sampled[row]]), x[self.sampled[row]], np.nan
        )
        return x

    def _decode(
        self,
        tokens: np.ndarray,
        start: np.ndarray,
        level: np.ndarray,
        which: np.ndarray,
        number: int = NEAR_SECOND,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Decode the segments and `number` residues near them; all others keep their atoms."""
        backbone = np.array(np.broadcast_to(start, (len(tokens), *start.shape[1:])))
        level = np.broadcast_to(level, tokens.shape)
        lddt = np.empty(len(tokens))
        for row in np.unique(which):
            mine, (near, _) = np.flatnonzero(which == row), self._near(int(row), number)
            part = np.ix_(mine, near)
            backbone[part], found = self.tokenizer.decode_with_confidence(
                tokens[part], self.letters[near], self.index[near], backbone[part], level[part]
            )
            lddt[mine] = found.mean(1)
        return backbone, lddt

    def _find_segments(self, row: int) -> list[Segment]:
        return segments_of(self.sampled[row], self.template, row, self.chosen)

    def _find_near(self, row: int, number: int) -> tuple[np.ndarray, Protein]:
        """Rows of the segments and of `number` residues near them, and the protein of these."""
        sampled = self.sampled[row]
        level = np.where(sampled, np.inf, 0.0)
        place = StructureContext.of(self.template.backbone[row], level, self.index).origin
        far = np.full(len(sampled), np.inf)
        for virtual in place[sampled]:
            far = np.minimum(far, np.linalg.norm(place - virtual, axis=1))
        far[sampled] = -1
        near = np.sort(np.argsort(far, kind="stable")[: sampled.sum() + number])
        whole = self.protein
        gap = np.diff(near, prepend=-2) != 1
        return near, Protein(
            "".join(whole.sequence[k] for k in near),
            whole.chain_break[near] | gap,
            self.index[near],
            cis_allowed=whole.cis_allowed[near],
            d_residues=whole.d_residues[near],
        )

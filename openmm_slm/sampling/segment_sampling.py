"""Sampling of the residues of a template that are resampled, with all others held.

Language models that see the structure work in two steps. In the first, *tries* are drawn and
decoded without the segments, and each frame starts from one of those with the lowest cost
(`segment_pool`, `segment_scores`). Every fourth frame starts from a library fragment instead, as
long as there are good ones. In the second step, the model samples the segments of each frame
several times and sees those of the first; that of the lowest cost is taken.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ..language.interface import StructureLanguageModel, TokenSamples
from ..language.masking import SAMPLED_LEVEL, with_rim
from ..language.segment_ranker import SegmentRanker
from ..language.structure_context import StructureContext
from ..library.registry import load_library
from ..projection.close_peptides import close_peptide_bonds
from ..protein.geometry import place_oxygen
from ..protein.protein import Protein
from ..tokenizer.interface import StructureTokenizer
from .segment_fragments import Segment, fragment_names, segments_of, starting_order
from .segment_pool import Pool, best_distinct, pool_size
from .segment_scores import SegmentCosts
from .segment_surroundings import distances_to, nearest, part_of
from .settings import SamplingSettings
from .template import Template

#: Samples of a frame in the second step. On validation loops, the best of 50 frames is better with
#: 4 than with 1.
SECOND = 4
#: Residues in all of these: of many residues there are fewer, as each takes longer.
_RESIDUES = 80
#: One frame in this many starts from a fragment.
EVERY = 4
FRAGMENT = 0.2  # nm, level of fragments in the second step
#: Known residues near the segments that the decoder sees, in the tries and in the second step. With
#: all residues, samples are no better.
NEAR_TRIES, NEAR_SECOND = 36, 56
_SHIFT = 17  # starts by which a frame that is made again is ahead


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
    ranker : SegmentRanker
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
        ranker: SegmentRanker,
    ) -> None:
        self.tokenizer, self.language_model = tokenizer, language_model
        self.chosen, self.template, self.protein = settings.fragments, template, protein
        self.letters, self.sampled, self._draw = letters, sampled, draw
        self._costs = SegmentCosts(template, protein, letters, sampled, ranker)
        self.index = protein.residue_index
        # No token may tell where sampled residues were. Next to them, tokens of the kept residues
        # differ from those of the whole chain, from which the decoder learned: they are hints, and
        # the tokens of the rim (`with_rim`) are sampled too.
        self.tokens = tokenizer.encode_backbone(template.backbone, ~sampled, self.index)
        chain = np.cumsum(template.chain_break)
        self._known = np.where(np.stack([with_rim(x, chain) for x in sampled]), -1, self.tokens)
        self._lock = threading.Lock()
        # They cover the frames of the template that a block of frames starts from.
        self._segments = lru_cache(maxsize=64)(self._find_segments)
        self._pools = lru_cache(maxsize=256)(self._find_pool)
        self._near = lru_cache(maxsize=64)(self._find_near)

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
        return Decoded(*self._second(frames, which, start, used, again), used)

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
        """``segment_score`` [F] of frames: minus the mean of `segment_costs` over segments.

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
            tries = [pool and pool.tries for pool in self._pool(row)]
            costs = [
                self._costs(backbone[mine], int(row), segment, moved[mine], tries[k], used[mine, k])
                for k, segment in enumerate(every)
                if not without[segment.rows].all()
            ]
            score[mine] = -np.mean(costs, 0)
        return score

    def names(self, which: np.ndarray, used: np.ndarray) -> np.ndarray:
        """Names [F] of the fragments used: chain and first residue, ``+`` between segments."""
        if self.chosen is None:
            return np.full(len(which), "")
        library = load_library(self.chosen["library"])
        each = zip(which, used, strict=True)
        return np.array([fragment_names(self.segments(row), k, library) for row, k in each])

    def first(self, frames: np.ndarray, row: int, again: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Backbones [F, L, 4, 3] from which frames start, and the fragments used [F, segments].

        All frames [F] are of the frame `row` of the template.
        """
        pools = self._pool(row)
        out, segments = np.repeat(self._start(row)[None], len(frames), 0), self.segments(row)
        used = np.full((len(frames), len(segments)), -1)
        turn = frames // len(self.sampled) + again * _SHIFT
        for number, (segment, pool) in enumerate(zip(segments, pools, strict=True)):
            mine, order = segment.rows, starting_order(segment)
            out[:, mine] = pool.starts[turn % len(pool.starts)]
            place = np.where(frames % EVERY == EVERY - 1, frames // EVERY, len(order))
            taken = (place < len(order)) & (again == 0)
            if taken.any():
                used[taken, number] = order[place[taken]]
                out[np.ix_(taken, mine, range(3))] = segment.fragments.backbone[used[taken, number]]
        out[:, self.sampled[row], 3] = place_oxygen(out, self.protein.chain_break)[
            :, self.sampled[row]
        ]
        return out, used

    def levels(self, used: np.ndarray, row: int) -> np.ndarray:
        """Levels [F, L] (nm) of frames of one of the template that start from fragments `used`."""
        level = np.full((len(used), len(self.letters)), SAMPLED_LEVEL)
        for number, segment in enumerate(self.segments(row)):
            level[np.ix_(used[:, number] >= 0, segment.rows)] = FRAGMENT
        return level

    def tries(self, row: int, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tries [P] of all segments of a frame of the template, their peptide bonds closed.

        Returns
        -------
        backbone : ndarray, float32 [P, L, 4, 3]
        moved : ndarray [P, L]
            How far the closure moved an atom of each residue, nm.
        """
        start = self._start(row)[None]
        level = np.where(self.sampled[row], np.inf, 0.0)[None]
        context = StructureContext.of(start[0], level[0], self.index)
        drawn = self._draw(numbers, self._known[row], 0, structure=context, hints=self.tokens[row])
        x, _ = self._decode(drawn.tokens, start, level, np.full(len(numbers), row), NEAR_TRIES)
        return self.closed(x, row, NEAR_TRIES)

    def refined(
        self,
        frames: np.ndarray,
        which: np.ndarray,
        start: np.ndarray,
        again: int = 0,
        draws: int = 1,
        level: np.ndarray | float = SAMPLED_LEVEL,
    ) -> tuple[TokenSamples, np.ndarray, np.ndarray]:
        """Samples [N = F draws] of the segments that see those of backbones.

        Parameters
        ----------
        frames : ndarray, int [F]
            Their numbers.
        which : ndarray, int [F]
            Frames of the template.
        start : ndarray [F, L, 4, 3]
        again, draws : int
            See `sample`; samples of each frame.
        level : float, or ndarray [F, L]
            Expected deviation of the segments, nm.

        Returns
        -------
        drawn : TokenSamples
        backbone : ndarray, float32 [N, L, 4, 3]
            Peptide bonds are not closed.
        lddt : ndarray [N]
        """
        level = np.where(self.sampled[which], level, 0.0)
        each = (StructureContext.of(x, s, self.index) for x, s in zip(start, level, strict=True))
        single = len(self._known) == 1  # then all frames have the same known tokens
        drawn = self._draw(
            frames,
            self._known[0] if single else self._known[which],
            2 * again + 1,
            structure=StructureContext.stacked(list(each)),
            hints=self.tokens[which],
            draws=draws,
        )
        start, level, which = (values.repeat(draws, 0) for values in (start, level, which))
        return drawn, *self._decode(drawn.tokens, start, level, which)

    def closed(
        self, backbone: np.ndarray, row: int, number: int = NEAR_SECOND
    ) -> tuple[np.ndarray, np.ndarray]:
        """Backbones [N, L, 4, 3] with closed peptide bonds; how far each residue moved [N, L], nm.

        Of residues that are held, the `number` nearest count.
        """
        near, protein = self._near(row, number)
        closed, shift = backbone.copy(), np.zeros(backbone.shape[:2])
        weight = self.sampled[row][near].astype(float)
        closed[:, near], shift[:, near] = close_peptide_bonds(backbone[:, near], protein, weight)
        return closed, shift

    # -- parts ----------------------------------------------------------------------------------

    def _pool(self, row: int) -> list[Pool] | list[None]:
        """Pool of each segment of a frame of the template; None if the model sees no structure."""
        if not self.language_model.sees_structure:
            return [None] * len(self.segments(row))
        with self._lock:
            return self._pools(int(row))

    def _find_pool(self, row: int) -> list[Pool]:
        number = pool_size(self.sampled[row].sum(), len(self.sampled))
        x, shift = self.tries(row, np.arange(number))
        found = []
        for segment in self._segments(row):
            mine = segment.rows
            pool = Pool(x[:, mine], x[:, mine])
            cost = self._costs(x, row, segment, shift[:, mine].max(1), pool.tries)
            found.append(
                replace(pool, starts=pool.tries[best_distinct(pool.tries[:, :, :3], cost)])
            )
        return found

    def _second(
        self,
        frames: np.ndarray,
        which: np.ndarray,
        start: np.ndarray,
        used: np.ndarray,
        again: int,
    ) -> tuple[TokenSamples, np.ndarray, np.ndarray]:
        """`refined` samples of frames [F], each the one of the lowest cost among a few."""
        count = int(np.clip(_RESIDUES // max(1, self.sampled.sum(1).max()), 1, SECOND))
        level = np.zeros(start.shape[:2])
        for row in np.unique(which):
            mine = np.flatnonzero(which == row)
            level[mine] = self.levels(used[mine], int(row))
        drawn, x, lddt = self.refined(frames, which, start, again, count, level)
        if count == 1:
            return drawn, x, lddt
        cost, each = np.zeros(len(x)), which.repeat(count)
        for row in np.unique(which):
            mine = np.flatnonzero(each == row)
            closed, shift = self.closed(x[mine], int(row))
            for segment, pool in zip(self.segments(row), self._pool(row), strict=True):
                moved = shift[:, segment.rows].max(1)
                cost[mine] += self._costs(closed, int(row), segment, moved, pool.tries)
        best = np.arange(len(frames)) * count + cost.reshape(-1, count).argmin(1)
        return TokenSamples(drawn.tokens[best], drawn.log_prob[best]), x[best], lddt[best]

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
        far = distances_to(
            np.flatnonzero(sampled), self.template.backbone[row], sampled, self.index
        )
        far[sampled] = -1
        near = nearest(far, sampled.sum() + number)
        return near, part_of(self.protein, near)

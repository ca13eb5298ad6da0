"""Sampling of tokens and decoding to backbones, from sequence alone or from a template."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ..disorder.wished_size import radius_of_gyration
from ..errors import counted
from ..files.report_table import Report
from ..language.condition import SequenceCondition
from ..language.interface import StructureLanguageModel
from ..language.segment_ranker import SegmentRanker
from ..language.structure_context import StructureContext
from ..models.registry import load_segment_ranker
from ..motions.springs import Springs
from ..projection.close_peptides import close_peptide_bonds
from ..protein.bonding import SLOTS
from ..protein.disulfides import Pairs, find_disulfides, parse_disulfides
from ..protein.protein import Protein
from ..protein.sequence import sequence_layout
from ..protein.structure import ProteinStructure, from_backbone
from ..protein.trajectory import backbone_trajectory
from ..tokenizer.interface import StructureTokenizer
from ..validity.close_contacts import close_contacts
from ..validity.criteria import CLASH
from ..validity.report import all_atom_report, backbone_report
from .disordered_backbones import DisorderedBackbones
from .kept_placement import KeptPlacement
from .sampled_backbones import SampledBackbones
from .segment_fragments import segments_of
from .segment_pool import best_frames
from .segment_sampling import SegmentSampler
from .settings import SamplingSettings
from .starting_frames import StartingFrames
from .template import Template
from .template_gaps import TemplateGaps

if TYPE_CHECKING:
    import mdtraj

logger = logging.getLogger(__name__)

# Level (nm) of residues whose tokens are sampled; without starting frames, they fly apart.
_MASKED = 0.1
AGAIN = 3  # an invalid frame of resampled residues is made again so many times


class BackboneSampler:
    """Samples the backbones of one run.

    Parameters
    ----------
    tokenizer : StructureTokenizer
    language_model : StructureLanguageModel
    settings : SamplingSettings
        The seed must be set.
    template : Template, optional
        Structure that `settings.noise` or `settings.resample` changes.
    condition : SequenceCondition, optional
        Input of the language model besides the sequence.
    springs : Springs, optional
        Elastic network of templates. Default: that of the default model.
    ranker : SegmentRanker, optional
        Ranks sampled segments. Default: that of the default model.
    """

    def __init__(
        self,
        tokenizer: StructureTokenizer,
        language_model: StructureLanguageModel,
        settings: SamplingSettings,
        template: Template | None = None,
        condition: SequenceCondition | None = None,
        springs: Springs | None = None,
        ranker: SegmentRanker | None = None,
    ) -> None:
        self.tokenizer, self.language_model, self._ranker = tokenizer, language_model, ranker
        self.settings, self.template = settings, template
        self._condition = {} if condition is None else {"condition": condition}
        self.letters, self.chain, self.index = sequence_layout(tuple(settings.sequence.split(":")))
        self.protein = Protein(
            settings.sequence.replace(":", ""),
            np.diff(self.chain, prepend=-1) != 0,
            self.index,
            self._disulfides(),
            cis_allowed=None if template is None else template.cis_peptides(),
            d_residues=self._kept_d_residues(),
        )
        if template is not None:
            self.tokens = tokenizer.encode_backbone(template.backbone, template.known, self.index)
            self.starts = StartingFrames(
                settings, template, self.tokens, self.chain, self.index, springs,
                tokenizer.sees_frames,
            )  # fmt: skip
        self._first: SampledBackbones | None = None
        if template is not None and settings.resample is not None:
            named = np.isin(np.arange(len(self.chain)), settings.resample)
            #: bool [T, L]: residues that are sampled; the atoms of all others are kept.
            self.sampled = named | ~template.known
            self.segments = self._segment_sampler(self.sampled, self._sample)
        self.gaps = self._gaps_of_template()
        #: float [L]: above 0 for residues that may move to close peptides or to resolve clashes.
        self.movable = np.full(len(self.chain), float(settings.project))
        if template is not None and settings.resample is not None:
            self.movable *= self.sampled.all(0)
        #: int [L]: rigid parts of the template (0 and up), -1 for what is built; or None.
        self.rigid = None
        self.disordered = np.isin(np.arange(len(self.chain)), settings.disordered or ())
        #: DisorderedBackbones, or None.
        self.chains = self._disordered_chains() if self.disordered.any() else None
        if template is not None and settings.resample is not None:
            parts = (
                np.zeros(len(self.chain), int) if self.chains is None else self.chains.parts.body
            )
            self.rigid = np.where(self.sampled.any(0), -1, parts)
            self._warn_of_held_clashes()
        self.kept: KeptPlacement | None = None
        if template is not None and template.kept is not None:
            held = self.disordered, self.rigid, self.starts.rows
            self.kept = KeptPlacement(template.kept, *held)

    def _segment_sampler(self, sampled: np.ndarray, draw: Callable) -> SegmentSampler:
        ranker = self._ranker or load_segment_ranker("default", "cpu")
        return SegmentSampler(
            self.tokenizer, self.language_model, self.settings, self.template, self.protein,
            self.letters, sampled, draw, ranker,
        )  # fmt: skip

    def _gaps_of_template(self) -> TemplateGaps | None:
        """Gaps of a template that starts frames as it is; relatives have none."""
        template, settings = self.template, self.settings
        given = template is not None and settings.resample is None and not template.names
        if not given or settings.path or not self.language_model.sees_structure:
            return None
        disordered = np.isin(np.arange(len(self.chain)), settings.disordered or ())
        if not (~template.known & ~disordered).any():
            return None

        def draw(frames: np.ndarray, known: np.ndarray, number: int, **more: object):
            return self._sample(frames, known, -1 - number, **more)  # other numbers than rounds

        segments = self._segment_sampler(~template.known, draw)
        gaps = TemplateGaps(segments, self.chain, disordered)
        without = (segments_of(~known, template, 0, None) for known in template.known)
        return gaps if any(gaps.is_gap(each) for found in without for each in found) else None

    def _disulfides(self) -> Pairs:
        """Disulfides that are known before frames are sampled."""
        letters, given = self.settings.sequence.replace(":", ""), self.settings.disulfides
        if given != "auto":
            return parse_disulfides(given, None, letters)
        return () if self.template is None else find_disulfides(self.template.atom14, letters)

    def _kept_d_residues(self) -> np.ndarray | None:
        """D amino acids of the template that are not sampled; bool [L]."""
        resample = self.settings.resample
        if self.template is None or resample is None or self.template.d_residues is None:
            return None
        return self.template.d_residues & ~np.isin(np.arange(len(self.chain)), resample)

    def bond(self, pairs: Pairs) -> None:
        """Draw frames with these disulfides from now on."""
        self.protein, self._first = replace(self.protein, disulfides=pairs), None

    def begin(self, number: int) -> SampledBackbones:
        """Sample the first `number` frames and store them for `draw`."""
        self._first = self.draw(np.arange(number))
        return self._first

    def draw(self, frames: np.ndarray) -> SampledBackbones:
        """Sample the frames with these numbers.

        Each frame depends on the seed and its number alone.
        """
        stored = 0 if self._first is None else len(self._first.tokens)
        order = np.argsort(frames, kind="stable")
        ascending = frames[order]
        old, new = ascending[ascending < stored], ascending[ascending >= stored]
        if not len(old):
            drawn = self._draw(new)
        else:
            drawn = self._first.rows(old)
            drawn = drawn.followed_by(self._draw(new)) if len(new) else drawn
        return drawn.rows(np.argsort(order, kind="stable"))

    def best(self, n: int, number: int, size: int) -> np.ndarray:
        """Numbers of frames among the first `n` (`segment_pool.best_frames`), the best first.

        The frames are sampled in blocks of `size` and not stored.
        """
        edges = [*range(0, n, size), n]
        blocks = [self.scored(np.arange(*ends)) for ends in pairwise(edges)]
        score, x = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        return best_frames(score, x, number)

    def scored(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``segment_score`` [F] of frames, and N, CA and C [F, K, 3, 3] of resampled residues."""
        drawn = self.draw(frames)
        return drawn.report["segment_score"], drawn.atom14[:, self.sampled.any(0), :3]

    def _draw(self, frames: np.ndarray) -> SampledBackbones:
        disordered = self.chains is not None and self.chains.free.any()
        made = self._with_disordered(frames) if disordered else self._draw_folded(frames)
        made = self.kept.bound(frames, made) if self.kept else made
        if self.template is not None:
            made.report.update(self.starts.columns(frames))
        if self.chains is not None:
            made.report["rg_nm"] = radius_of_gyration(made.atom14[:, :, 1])
        return made

    def _draw_folded(self, frames: np.ndarray) -> SampledBackbones:
        """Sample frames whose disordered residues, if any, are not of the final conformation."""
        if self.template is None:
            drawn = self._sample(frames, **(self.chains.labels() if self.chains else {}))
            backbone, lddt = self._decode(drawn.tokens)
        elif self.settings.resample is not None:
            return self._resampled(frames)
        else:
            drawn, backbone, lddt = self._noised(frames)
        return self._finished(drawn.tokens, drawn.log_prob, backbone, lddt.mean(1))

    def structure(self, atom14: np.ndarray) -> ProteinStructure:
        """Frames with the chain ids and residue numbers of the final trajectory."""
        named = (self.template.chain_ids, self.template.residue_number) if self.template else ()
        made = from_backbone(atom14[:, :, :4], self.settings.sequence, *named)
        codes = self.template.insertion_code if self.template else None
        codes = made.insertion_code if codes is None else codes
        variants = self.template.variants if self.template else ()
        return replace(made, atom14=atom14, insertion_code=codes, variants=variants)

    def judged(
        self, drawn: SampledBackbones, kept: np.ndarray | None = None
    ) -> tuple[mdtraj.Trajectory, Report]:
        """Trajectory and report of frames whose side chains are not built; `kept` [F, K, 3]."""
        backbone = drawn.atom14[:, :, :4]
        named = (self.template.chain_ids, self.template.residue_number) if self.template else ()
        made = backbone_trajectory(backbone, self.settings.sequence, *named)
        made = made, backbone_report(backbone, self.protein, self.rigid)
        return made if kept is None else self.kept.beside(*made, drawn, kept)

    def _disordered_chains(self) -> DisorderedBackbones:
        first = None
        if self.template is not None:
            whole = (self.template.known[0] | self.disordered).all()
            first = self.template.backbone[0]
            first = first if whole else self._draw_folded(np.arange(1)).atom14[0]
        return DisorderedBackbones(
            self.tokenizer, self.language_model, self.settings, self.template, self.protein,
            self._condition, first,
        )  # fmt: skip

    def _with_disordered(self, frames: np.ndarray) -> SampledBackbones:
        """Sample frames, and build their disordered residues."""
        held = self.template is not None and self.settings.resample is not None
        rest = ~self.chains.free
        if not rest.any() or (held and not (self.sampled.any(0) & rest).any()):
            atom14 = np.full((len(frames), len(self.chain), 14, 3), np.nan, np.float32)
            if held:
                atom14[:] = self.template.atom14[self.starts.rows(frames)]
            report = {"projection_moved_nm": np.zeros(len(frames), np.float32)}
        else:
            made = self._draw_folded(frames)
            atom14, report = made.atom14, made.report
        atom14, report["threaded_loops"] = self.chains.build(frames, atom14)
        if "segment_score" in report:  # of the loops, beside the chains as they are now
            report["segment_score"] = self.segments.scores(
                atom14[:, :, :4],
                self.starts.rows(frames),
                report["projection_moved_nm"],
                made.fragments,
                without=~rest,
            )
        if self.settings.project:
            closed, moved = close_peptide_bonds(
                atom14[:, :, :4], self.protein, self.chains.free.astype(float)
            )
            atom14[:, :, :4] = closed
            report["projection_moved_nm"] = moved.max(1)
        tokens, log_prob, error = self.chains.tokens(atom14[:, :, :4])
        if self.settings.log_prob == "bound":
            report["log_prob_error_nats"] = error
        return SampledBackbones(tokens, log_prob, atom14, report)

    def _warn_of_held_clashes(self) -> None:
        atoms = np.full((1, len(self.chain), SLOTS, 3), np.nan)
        atoms[0, :, :14] = np.where(self.rigid[:, None, None] < 0, np.nan, self.template.atom14[0])
        _, clashes = close_contacts(atoms.reshape(1, -1, 3), self.protein.bonding)
        if clashes[0]:
            logger.warning(
                "the template has %s of heavy atoms under %g nm among the residues that are held; "
                "such contacts stay and do not make frames invalid",
                counted(clashes[0], "pair"), CLASH,
            )  # fmt: skip

    def _sample(
        self, frames: np.ndarray, known: np.ndarray | None = None, number: int = 0, **more: object
    ):
        s = self.settings
        return self.language_model.sample(
            s.sequence,
            frames,
            seed=(s.seed + number * 0x9E3779B97F4A7C15) % 2**63,  # differs between rounds
            known=known,
            temperature=s.temperature,
            top_p=s.top_p,
            steps=s.steps,
            order=s.order,
            guidance=s.guidance,
            **self._condition,
            **more,
        )

    def _decode(self, tokens: np.ndarray, *start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.tokenizer.decode_with_confidence(tokens, self.letters, self.index, *start)

    def _noised(self, frames: np.ndarray):
        """Start from the template; in each round, displace, mask, sample and decode."""
        tokens, backbone = self.starts.first(frames)
        for number in range(self.settings.rounds):
            begun = [
                self.starts.displaced(int(frame), number, x)
                for frame, x in zip(frames, backbone, strict=True)
            ]
            start, masked = (np.stack(part) for part in zip(*begun, strict=True))
            level = np.where(masked, _MASKED, self.starts.level)
            if self.gaps is not None and number == 0:
                start, placed, rim = self.gaps.filled(frames, self.starts.rows(frames), start)
                level, masked = np.where(placed > 0, placed, level), masked | rim
            more = self._context_of(start, level) if self.language_model.sees_structure else {}
            drawn = self._sample(frames, np.where(masked, -1, tokens), number, **more)
            backbone, lddt = self._decode(drawn.tokens, start, level)
            tokens = drawn.tokens
        return drawn, backbone, lddt

    def _resampled(self, frames: np.ndarray) -> SampledBackbones:
        """Sample some residues and keep the atoms of all others at the template's positions.

        Frames that are invalid are made again, up to three times.
        """
        made = self._resampled_once(frames, 0)
        for again in range(1, AGAIN + 1) if self.settings.project else ():
            report = all_atom_report(made.atom14, self.protein, rigid=self.rigid)
            bad = np.flatnonzero(~report["valid"])
            if not len(bad):
                break
            other = made.followed_by(self._resampled_once(frames[bad], again))
            order = np.arange(len(frames))
            order[bad] = len(frames) + np.arange(len(bad))
            made = other.rows(order)
        return made

    def _resampled_once(self, frames: np.ndarray, again: int) -> SampledBackbones:
        which = self.starts.rows(frames)
        found = self.segments.sample(frames, which, again)
        drawn, moving = found.drawn, self.sampled.any(0).astype(float)
        made = self._finished(drawn.tokens, drawn.log_prob, found.backbone, found.lddt, moving)
        kept = ~self.sampled[which]
        oxygen = made.atom14[:, :, 3].copy()  # O changes in a residue before a sampled one
        made.atom14[kept] = self.template.atom14[which][kept]
        made.atom14[:, :, 3] = oxygen
        backbone, moved = made.atom14[:, :, :4], made.report["projection_moved_nm"]
        score = self.segments.scores(backbone, which, moved, found.fragments)
        made.report["segment_score"] = score
        if self.settings.fragments:
            made.report["fragment"] = self.segments.names(which, found.fragments)
        return replace(made, fragments=found.fragments)

    def _context_of(self, start: np.ndarray, level: np.ndarray) -> dict[str, StructureContext]:
        """Contexts of the frames from which decoding starts."""
        each = (StructureContext.of(x, s, self.index) for x, s in zip(start, level, strict=True))
        return {"structure": StructureContext.stacked(list(each))}

    def _finished(self, tokens, log_prob, backbone, lddt, weight=None) -> SampledBackbones:
        moved = np.zeros(len(tokens), np.float32)
        if self.settings.project:
            backbone, shift = close_peptide_bonds(backbone, self.protein, weight)
            moved = shift.max(1)
        atom14 = np.full((*tokens.shape, 14, 3), np.nan, np.float32)
        atom14[:, :, :4] = backbone
        report = {"predicted_lddt": lddt, "projection_moved_nm": moved}
        if self.settings.log_prob == "bound":
            log_prob, error = self.language_model.log_prob_and_error(
                tokens, self.settings.sequence, **self._condition
            )
            report = {"log_prob_error_nats": error, **report}
        return SampledBackbones(tokens, log_prob, atom14, report)

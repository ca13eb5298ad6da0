"""Tokens to backbones, some frames at a time: from sequence alone, or from a template."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ..files.report_table import Report
from ..language.condition import SequenceCondition
from ..language.interface import StructureLanguageModel
from ..language.masking import masked_residues, with_rim
from ..language.structure_context import StructureContext
from ..projection.close_peptides import close_peptide_bonds
from ..protein.elastic_network import PackedNetwork, displace
from ..protein.protein import Protein
from ..protein.sequence import sequence_layout
from ..protein.structure import ProteinStructure, from_backbone
from ..protein.trajectory import backbone_trajectory
from ..tokenizer.interface import StructureTokenizer
from ..validity.report import backbone_report
from .settings import SamplingSettings
from .template import Template

if TYPE_CHECKING:
    import mdtraj

# How far CA may be from its starting frame (nm) where tokens are kept, and where they are sampled.
# Twice and half of these change little; without starting frames sampled residues fly apart.
KEPT, SAMPLED = 0.05, 0.1
_GOLDEN = (np.sqrt(5) - 1) / 2  # multiples of it, modulo 1, are spread evenly


@dataclass(frozen=True, eq=False)
class SampledBackbones:
    """Frames on their way through the pipeline.

    Attributes
    ----------
    tokens : ndarray, int64 [F, L]
    log_prob : ndarray, float64 [F]
        Nats, of what was sampled.
    atom14 : ndarray, float32 [F, L, 14, 3]
        N, CA, C, O, and the side chains of residues that stay as the template has them; nm.
    report : dict of ndarray [F]
    """

    tokens: np.ndarray
    log_prob: np.ndarray
    atom14: np.ndarray
    report: Report

    def rows(self, which: np.ndarray) -> SampledBackbones:
        """Some of the frames."""
        report = {name: values[which] for name, values in self.report.items()}
        return SampledBackbones(
            self.tokens[which], self.log_prob[which], self.atom14[which], report
        )

    def followed_by(self, other: SampledBackbones) -> SampledBackbones:
        """These frames and then others."""
        report = {name: np.append(each, other.report[name]) for name, each in self.report.items()}
        return SampledBackbones(
            np.concatenate([self.tokens, other.tokens]),
            np.concatenate([self.log_prob, other.log_prob]),
            np.concatenate([self.atom14, other.atom14]),
            report,
        )


class BackboneSampler:
    """Draws frames of one run.

    Parameters
    ----------
    tokenizer : StructureTokenizer
    language_model : StructureLanguageModel
    settings : SamplingSettings
        With a seed.
    template : Template, optional
        What `settings.noise` or `settings.resample` speaks of.
    condition : SequenceCondition, optional
        What the language model is told beside the sequence.
    """

    def __init__(
        self,
        tokenizer: StructureTokenizer,
        language_model: StructureLanguageModel,
        settings: SamplingSettings,
        template: Template | None = None,
        condition: SequenceCondition | None = None,
    ) -> None:
        self.tokenizer, self.language_model = tokenizer, language_model
        self.settings, self.template = settings, template
        self._told = {} if condition is None else {"condition": condition}
        self.letters, self.chain, self.index = sequence_layout(tuple(settings.sequence.split(":")))
        self.protein = Protein(
            settings.sequence.replace(":", ""),
            np.diff(self.chain, prepend=-1) != 0,
            self.index,
            cis_allowed=None if template is None else template.cis_peptides(),
        )
        if template is not None:
            self.tokens = tokenizer.encode_backbone(template.backbone, template.known, self.index)
        self._network = lru_cache(maxsize=2)(self._measure)
        self._first: SampledBackbones | None = None
        if template is not None and settings.resample is not None:
            named = np.isin(np.arange(len(self.chain)), settings.resample)
            #: bool [T, L]: sampled, with frames and atoms of all others held.
            self.sampled = named | ~template.known
            if language_model.sees_structure:
                self._surroundings()
        #: float [L]: above 0 where a residue may move to close peptides and to make room.
        self.movable = np.full(len(self.chain), float(settings.project))
        if template is not None and settings.resample is not None:
            self.movable *= self.sampled.all(0)

    def begin(self, number: int) -> SampledBackbones:
        """The first so many frames, which `draw` does not draw again."""
        self._first = self._draw(np.arange(number))
        return self._first

    def draw(self, frames: np.ndarray) -> SampledBackbones:
        """Frames of these numbers, rising; each depends on the seed and its own number alone."""
        there = 0 if self._first is None else len(self._first.tokens)
        kept, fresh = frames[frames < there], frames[frames >= there]
        if not len(kept):
            return self._draw(fresh)
        first = self._first.rows(kept)
        return first.followed_by(self._draw(fresh)) if len(fresh) else first

    def _draw(self, frames: np.ndarray) -> SampledBackbones:
        if self.template is None:
            drawn = self._sample(frames)
            backbone, lddt = self._decode(drawn.tokens)
        elif self.settings.resample is not None:
            return self._resampled(frames)
        else:
            drawn, backbone, lddt = self._noised(frames)
        return self._finished(drawn.tokens, drawn.log_prob, backbone, lddt)

    def structure(self, atom14: np.ndarray) -> ProteinStructure:
        """Frames with the names and numbers that the trajectory will have."""
        named = (self.template.chain_ids, self.template.residue_number) if self.template else ()
        made = from_backbone(atom14[:, :, :4], self.settings.sequence, *named)
        return replace(made, atom14=atom14)

    def judged(self, drawn: SampledBackbones) -> tuple[mdtraj.Trajectory, Report]:
        """Trajectory and report of frames that stay without side chains."""
        backbone = drawn.atom14[:, :, :4]
        named = (self.template.chain_ids, self.template.residue_number) if self.template else ()
        return (
            backbone_trajectory(backbone, self.settings.sequence, *named),
            backbone_report(backbone, self.protein),
        )

    def _surroundings(self) -> None:
        """Encode the kept residues without the sampled ones, for models with structure input.

        Next to sampled residues these tokens differ from those of the whole chain; they are hints,
        and the tokens of the rim (`with_rim`) are sampled too.
        """
        template, kept = self.template, ~self.sampled
        self.tokens = self.tokenizer.encode_backbone(template.backbone, kept, self.index)
        self._hidden = np.stack([with_rim(each, self.chain) for each in self.sampled])
        self._contexts = [
            StructureContext.of(x, np.where(absent, np.inf, 0.0), self.index)
            for x, absent in zip(template.backbone, self.sampled, strict=True)
        ]

    def _sample(
        self, frames: np.ndarray, known: np.ndarray | None = None, number: int = 0, **more: object
    ):
        s = self.settings
        return self.language_model.sample(
            s.sequence,
            frames,
            seed=(s.seed + number * 0x9E3779B97F4A7C15) % 2**63,  # rounds have draws of their own
            known=known,
            temperature=s.temperature,
            top_p=s.top_p,
            steps=s.steps,
            order=s.order,
            guidance=s.guidance,
            **self._told,
            **more,
        )

    def _decode(self, tokens: np.ndarray, *start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.tokenizer.decode_with_confidence(tokens, self.letters, self.index, *start)

    def _noised(self, frames: np.ndarray):
        """Rounds of displacing, masking, sampling and decoding that begin at the template."""
        which = frames % len(self.tokens)
        tokens, backbone = self.tokens[which], self.template.backbone[which]
        for number in range(self.settings.rounds):
            begun = [
                self._begun(int(frame), number, x)
                for frame, x in zip(frames, backbone, strict=True)
            ]
            start, masked = (np.stack(part) for part in zip(*begun, strict=True))
            level = np.where(masked, SAMPLED, KEPT)
            more = self._told_of(start, level) if self.language_model.sees_structure else {}
            drawn = self._sample(frames, np.where(masked, -1, tokens), number, **more)
            backbone, lddt = self._decode(drawn.tokens, start, level)
            tokens = drawn.tokens
        return drawn, backbone, lddt

    def _begun(self, frame: int, number: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Starting frames [L, 4, 3] of a round, moved along soft modes, and what is sampled [L]."""
        key, counter = [self.settings.seed, frame], [0, 0, 1, number]
        rng = np.random.Generator(np.random.Philox(key=key, counter=counter))
        known = np.isfinite(x[:, :3]).all((-1, -2))
        ca, noise = np.where(known[:, None], x[:, 1], np.nan), self.settings.noise
        if known.sum() < 4:  # nothing that bends
            return x, masked_residues(rng, ca, noise, self.chain)
        if number == 0:
            network, mean_square = self._network(frame % len(self.tokens))
        else:
            network = PackedNetwork(x[:, 1], self.index)
            mean_square = network.mean_square()
        weight = np.zeros(len(x))
        weight[known] = mean_square
        masked = masked_residues(rng, ca, noise, self.chain, weight)
        start = x.copy()
        if self.settings.deform:
            move = network.displacement(rng, self._amplitude(frame, number))
            start[known] = displace(x[known], move)
        return start, masked

    def _amplitude(self, frame: int, number: int) -> float:
        """How far a frame starts from the template (nm); `deform` is the root mean square.

        Uniform from 0 to sqrt(3) deform, in steps of the golden ratio: however few frames there
        are, some are near and some far.
        """
        key, counter = [self.settings.seed, 0], [0, 0, 2, number]
        first = np.random.Generator(np.random.Philox(key=key, counter=counter)).random()
        return self.settings.deform * np.sqrt(3) * ((first + frame * _GOLDEN) % 1)

    def _measure(self, which: int) -> tuple[PackedNetwork, np.ndarray]:
        """Of a frame of the template: its network and what that says of each residue."""
        known = self.template.known[which]
        network = PackedNetwork(self.template.backbone[which, known, 1], self.index[known])
        return network, network.mean_square()

    def _resampled(self, frames: np.ndarray) -> SampledBackbones:
        """Some residues sampled, every atom of the others where the template has it."""
        which = frames % len(self.tokens)
        sampled, template = self.sampled[which], self.template
        drawn = self._drawn_anew(frames, which)
        level = np.where(sampled, np.inf, 0.0)
        backbone, lddt = self._decode(drawn.tokens, template.backbone[which], level)
        moving = self.sampled.any(0)
        made = self._finished(drawn.tokens, drawn.log_prob, backbone, lddt, moving.astype(float))
        kept = ~sampled
        oxygen = made.atom14[:, :, 3].copy()  # of a residue before a sampled one, it is new
        made.atom14[kept] = template.atom14[which][kept]
        made.atom14[:, :, 3] = oxygen
        return made

    def _told_of(self, start: np.ndarray, level: np.ndarray) -> dict[str, StructureContext]:
        """Contexts of the frames from which decoding starts."""
        each = (StructureContext.of(x, s, self.index) for x, s in zip(start, level, strict=True))
        return {"structure": StructureContext.stacked(list(each))}

    def _drawn_anew(self, frames: np.ndarray, which: np.ndarray):
        """Sample tokens of the residues to resample."""
        if not self.language_model.sees_structure:
            return self._sample(frames, np.where(self.sampled[which], -1, self.tokens[which]))
        if len(self._contexts) == 1:  # the trunk runs once
            which, structure = 0, self._contexts[0]
        else:
            structure = StructureContext.stacked([self._contexts[each] for each in which])
        known = np.where(self._hidden[which], -1, self.tokens[which])
        return self._sample(frames, known, structure=structure, hints=self.tokens[which])

    def _finished(self, tokens, log_prob, backbone, lddt, weight=None) -> SampledBackbones:
        moved = np.zeros(len(tokens), np.float32)
        if self.settings.project:
            backbone, shift = close_peptide_bonds(backbone, self.protein, weight)
            moved = shift.max(1)
        atom14 = np.full((*tokens.shape, 14, 3), np.nan, np.float32)
        atom14[:, :, :4] = backbone
        report = {"predicted_lddt": lddt.mean(1), "projection_moved_nm": moved}
        if self.settings.log_prob == "bound":
            log_prob, error = self.language_model.log_prob_and_error(
                tokens, self.settings.sequence, **self._told
            )
            report = {"log_prob_error_nats": error, **report}
        return SampledBackbones(tokens, log_prob, atom14, report)

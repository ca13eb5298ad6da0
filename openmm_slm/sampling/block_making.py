"""Blocks of frames of one run: tokens, backbones, all atoms, relaxation, report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..allatom.completer import AtomCompleter
from ..allatom.packer import SideChainPacker
from ..files.report_table import Report
from ..language.interface import StructureLanguageModel
from ..language.segment_ranker import SegmentRanker
from ..motions.springs import Springs
from ..relaxation.relaxer import Relaxer
from ..tokenizer.interface import StructureTokenizer
from .all_atoms import atom_completer, frames_relaxer
from .backbones import BackboneSampler
from .prefetch import in_order, threads_for
from .request import SamplingRequest
from .sampled_backbones import SampledBackbones
from .settings import SamplingSettings

if TYPE_CHECKING:
    import mdtraj

#: First and last + 1 of the frames of a block, as places in the order of the run.
Ends = tuple[int, int]
Made = tuple[SampledBackbones, "mdtraj.Trajectory", Report]


class Networks(NamedTuple):
    """The networks that make frames; `packer` may be None if no side chains are packed.

    `springs` are the motion of templates, and `ranker` ranks sampled segments; None: loaded when
    they are needed.
    """

    tokenizer: StructureTokenizer
    language_model: StructureLanguageModel
    packer: SideChainPacker | None
    springs: Springs | None
    ranker: SegmentRanker | None

    def sampler(self, request: SamplingRequest) -> BackboneSampler:
        more = self.springs, self.ranker
        return BackboneSampler(self.tokenizer, self.language_model, *request, *more)


def block_edges(settings: SamplingSettings, first: int) -> list[int]:
    """First frames of the blocks from frame `first` on, and the end; empty if nothing is left.

    The first block ends at a multiple of the block size. Wherever a run was stopped, its later
    blocks hold the same frames and are equal to the last bit.
    """
    size, total = settings.batch_size, settings.best or settings.n
    if first >= total:
        return []
    return [first, *range(first - first % size + size, total, size), total]


def blocks_made_here(
    networks: Networks, request: SamplingRequest, edges: list[int]
) -> Iterator[Made]:
    """Blocks between `edges`, the next ones made in threads while one is relaxed."""
    settings = request.settings
    unrelaxed, completer = unrelaxed_blocks(networks, request)
    # PDBFixer changes OpenMM's default platform, which all threads share.
    threads = 1 if settings.sidechains == "pdbfixer" else len(edges) - 1
    threads = threads_for(threads, networks.language_model.device)
    ahead = in_order(unrelaxed, pairwise(edges), threads)
    with frames_relaxer(settings, completer) as relaxer, closing(ahead) as blocks:
        for block in blocks:
            yield relaxed_block(relaxer, *block)


def resolved(request: SamplingRequest, model: StructureLanguageModel) -> SamplingRequest:
    """Check a request against the model; add a seed and the model's defaults."""
    checked = request.settings
    model.check_options(checked.steps, checked.order, checked.guidance)
    model.check_condition(request.condition, checked.sequence)
    return request._replace(settings=checked.with_defaults(model))


def unrelaxed_blocks(
    networks: Networks, request: SamplingRequest, numbers: np.ndarray | None = None
) -> tuple[Callable[[Ends], tuple], AtomCompleter | None]:
    """A function that makes the block between two ends, and the completer of its atoms.

    `numbers` [n] are the frames in the order of the run; default: all, or the best.
    """
    settings = request.settings
    sampler = networks.sampler(request)
    completer = None
    if settings.sidechains is not None:
        completer = atom_completer(settings, request.template, sampler, networks.packer)
    if numbers is None:
        n, size = settings.n, settings.batch_size
        numbers = sampler.best(n, settings.best, size) if settings.best else np.arange(n)

    def make(ends: Ends) -> tuple:
        drawn = sampler.draw(frames := numbers[slice(*ends)])
        kept = sampler.kept and sampler.kept.positions(frames, drawn)
        if completer:
            made = completer.complete(drawn.atom14, sampler.movable, rigid=sampler.rigid, kept=kept)
        else:
            made = sampler.judged(drawn, kept)
        return frames, drawn, *made

    return make, completer


def relaxed_block(
    relaxer: Relaxer | None,
    frames: np.ndarray,
    drawn: SampledBackbones,
    trajectory: mdtraj.Trajectory,
    judged: Report,
) -> Made:
    """A block with its whole report."""
    if relaxer:
        trajectory.xyz, judged = relaxer.relax(trajectory.xyz, int(frames[0]))
    known = {"frame": frames, "log_prob_nats": drawn.log_prob}
    if "threaded_loops" in drawn.report:
        judged["valid"] = judged["valid"] & (drawn.report["threaded_loops"] == 0)
    return drawn, trajectory, {**known, **judged, **drawn.report}

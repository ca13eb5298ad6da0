"""All atoms of the frames of one run: the completer and the relaxer that its settings ask for."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..allatom.completer import AtomCompleter
from ..errors import require
from ..protein.disulfides import find_disulfides
from ..relaxation.relaxation_settings import RelaxationSettings
from ..relaxation.relaxer import Relaxer, available_cpus
from .backbones import BackboneSampler
from .settings import SamplingSettings
from .template import Template

if TYPE_CHECKING:
    from ..allatom.packer import SideChainPacker


def atom_completer(
    settings: SamplingSettings,
    template: Template | None,
    sampler: BackboneSampler,
    packer: SideChainPacker | None,
) -> AtomCompleter:
    """The completer of all frames; its topology depends on the sequence and the seed alone.

    Disulfides come from the template. Without one, those of a sequence with several cysteines come
    from the first 8 frames, which are sampled for this even if n is smaller: frame i of n = 1 has
    the same topology as frame i of n = 500. Four are enough if no two cysteines are close in any of
    them, because a pair has to be close in five of eight. The bonded frames are then sampled.
    """
    unknown = settings.disulfides == "auto" and template is None
    several = unknown and settings.sequence.count("C") > 1
    drawn = sampler.begin(4 if several else 1)
    if several and find_disulfides(drawn.atom14, sampler.protein.sequence, share=0):
        drawn = sampler.begin(8)
        if pairs := find_disulfides(drawn.atom14, sampler.protein.sequence):
            sampler.bond(pairs)
            drawn = sampler.begin(8)
    return AtomCompleter(
        sampler.structure(drawn.atom14),
        packer,
        sidechains=settings.sidechains,
        hydrogens=settings.hydrogens,
        ph=settings.ph,
        protonation=settings.protonation,
        disulfides=sampler.protein.disulfides,
        cis_allowed=sampler.protein.cis_allowed,
        d_residues=sampler.protein.d_residues,
        kept=sampler.kept and sampler.kept.groups,
        kept_part=sampler.kept and sampler.kept.part,
    )


def frames_relaxer(
    settings: SamplingSettings, completer: AtomCompleter | None, processes: int | None = None
) -> Relaxer | nullcontext[None]:
    """Relaxer of the frames, or a context without one; it may hold worker processes."""
    if not settings.relax:
        return nullcontext()
    # The limit on torch's threads limits worker processes too; it changes no result.
    processes = processes or min(available_cpus(), require("torch").get_num_threads())
    wanted = RelaxationSettings(**settings.relax)
    if wanted.disulfides is None:
        wanted = replace(wanted, disulfides=completer.protein.disulfides)
    if not wanted.cis_allowed:
        wanted = replace(wanted, cis_allowed=np.flatnonzero(completer.protein.cis_allowed).tolist())
    if wanted.d_residues is None:
        wanted = replace(wanted, d_residues=np.flatnonzero(completer.protein.d_residues).tolist())
    if wanted.anneal:
        wanted = replace(wanted, seed=settings.seed)
    return Relaxer(completer.frame_topology, wanted, processes=processes)

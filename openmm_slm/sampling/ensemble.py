"""Sequence in, conformational ensemble out: the pipeline, top to bottom."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from ..allatom.completer import AtomCompleter
from ..errors import require
from ..files.ensemble_folder import environment, read_run
from ..files.options import takes
from ..files.report_table import Report
from ..files.stream import Block, check_resume, to_folder, to_memory
from ..language.interface import StructureLanguageModel
from ..models.registry import (
    check_parts,
    finds_folds,
    knows_disorder,
    load_language_model,
    load_packer,
    load_springs,
    load_tokenizer,
    model_identity,
)
from ..networks.forks import one_thread_if_forked
from ..protein.disulfides import find_disulfides
from ..relaxation.relaxation_settings import RelaxationSettings
from ..relaxation.relaxer import Relaxer, available_cpus
from ..tokenizer.interface import StructureTokenizer
from .backbones import BackboneSampler
from .known_structures import AUTO
from .prefetch import in_order, threads_for
from .request import SamplingRequest, make_request
from .result import Ensemble
from .sampled_backbones import SampledBackbones
from .settings import SamplingSettings
from .template import Template

if TYPE_CHECKING:
    import mdtraj

    from ..allatom.packer import SideChainPacker
    from ..motions.springs import Springs

logger = logging.getLogger(__name__)


class EnsembleGenerator:
    """The networks that sample ensembles.

    Parameters
    ----------
    tokenizer : StructureTokenizer
    language_model : StructureLanguageModel
    packer : SideChainPacker, optional
        Default: that of the default model, loaded when it is needed.
    springs : Springs, optional
        Motion of templates. Default: that of the default model, loaded when it is needed.
    model : dict, optional
        Name and checksum of the weights (`model_identity`), written to ``run.json``.

    Examples
    --------
    >>> gen = EnsembleGenerator.from_pretrained("default")
    >>> ens = gen.sample("GYDPETGTWG", n=4, seed=1)
    >>> ens.trajectory.n_frames
    4
    """

    def __init__(
        self,
        tokenizer: StructureTokenizer,
        language_model: StructureLanguageModel,
        packer: SideChainPacker | None = None,
        model: dict[str, str] | None = None,
        springs: Springs | None = None,
    ) -> None:
        if tokenizer.vocabulary != language_model.vocabulary:
            raise ValueError(
                f"the tokenizer has {tokenizer.vocabulary} codes, the language model "
                f"{language_model.vocabulary}: they belong to different models"
            )
        self.tokenizer, self.language_model, self.model = tokenizer, language_model, model
        self.packer, self.springs = packer, springs

    @classmethod
    def from_pretrained(
        cls, model: str | os.PathLike = "default", device: str = "auto"
    ) -> EnsembleGenerator:
        """Load the parts of a model (shipped name, registered name or directory)."""
        one_thread_if_forked()
        check_parts(model)
        return cls(
            load_tokenizer(model, device),
            load_language_model(model, device),
            load_packer(model, device),
            model_identity(model),
            load_springs(model, device),
        )

    @takes(SamplingSettings)
    def sample(
        self,
        sequence: str,
        n: int = 500,
        *,
        template: object = None,
        relatives: str | os.PathLike | None = AUTO,
        msa: str | os.PathLike | None = None,
        resample: object = None,
        condition: object = None,
        disordered: object = AUTO,
        settings: dict[str, Any],
        progress: bool = True,
    ) -> Ensemble:
        """Sample n conformations of a sequence, in memory.

        The arguments are those of `generate_ensemble`.
        """
        request = make_request(
            sequence, n, template=template, relatives=relatives, msa=msa,
            resample=resample, condition=condition, disordered=disordered,
            folds=self.language_model.folds, labels=self.language_model.sees_disorder,
            settings=settings,
        )  # fmt: skip
        return self._to_memory(request, progress)

    def _to_memory(self, request: SamplingRequest, progress: bool) -> Ensemble:
        request = self._resolved(request)
        drawn: list[SampledBackbones] = []

        def blocks() -> Iterator[Block]:
            for backbones, trajectory, report in self._blocks(request, 0, progress):
                drawn.append(backbones)
                yield trajectory, report

        where = "EnsembleGenerator.sample(...).report gives the reasons"
        chosen = request.settings
        trajectory, report, kept = to_memory(blocks(), where, drop_invalid=chosen.drop_invalid)
        trajectory.time = report["frame"][kept].astype(np.float32)
        return Ensemble(
            trajectory,
            np.concatenate([part.tokens for part in drawn])[kept],
            np.concatenate([part.log_prob for part in drawn])[kept],
            {key: values[kept] for key, values in report.items()},
            chosen.seed,
            (chosen.template or {}).get("relatives", []),
        )

    @takes(SamplingSettings)
    def write(
        self,
        sequence: str,
        output: str | os.PathLike,
        n: int = 500,
        *,
        template: object = None,
        relatives: str | os.PathLike | None = AUTO,
        msa: str | os.PathLike | None = None,
        resample: object = None,
        condition: object = None,
        disordered: object = AUTO,
        settings: dict[str, Any],
        resume: bool = False,
        progress: bool = True,
    ) -> Path:
        """Sample to disk, block by block: memory does not grow with n.

        Writes ``topology.pdb``, ``samples.xtc``, ``report.csv`` and ``run.json`` into `output` and
        returns it as a Path. With `resume`, an interrupted run of the same settings is continued
        and equals an uninterrupted one; a finished run is extended to `n`. The other arguments are
        those of `generate_ensemble`.
        """
        request = make_request(
            sequence, n, template=template, relatives=relatives, msa=msa,
            resample=resample, condition=condition, disordered=disordered,
            folds=self.language_model.folds, labels=self.language_model.sees_disorder,
            settings=settings,
        )  # fmt: skip
        return self._to_folder(request, output, resume, progress)

    def _to_folder(
        self, request: SamplingRequest, output: str | os.PathLike, resume: bool, progress: bool
    ) -> Path:
        if resume and request.settings.seed is None and (Path(output) / "run.json").exists():
            seed = read_run(output)["seed"]
            request = request._replace(settings=replace(request.settings, seed=seed))
        request = self._resolved(request)
        chosen = request.settings
        machine = environment(str(self.language_model.device), openmm=bool(chosen.relax))
        run = {**asdict(chosen), "model": self.model, "environment": machine}

        def blocks(start: int) -> Iterator[Block]:
            for _, trajectory, report in self._blocks(request, start, progress):
                yield trajectory, report

        return to_folder(output, run, blocks, resume=resume, drop_invalid=chosen.drop_invalid)

    def _resolved(self, request: SamplingRequest) -> SamplingRequest:
        """Check the request against the model; add a seed and the model's defaults."""
        one_thread_if_forked()
        checked = request.settings
        self.language_model.check_options(checked.steps, checked.order, checked.guidance)
        self.language_model.check_condition(request.condition, checked.sequence)
        return request._replace(settings=checked.with_defaults(self.language_model))

    def _blocks(
        self, request: SamplingRequest, first: int, progress: bool
    ) -> Iterator[tuple[SampledBackbones, mdtraj.Trajectory, Report]]:
        """The pipeline in blocks of frames: tokens, backbones, all atoms, relaxation, report."""
        settings, model = request.settings, self.language_model
        n, size = settings.n, settings.batch_size
        total = settings.best or n
        if first >= total:
            return
        sampler = BackboneSampler(self.tokenizer, model, *request, self.springs)
        completer = self._completer(settings, request.template, sampler)
        numbers = sampler.best(n, total, size) if settings.best else np.arange(n)
        # The first block ends at a multiple of the block size. Wherever a run was stopped, its
        # later blocks hold the same frames and are equal to the last bit.
        edges = [first, *range(first - first % size + size, total, size), total]

        def unrelaxed(ends: tuple[int, int]) -> tuple:
            drawn = sampler.draw(frames := numbers[slice(*ends)])
            if completer:
                return (
                    frames,
                    drawn,
                    *completer.complete(drawn.atom14, sampler.movable, rigid=sampler.rigid),
                )
            return frames, drawn, *sampler.judged(drawn)

        # PDBFixer changes OpenMM's default platform, which all threads share.
        threads = 1 if settings.sidechains == "pdbfixer" else len(edges) - 1
        bar = tqdm(total=total, initial=first, unit="frame", disable=not progress)
        ahead = in_order(unrelaxed, pairwise(edges), threads_for(threads, model.device))
        with _relaxer(settings, completer) as relaxer, bar, closing(ahead) as blocks:
            for frames, drawn, trajectory, judged in blocks:
                if relaxer:
                    trajectory.xyz, judged = relaxer.relax(trajectory.xyz, int(frames[0]))
                known = {"frame": frames, "log_prob_nats": drawn.log_prob}
                yield drawn, trajectory, {**known, **judged, **drawn.report}
                bar.update(len(frames))

    def _completer(
        self, settings: SamplingSettings, template: Template | None, sampler: BackboneSampler
    ) -> AtomCompleter | None:
        """The completer of all frames; its topology depends on the sequence and the seed alone.

        Disulfides come from the template, or from the first 8 frames, which are sampled for this
        even if n is smaller: frame i of n = 1 has the same topology as frame i of n = 500.
        """
        if settings.sidechains is None:
            return None
        disulfides = settings.disulfides
        if disulfides == "auto" and template is not None:
            disulfides = find_disulfides(template.atom14, sampler.protein.sequence)
        several = disulfides == "auto" and settings.sequence.count("C") > 1
        # One frame is enough without disulfides; the others of its batch cost little.
        together = self.language_model.frames_together(settings.length)
        drawn = sampler.begin(8 if several else min(8, together))
        if settings.sidechains == "packer" and self.packer is None:
            self.packer = load_packer(device=str(self.language_model.device))
        return AtomCompleter(
            sampler.structure(drawn.atom14),
            self.packer,
            sidechains=settings.sidechains,
            hydrogens=settings.hydrogens,
            ph=settings.ph,
            protonation=settings.protonation,
            disulfides=disulfides,
            cis_allowed=sampler.protein.cis_allowed,
            d_residues=sampler.protein.d_residues,
        )


def _relaxer(
    settings: SamplingSettings, completer: AtomCompleter | None
) -> Relaxer | nullcontext[None]:
    """Relaxer of the frames, or a context without one; it may hold worker processes."""
    if not settings.relax:
        return nullcontext()
    # The limit on torch's threads limits worker processes too; it changes no result.
    processes = min(available_cpus(), require("torch").get_num_threads())
    wanted = RelaxationSettings(**settings.relax)
    if wanted.disulfides is None:
        wanted = replace(wanted, disulfides=completer.protein.disulfides)
    if not wanted.cis_allowed:
        wanted = replace(wanted, cis_allowed=np.flatnonzero(completer.protein.cis_allowed).tolist())
    if wanted.d_residues is None:
        wanted = replace(wanted, d_residues=np.flatnonzero(completer.protein.d_residues).tolist())
    if wanted.anneal:
        wanted = replace(wanted, seed=settings.seed)
    return Relaxer(completer.topology.topology, wanted, processes=processes)


@takes(SamplingSettings)
def generate_ensemble(
    sequence: str,
    n: int = 500,
    *,
    model: str | os.PathLike = "default",
    template: object = None,
    relatives: str | os.PathLike | None = AUTO,
    msa: str | os.PathLike | None = None,
    resample: object = None,
    condition: object = None,
    disordered: object = AUTO,
    settings: dict[str, Any],
    device: str = "auto",
    output: str | os.PathLike | None = None,
    resume: bool = False,
    progress: bool = True,
) -> mdtraj.Trajectory | Path:
    """Sample a conformational ensemble of a protein.

    Parameters
    ----------
    sequence : str
        One-letter amino acids, ``:`` between chains; lower case is accepted.
    n : int
        Number of conformations.
    model : str or path
        Shipped name, registered name, or model directory.
    template : Trajectory, path, name ("pdb:5PTI:A", "afdb:P00974"), (path, path) or list, optional
        Known structure of the sequence, one frame or many (used in turn). Residues that it lacks
        are sampled. Samples lie where the template does. A list of such: several states, used in
        turn; the report says which (`state`).
    relatives : str, path or None
        Known structures of related proteins, which are the templates, in turn. ``"auto"``: those
        of the shipped library whose fold is probably that of the sequence; if there is none, or a
        template is given, nothing. A library (name or directory; see ``openmm-slm library``), or a
        shard directory (``openmm-slm prepare``): the same, but it is an error if nothing is found.
        None: from the sequence alone, as by default with ESM3, which finds folds by itself.
    msa : path, optional
        Alignment of the sequence (A3M, FASTA, Stockholm), which finds more distant relatives.
    resample : str or iterable of int, optional
        Sample only these residues of the template and leave all other atoms where they are:
        ``"H:95-102"``, an MDTraj selection (``bfactor`` too), or rows of the sequence.
    condition : array [L, D], path or str, optional
        Input per residue of a model trained with a condition: an array, a ``.npy`` file, or the
        name of an ESM model, whose embeddings are computed once
        (`openmm_slm.data.embed_sequences`).
    disordered : str or iterable of int
        Residues without a fold: ``"auto"`` (those with low pLDDT in a predicted template, and those
        without known structure whose sequence is that of disordered proteins), ``"all"``,
        ``"none"``, or residues as in `resample`. Their torsions are sampled, and they move freely:
        tails, and linkers between rigid domains. With a template and without `noise`, all other
        atoms are held.
    {options}
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ...
    output : path, optional
        Stream to this folder instead of returning a Trajectory.
    resume : bool
        With `output`: continue an interrupted run there, or extend a finished one to `n`.

    Returns
    -------
    mdtraj.Trajectory
        All atoms, one topology: ``ForceField.createSystem(traj.topology.to_openmm())`` works. Or
        the output folder as a Path when `output` is given.

    Raises
    ------
    ValueError
        Bad sequence, option, model or device; the message says which and what to do.

    Examples
    --------
    >>> import openmm_slm
    >>> traj = openmm_slm.generate_ensemble("GYDPETGTWG", n=4, seed=1)
    >>> traj.n_residues
    10
    """
    # Before any model is loaded: bad input should fail at once.
    request = make_request(
        sequence, n, template=template, relatives=relatives, msa=msa,
        resample=resample, condition=condition, disordered=disordered,
        folds=finds_folds(model), labels=knows_disorder(model), settings=settings,
    )  # fmt: skip
    check_resume(resume, output)
    generator = EnsembleGenerator.from_pretrained(model, device)
    if output is not None:
        return generator._to_folder(request, output, resume, progress)
    return generator._to_memory(request, progress).trajectory

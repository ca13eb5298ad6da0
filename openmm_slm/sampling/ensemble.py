"""Sequence in, conformational ensemble out: the pipeline, top to bottom."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

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
    load_segment_ranker,
    load_springs,
    load_tokenizer,
    model_identity,
)
from ..networks.forks import one_thread_if_forked
from ..tokenizer.interface import StructureTokenizer
from .block_making import Networks, block_edges, blocks_made_here, resolved
from .known_structures import AUTO
from .request import SamplingRequest, make_request
from .result import Ensemble
from .sampled_backbones import SampledBackbones
from .settings import SamplingSettings
from .workers import Workers, blocks_made_there, dask_workers

if TYPE_CHECKING:
    import mdtraj

    from ..allatom.packer import SideChainPacker
    from ..language.segment_ranker import SegmentRanker
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
    model : dict, optional
        Name and checksum of the weights (`model_identity`), written to ``run.json``.
    springs : Springs, optional
        Motion of templates. Default: that of the default model, loaded when it is needed.
    ranker : SegmentRanker, optional
        Ranks sampled segments. Default: that of the default model, loaded when it is needed.

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
        ranker: SegmentRanker | None = None,
    ) -> None:
        if tokenizer.vocabulary != language_model.vocabulary:
            raise ValueError(
                f"the tokenizer has {tokenizer.vocabulary} codes, the language model "
                f"{language_model.vocabulary}: they belong to different models"
            )
        self.tokenizer, self.language_model, self.model = tokenizer, language_model, model
        self.packer, self.springs, self.ranker = packer, springs, ranker

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
            load_segment_ranker(model, device),
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

    def _to_memory(
        self, request: SamplingRequest, progress: bool, workers: Workers | None = None
    ) -> Ensemble:
        one_thread_if_forked()
        request = resolved(request, self.language_model)
        drawn: list[SampledBackbones] = []

        def blocks() -> Iterator[Block]:
            for backbones, trajectory, report in self._blocks(request, 0, progress, workers):
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
        self,
        request: SamplingRequest,
        output: str | os.PathLike,
        resume: bool,
        progress: bool,
        workers: Workers | None = None,
    ) -> Path:
        if resume and request.settings.seed is None and (Path(output) / "run.json").exists():
            seed = read_run(output)["seed"]
            request = request._replace(settings=replace(request.settings, seed=seed))
        one_thread_if_forked()
        request = resolved(request, self.language_model)
        chosen, relaxed = request.settings, bool(request.settings.relax)
        if workers is None:
            machine = environment(str(self.language_model.device), openmm=relaxed)
        else:
            machine = workers.environment(relaxed)
        run = {**asdict(chosen), "model": self.model, "environment": machine}

        def blocks(start: int) -> Iterator[Block]:
            for _, trajectory, report in self._blocks(request, start, progress, workers):
                yield trajectory, report

        return to_folder(output, run, blocks, resume=resume, drop_invalid=chosen.drop_invalid)

    def _blocks(
        self,
        request: SamplingRequest,
        first: int,
        progress: bool,
        workers: Workers | None = None,
    ) -> Iterator[tuple[SampledBackbones, mdtraj.Trajectory, Report]]:
        """The pipeline in blocks of frames: tokens, backbones, all atoms, relaxation, report."""
        settings = request.settings
        edges = block_edges(settings, first)
        if not edges:
            return
        if workers is None:
            if settings.sidechains == "packer" and self.packer is None:
                self.packer = load_packer(device=str(self.language_model.device))
            networks = Networks(
                self.tokenizer, self.language_model, self.packer, self.springs, self.ranker
            )
            made = blocks_made_here(networks, request, edges)
        else:
            made = blocks_made_there(workers, settings, request, edges)
        bar = tqdm(total=edges[-1], initial=first, unit="frame", disable=not progress)
        with bar, closing(made) as blocks:
            for block in blocks:
                yield block
                bar.update(len(block[0].tokens))


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
    dask: object = None,
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
        tails, and linkers between rigid domains. With a template and without `noise` and
        `deform`, all other atoms are held.
    {options}
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ...
    output : path, optional
        Stream to this folder instead of returning a Trajectory.
    resume : bool
        With `output`: continue an interrupted run there, or extend a finished one to `n`.
    dask : distributed.Client or str, optional
        Dask workers that make the frames: a client, the address of a scheduler, a scheduler file,
        or ``"local"``. See docs/large_jobs.md.

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
    with dask_workers(dask, model, device) as workers:
        if output is not None:
            return generator._to_folder(request, output, resume, progress, workers)
        return generator._to_memory(request, progress, workers).trajectory

"""Sequence in, conformational ensemble out: the pipeline, top to bottom."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, replace
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
from ..files.stream import check_resume, to_folder, to_memory
from ..language.condition import SequenceCondition
from ..language.interface import StructureLanguageModel
from ..models.registry import (
    check_parts,
    load_language_model,
    load_packer,
    load_tokenizer,
    model_identity,
)
from ..protein.disulfides import find_disulfides
from ..relaxation.relaxation_settings import RelaxationSettings
from ..relaxation.relaxer import Relaxer, available_cpus
from ..tokenizer.interface import StructureTokenizer
from .backbones import BackboneSampler, SampledBackbones
from .prefetch import in_order, threads_for
from .result import Ensemble
from .settings import SamplingSettings
from .template import Template, check_settings

if TYPE_CHECKING:
    import mdtraj

    from ..allatom.packer import SideChainPacker

logger = logging.getLogger(__name__)

# What `check_settings` gives: settings, and what lies on the sequence.
_Checked = tuple[SamplingSettings, Template | None, SequenceCondition | None]


@dataclass(frozen=True, eq=False)
class _Block:
    """Consecutive frames on their way through the pipeline."""

    drawn: SampledBackbones
    trajectory: mdtraj.Trajectory
    report: Report


class EnsembleGenerator:
    """A tokenizer, a language model and a side-chain packer that sample ensembles.

    Parameters
    ----------
    tokenizer : StructureTokenizer
    language_model : StructureLanguageModel
    packer : SideChainPacker, optional
        Default: that of the default model, loaded when it is needed.
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
    ) -> None:
        if tokenizer.vocabulary != language_model.vocabulary:
            raise ValueError(
                f"the tokenizer has {tokenizer.vocabulary} codes, the language model "
                f"{language_model.vocabulary}: they belong to different models"
            )
        self.tokenizer, self.language_model, self.model = tokenizer, language_model, model
        self.packer = packer

    @classmethod
    def from_pretrained(
        cls, model: str | os.PathLike = "default", device: str = "auto"
    ) -> EnsembleGenerator:
        """Load the parts of a model (shipped name, registered name or directory)."""
        check_parts(model)
        return cls(
            load_tokenizer(model, device),
            load_language_model(model, device),
            load_packer(model, device),
            model_identity(model),
        )

    @takes(SamplingSettings)
    def sample(
        self,
        sequence: str,
        n: int = 500,
        *,
        template: object = None,
        relatives: str | os.PathLike | None = None,
        resample: object = None,
        condition: object = None,
        settings: dict[str, Any],
        progress: bool = True,
    ) -> Ensemble:
        """Sample n conformations of a sequence, in memory.

        The arguments are those of `generate_ensemble`.
        """
        checked = check_settings(
            sequence, n, template=template, relatives=relatives, resample=resample,
            condition=condition, settings=settings,
        )  # fmt: skip
        return self._sampled(checked, progress)

    def _sampled(self, checked: _Checked, progress: bool) -> Ensemble:
        run = self._begin(checked)
        drawn: list[SampledBackbones] = []

        def blocks() -> Iterator[tuple[mdtraj.Trajectory, Report]]:
            for block in self._blocks(*run, 0, progress):
                drawn.append(block.drawn)
                yield block.trajectory, block.report

        where = "EnsembleGenerator.sample(...).report says why"
        trajectory, report, kept = to_memory(blocks(), where, drop_invalid=run[0].drop_invalid)
        trajectory.time = report["frame"][kept].astype(np.float32)
        return Ensemble(
            trajectory,
            np.concatenate([part.tokens for part in drawn])[kept],
            np.concatenate([part.log_prob for part in drawn])[kept],
            {key: values[kept] for key, values in report.items()},
            run[0].seed,
        )

    @takes(SamplingSettings)
    def write(
        self,
        sequence: str,
        output: str | os.PathLike,
        n: int = 500,
        *,
        template: object = None,
        relatives: str | os.PathLike | None = None,
        resample: object = None,
        condition: object = None,
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
        checked = check_settings(
            sequence, n, template=template, relatives=relatives, resample=resample,
            condition=condition, settings=settings,
        )  # fmt: skip
        return self._written(checked, output, resume, progress)

    def _written(
        self, checked: _Checked, output: str | os.PathLike, resume: bool, progress: bool
    ) -> Path:
        if resume and checked[0].seed is None and (Path(output) / "run.json").exists():
            checked = (replace(checked[0], seed=read_run(output)["seed"]), *checked[1:])
        begun = self._begin(checked)
        chosen = begun[0]
        machine = environment(str(self.language_model.device), openmm=bool(chosen.relax))
        run = {**asdict(chosen), "model": self.model, "environment": machine}

        def blocks(start: int) -> Iterator[tuple[mdtraj.Trajectory, Report]]:
            for block in self._blocks(*begun, start, progress):
                yield block.trajectory, block.report

        return to_folder(output, run, blocks, resume=resume, drop_invalid=chosen.drop_invalid)

    def _begin(self, checked: _Checked) -> _Checked:
        """The same with a seed and what the model decides, if the model can do it."""
        checked, template, condition = checked
        self.language_model.check_options(checked.steps, checked.order, checked.guidance)
        self.language_model.check_condition(condition, checked.sequence)
        begun = checked.begun(self.language_model)
        return begun, template, condition

    def _blocks(
        self,
        settings: SamplingSettings,
        template: Template | None,
        condition: SequenceCondition | None,
        first: int,
        progress: bool,
    ) -> Iterator[_Block]:
        """The pipeline, some frames at a time: tokens, backbones, all atoms, relaxed, judged."""
        n, size, model = settings.n, settings.batch_size, self.language_model
        if first >= n:
            return
        sampler = BackboneSampler(self.tokenizer, model, settings, template, condition)
        completer = self._completer(settings, template, sampler)
        # Up to the next multiple of the block size: wherever a run was stopped, its later blocks
        # hold the same frames, and come out the same to the last bit.
        edges = [first, *range(first - first % size + size, n, size), n]

        def unrelaxed(ends: tuple[int, int]) -> tuple:
            drawn = sampler.draw(frames := np.arange(*ends))
            if completer:
                return frames, drawn, *completer.complete(drawn.atom14, sampler.movable)
            return frames, drawn, *sampler.judged(drawn)

        # PDBFixer sets a default of OpenMM's platforms meanwhile, which all threads share.
        shared = 1 if settings.sidechains == "pdbfixer" else len(edges) - 1
        bar = tqdm(total=n, initial=first, unit="frame", disable=not progress)
        ahead = in_order(unrelaxed, pairwise(edges), threads_for(shared, model.device))
        with _relaxer(settings, completer) as relaxer, bar, closing(ahead) as blocks:
            for frames, drawn, trajectory, judged in blocks:
                if relaxer:
                    trajectory.xyz, judged = relaxer.relax(trajectory.xyz, int(frames[0]))
                known = {"frame": frames, "log_prob_nats": drawn.log_prob}
                yield _Block(drawn, trajectory, {**known, **judged, **drawn.report})
                bar.update(len(frames))

    def _completer(
        self, settings: SamplingSettings, template: Template | None, sampler: BackboneSampler
    ) -> AtomCompleter | None:
        """What adds the other atoms; its topology depends on the sequence and the seed alone.

        Disulfides are the template's, or decided on the first 8 frames, sampled for this whatever
        n is: frame i of n = 1 has the topology that it has of n = 500.
        """
        if settings.sidechains is None:
            return None
        disulfides = settings.disulfides
        if disulfides == "auto" and template is not None:
            disulfides = find_disulfides(template.atom14, sampler.protein.sequence)
        several = disulfides == "auto" and settings.sequence.count("C") > 1
        # Where one frame is enough, those that the language model computes with it cost little.
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
            disulfides=disulfides,
            cis_allowed=sampler.protein.cis_allowed,
        )


def _relaxer(
    settings: SamplingSettings, completer: AtomCompleter | None
) -> Relaxer | nullcontext[None]:
    """What minimises the frames, if that is wanted; it may hold worker processes."""
    if not settings.relax:
        return nullcontext()
    # The caller's limit on threads is a limit on processes too; it changes no result.
    processes = min(available_cpus(), require("torch").get_num_threads())
    wanted = RelaxationSettings(**settings.relax)
    if wanted.disulfides is None:
        wanted = replace(wanted, disulfides=completer.protein.disulfides)
    if not wanted.cis_allowed:
        wanted = replace(wanted, cis_allowed=np.flatnonzero(completer.protein.cis_allowed).tolist())
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
    relatives: str | os.PathLike | None = None,
    resample: object = None,
    condition: object = None,
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
    template : Trajectory or path, optional
        Known structure of the sequence, one frame or many (used in turn). Residues that it lacks
        are sampled. Samples lie where the template does.
    relatives : path, optional
        Shard directory (``openmm-slm prepare``). Its chains that are related to the sequence are
        the templates, in turn.
    resample : str or iterable of int, optional
        Sample only these residues of the template and leave all other atoms where they are:
        ``"H:95-102"``, an MDTraj selection, or rows of the sequence.
    condition : array [L, D], path or str, optional
        Input per residue of a model trained with a condition: an array, a ``.npy`` file, or the
        name of an ESM model, whose embeddings are computed once
        (`openmm_slm.data.embed_sequences`).
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
    checked = check_settings(
        sequence, n, template=template, relatives=relatives, resample=resample,
        condition=condition, settings=settings,
    )  # fmt: skip
    check_resume(resume, output)
    generator = EnsembleGenerator.from_pretrained(model, device)
    if output is not None:
        return generator._written(checked, output, resume, progress)
    return generator._sampled(checked, progress).trajectory

"""Sequence in, conformational ensemble out: the pipeline, top to bottom."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm.auto import tqdm

from .allatom.completer import AtomCompleter
from .errors import require
from .language.interface import StructureLanguageModel, TokenSamples
from .models.registry import (
    check_parts,
    load_language_model,
    load_packer,
    load_tokenizer,
    model_identity,
)
from .output import EnsembleWriter, environment, read_run
from .projection import close_peptide_bonds
from .relaxation.relaxer import Relaxer, available_cpus
from .relaxation.settings import RelaxationSettings
from .sequence import sequence_layout
from .settings import SamplingSettings
from .structure import backbone_trajectory, from_backbone
from .tokenizer.interface import StructureTokenizer
from .validity import Report, backbone_report

if TYPE_CHECKING:
    import mdtraj

    from .allatom.packer import SideChainPacker

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Sampled conformations and what is known about each.

    Attributes
    ----------
    trajectory : mdtraj.Trajectory
        F frames, one topology.
    tokens : ndarray, int64 [F, L]
    log_prob : ndarray, float64 [F]
        Nats; see `TokenSamples`.
    report : dict of ndarray
        One value per frame; ``pandas.DataFrame(ens.report)`` makes a table.
    seed : int
        Repeats the ensemble.
    """

    trajectory: mdtraj.Trajectory
    tokens: np.ndarray
    log_prob: np.ndarray
    report: Report
    seed: int


@dataclass(frozen=True, eq=False)
class _Block:
    """Consecutive frames on their way through the pipeline."""

    drawn: TokenSamples
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

    def sample(
        self, sequence: str, n: int = 500, *, progress: bool = True, **settings: object
    ) -> Ensemble:
        """Sample n conformations of a sequence, in memory.

        `settings` are those of `generate_ensemble` from `temperature` to `drop_invalid`.
        """
        chosen = self._begin(SamplingSettings(sequence, n, **settings))
        blocks = list(self._blocks(chosen, 0, progress))
        report = {key: np.concatenate([b.report[key] for b in blocks]) for key in blocks[0].report}
        valid = report["valid"]
        _warn(int((~valid).sum()), n, "EnsembleGenerator.sample(...).report says why")
        keep = valid if chosen.drop_invalid else slice(None)
        trajectory = blocks[0].trajectory
        trajectory.xyz = np.concatenate([block.trajectory.xyz for block in blocks])[keep]
        trajectory.time = report["frame"][keep].astype(np.float32)
        return Ensemble(
            trajectory,
            np.concatenate([block.drawn.tokens for block in blocks])[keep],
            np.concatenate([block.drawn.log_prob for block in blocks])[keep],
            {key: values[keep] for key, values in report.items()},
            chosen.seed,
        )

    def write(
        self,
        sequence: str,
        output: str | os.PathLike,
        n: int = 500,
        *,
        resume: bool = False,
        progress: bool = True,
        **settings: object,
    ) -> Path:
        """Sample to disk, block by block: memory does not grow with n.

        Writes ``topology.pdb``, ``samples.xtc``, ``report.csv`` and ``run.json`` into `output`
        and returns it as a Path. With `resume`, what an interrupted run of the same settings left
        there is continued, and equals an uninterrupted one; a finished one is extended to `n`.
        """
        chosen = SamplingSettings(sequence, n, **settings)
        if resume and chosen.seed is None and (Path(output) / "run.json").exists():
            chosen = replace(chosen, seed=read_run(output)["seed"])
        chosen = self._begin(chosen)
        machine = environment(str(self.language_model.device), openmm=bool(chosen.relax))
        run = {**asdict(chosen), "model": self.model, "environment": machine}
        with EnsembleWriter(output, run, resume) as writer:
            for block in self._blocks(chosen, writer.done, progress):
                keep = block.report["valid"] if chosen.drop_invalid else slice(None)
                writer.add(block.trajectory, block.report, keep)
        _warn(writer.invalid, n, f"see {Path(output) / 'report.csv'}")
        return Path(output)

    def _begin(self, settings: SamplingSettings) -> SamplingSettings:
        return settings.begun(self.language_model.frames_together(settings.length))

    def _blocks(self, settings: SamplingSettings, first: int, progress: bool) -> Iterator[_Block]:
        """The pipeline, some frames at a time: tokens, backbones, all atoms, relaxed, judged."""
        n, size = settings.n, settings.batch_size
        if first >= n:
            return
        completer = self._completer(settings)
        bar = tqdm(total=n, initial=first, unit="frame", disable=not progress)
        with _relaxer(settings, completer) as relaxer, bar:
            while first < n:
                # Up to the next multiple of the block size: wherever a run was stopped, its
                # later blocks hold the same frames, and come out the same to the last bit.
                frames = np.arange(first, min(first - first % size + size, n))
                drawn, backbone, moved = self._backbones(settings, frames)
                if completer:
                    trajectory, judged = completer.complete(backbone)
                else:
                    trajectory = backbone_trajectory(backbone, settings.sequence)
                    judged = backbone_report(backbone, *_whole_chains(settings.sequence))
                if relaxer:
                    trajectory.xyz, judged = relaxer.relax(trajectory.xyz, first)
                report = {
                    "frame": frames,
                    "log_prob_nats": drawn.log_prob,
                    **judged,
                    "projection_moved_nm": moved,
                }
                yield _Block(drawn, trajectory, report)
                bar.update(len(frames))
                first += len(frames)

    def _backbones(
        self, settings: SamplingSettings, frames: np.ndarray
    ) -> tuple[TokenSamples, np.ndarray, np.ndarray]:
        """Tokens, backbones [F, L, 4, 3], and how far the projection moved an atom [F] (nm)."""
        amino_acids, _, index = sequence_layout(tuple(settings.sequence.split(":")))
        drawn = self.language_model.sample(
            settings.sequence,
            frames,
            seed=settings.seed,
            temperature=settings.temperature,
            top_p=settings.top_p,
            steps=settings.steps,
        )
        backbone = self.tokenizer.decode_tokens(drawn.tokens, amino_acids, index)
        moved = np.zeros(len(frames), np.float32)
        if settings.project:
            backbone, shift = close_peptide_bonds(backbone, *_whole_chains(settings.sequence))
            moved = shift.max(1)
        return drawn, backbone, moved

    def _completer(self, settings: SamplingSettings) -> AtomCompleter | None:
        """What adds the other atoms; its topology depends on the sequence and the seed alone.

        Disulfides are decided on the first 8 frames, sampled for this whatever n is: frame i of
        n = 1 has the topology that it has of n = 500.
        """
        if settings.sidechains is None:
            return None
        several = settings.disulfides == "auto" and settings.sequence.count("C") > 1
        _, backbone, _ = self._backbones(settings, np.arange(8 if several else 1))
        if settings.sidechains == "packer" and self.packer is None:
            self.packer = load_packer(device=str(self.language_model.device))
        return AtomCompleter(
            from_backbone(backbone, settings.sequence),
            self.packer,
            sidechains=settings.sidechains,
            hydrogens=settings.hydrogens,
            ph=settings.ph,
            disulfides=settings.disulfides,
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
        wanted = replace(wanted, disulfides=completer.disulfides)
    if wanted.anneal:
        wanted = replace(wanted, seed=settings.seed)
    return Relaxer(completer.topology.topology, wanted, processes=processes)


def _whole_chains(sequence: str) -> tuple[str, np.ndarray]:
    """Letters of all chains, and bool [L]: the first residue of each."""
    _, chain_index, _ = sequence_layout(tuple(sequence.split(":")))
    return sequence.replace(":", ""), np.diff(chain_index, prepend=-1) != 0


def generate_ensemble(
    sequence: str,
    n: int = 500,
    *,
    model: str | os.PathLike = "default",
    template: object = None,
    resample: object = None,
    noise: float | None = None,
    rounds: int = 1,
    temperature: float = 1.0,
    top_p: float = 1.0,
    steps: int | None = None,
    sidechains: str | None = "packer",
    hydrogens: bool = True,
    ph: float = 7.0,
    disulfides: str | Iterable[tuple[int, int]] | None = "auto",
    relax: bool | dict = False,
    seed: int | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    project: bool = True,
    drop_invalid: bool = False,
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
    temperature, top_p : float
        Sampling of the tokens: below 1, less diverse.
    steps : int, optional
        Denoising steps (default 25).
    seed : int, optional
        Frame i depends on (seed, i) alone; without one, a seed is drawn and logged.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ...
    batch_size : int, optional
        Frames held in memory at once; changes no result.
    project : bool
        Close the peptide bonds of decoded frames (see `openmm_slm.projection`); the report says
        how far atoms moved.
    sidechains : "packer", "pdbfixer" or None
        What builds side chains (see `openmm_slm.complete`); None leaves N, CA, C and O alone.
    hydrogens, ph, disulfides
        See `openmm_slm.complete`; without side chains there are no hydrogens.
    relax : bool or dict
        Minimise every frame with OpenMM (see `openmm_slm.relax`; a dict has settings of it, as
        ``{"solvent": "obc2"}``); the report then has its columns too.
    drop_invalid : bool
        Leave out frames whose geometry fails (see `openmm_slm.validity`); by default they stay in
        place and one warning counts them.
    output : path, optional
        Stream to this folder instead of returning a Trajectory.
    resume : bool
        With `output`: continue an interrupted run there, or extend a finished one to `n`.
    template, resample, noise, rounds
        Not in this version: other values than the defaults raise ValueError.

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
    missing = {
        "template": template is not None,
        "resample": resample is not None,
        "noise": noise is not None,
        "rounds": rounds != 1,
    }
    for name, asked in missing.items():
        if asked:
            raise ValueError(
                f"{name} is not available in this version, which samples from sequence alone; "
                f"leave {name} at its default"
            )
    settings = {
        "temperature": temperature,
        "top_p": top_p,
        "steps": steps,
        "seed": seed,
        "batch_size": batch_size,
        "project": project,
        "sidechains": sidechains,
        "hydrogens": hydrogens,
        "ph": ph,
        "disulfides": disulfides,
        "relax": relax,
        "drop_invalid": drop_invalid,
    }
    # Before any model is loaded: bad input should fail at once.
    SamplingSettings(sequence, n, **settings)
    if resume and output is None:
        raise ValueError("resume is set without output; give the folder to continue")
    generator = EnsembleGenerator.from_pretrained(model, device)
    if output is not None:
        return generator.write(sequence, output, n, resume=resume, progress=progress, **settings)
    return generator.sample(sequence, n, progress=progress, **settings).trajectory


def _warn(invalid: int, n: int, where: str) -> None:
    if invalid:
        logger.warning("%d of %d frames are not valid; %s", invalid, n, where)

"""Sequence in, conformational ensemble out: the pipeline, top to bottom."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm.auto import tqdm

from .language.interface import StructureLanguageModel
from .models.registry import check_parts, load_language_model, load_tokenizer, model_identity
from .output import EnsembleWriter, environment, read_run
from .projection import close_peptide_bonds
from .sequence import sequence_layout
from .settings import SamplingSettings
from .structure import backbone_trajectory
from .tokenizer.interface import StructureTokenizer
from .validity import Report, backbone_report

if TYPE_CHECKING:
    import mdtraj

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

    frames: np.ndarray
    tokens: np.ndarray
    log_prob: np.ndarray
    backbone: np.ndarray
    report: Report


class EnsembleGenerator:
    """A tokenizer and a language model that sample ensembles.

    Parameters
    ----------
    tokenizer : StructureTokenizer
    language_model : StructureLanguageModel
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
        model: dict[str, str] | None = None,
    ) -> None:
        if tokenizer.vocabulary != language_model.vocabulary:
            raise ValueError(
                f"the tokenizer has {tokenizer.vocabulary} codes, the language model "
                f"{language_model.vocabulary}: they belong to different models"
            )
        self.tokenizer, self.language_model, self.model = tokenizer, language_model, model

    @classmethod
    def from_pretrained(
        cls, model: str | os.PathLike = "default", device: str = "auto"
    ) -> EnsembleGenerator:
        """Load both parts of a model (shipped name, registered name or directory)."""
        check_parts(model)
        return cls(
            load_tokenizer(model, device), load_language_model(model, device), model_identity(model)
        )

    def sample(
        self,
        sequence: str,
        n: int = 500,
        *,
        temperature: float = 1.0,
        top_p: float = 1.0,
        steps: int | None = None,
        seed: int | None = None,
        batch_size: int | None = None,
        project: bool = True,
        drop_invalid: bool = False,
        progress: bool = True,
    ) -> Ensemble:
        """Sample n conformations of a sequence, in memory (see `generate_ensemble`)."""
        settings = SamplingSettings(
            sequence, n, temperature, top_p, steps, seed, batch_size, project, drop_invalid
        )
        settings = self._begin(settings)
        blocks = list(self._blocks(settings, 0, progress))
        joined = _Block(
            *(
                np.concatenate([getattr(block, name) for block in blocks])
                for name in ("frames", "tokens", "log_prob", "backbone")
            ),
            {key: np.concatenate([b.report[key] for b in blocks]) for key in blocks[0].report},
        )
        valid = joined.report["valid"]
        _warn(int((~valid).sum()), n, "EnsembleGenerator.sample(...).report says why")
        keep = valid if drop_invalid else slice(None)
        return Ensemble(
            backbone_trajectory(joined.backbone[keep], settings.sequence),
            joined.tokens[keep],
            joined.log_prob[keep],
            {key: values[keep] for key, values in joined.report.items()},
            settings.seed,
        )

    def write(
        self,
        sequence: str,
        output: str | os.PathLike,
        n: int = 500,
        *,
        temperature: float = 1.0,
        top_p: float = 1.0,
        steps: int | None = None,
        seed: int | None = None,
        batch_size: int | None = None,
        project: bool = True,
        drop_invalid: bool = False,
        resume: bool = False,
        progress: bool = True,
    ) -> Path:
        """Sample to disk, block by block: memory does not grow with n.

        Writes ``topology.pdb``, ``samples.xtc``, ``report.csv`` and ``run.json`` into `output`
        and returns it as a Path. With `resume`, what an interrupted run of the same settings left
        there is continued, and equals an uninterrupted one; a finished one is extended to `n`.
        """
        settings = SamplingSettings(
            sequence, n, temperature, top_p, steps, seed, batch_size, project, drop_invalid
        )
        if resume and seed is None and (Path(output) / "run.json").exists():
            settings = replace(settings, seed=read_run(output)["seed"])
        settings = self._begin(settings)
        device = str(self.language_model.device)
        run = {**asdict(settings), "model": self.model, "environment": environment(device)}
        with EnsembleWriter(output, run, resume) as writer:
            for block in self._blocks(settings, writer.done, progress):
                trajectory = backbone_trajectory(block.backbone, settings.sequence)
                keep = block.report["valid"] if drop_invalid else slice(None)
                writer.add(trajectory, block.report, keep)
        _warn(writer.invalid, n, f"see {Path(output) / 'report.csv'}")
        return Path(output)

    def _begin(self, settings: SamplingSettings) -> SamplingSettings:
        return settings.begun(self.language_model.frames_together(settings.length))

    def _blocks(self, settings: SamplingSettings, first: int, progress: bool) -> Iterator[_Block]:
        """The pipeline, some frames at a time: tokens, backbones, joined chains, judgement."""
        chains = tuple(settings.sequence.split(":"))
        sequence = "".join(chains)
        amino_acids, chain_index, index = sequence_layout(chains)
        chain_break = np.diff(chain_index, prepend=-1) != 0
        n, size = settings.n, settings.batch_size
        with tqdm(total=n, initial=first, unit="frame", disable=not progress) as bar:
            while first < n:
                # Up to the next multiple of the block size: wherever a run was stopped, its
                # later blocks hold the same frames, and come out the same to the last bit.
                frames = np.arange(first, min(first - first % size + size, n))
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
                    backbone, shift = close_peptide_bonds(backbone, sequence, chain_break)
                    moved = shift.max(1)
                report = {
                    "frame": frames,
                    "log_prob_nats": drawn.log_prob,
                    **backbone_report(backbone, sequence, chain_break),
                    "projection_moved_nm": moved,
                }
                yield _Block(frames, drawn.tokens, drawn.log_prob, backbone, report)
                bar.update(len(frames))
                first += len(frames)


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
    sidechains: str | None = None,
    hydrogens: bool = False,
    relax: bool = False,
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
    drop_invalid : bool
        Leave out frames whose geometry fails (see `openmm_slm.validity`); by default they stay in
        place and one warning counts them.
    output : path, optional
        Stream to this folder instead of returning a Trajectory.
    resume : bool
        With `output`: continue an interrupted run there, or extend a finished one to `n`.
    template, resample, noise, rounds, sidechains, hydrogens, relax
        Not in this version: other values than the defaults raise ValueError.

    Returns
    -------
    mdtraj.Trajectory
        N, CA, C, O of every residue; or the output folder as a Path when `output` is given.

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
        "sidechains": sidechains is not None,
        "hydrogens": bool(hydrogens),
        "relax": bool(relax),
    }
    for name, asked in missing.items():
        if asked:
            raise ValueError(
                f"{name} is not available in this version: it samples N, CA, C, O from sequence "
                f"alone; leave {name} at its default"
            )
    # Before any model is loaded: bad input should fail at once.
    SamplingSettings(
        sequence, n, temperature, top_p, steps, seed, batch_size, project, drop_invalid
    )
    generator = EnsembleGenerator.from_pretrained(model, device)
    options = {
        "temperature": temperature,
        "top_p": top_p,
        "steps": steps,
        "seed": seed,
        "batch_size": batch_size,
        "project": project,
        "drop_invalid": drop_invalid,
        "progress": progress,
    }
    if resume and output is None:
        raise ValueError("resume is set without output; give the folder to continue")
    if output is not None:
        return generator.write(sequence, output, n, resume=resume, **options)
    return generator.sample(sequence, n, **options).trajectory


def _warn(invalid: int, n: int, where: str) -> None:
    if invalid:
        logger.warning("%d of %d frames are not valid backbones; %s", invalid, n, where)

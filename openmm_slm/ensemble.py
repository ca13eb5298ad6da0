"""Sequence in, conformational ensemble out: the pipeline, top to bottom."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm.auto import tqdm

from .language.interface import StructureLanguageModel, check_integer, check_sampling
from .models.registry import load_language_model, load_tokenizer
from .output import EnsembleWriter
from .projection import close_peptide_bonds
from .sequence import parse_sequence, sequence_layout
from .structure import backbone_trajectory
from .tokenizer.interface import StructureTokenizer
from .validity import Report, backbone_report

if TYPE_CHECKING:
    import mdtraj

logger = logging.getLogger(__name__)

TRAINED_LENGTH = 512  # residues; longer chains get a warning


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

    Examples
    --------
    >>> gen = EnsembleGenerator.from_pretrained("default")
    >>> ens = gen.sample("GYDPETGTWG", n=4, seed=1)
    >>> ens.trajectory.n_frames
    4
    """

    def __init__(
        self, tokenizer: StructureTokenizer, language_model: StructureLanguageModel
    ) -> None:
        if tokenizer.vocabulary != language_model.vocabulary:
            raise ValueError(
                f"the tokenizer has {tokenizer.vocabulary} codes, the language model "
                f"{language_model.vocabulary}: they belong to different models"
            )
        self.tokenizer, self.language_model = tokenizer, language_model

    @classmethod
    def from_pretrained(
        cls, model: str | os.PathLike = "default", device: str = "auto"
    ) -> EnsembleGenerator:
        """Load both parts of a model (shipped name, registered name or directory)."""
        return cls(load_tokenizer(model, device), load_language_model(model, device))

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
        chains = _check(sequence, n, temperature, top_p, steps, seed, batch_size)
        seed = _begin(chains, seed)
        settings = {"temperature": temperature, "top_p": top_p, "steps": steps}
        blocks = list(self._blocks(chains, n, seed, batch_size, project, settings, progress))
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
            backbone_trajectory(joined.backbone[keep], ":".join(chains)),
            joined.tokens[keep],
            joined.log_prob[keep],
            {key: values[keep] for key, values in joined.report.items()},
            seed,
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
        progress: bool = True,
    ) -> Path:
        """Sample to disk, block by block: memory does not grow with n.

        Writes ``topology.pdb``, ``samples.xtc``, ``report.csv`` and ``run.json`` into `output`
        and returns it as a Path.
        """
        chains = _check(sequence, n, temperature, top_p, steps, seed, batch_size)
        seed = _begin(chains, seed)
        settings = {"temperature": temperature, "top_p": top_p, "steps": steps}
        run = {"sequence": ":".join(chains), "n": n, "seed": seed, **settings}
        run |= {"project": project, "drop_invalid": drop_invalid}
        with EnsembleWriter(output, run) as writer:
            for block in self._blocks(chains, n, seed, batch_size, project, settings, progress):
                trajectory = backbone_trajectory(block.backbone, ":".join(chains))
                keep = block.report["valid"] if drop_invalid else slice(None)
                writer.add(trajectory, block.report, keep)
        _warn(writer.invalid, n, f"see {Path(output) / 'report.csv'}")
        return Path(output)

    def _blocks(
        self,
        chains: tuple[str, ...],
        n: int,
        seed: int,
        batch_size: int | None,
        project: bool,
        settings: dict,
        progress: bool,
    ) -> Iterator[_Block]:
        """The pipeline, some frames at a time: tokens, backbones, joined chains, judgement."""
        sequence = "".join(chains)
        amino_acids, chain_index, index = sequence_layout(chains)
        chain_break = np.diff(chain_index, prepend=-1) != 0
        size = batch_size or max(1, min(128, 16384 // len(sequence)))
        with tqdm(total=n, unit="frame", disable=not progress) as bar:
            for start in range(0, n, size):
                frames = np.arange(start, min(start + size, n))
                drawn = self.language_model.sample(":".join(chains), frames, seed=seed, **settings)
                backbone = self.tokenizer.decode_tokens(drawn.tokens, amino_acids, index)
                moved = np.zeros(len(frames), np.float32)
                if project:
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
    _check(sequence, n, temperature, top_p, steps, seed, batch_size)
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
    if output is not None:
        return generator.write(sequence, output, n, **options)
    return generator.sample(sequence, n, **options).trajectory


def _check(
    sequence: str,
    n: int,
    temperature: float,
    top_p: float,
    steps: int | None,
    seed: int | None,
    batch_size: int | None,
) -> tuple[str, ...]:
    """Chains of the sequence, once every setting is seen to be in range."""
    chains = parse_sequence(sequence)
    check_integer("n", n, 1, "the number of conformations")
    if batch_size is not None:
        check_integer("batch_size", batch_size, 1, "frames in memory at once (or None)")
    if seed is not None:
        check_integer("seed", seed, 0, "it repeats a run (or None)")
    check_sampling(temperature, top_p, steps)
    return chains


def _begin(chains: tuple[str, ...], seed: int | None) -> int:
    """The seed of a run, drawn and logged if none is given."""
    length = sum(map(len, chains))
    if length > TRAINED_LENGTH:
        logger.warning(
            "%d residues: the shipped models were trained on chains of at most %d",
            length,
            TRAINED_LENGTH,
        )
    if seed is None:
        seed = secrets.randbits(32)
        logger.info("seed %d", seed)
    return int(seed)


def _warn(invalid: int, n: int, where: str) -> None:
    if invalid:
        logger.warning("%d of %d frames are not valid backbones; %s", invalid, n, where)

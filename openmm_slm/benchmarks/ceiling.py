"""``openmm-slm benchmark ceiling``: the best that any sampler of tokens can do.

MD and NMR frames are encoded, decoded and projected as samples are. A language model that drew the
true tokens of each frame would give these frames and no better ones. A second decoding starts from
the first frame, held softly: the best that a sampler from a template can do.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
from tqdm.auto import tqdm

from ..errors import StructureError
from ..models.registry import load_tokenizer
from ..projection.close_peptides import close_peptide_bonds
from ..protein.protein import Protein
from ..protein.sequence import encode_sequence
from ..protein.superposition import rmsd
from ..protein.trajectory import backbone_trajectory, from_trajectory
from .conformer_pairs import tm_to
from .ensemble_scores import ensemble_figures, evenly_spaced, figure_table, tica_lag
from .references import Reference, load_ensemble, read_references, trajectory_lengths

LEVEL = 0.15  # nm, at which the first frame is held

if TYPE_CHECKING:
    import mdtraj

    from ..tokenizer.interface import StructureTokenizer


def benchmark_ceiling(
    references: str | os.PathLike,
    model: str | os.PathLike = "default",
    device: str = "auto",
    *,
    frames: int = 100,
    targets: tuple[str, ...] = (),
    progress: bool = True,
) -> str:
    """Table of frames and of the same frames encoded and decoded, against all frames of their set.

    Parameters
    ----------
    references : path
        See `openmm_slm.benchmarks.references`; all rows except pairs, if they have N, CA, C and O.
    frames : int
        At most this many of a set, evenly spaced.
    targets : tuple of str
        Ids; default all.

    Returns
    -------
    str
        A table a set: ``frames``, those chosen as they are; ``rebuilt``, from their tokens;
        ``from first``, from their tokens and the first frame at level 0.15 nm; ``shuffled``, the
        same with the tokens of each frame permuted: what the first frame alone gives. ``first`` is
        the first frame again and again. ``RMSD`` and ``TM`` compare each with its own frame (CA,
        means).
    """
    if frames < 2:
        raise StructureError(f"frames is {frames}; an ensemble needs at least 2")
    chosen = choose(read_references(references), targets, lambda each: not each.is_pair)
    tokenizer = load_tokenizer(model, device)
    tables, left = [], []
    for reference in tqdm(chosen, unit="set", disable=not progress):
        ensemble = load_ensemble(reference)
        if not np.isfinite(from_trajectory(ensemble[0]).backbone).all():
            left.append(f"{reference.id}: left out, N, CA, C or O is absent")
            continue
        tables.append(_measure(tokenizer, reference, ensemble, frames))
    return "\n\n".join([*tables, *left])


def choose(found: list[Reference], targets: tuple[str, ...], wanted) -> list[Reference]:
    """References for which `wanted` is true, and which `targets` names if it names any."""
    usable = [reference for reference in found if wanted(reference)]
    known = [reference.id for reference in usable]
    for name in targets:
        if name not in known:
            raise StructureError(f"no target {name!r} for this benchmark; use {', '.join(known)}")
    if not usable:
        raise StructureError("targets.csv has no rows for this benchmark; see their kind")
    return [reference for reference in usable if not targets or reference.id in targets]


def reconstruct(
    tokenizer: StructureTokenizer,
    trajectory: mdtraj.Trajectory,
    start: bool = False,
    shuffle: bool = False,
) -> mdtraj.Trajectory:
    """Encode and decode frames that have N, CA, C and O, and close their peptide bonds.

    With `start`, from the first frame at level `LEVEL`; with `shuffle`, from permuted tokens.
    """
    structure = from_trajectory(trajectory)
    index, letters = structure.residue_index, encode_sequence(structure.sequence)
    tokens = tokenizer.encode_backbone(structure.backbone, structure.backbone_mask, index)
    if shuffle:
        tokens = np.random.default_rng(0).permuted(tokens, axis=1)
    begun = (structure.backbone[:1], np.full((1, len(index)), LEVEL)) if start else ()
    backbone = tokenizer.decode_tokens(tokens, letters, index, *begun)
    backbone, _ = close_peptide_bonds(backbone, Protein(structure.sequence, structure.chain_break))
    return backbone_trajectory(
        backbone, structure.chain_sequences, structure.chain_ids, structure.residue_number
    )


def _measure(
    tokenizer: StructureTokenizer,
    reference: Reference,
    ensemble: mdtraj.Trajectory,
    frames: int,
) -> str:
    """The table of one set."""
    lengths = trajectory_lengths(reference, ensemble.n_frames) if reference.is_md else None
    lag = tica_lag(lengths) if lengths else None
    kept = ensemble[evenly_spaced(ensemble.n_frames, frames)]
    made = {
        "frames": kept,
        "rebuilt": reconstruct(tokenizer, kept),
        "from first": reconstruct(tokenizer, kept, start=True),
        "shuffled": reconstruct(tokenizer, kept, start=True, shuffle=True),
        "first": kept[np.zeros(kept.n_frames, int)],
    }
    rows = {}
    true = from_trajectory(kept).backbone[:, :, 1]
    for name, each in made.items():
        rows[name] = ensemble_figures(each, ensemble, lengths=lengths, lag=lag)[0]
        if name != "frames":
            ca = from_trajectory(each).backbone[:, :, 1]
            rows[name]["RMSD A"] = float(10 * rmsd(ca, true).mean())
            pairs = zip(true, ca, strict=True)
            rows[name]["TM"] = float(np.mean([tm_to(x, y[None])[0] for x, y in pairs]))
    title = (
        f"{reference.id} ({reference.kind}): {kept.n_frames} of {ensemble.n_frames} frames, "
        f"{ensemble.n_residues} residues" + (f", TICA lag {lag} frames" if lag else "")
    )
    return figure_table(title, rows, {"RMSD A": 2, "TM": 3})

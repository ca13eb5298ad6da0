"""``openmm-slm benchmark sidechains``: side chains packed on native backbones, and the natives."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from tqdm.auto import tqdm

from ..allatom.pdbfixer_sidechains import build_with_pdbfixer
from ..allatom.rotamers import chi_difference, chi_torsions, has_atom, sidechain_rmsd
from ..data.shards import Entry, ShardDataset
from ..errors import StructureError
from ..protein.bonding import bonding
from ..protein.disulfides import find_disulfides
from ..protein.geometry import cb_position, chirality
from ..protein.sequence import encode_sequence
from ..protein.structure import from_backbone
from ..validity.close_contacts import close_contacts
from ..validity.criteria import CLASH
from .other_packers import pack_with_faspr, pack_with_pdbfixer

if TYPE_CHECKING:
    from ..allatom.packer import SideChainPacker

#: (backbone [F, L, 4, 3] nm, sequence, chain_break [L], residue_index [L]) -> atom14 [F, L, 14, 3]
Method = Callable[[np.ndarray, str, np.ndarray, np.ndarray], np.ndarray]

# Sources in the project's data whose side chains are modelled or absent.
MODELLED = ("TCRdock", "buried_unsat_seq_recov", "bioemu-benchmarks")
OTHERS = ("faspr", "pdbfixer", "pdbfixer-repaired")
RIGHT = 40.0  # degrees; the usual tolerance, that of SCWRL4 (Krivov et al., 2009)
BURIED, EXPOSED = 20, 15  # CB within 1 nm: at least, at most (as PIPPack is assessed)
_MEANS = (  # figures of residues, averaged
    ("chi1 within 40 degrees, %", "chi1", 1),
    (f"  buried ({BURIED} or more CB within 10 A)", "chi1_buried", 1),
    (f"  exposed ({EXPOSED} or fewer)", "chi1_exposed", 1),
    ("chi1 and chi2 within 40 degrees, %", "chi12", 1),
    ("chi1 error (mean), degrees", "error1", 1),
    ("chi2", "error2", 1),
    ("chi3", "error3", 1),
    ("chi4", "error4", 1),
    ("side-chain RMSD (mean) without CB, A", "rmsd", 3),
    ("  buried", "rmsd_buried", 3),
    ("  exposed", "rmsd_exposed", 3),
    ("side-chain RMSD (mean) with CB, A", "rmsd_cb", 3),
)
_COUNTS = (  # figures of residues that natives have too
    ("pairs under 2.5 A per 1,000 residues", "pairs", 1000.0),
    ("D residues", "d", None),
    ("wrong CB (Ile, Thr)", "wrong_cb", None),
)


def benchmark_sidechains(
    data: str | os.PathLike,
    model: str | os.PathLike | None = "default",
    split: str = "test",
    device: str = "auto",
    *,
    chains: int | None = None,
    longest: int | None = None,
    against: Sequence[str] = ("faspr",),
    methods: Mapping[str, Method] | None = None,
    complete: float = 0.95,
    excluded_sources: Sequence[str] = MODELLED,
    seed: int = 0,
    progress: bool = True,
) -> str:
    """Table of side chains packed on native backbones, for each method.

    Parameters
    ----------
    data : path
        Shard directory with all heavy atoms.
    model : str, path or None
        Model whose packer is measured; None leaves it out.
    chains, longest, complete, excluded_sources
        See `choose_chains`.
    against : sequence of str
        Other programs: "faspr", "pdbfixer" as it is, and "pdbfixer-repaired", the result of
        ``sidechains="pdbfixer"``.
    methods : mapping of str to Method, optional
        More methods by name.
    seed : int
        For programs that draw numbers.

    Returns
    -------
    str
        Means over residues, and over clusters of the means over their residues. Proline counts;
        residues whose own atoms are absent do not. Time is wall time, temporary files and the start
        of processes included, the first call not.
    """
    against = (against,) if isinstance(against, str) else tuple(against)
    for name in against:
        if name not in OTHERS:
            raise StructureError(f"no program {name!r} to compare with; use {', '.join(OTHERS)}")
    table = {} if model is None else {"packer": _packer_method(model, device)}
    table |= {name: outside_method(name, seed) for name in against}
    table |= methods or {}
    if not table:
        raise StructureError("nothing to measure; give a model, `against` or `methods`")
    dataset = ShardDataset(data, split, ("heavy", "shard"))
    entries = choose_chains(dataset, chains, longest, complete, excluded_sources)
    return _table(score_methods(table, entries, progress), entries, split)


def score_methods(
    methods: Mapping[str, Method], entries: Sequence[Entry], progress: bool = True
) -> dict[str, list[dict[str, np.ndarray]]]:
    """`score_residues` of the natives and of what each method packs, an item an entry."""
    scores: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in ("native", *methods)}
    for number, entry in enumerate(tqdm(entries, unit="chain", disable=not progress)):
        scores["native"].append(score_residues(entry.atoms, entry))
        for name, method in methods.items():
            if number == 0:  # imports and caches, on the shortest chain
                _pack(name, method, entry)
            start = time.perf_counter()
            packed = _pack(name, method, entry)
            seconds = time.perf_counter() - start
            score = score_residues(packed, entry)
            score["seconds"] = np.full(len(entry.sequence), seconds / len(entry.sequence))
            scores[name].append(score)
    return scores


def _packer_method(model: str | os.PathLike, device: str) -> Method:
    """The package's own packer."""
    from ..models.registry import load_packer

    return packer_method(load_packer(model, device))


def packer_method(packer: SideChainPacker) -> Method:
    """A packer as `score_methods` calls it."""
    return lambda backbone, sequence, chain_break, index: packer.pack(
        backbone, encode_sequence(sequence), index
    )


def outside_method(name: str, seed: int) -> Method:
    """Another program, one frame after the other."""
    if name == "pdbfixer-repaired":

        def repaired(backbone, sequence, chain_break, index):
            whole = replace(from_backbone(backbone, sequence), chain_break=chain_break)
            return build_with_pdbfixer(whole, progress=False)[0]

        return repaired
    if name == "faspr":
        pack, options = pack_with_faspr, {}
    else:
        pack, options = pack_with_pdbfixer, {"seed": seed}
    return lambda backbone, sequence, chain_break, index: np.stack(
        [pack(frame, sequence, chain_break, **options) for frame in backbone]
    )


def choose_chains(
    dataset: ShardDataset,
    chains: int | None = None,
    longest: int | None = None,
    complete: float = 0.95,
    excluded_sources: Sequence[str] = MODELLED,
) -> list[Entry]:
    """Chains with side chains to compare with, ordered by length.

    They have all of N, CA, C and O (gaps between residues are fine), none but the 20 amino acids,
    and at least the share `complete` of their heavy atoms: counted, and by the index column of that
    name where there is one. Those whose column `source` has one of `excluded_sources` in it are
    left out, and those of more than `longest` residues. `chains` of what remains are taken evenly
    over lengths; None takes all.
    """
    found = []
    for number, row in enumerate(dataset.rows):
        if any(name in (row.get("source") or "") for name in excluded_sources):
            continue
        if longest is not None and dataset.lengths[number] > longest:
            continue
        if "X" in row["sequence"] or float(row.get("complete") or 1) < complete:
            continue
        entry = dataset[number]
        if entry.atoms.shape[1] != 14 or not np.isfinite(entry.backbone).all():
            continue
        wanted = has_atom[encode_sequence(entry.sequence)]
        if np.isfinite(entry.atoms).all(-1)[wanted].mean() >= complete:
            found.append(entry)
    if not found or (chains is not None and not 1 <= chains <= len(found)):
        ask = f"ask for 1 to {len(found)} chains, not {chains}"
        raise StructureError(
            f"{dataset.directory}: {len(found)} of {len(dataset)} entries have all N, CA, C, O, "
            f"{complete:.0%} of the heavy atoms, only the 20 amino acids, no source of "
            f"{', '.join(excluded_sources) or 'none'} and at most {longest or 'any number of'} "
            f"residues; {ask if found else 'prepare such structures, or loosen these limits'}"
        )
    found.sort(key=lambda entry: (len(entry.sequence), entry.id))
    if chains is None:
        return found
    return [found[i] for i in np.linspace(0, len(found) - 1, chains).round().astype(int)]


def score_residues(packed: np.ndarray, entry: Entry) -> dict[str, np.ndarray]:
    """Figures of each residue [L] of atom14 [L, 14, 3] against a native; NaN: does not count.

    Close pairs are more than two bonds apart (the disulfides are the native's) and are spread over
    the residues of the chain; those of the backbone alone are among them, and those of atoms that
    the native lacks.
    """
    native, amino_acids = entry.atoms, encode_sequence(entry.sequence)
    error = np.degrees(
        chi_difference(*(chi_torsions(x, amino_acids) for x in (packed, native)), amino_acids)
    )
    hit = np.where(np.isnan(error), np.nan, 100.0 * (error < RIGHT))
    cb = np.where(np.isfinite(native[:, 4]), native[:, 4], cb_position(native))
    around = (np.linalg.norm(cb[:, None] - cb[None], axis=-1) < 1.0).sum(1) - 1
    rmsd = 10 * sidechain_rmsd(packed, native, amino_acids)
    out = {f"error{i + 1}": error[:, i] for i in range(4)}
    out |= {"chi1": hit[:, 0], "chi12": np.minimum(hit[:, 0], hit[:, 1]), "rmsd": rmsd}
    out["rmsd_cb"] = 10 * sidechain_rmsd(packed, native, amino_acids, include_cb=True)
    for name in ("chi1", "rmsd"):
        out[f"{name}_buried"] = np.where(around >= BURIED, out[name], np.nan)
        out[f"{name}_exposed"] = np.where(around <= EXPOSED, out[name], np.nan)
    out["d"] = chirality(*(packed[:, i] for i in (0, 1, 2, 4))) < 0
    # In both, the slots after CB hold the atom of chi1 (CG1, OG1) and CG2.
    out["wrong_cb"] = chirality(*(packed[:, i] for i in (1, 4, 5, 6))) < 0
    out["wrong_cb"] &= np.isin(list(entry.sequence), ["I", "T"])
    padded = np.pad(packed, ((0, 0), (0, 1), (0, 0)), constant_values=np.nan)  # without OXT
    bonds = bonding(
        entry.sequence, entry.chain_break, find_disulfides(native[None], entry.sequence)
    )
    _, pairs = close_contacts(padded.reshape(1, -1, 3), bonds, CLASH)
    out["pairs"] = np.full(len(native), pairs[0] / len(native))
    return out


def _pack(name: str, method: Method, entry: Entry) -> np.ndarray:
    """atom14 [L, 14, 3] of one chain: complete, and on the backbone that was given."""
    packed = method(entry.backbone[None], entry.sequence, entry.chain_break, entry.residue_index)
    packed = np.asarray(packed)
    length = len(entry.sequence)
    if packed.shape != (1, length, 14, 3):
        raise StructureError(f"{name} gave {packed.shape}, expected (1, {length}, 14, 3)")
    wanted = has_atom[encode_sequence(entry.sequence)]
    absent = (wanted & ~np.isfinite(packed[0]).all(-1)).any(-1)
    if absent.any():
        where = absent.argmax()
        raise StructureError(
            f"{name} left atoms out of {entry.id}: residue {where + 1} ({entry.sequence[where]}); "
            "a method must place every heavy atom"
        )
    if np.abs(packed[0, :, :4] - entry.backbone).max() > 1e-3:
        raise StructureError(f"{name} moved the backbone of {entry.id}; it must keep it")
    return np.where(wanted[..., None], packed[0], np.nan)


def _table(scores: dict[str, list[dict]], entries: list[Entry], split: str) -> str:
    """The table: two columns a method, one for the natives."""
    lengths = np.array([len(entry.sequence) for entry in entries])
    number = {name: k for k, name in enumerate(dict.fromkeys(e.cluster for e in entries))}
    cluster = np.repeat([number[entry.cluster] for entry in entries], lengths)
    pooled = {
        name: {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}
        for name, rows in scores.items()
    }
    methods = [name for name in scores if name != "native"]
    lines = [
        f"{split}: {len(entries)} chains of {lengths.min()}-{lengths.max()} residues, "
        f"{lengths.sum()} residues, {len(number)} clusters",
        f"{'':40} {'native':>8}" + "".join(f" {name[-18:]:>18}" for name in methods),
        f"{'':40} {'':8}" + f" {'residues':>9} {'clusters':>8}" * len(methods),
    ]
    for label, key, digits in _MEANS:
        line = f"{label:40} {'':8}"
        for name in methods:
            over_residues, over_clusters = _means(pooled[name][key], cluster)
            line += f" {over_residues:9.{digits}f} {over_clusters:8.{digits}f}"
        lines.append(line)
    for label, key, scale in _COUNTS:
        values = [
            pooled[name][key].sum() if scale is None else scale * pooled[name][key].mean()
            for name in scores
        ]
        digits = 0 if scale is None else 1
        line = f"{label:40} {values[0]:8.{digits}f}"
        lines.append(line + "".join(f" {value:9.{digits}f} {'':8}" for value in values[1:]))
    seconds = [1000 * pooled[name]["seconds"].mean() for name in methods]
    lines.append(
        f"{'seconds per 1,000 residues':40} {'':8}" + "".join(f" {x:9.2f} {'':8}" for x in seconds)
    )
    return "\n".join(line.rstrip() for line in lines)


def _means(values: np.ndarray, cluster: np.ndarray) -> tuple[float, float]:
    """Mean of values [R] that are not NaN, and mean of its means within clusters; NaN if none."""
    kept = np.isfinite(values)
    if not kept.any():
        return np.nan, np.nan
    total = np.bincount(cluster[kept], weights=values[kept])
    count = np.bincount(cluster[kept])
    return float(values[kept].mean()), float((total[count > 0] / count[count > 0]).mean())

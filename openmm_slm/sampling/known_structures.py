"""Templates from known structures of related proteins: a library, or a folder of shards."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.relatives import COVERED, LIMIT
from ..errors import StructureError
from ..library.alignment_files import read_alignment
from ..library.complexes import find_complexes
from ..library.domains import cover_query
from ..library.hits import LibraryHit
from ..library.library import SHORTEST, Library
from ..library.registry import (
    find_library,
    load_library,
    registered_libraries,
    shipped_libraries,
)
from ..library.storage import ABOUT, is_library
from ..protein.disulfides import find_disulfides
from .domain_placement import joined
from .template import Template

logger = logging.getLogger(__name__)

AUTO = "auto"
SHIPPED, COMPLEXES = "default", "complexes"
# Smallest closeness of a hit, as a share of that of the closest one. Chosen by the mean TM-score of
# the templates of 29 validation chains (0.570; with 0.6: 0.553) and of 41 training chains that see
# relatives of up to 70 % identity (0.711; 0.665). That of the best template is the same. Measured
# once, with a script that was not kept.
WORTH = 0.9
# Residues of a domain, or half of a short chain; shorter stretches of known structure are often
# peptides bound to another protein, which have no fold of their own.
SHORTEST_DOMAIN = 40


@dataclass(frozen=True, eq=False)
class KnownStructures:
    """Structures of related proteins as templates of a sequence.

    Attributes
    ----------
    template : Template
    records : list of dict
        One per structure and domain, for ``run.json``: chain and domain of the query, id, identity,
        coverage, probability.
    """

    template: Template
    records: list[dict[str, object]]


def warn_unknown(sequence: str) -> None:
    """Warn that no structure was found for a sequence that has to fold."""
    if max(map(len, sequence.split(":"))) >= SHORTEST:
        logger.warning(
            "no structure with the fold of the sequence is known to the library: sampled from "
            "the sequence alone, which rarely finds a fold; give a template if you have one"
        )


def find_known_structures(
    sequence: str, relatives: str | os.PathLike, msa: str | os.PathLike | None = None
) -> tuple[Template, dict[str, object]] | None:
    """Find templates for a sequence.

    Parameters
    ----------
    sequence : str
        ``:`` between chains.
    relatives : str or path
        ``"auto"``: the shipped library; a library (name or directory); or a shard directory.
    msa : path, optional
        Alignment of the sequence (`openmm_slm.library.alignment_files.read_alignment`).

    Returns
    -------
    template : Template
    identity : dict
        Entry of ``run.json``; ``relatives`` lists the structures. Instead of both, None if
        ``"auto"`` finds nothing (`warn_unknown`).

    Raises
    ------
    StructureError
        `relatives` is neither a name nor a path, there is no such library or folder, nothing is
        found in it, or the alignment does not fit.
    """
    if not isinstance(relatives, (str, os.PathLike)):
        raise StructureError(
            f"relatives is {relatives!r}; give 'auto', a library (name or folder), a folder of "
            "shards, or None"
        )
    automatic = relatives == AUTO
    named = automatic or str(relatives) in {*shipped_libraries(), *registered_libraries()}
    if not named and _is_shards(relatives):
        if msa is not None:
            raise StructureError(
                f"msa is used with a library, but {relatives} is a folder of shards; make a "
                "library of it (openmm-slm library build), or leave msa out"
            )
        template, found = Template.of_relatives(relatives, sequence)
        return template, {**template.identity(relatives), "relatives": found}
    name = SHIPPED if automatic else relatives
    profile = None
    if msa is not None:
        if ":" in sequence:
            raise StructureError(
                f"msa is an alignment of one chain, but the sequence has {sequence.count(':') + 1};"
                " sample the chains one by one, or leave msa out"
            )
        profile = read_alignment(msa, sequence)
    library = load_library(name)
    known = None
    if ":" in sequence:
        whole = [load_library(COMPLEXES)] if automatic else []
        known = thread_on_complexes(sequence, [library, *whole])
    known = known or thread_on_library(sequence, library, profile)
    if known is None:
        if not automatic:
            raise StructureError(
                f"the library {name} has no structure with the fold of the sequence; sample "
                "without relatives, or give a template"
            )
        return None
    for record in known.records:
        logger.info(
            "residues %s of chain %d like %s: %.0f %% identical, probability of the fold %.2f",
            "-".join(map(str, record["residues"])), record["of_chain"], record["name"],
            100 * record["identity"], record["stretch_probability"],
        )  # fmt: skip
    about = (find_library(name) / ABOUT).read_bytes()  # has the checksums of all files
    records = json.dumps(known.records, sort_keys=True).encode()
    return known.template, {
        "path": None,
        "library": str(name) if named else os.path.abspath(name),
        "msa": None if msa is None else os.path.abspath(msa),
        "sha256": hashlib.sha256(about + records).hexdigest()[:16],
        "relatives": known.records,
    }


def thread_on_library(
    sequence: str,
    library: Library,
    profile: np.ndarray | None = None,
    *,
    splits: Collection[str] | None = None,
    exclude: Collection[str] = (),
    most_identical: float = 1.0,
) -> KnownStructures | None:
    """Thread a sequence on what a library has of it; None if it has nothing.

    Parameters
    ----------
    sequence : str
        ``:`` between chains. Each is searched by itself.
    library : Library
    profile : ndarray [L, 20], optional
        Of a single chain.
    splits, exclude, most_identical
        See `Library.search`.
    """
    options = {"splits": splits, "exclude": exclude, "most_identical": most_identical}
    chains = sequence.split(":")
    chain = np.repeat(np.arange(len(chains)), [len(x) for x in chains])
    parts, records, names = [], [], []
    for number, letters in enumerate(chains):
        mine = np.flatnonzero(chain == number)
        for domain, hits in enumerate(cover_query(library, letters, profile, **options), 1):
            first, end = hits[0].span
            if end - first < min(SHORTEST_DOMAIN, len(letters) // 2):
                continue
            hits = _worth_using(hits)
            frames = np.full((len(hits), len(chain), 14, 3), np.nan, np.float32)
            frames[:, mine] = library.threaded(letters, hits)
            usable = np.isfinite(frames[:, :, 1, 0]).sum(1) > 3
            if not usable.any():
                continue
            usable[usable] = _with_cysteines(frames[usable], "".join(chains))
            parts.append(frames[usable])
            hits = [hit for hit, kept in zip(hits, usable, strict=True) if kept]
            names.append([_name(hit) for hit in hits])
            records += [
                {"of_chain": number + 1, "domain": domain, "name": _name(hit), **hit.summary()}
                for hit in hits
            ]
    if not parts:
        return None
    # Parts whose arrangement is unknown get several.
    count = max(map(len, parts)) if len(parts) == 1 else max(LIMIT, *map(len, parts))
    atom14 = np.stack(
        [joined([part[t % len(part)] for part in parts], chain, t) for t in range(count)]
    )
    of_frame = tuple("+".join(each[t % len(each)] for each in names) for t in range(count))
    if len(parts) > 1:
        logger.warning(
            "%d parts of the sequence have known folds; their arrangement is unknown and varies "
            "at random",
            len(parts),
        )
    return KnownStructures(Template.of_frames(sequence, atom14, of_frame), records)


def thread_on_complexes(
    sequence: str,
    libraries: list[Library],
    *,
    splits: Collection[str] | None = None,
    exclude: Collection[str] = (),
    most_identical: float = 1.0,
) -> KnownStructures | None:
    """Thread several chains on library complexes that have all of them; None without any.

    Parameters
    ----------
    sequence : str
        ``:`` between chains.
    libraries : list of Library
    splits, exclude, most_identical
        See `Library.search`.
    """
    chains = sequence.split(":")
    options = {"splits": splits, "exclude": exclude, "most_identical": most_identical}
    found = [(one, x) for x in libraries for one in find_complexes(x, chains, LIMIT, **options)]
    found = sorted(found, key=lambda pair: -pair[0].closeness)[:LIMIT]
    found = [pair for pair in found if pair[0].closeness >= WORTH * found[0][0].closeness]
    if not found:
        return None
    frames = [
        np.concatenate(
            [
                library.threaded(letters, [hit])[0]
                for letters, hit in zip(chains, one.hits, strict=True)
            ]
        )
        for one, library in found
    ]
    records = [
        {"of_chain": number, "domain": 1, "name": one.pdb or one.id, **hit.summary()}
        for one, _ in found
        for number, hit in enumerate(one.hits, 1)
    ]
    names = tuple(one.pdb or one.id for one, _ in found)
    return KnownStructures(Template.of_frames(sequence, np.stack(frames), names), records)


def _worth_using(hits: list[LibraryHit]) -> list[LibraryHit]:
    """The closest hit, and others that are nearly as good."""
    best = hits[0]
    return [
        hit
        for hit in hits[:LIMIT]
        if hit is best
        or (hit.closeness >= WORTH * best.closeness and hit.coverage >= COVERED * best.coverage)
    ]


def _with_cysteines(frames: np.ndarray, letters: str) -> np.ndarray:
    """Frames [T] with both residues of each disulfide that most frames have; all if none has them.

    Residues that a frame lacks are sampled, and a sampled cysteine seldom meets its partner.
    """
    rows = sorted({row for pair in find_disulfides(frames, letters) for row in pair})
    there = np.isfinite(frames[:, rows, 1, 0]).all(1)
    return there if there.any() else ~there


def _name(hit: LibraryHit) -> str:
    """PDB entry and chain, or the id of a chain whose entry is not known."""
    return f"{hit.pdb}_{hit.chain}" if hit.pdb else hit.id


def _is_shards(source: str | os.PathLike) -> bool:
    return Path(source).is_dir() and not is_library(source)

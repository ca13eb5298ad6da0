"""Input files of `prepare`: structures and trajectories, each with a unique name."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import StructureError
from ..files.formats import STRUCTURE_FILES, WITH_TOPOLOGY, extension, is_trajectory
from ..protein.named_structures import local_file

if TYPE_CHECKING:
    from .listed_chain import ListedChain


@dataclass(frozen=True)
class Source:
    """One input file.

    Attributes
    ----------
    path : str
    name : str
        Unique; ids of the entries start with it.
    size : int
        Bytes.
    trajectory : bool
    listed : tuple of ListedChain
        Chains to take; empty for all.
    """

    path: str
    name: str
    size: int
    trajectory: bool
    listed: tuple[ListedChain, ...] = ()


def find_sources(
    inputs: Iterable[str | os.PathLike], top: str | os.PathLike | None = None
) -> list[Source]:
    """Files of `inputs`, in the given order; files of a folder are sorted by path.

    Names (``pdb:5PTI``) are the files that `local_file` fetches.

    Raises
    ------
    StructureError
        A path does not exist, a folder has no structures, an extension is unknown, a trajectory
        needs `top`, or two files would give entries with the same name.
    """
    paths: dict[str, Path] = {}
    for given in map(Path, map(local_file, inputs)):
        if not given.exists():
            raise StructureError(f"{given}: no such file or folder")
        inside = _structures_in(given) if given.is_dir() and given.suffix != ".dtr" else [given]
        if not inside:
            raise StructureError(
                f"{given}: no structures in this folder; files that end with "
                f"{', '.join(STRUCTURE_FILES)} (also .gz) are read"
            )
        for path in inside:
            paths.setdefault(os.path.abspath(path), path)
    if not paths:
        raise StructureError("no input: give PDB or mmCIF files, folders of them or trajectories")
    kinds = [is_trajectory(path) for path in paths.values()]
    names = _names([Path(path) for path in paths])
    sources = [
        Source(str(path), name, path.stat().st_size, kind)
        for path, name, kind in zip(paths.values(), names, kinds, strict=True)
    ]
    _check_top([source.path for source in sources if source.trajectory], top)
    return sources


def _structures_in(folder: Path) -> list[Path]:
    found = [
        Path(parent, name)
        for parent, _, names in os.walk(folder)
        for name in names
        if extension(name) in STRUCTURE_FILES and not name.startswith(".")
    ]
    return sorted(found, key=lambda path: path.parts)


def _stem(name: str) -> str:
    """File name without extension and ``.gz``."""
    return os.path.splitext(name[:-3] if name.lower().endswith(".gz") else name)[0]


def _names(paths: list[Path]) -> list[str]:
    """Shortest unique tail of each absolute path: ``1abc``, ``run2-traj``."""
    parts = [(*path.parts[1:-1], _stem(path.name)) for path in paths]
    names = [""] * len(paths)
    unnamed, depth = list(range(len(paths))), 1
    while unnamed:
        groups = defaultdict(list)
        for number in unnamed:
            groups["-".join(parts[number][-depth:])].append(number)
        for name, group in groups.items():
            if len(group) > 1 and all(len(parts[number]) <= depth for number in group):
                raise StructureError(
                    f"{paths[group[0]]} and {paths[group[1]]} would give entries with the same "
                    "name; leave one out or rename it"
                )
            if len(group) == 1:
                names[group[0]] = name
        unnamed = [number for group in groups.values() if len(group) > 1 for number in group]
        depth += 1
    return names


def _check_top(trajectories: list[str], top: str | os.PathLike | None) -> None:
    if top is None:
        bare = [path for path in trajectories if extension(path) not in WITH_TOPOLOGY]
        if bare:
            raise StructureError(
                f"{bare[0]}: the trajectory has no topology; give one with top (--top), for "
                "example a PDB file of the same atoms"
            )
    elif not Path(top).exists():
        raise StructureError(f"{top}: no such file (top)")
    elif not trajectories:
        raise StructureError(f"top is {str(top)!r}, but no input is a trajectory; leave it out")

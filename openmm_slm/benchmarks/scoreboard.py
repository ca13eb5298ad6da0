"""``openmm-slm benchmark all``: the scoreboard of a model, section by section."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from tqdm.auto import tqdm

from ..errors import SLMError, StructureError, require
from ..language.interface import check_integer
from ..models.registry import model_identity
from . import scoreboard_ensembles, scoreboard_parts, scoreboard_relatives
from .benchmark_workers import Workers
from .references import read_references
from .results import hold_folder
from .scoreboard_plan import Plan, splits_of
from .scoreboard_sections import Section, Sections

#: In the order of measurement: speed first, while memory holds nothing else.
SECTIONS: dict[str, Callable[[Plan, Workers], Section]] = {
    "speed": scoreboard_parts.speed,
    "reconstruction": scoreboard_parts.reconstruction,
    "language_model": scoreboard_parts.language_model,
    "from_sequence": scoreboard_ensembles.from_sequence,
    "from_relatives": scoreboard_relatives.from_relatives,
    "from_library": scoreboard_relatives.from_library,
    "valid_frames": scoreboard_ensembles.valid_frames,
    "apo_holo": scoreboard_ensembles.apo_holo,
    "md": scoreboard_ensembles.against_md,
    "side_chains": scoreboard_parts.side_chains,
}


def benchmark_all(
    data: str | os.PathLike,
    references: str | os.PathLike,
    output: str | os.PathLike | None = None,
    model: str | os.PathLike = "default",
    device: str = "auto",
    *,
    no_sequence: str | os.PathLike | None = None,
    chains: int = 8,
    n: int = 100,
    pairs: int = 15,
    seed: int = 0,
    processes: int = 2,
    only: Sequence[str] = (),
    progress: bool = True,
) -> str:
    """The scoreboard: every figure of a model that needs no GPU, with baselines and targets.

    Parameters
    ----------
    data : path
        Shard directory with the split ``test``; ``test_related`` too where there is one.
    references : path
        See `openmm_slm.benchmarks.references`.
    output : path, optional
        Folder for finished sections, a JSON file each, and ``run.json``. Finished sections are not
        measured again.
    no_sequence : path, optional
        A model trained without sequences, to which the model is compared; default: the model itself
        with the sequence hidden, if it supports guidance.
    chains : int
        Chains of a split that are sampled; 6 times as many are reconstructed, 4 times as many
        packed.
    n : int
        Samples of a chain, and of an MD set. A 20th of them are made with all atoms from sequence;
        5 times as many of BPTI are timed.
    pairs : int
        Pairs of conformers, 5 samples each.
    seed : int
    processes : int
        Proteins measured at a time, each with one thread.
    only : sequence of str
        Sections (keys of `SECTIONS`); default all.

    Returns
    -------
    str
        At most 100 columns. Medians are over clusters, of their means; intervals (95 %, bootstrap)
        over clusters or targets. A section whose data are missing says so instead.

    Raises
    ------
    ValueError
        Bad sizes, no such model, a folder with figures of other settings.
    """
    check_integer("chains", chains, 1, "chains of a split that are sampled")
    check_integer("n", n, 2, "samples of a chain")
    check_integer("pairs", pairs, 1, "pairs of conformers")
    check_integer("processes", processes, 1, "proteins at a time")
    for name in only:
        if name not in SECTIONS:
            raise SLMError(f"no section {name!r}; use {', '.join(SECTIONS)}")
    chosen = [name for name in SECTIONS if name in only or not only]
    for name in ("pandas", "deeptime"):
        require(name, "compare")
    identity = model_identity(model)
    plan = Plan(
        *(os.fspath(Path(path).resolve()) for path in (data, references)),
        os.fspath(model), device,
        None if no_sequence is None else os.fspath(Path(no_sequence).resolve()),
        chains, n, pairs, seed,
    )  # fmt: skip
    splits_of(plan.data)
    read_references(plan.references)
    scoreboard_parts.check_no_sequence(plan)
    run = {name: value for name, value in asdict(plan).items() if name != "device"}
    run |= {"model": identity}
    with hold_folder(output), Workers(model, device, processes) as workers:
        sections = Sections(output, run)
        shown = [
            _measured(name, sections, plan, workers)
            for name in tqdm(chosen, unit="section", disable=not progress)
        ]
    return _text(dict(zip(chosen, shown, strict=True)), plan, identity, processes)


def _measured(name: str, sections: Sections, plan: Plan, workers: Workers) -> Section:
    """A section of an earlier run, or one measured now and written."""
    if name not in sections.found:
        start = time.perf_counter()
        try:
            section = SECTIONS[name](plan, workers)
        except StructureError as error:  # the data lack what it needs; the others may go on
            return Section(f"{name.replace('_', ' ')}: not measured ({error})")
        sections.add(name, replace(section, seconds=round(time.perf_counter() - start, 1)))
    return sections.found[name]


def _text(found: dict[str, Section], plan: Plan, identity: dict, processes: int) -> str:
    """The table: sections, then the seconds that each took."""
    lines = [
        f"{Path(identity['name']).name} ({identity['sha256']}), seed {plan.seed}; medians over "
        "clusters unless a row says mean,",
        "in brackets the 95 % interval (bootstrap over clusters, targets or chains)",
    ]
    for section in found.values():
        lines += ["", *section.lines()]
    took = [f"{name.replace('_', ' ')} {each.seconds:.0f}" for name, each in found.items()]
    total = sum(each.seconds for each in found.values())
    times = f"seconds (processes: {processes}): {', '.join(took)}; together {total:.0f}"
    return "\n".join([*lines, "", *Section(times).lines()])

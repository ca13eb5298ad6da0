"""Processor seconds of the stages of sampling, from one run of the whole pipeline."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import NamedTuple

import torch

from ..allatom import completer, side_chain_fitting
from ..allatom.hydrogens import PlacedAtoms
from ..files.ensemble_folder import EnsembleWriter
from ..sampling import backbones, ensemble
from ..sampling.ensemble import EnsembleGenerator
from ..sampling.starting_frames import StartingFrames
from .memory import peak_memory
from .parts import Part
from .proteins import PROTEINS
from .text_table import Column

LENGTHS = (58, 150, 300)
FRAMES = (1, 50, 500)
#: Search for relatives; displacement of the template by thermal motion; language model; decoding;
#: projection (peptides closed, clashing residues apart); side chains; topology and hydrogens;
#: validity; files; everything else.
STAGES = (
    "search", "start", "language", "decode", "project", "pack", "hydrogens", "report", "write",
    "rest",
)  # fmt: skip


class Run(NamedTuple):
    """A sequence, how many frames to sample, and whether its relatives are templates."""

    sequence: str
    frames: int
    relatives: bool


def stages_part(proteins: list[str], lengths: tuple[int, ...], frames: tuple[int, ...]) -> Part:
    """Tables of seconds, and of shares in per cent, of the stages of a run.

    `proteins` are sampled with the default settings, stretches of `lengths` residues from the
    sequence alone.
    """
    whole = "".join(PROTEINS[name] for name in ("myoglobin", "lysozyme", "GB1", "ubiquitin"))
    runs = {}
    for name in proteins:
        runs |= {f"{name} x {n}": Run(PROTEINS[name], n, True) for n in frames}
    for length in lengths:
        sequence = (whole * -(-length // len(whole)))[:length]
        runs |= {f"{length} residues x {n}": Run(sequence, n, False) for n in frames}
    seconds = {name: Column(name, 2) for name in STAGES}
    shares = {name: Column(f"{name}_share", 0, 100.0) for name in STAGES}
    return Part(
        "processor seconds of one thread by stage, and peak memory so far",
        runs,
        stage_costs,
        {"total": Column("total", 1), **seconds, "memory, MiB": Column("memory_mib", 0)},
        {"share of each stage, %, and milliseconds a frame": {
            **shares, "ms a frame": Column("per_frame", 0, 1000.0),
        }},
    )  # fmt: skip


def stage_costs(generator: EnsembleGenerator, run: Run, n: int, seed: int) -> dict[str, float]:
    """Seconds of each stage of a run, and its share; `n` is ignored.

    Everything runs in one thread, with the networks in memory.
    """
    settings = {"seed": seed, "progress": False}
    if not run.relatives:
        settings |= {"relatives": None, "disordered": "none"}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as root:  # imports, and the library of chains
            generator.write(run.sequence[:60], f"{root}/first", 1, **settings)
            clock = StageClock()
            with measured_stages(generator, clock):
                start = time.process_time()
                generator.write(run.sequence, f"{root}/run", run.frames, **settings)
                total = time.process_time() - start
    finally:
        torch.set_num_threads(threads)
    seconds = {name: clock.seconds[name] for name in STAGES}
    seconds["rest"] = total - sum(seconds.values())
    shares = {f"{name}_share": value / total for name, value in seconds.items()}
    return {
        **seconds, **shares, "total": total, "per_frame": total / run.frames,
        "memory_mib": peak_memory(),
    }  # fmt: skip


class StageClock:
    """Processor seconds by stage, each without the stages that it calls.

    Attributes
    ----------
    seconds : dict of float
        By name of the stage.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._open: list[str] = []
        self._last = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what runs inside as this stage."""
        self._count()
        self._open.append(name)
        try:
            yield
        finally:
            self._count()
            self._open.pop()

    def _count(self) -> None:
        now = time.process_time()
        if self._open:
            self.seconds[self._open[-1]] += now - self._last
        self._last = now

    def timed(self, function: Callable, name: str) -> Callable:
        """The function, counted as a stage."""

        @wraps(function)
        def wrapped(*arguments, **options):
            with self.stage(name):
                return function(*arguments, **options)

        return wrapped


@contextmanager
def measured_stages(generator: EnsembleGenerator, clock: StageClock) -> Iterator[None]:
    """Have a clock count the stages of a generator; everything is as before afterwards."""
    places = (
        (ensemble, "make_request", "search"),
        (StartingFrames, "displaced", "start"),
        (type(generator.language_model), "sample", "language"),
        (type(generator.tokenizer), "decode_with_confidence", "decode"),
        (backbones, "close_peptide_bonds", "project"),
        (side_chain_fitting, "separate_clashing_residues", "project"),
        (type(generator.packer), "pack", "pack"),
        (completer, "define_topology", "hydrogens"),
        (completer, "placed_atoms", "hydrogens"),
        (PlacedAtoms, "place", "hydrogens"),
        (completer, "all_atom_report", "report"),
        (EnsembleWriter, "add", "write"),
    )
    with ExitStack() as stack:
        for owner, name, stage in places:
            function = getattr(owner, name)
            setattr(owner, name, clock.timed(function, stage))
            stack.callback(setattr, owner, name, function)
        yield

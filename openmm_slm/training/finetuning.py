"""`finetune`: a model that was trained on simulations of one protein, in one call."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..data.tokens import tokenize
from ..errors import ModelError, SLMError, require
from ..files.folder_lock import FolderLock
from ..files.json_file import write_json
from ..files.options import takes
from ..models.registry import check_parts, find_device, find_part, model_identity
from ..networks.storage import assemble_model
from .finetuning_card import card_of
from .finetuning_networks import check_family, tune_language_model, tune_motions
from .finetuning_settings import FinetuningSettings
from .md_frames import MDFrames, open_simulations, write_frames
from .md_scores import markdown, other_rows, sampled_rows
from .starting_structures import write_starting_structures
from .tuned_amplitude import fitted_amplitude, set_amplitude

if TYPE_CHECKING:
    import mdtraj

logger = logging.getLogger(__name__)

RECORD = "finetune.json"
_FREE = ("hours", "openmm_slm")  # may change when a run is continued
_MOTIONS = 0.15  # share of the time for the springs
_PARTS = ("packer", "backmapping")


@takes(FinetuningSettings)
def finetune(
    trajectories: Iterable[object] | str | os.PathLike | mdtraj.Trajectory,
    output: str | os.PathLike,
    *,
    top: str | os.PathLike | mdtraj.Topology | None = None,
    model: str | os.PathLike = "default",
    device: str = "auto",
    settings: dict[str, Any],
    progress: bool = True,
) -> Path:
    """Tune a model to simulations of one protein, and measure it on their held-back ends.

    The language model and the springs of flexibility start from the weights of `model` and learn
    from the first four fifths of each trajectory. Training ends when the held-back last fifths get
    worse, or after `hours`; the best weights are kept. The same call continues an interrupted run.

    Parameters
    ----------
    trajectories : path, Trajectory, or several
        Simulations of one protein: trajectory files, folders of ensembles, or
        ``mdtraj.Trajectory``. N, CA and C of all residues are needed.
    output : path
        Model directory to write, for ``model=`` and ``--model``. Its card, ``README.md``, says what
        the model was trained on and has a table of the figures before and after.
    top : path or mdtraj.Topology, optional
        Topology for trajectory files without one, such as XTC and DCD.
    model : str or path
        Model to start from.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ...
    progress : bool
        Show progress bars.
    {options}

    Returns
    -------
    Path
        `output`. In it, ``central.pdb`` and ``frames.pdb`` are templates for samples of the
        simulated states: the frame nearest to the mean of the first four fifths, and ten frames.

    Raises
    ------
    ValueError
        The trajectories are of different proteins or have too few frames, a file is missing, a
        setting is out of range, the model cannot be tuned, or `output` holds another run.

    Examples
    --------
    >>> import openmm_slm
    >>> openmm_slm.finetune("md.xtc", "mymodel", top="md.pdb", hours=0.5)  # doctest: +SKIP
    """
    chosen, output = FinetuningSettings(**settings), Path(output)
    for module in ("pandas", "deeptime.decomposition"):  # else the run fails at its end
        require(module, "compare")
    device = find_device(device)
    check_parts(model)
    check_family(model)
    one = isinstance(trajectories, (str, os.PathLike)) or hasattr(trajectories, "topology")
    simulations = open_simulations([trajectories] if one else list(trajectories), top)
    record = {
        "openmm_slm": __version__,
        "model": model_identity(model),
        "trajectories": [each.record() for each in simulations],
        **asdict(chosen),
    }
    with FolderLock(output):
        if _begin(output, record):
            logger.info("%s is finished", output)
            return output
        work = output / "run"
        if not (work / "frames" / "index.csv").exists():
            write_frames(simulations, work / "frames", chosen.frames)
        tokenizer = find_part(model, "tokenizer")
        if not (work / "tokens" / "tokens.json").exists():
            tokenize(work / "frames", tokenizer, work / "tokens", device=device, progress=progress)
        frames, n, seed = MDFrames.read(work / "frames"), chosen.samples, chosen.seed
        before = _once(
            work / "before.json",
            lambda: {
                **sampled_rows(model, "before", frames, n, seed, device),
                **other_rows(frames, n, seed),
            },
        )
        seconds = 3600 * chosen.hours
        common = {"device": device, "progress": progress}
        motions = tune_motions(
            frames, model, work / "motions", chosen, seconds=_MOTIONS * seconds, **common
        )
        language = tune_language_model(
            model, work, chosen, seconds=(1 - _MOTIONS) * seconds, **common
        )
        parts = {name: find_part(model, name) for name in _PARTS}
        parts["motions"] = motions.directory
        made, amplitude = language.directory, None
        if not (work / "model" / "config.json").exists():
            assemble_model(tokenizer, made, work / "model", "", **parts)
        if motions.figures:
            amplitude = _once(
                work / "amplitude.json",
                lambda: fitted_amplitude(work / "model", frames, n, seed, device),
            )
            for springs in (motions.directory, work / "model" / "motions"):
                set_amplitude(springs, amplitude["near"])
        after = _once(
            work / "after.json",
            lambda: sampled_rows(work / "model", "after", frames, n, seed, device),
        )
        rows = _table(before, after, language.figures)
        card = card_of(record, frames, language, motions, amplitude, markdown(rows))
        write_starting_structures(simulations, frames, output)
        assemble_model(tokenizer, made, output, card, **parts)  # config.json comes last
        shutil.rmtree(work)
    return output


def table_of(model: str | os.PathLike) -> str:
    """The table of samples in the card of a model that `finetune` made."""
    card = (Path(model) / "README.md").read_text(encoding="utf-8")
    after = card.partition("## Samples")[2].splitlines()
    return "\n".join(line for line in after if line.startswith("|"))


def _table(before: dict, after: dict, nats: dict[str, float]) -> dict[str, dict[str, float]]:
    """Rows in order, each row of samples before and after; `nats` are of the language model."""
    rows = {}
    for name in (name for name in before if name.startswith("before")):
        later = name.replace("before", "after")
        rows[name], rows[later] = before[name], after[later]
    rows["before"]["nats per token"] = nats["start"]
    rows["after"]["nats per token"] = nats["best"]
    return rows | {name: row for name, row in before.items() if name not in rows}


def _once(path: Path, make: Callable[[], dict]) -> dict:
    """The content of a JSON file, which is made if it is not there."""
    if not path.exists():
        write_json(path, make())
    return json.loads(path.read_text(encoding="utf-8"))


def _begin(output: Path, record: dict) -> bool:
    """Record the run in its folder; True if it is finished there.

    Raises
    ------
    SLMError
        The folder holds another run, or another model.
    """
    path = output / RECORD
    remedy = "choose another output folder, or remove this one"
    finished = (output / "config.json").exists()
    if finished and not path.exists():
        raise SLMError(f"{output}: holds another model; {remedy}")
    if not finished and not (output / "run" / "frames" / "index.csv").exists():
        write_json(path, record)  # also over a run whose input was refused
        return False
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path}: cannot be read ({error}); {remedy}") from None
    for name, value in json.loads(json.dumps(record)).items():
        if name not in _FREE and before.get(name) != value:
            raise SLMError(
                f"{output}: holds a run with {name} {before.get(name)!r}, now it is {value!r}; "
                f"{remedy}"
            )
    return finished

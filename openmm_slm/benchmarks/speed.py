"""``openmm-slm benchmark speed``: time and memory of sampling, completing and preparing."""

from __future__ import annotations

import filecmp
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..errors import SLMError
from ..language.interface import check_integer
from ..models.registry import model_identity
from ..sampling.ensemble import EnsembleGenerator
from .commands import kill_command, run_command
from .dask_cluster_cost import dask_part
from .parts import Part, measure_parts
from .proteins import PROTEINS, choose_proteins
from .samplers_and_baselines import sample_quietly
from .stages import FRAMES, LENGTHS, stages_part
from .text_table import Column

SAMPLED = 100  # backbones that are completed again and again
PEPTIDE = "GYDPETGTWGKLACDEFGHIRPDFCLEPPY"
_MEMORY = {"memory, MiB": Column("memory_mib", 0)}
_COMMAND = {"seconds": Column("seconds", 1), "CPU s": Column("cpu_seconds", 1), **_MEMORY}


def benchmark_speed(
    output: str | os.PathLike | None = None,
    model: str | os.PathLike = "default",
    device: str = "auto",
    *,
    parts: Sequence[str] = (),
    lengths: Sequence[int] = LENGTHS,
    frames: Sequence[int] = FRAMES,
    proteins: Sequence[str] = (),
    n: int = 500,
    structures: str | os.PathLike | None = None,
    seed: int = 1,
    progress: bool = True,
) -> str:
    """Tables of time and memory.

    Parameters
    ----------
    output : path, optional
        Folder for ``<part>.csv`` and ``run.json``.
    parts : sequence of str
        ``stages``: processor seconds of each stage of sampling, by residues and frames;
        ``completion``: `openmm-slm complete` of n backbones; ``resume``: n samples of a peptide
        of 30 residues to disk, then again killed halfway and resumed; ``prepare``:
        `openmm-slm prepare` of `structures`; ``dask``: 40 short sequences here, then with ``--dask
        local:1`` and ``local:2``, and the scheduling of trivial blocks. Default: all but ``dask``,
        ``prepare`` only with `structures`.
    lengths : sequence of int
        Residues of ``stages``: sequences of proteins one behind the other, without relatives.
    frames : sequence of int
        Frames of ``stages``.
    proteins : sequence of str
        Those of ``stages``, with relatives, and of ``completion``: keys of
        `openmm_slm.benchmarks.proteins.PROTEINS`; default BPTI and myoglobin.
    n : int
        Frames of ``completion`` and ``resume``.
    structures : path, optional
        Folder of PDB or mmCIF files.

    Returns
    -------
    str
        Commands run in processes of their own, on all CPUs. Their times include the start of
        Python; their memory is the peak of the process.
    """
    check_integer("n", n, 2, "frames of completion and resume")
    for length in lengths:
        check_integer("lengths", length, 5, "residues")
    for count in frames:
        check_integer("frames", count, 1, "frames of a run")
    if "prepare" in parts and structures is None:
        raise SLMError("the part prepare needs structures, a folder of PDB or mmCIF files")
    chosen = choose_proteins(proteins, ("BPTI", "myoglobin"))
    name, run = os.fspath(model), {"model": model_identity(model), "n": n, "seed": seed}
    table = {
        "stages": stages_part(chosen, tuple(lengths), tuple(frames)),
        "completion": Part(
            f"{n} backbones to all atoms",
            {protein: (protein, name, device) for protein in chosen},
            completion_cost,
            {"residues": Column("residues", 0), **_COMMAND},
        ),
        "resume": Part(
            f"{n} samples of {len(PEPTIDE)} residues, then killed at the middle and resumed",
            {"peptide": (name, device)},
            resume_cost,
            {
                **_COMMAND,
                "resumed, s": Column("resumed_seconds", 1),
                "resumed, MiB": Column("resumed_memory_mib", 0),
                "files": Column("files", 0),
                "equal": Column("equal_files", 0),
            },
        ),
    }
    if "dask" in parts:
        table["dask"] = dask_part(name, device)
    if structures is not None:
        folder = Path(structures)
        table["prepare"] = Part(
            "structure files to shards",
            {str(folder): folder},
            preparation_cost,
            {"files": Column("files", 0), "MB": Column("megabytes", 0), **_COMMAND},
        )
    return measure_parts(table, parts, output, run, model, device, progress)


def completion_cost(
    generator: EnsembleGenerator, target: tuple[str, str, str], n: int, seed: int
) -> dict[str, float]:
    """Cost of completing n backbones: samples of a protein, repeated."""
    import mdtraj

    protein, model, device = target
    made = sample_quietly(generator, PROTEINS[protein], min(n, SAMPLED), seed, sidechains=None)
    bare = mdtraj.join([made.trajectory] * -(-n // made.trajectory.n_frames))[:n]
    with tempfile.TemporaryDirectory() as root:
        bare.save_xtc(f"{root}/backbones.xtc")
        bare[0].save_pdb(f"{root}/backbone.pdb")
        cost = run_command(
            "complete", f"{root}/backbones.xtc", "--top", f"{root}/backbone.pdb", "--model", model,
            "--device", device, "-o", f"{root}/full",
        )  # fmt: skip
    return {"residues": float(len(PROTEINS[protein])), **cost}


def resume_cost(
    generator: EnsembleGenerator, target: tuple[str, str], n: int, seed: int
) -> dict[str, float]:
    """Cost of an uninterrupted run, and of the rest of a killed one; files that are equal."""
    model, device = target
    with tempfile.TemporaryDirectory() as root:
        whole, killed = Path(root, "whole"), Path(root, "killed")
        command = ["sample", PEPTIDE, "-n", n, "--seed", seed, "--model", model]
        command += ["--device", device, "-o"]
        cost = run_command(*command, whole)
        kill_command(*command, killed, output=killed, frames=n // 2)
        resumed = run_command(*command, killed, "--resume")
        names = sorted(path.name for path in whole.iterdir())
        same, _, _ = filecmp.cmpfiles(whole, killed, names, shallow=False)
    rest = {f"resumed_{name}": resumed[name] for name in ("seconds", "memory_mib")}
    return {**cost, **rest, "files": float(len(names)), "equal_files": float(len(same))}


def preparation_cost(
    generator: EnsembleGenerator, structures: Path, n: int, seed: int
) -> dict[str, float]:
    """Cost of `openmm-slm prepare` on a folder of structure files."""
    sizes = [path.stat().st_size for path in structures.rglob("*") if path.is_file()]
    with tempfile.TemporaryDirectory() as root:
        cost = run_command("prepare", structures, "-o", f"{root}/shards")
    return {"files": float(len(sizes)), "megabytes": sum(sizes) / 1e6, **cost}

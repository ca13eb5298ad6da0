# What type checkers and editors see; written by tools/make_stub.py.

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import mdtraj
import numpy as np
from openmm import app

from .comparison.comparing import Comparison
from .files.report_table import Report
from .language.interface import StructureLanguageModel as StructureLanguageModel
from .models.registry import load_language_model as load_language_model
from .models.registry import load_packer as load_packer
from .models.registry import load_tokenizer as load_tokenizer
from .motions.result import Flexibility as Flexibility
from .protein.loading import load_structure as load_structure
from .protein.loading import read_structure as read_structure
from .protein.sequence import parse_sequence as parse_sequence
from .protein.sequence import read_fasta as read_fasta
from .protein.structure import ProteinStructure as ProteinStructure
from .protein.trajectory import HasTrajectory
from .relaxation.relaxing import Relaxed
from .sampling.completion import complete as complete
from .sampling.ensemble import EnsembleGenerator as EnsembleGenerator
from .sampling.flexibility import flexibility as flexibility
from .sampling.result import Ensemble as Ensemble
from .seeding.selecting import select_seeds as select_seeds
from .tokenizer.interface import StructureTokenizer as StructureTokenizer
from .validity.report import geometry_report as geometry_report

__version__: str

def compare(
    samples: mdtraj.Trajectory | HasTrajectory,
    reference: mdtraj.Trajectory | HasTrajectory | None = ...,
    *,
    weights: np.ndarray | str | os.PathLike | None = ...,
    reference_weights: np.ndarray | str | os.PathLike | None = ...,
    lengths: Sequence[int] | None = ...,
    clusters: mdtraj.Trajectory | None = ...,
    experiment: str | os.PathLike | Iterable[Mapping[str, object]] | None = ...,
    progress: bool = ...,
    tica_lag: int | None = ...,
    tica_components: int = ...,
    n_bootstrap: int = ...,
    seed: int = ...,
    reweight: bool = ...,
    theta: float | None = ...,
) -> Comparison: ...
def finetune(
    trajectories: Iterable[object] | str | os.PathLike | mdtraj.Trajectory,
    output: str | os.PathLike,
    *,
    top: str | os.PathLike | mdtraj.Topology | None = ...,
    model: str | os.PathLike = ...,
    device: str = ...,
    progress: bool = ...,
    hours: float = ...,
    frames: int = ...,
    samples: int = ...,
    learning_rate: float = ...,
    patience: int = ...,
    steps: int | None = ...,
    seed: int = ...,
) -> Path: ...
def generate_ensemble(
    sequence: str,
    n: int = ...,
    *,
    model: str | os.PathLike = ...,
    template: object = ...,
    relatives: str | os.PathLike | None = ...,
    msa: str | os.PathLike | None = ...,
    resample: object = ...,
    condition: object = ...,
    disordered: object = ...,
    device: str = ...,
    output: str | os.PathLike | None = ...,
    resume: bool = ...,
    progress: bool = ...,
    dask: object = ...,
    temperature: float | None = ...,
    top_p: float | None = ...,
    steps: int | None = ...,
    order: str | None = ...,
    guidance: float = ...,
    log_prob: str = ...,
    noise: float | None = ...,
    rg: float | None = ...,
    best: int | None = ...,
    fragments: str | dict | None = ...,
    rounds: int = ...,
    deform: str | float | None = ...,
    min_plddt: float | None = ...,
    path: bool = ...,
    keep: str = ...,
    seed: int | None = ...,
    batch_size: int | None = ...,
    project: bool = ...,
    sidechains: str | None = ...,
    hydrogens: bool = ...,
    ph: float = ...,
    protonation: str = ...,
    disulfides: str | list | None = ...,
    relax: bool | dict = ...,
    drop_invalid: bool = ...,
) -> mdtraj.Trajectory | Path: ...
def relax(
    trajectory: mdtraj.Trajectory | str | os.PathLike,
    *,
    top: str | os.PathLike | mdtraj.Topology | None = ...,
    processes: int | None = ...,
    copies: int = ...,
    drop_invalid: bool = ...,
    output: str | os.PathLike | None = ...,
    resume: bool = ...,
    progress: bool = ...,
    dask: object = ...,
    forcefield: str | Iterable[str] = ...,
    solvent: str = ...,
    cutoff: float = ...,
    restraint: float = ...,
    iterations: int = ...,
    tolerance: float = ...,
    anneal: float = ...,
    temperature: float = ...,
    seed: int = ...,
    repair: bool = ...,
    cis_allowed: Iterable[int] = ...,
    d_residues: Iterable[int] | None = ...,
    disulfides: Iterable[tuple[int, int]] | None = ...,
    platform: str = ...,
) -> Relaxed | Path: ...
def seed_simulations(
    ens_or_traj: HasTrajectory | mdtraj.Trajectory | str | os.PathLike,
    n: int = ...,
    solvent: str = ...,
    report: Report | np.ndarray | str | None = ...,
    *,
    frames: Iterable[int] | None = ...,
    method: str | None = ...,
    features: str = ...,
    weights: np.ndarray | str | os.PathLike | None = ...,
    lag: int = ...,
    per_state: bool = ...,
    top: str | os.PathLike | None = ...,
    forcefield: str = ...,
    parameters: Iterable[str] = ...,
    keep: str = ...,
    water: str | None = ...,
    padding: float = ...,
    box_shape: str = ...,
    box: str = ...,
    ionic_strength: float = ...,
    same_box: bool = ...,
    cutoff: float | None = ...,
    constraints: str | None = ...,
    hydrogen_mass: float | None = ...,
    temperature: float = ...,
    friction: float = ...,
    timestep: float = ...,
    pressure: float | None = ...,
    restraint: float = ...,
    equilibration: float = ...,
    seed: int = ...,
    platform: str | None = ...,
) -> Iterator[app.Simulation]: ...
def write_seeds(
    ens_or_traj: HasTrajectory | mdtraj.Trajectory | str | os.PathLike,
    output: str | os.PathLike,
    n: int = ...,
    formats: str | Iterable[str] = ...,
    *,
    solvent: str = ...,
    report: Report | np.ndarray | str | None = ...,
    frames: Iterable[int] | None = ...,
    method: str | None = ...,
    features: str = ...,
    weights: np.ndarray | str | os.PathLike | None = ...,
    lag: int = ...,
    per_state: bool = ...,
    top: str | os.PathLike | None = ...,
    progress: bool = ...,
    forcefield: str = ...,
    parameters: Iterable[str] = ...,
    keep: str = ...,
    water: str | None = ...,
    padding: float = ...,
    box_shape: str = ...,
    box: str = ...,
    ionic_strength: float = ...,
    same_box: bool = ...,
    cutoff: float | None = ...,
    constraints: str | None = ...,
    hydrogen_mass: float | None = ...,
    temperature: float = ...,
    friction: float = ...,
    timestep: float = ...,
    pressure: float | None = ...,
    restraint: float = ...,
    equilibration: float = ...,
    seed: int = ...,
    platform: str | None = ...,
) -> Path: ...

"""The house: imports run one way, light modules stay light, public names exist."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from absent import without
from toys import TINY, TINY_LM, TINY_PACKER, write_shards, write_side_chains

import openmm_slm

ROOT = Path(openmm_slm.__file__).parent

# A module may import modules of its own level or below.
LEVELS = [
    ("errors",),
    ("configuration", "locking"),
    ("sequence", "geometry", "job_shards"),
    (
        "sequence_search",
        "structure",
        "structure_files",
        "parting",
        "overlaps",
        "near_pairs",
        "peptides",
        "untangling",
        "projection",
        "normal_modes",
        "masking",
    ),
    ("contacts", "crowding", "ramachandran", "allatom.disulfides", "allatom.rotamers"),
    ("validity", "faults", "drawing", "pages"),
    ("frames", "training.shards", "relatives"),
    ("neighbours",),
    ("layers", "memory", "lookahead", "models.storage"),
    ("tokenizer", "language", "allatom", "relaxation", "comparison"),
    ("models", "settings", "output"),
    (
        "embedding",
        "templates",
        "backbones",
        "sampled",
        "plots",
        "viewing",
        "overview",
        "report_page",
    ),
    ("ensemble", "completion", "relaxing", "training", "preparation", "seeding"),
    ("runs", "proteomes", "benchmarks", "checking"),
    (
        "cli_common",
        "cli_sample",
        "cli_train",
        "cli_benchmark",
        "cli_seed",
        "cli_weights",
        "cli_check",
    ),
    ("cli",),
    ("__main__", "testInstallation"),
]
LIGHT = (
    "errors",
    "sequence",
    "structure",
    "geometry",
    "validity",
    "contacts",
    "ramachandran",
    "projection",
    "parting",
    "overlaps",
    "near_pairs",
    "peptides",
    "untangling",
    "crowding",
    "normal_modes",
    "comparison",
    "plots",
    "viewing",
    "report_page",
    "relaxation",
    "relaxation.relaxer",
    "seeding",
    "seeding.writing",
)
HEAVY = ("torch", "openmm", "mdtraj", "scipy", "pandas", "matplotlib", "parmed", "gemmi")


def modules() -> list[str]:
    found = pkgutil.walk_packages([str(ROOT)], "openmm_slm.")
    return [module.name for module in found]


def level(module: str) -> int:
    name = module.removeprefix("openmm_slm.")
    parts = name.split(".")
    for length in range(len(parts), 0, -1):  # the most specific entry decides
        for number, names in enumerate(LEVELS):
            if ".".join(parts[:length]) in names:
                return number
    raise AssertionError(f"{module} has no place in LEVELS: decide which and add it")


def imported(module: str) -> set[str]:
    """Modules of the package that `module` names anywhere, inside functions too."""
    spec = importlib.util.find_spec(module)
    package = module if spec.submodule_search_locations else module.rpartition(".")[0]
    names = set()
    for node in ast.walk(ast.parse(Path(spec.origin).read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
            target = f"{base}.{node.module}" if node.module else base
            for alias in node.names:
                below = f"{target}.{alias.name}"
                names.add(below if below in ALL else target)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("openmm_slm"):
            names.add(node.module)
    return names - {"openmm_slm"}


ALL = set(modules())


@pytest.mark.parametrize("module", sorted(ALL))
def test_imports_run_one_way(module):
    for other in imported(module):
        assert level(other) <= level(module), f"{module} imports {other}, which stands above it"


@pytest.mark.parametrize("module", sorted(ALL - {"openmm_slm.__main__"}))
def test_every_module_imports(module):
    importlib.import_module(module)


def test_every_public_name_exists_and_is_documented():
    for name in openmm_slm.__all__:
        value = getattr(openmm_slm, name)
        assert name == "__version__" or value.__doc__


def test_every_public_name_can_be_called(tmp_path):
    import numpy as np
    from builders import helix

    from openmm_slm.protein.trajectory import backbone_trajectory

    traj = backbone_trajectory(helix(6)[None], "ACDEFG")
    wobble = 0.01 * np.random.default_rng(0).normal(size=(5, 6, 4, 3))
    wobbling = backbone_trajectory(helix(6) + wobble, "ACDEFG")
    traj.save_pdb(str(tmp_path / "x.pdb"))
    (tmp_path / "x.fasta").write_text(">x\nACDEFG\n")
    quiet = {"device": "cpu"}
    structure = openmm_slm.load_structure(traj)
    fields = {name: getattr(structure, name) for name in structure.__dataclass_fields__}
    generator = openmm_slm.EnsembleGenerator.from_pretrained(**quiet)
    full = openmm_slm.complete(traj, progress=False, **quiet)
    calls = {
        "generate_ensemble": lambda f: f("ACDEFG", n=1, seed=0, progress=False, **quiet),
        "EnsembleGenerator": lambda f: f(generator.tokenizer, generator.language_model),
        "Ensemble": lambda f: f(traj, np.zeros((1, 6)), np.zeros(1), {}, 0),
        "load_tokenizer": lambda f: f(**quiet).encode(traj),
        "load_language_model": lambda f: f(**quiet).sample("ACDEFG", [0], seed=0),
        "load_packer": lambda f: f(**quiet).pack(
            traj.xyz.reshape(1, 6, 4, 3), np.arange(6), np.arange(6)
        ),
        "complete": lambda f: f(traj, progress=False, **quiet),
        "geometry_report": lambda f: f(traj),
        "relax": lambda f: f(full, iterations=5, progress=False).report,
        "select_seeds": lambda f: f(full, n=1, report=np.ones(1, bool)),
        "seed_simulations": lambda f: f(
            full, 1, "vacuum", report=np.ones(1, bool), equilibration=0
        ),
        "write_seeds": lambda f: f(
            full,
            tmp_path / "seeds",
            1,
            solvent="vacuum",
            report=np.ones(1, bool),
            equilibration=0,
            progress=False,
        ),
        "compare": lambda f: f(wobbling, wobbling, tica_lag=None, n_bootstrap=2),
        "load_structure": lambda f: f(traj),
        "read_structure": lambda f: f(tmp_path / "x.pdb"),
        "ProteinStructure": lambda f: f(**fields),
        "parse_sequence": lambda f: f("ACDEFG"),
        "read_fasta": lambda f: f(tmp_path / "x.fasta"),
    }
    interfaces = {"StructureTokenizer", "StructureLanguageModel", "__version__"}
    assert set(calls) | interfaces == set(openmm_slm.__all__)
    for name, call in calls.items():
        assert call(getattr(openmm_slm, name)) is not None
    assert isinstance(generator.tokenizer, openmm_slm.StructureTokenizer)
    assert isinstance(generator.language_model, openmm_slm.StructureLanguageModel)


def test_no_module_bears_the_name_of_a_public_function():
    for name in openmm_slm.__all__:
        value = getattr(openmm_slm, name)
        assert f"openmm_slm.{name}" not in ALL, name
        assert not hasattr(value, "__path__")


def fresh(code: str, directory: Path | None = None) -> str:
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, cwd=directory)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_import_is_quick_and_light():
    times = []
    for _ in range(3):
        start = time.perf_counter()
        fresh("pass")
        bare = time.perf_counter() - start
        start = time.perf_counter()
        loaded = fresh("import sys, openmm_slm; print(' '.join(sys.modules))").split()
        times.append(time.perf_counter() - start - bare)
    assert not set(HEAVY) & set(loaded)
    assert sorted(times)[1] < 0.5


@pytest.mark.parametrize("name", LIGHT)
def test_light_modules_load_nothing_heavy(name):
    if f"openmm_slm.{name}" not in ALL:
        pytest.skip(f"{name} is not written yet")
    loaded = fresh(f"import sys, openmm_slm.{name}; print(' '.join(sys.modules))").split()
    assert not set(HEAVY) & set(loaded)


def test_trainers_need_only_torch_numpy_safetensors_tqdm_click(tmp_path):
    """A borrowed GPU box has no openmm, mdtraj, gemmi or scipy: all trainers run there."""
    for name, config in (("tok", TINY), ("lm", TINY_LM), ("packer", TINY_PACKER)):
        config = {**config, "training": {**config["training"], "steps": 2}}
        (tmp_path / f"{name}.json").write_text(json.dumps(config))
    write_shards(tmp_path / "shards")
    write_side_chains(tmp_path / "side_chains")
    code = """
from openmm_slm.cli.main import main
data = ['--data', 'shards', '--threads', '1']
def run(*arguments):
    main([*arguments], standalone_mode=False)
run('train', 'tokenizer', 'tok.json', '-o', 'tok', *data)
run('tokenize', '--model', 'tok/model', '-o', 'tokens', *data)
data += ['--tokens', 'tokens']
run('train', 'tokenizer', 'tok.json', '-o', 'decoder', '--init-from', 'tok/model', *data)
run('train', 'lm', 'lm.json', '-o', 'lm', *data)
data = ['--data', 'side_chains', '--threads', '1']
run('train', 'packer', 'packer.json', '-o', 'packer', *data)
"""
    fresh(without({*HEAVY, "pdbfixer"} - {"torch"}) + code, tmp_path)
    for name in ("lm", "packer"):
        assert (tmp_path / name / "model" / "config.json").exists()


def test_no_file_is_too_long():
    for path in ROOT.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 400, path

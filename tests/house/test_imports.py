"""The house: rooms in one order, imports run one way, light modules stay light."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import subprocess
import sys
import time
from functools import lru_cache
from pathlib import Path

import pytest
from absent import without
from toys import TINY, TINY_LM, TINY_PACKER, write_shards, write_side_chains

import openmm_slm

ROOT = Path(openmm_slm.__file__).parent
#: In the order of imports: a file imports its own room or an earlier one.
ROOMS = (
    "protein", "files", "validity", "projection", "analysis", "plots", "comparison", "relaxation",
    "seeding", "networks", "tokenizer", "language", "allatom", "motions", "disorder", "models",
    "data", "library", "sampling", "training", "benchmarks", "cli",
)  # fmt: skip
WITHOUT_TORCH = ROOMS[: ROOMS.index("networks")]
#: Files that stand beside the rooms, and where they are in the order.
FIRST, LAST = ("__init__", "errors"), ("__main__", "testInstallation")
HEAVY = ("torch", "openmm", "mdtraj", "scipy", "pandas", "matplotlib", "parmed", "gemmi")


def modules() -> list[str]:
    return [module.name for module in pkgutil.walk_packages([str(ROOT)], "openmm_slm.")]


ALL = frozenset(modules())


def room(module: str) -> int:
    """Place in the order; KeyError for what has none."""
    name = module.removeprefix("openmm_slm").lstrip(".").split(".")[0] or "__init__"
    order = {name: 0 for name in FIRST} | {name: k for k, name in enumerate(ROOMS, 1)}
    return (order | {name: len(ROOMS) + 1 for name in LAST})[name]


def path_of(module: str) -> Path:
    return Path(importlib.util.find_spec(module).origin)


@lru_cache
def named(module: str) -> tuple[tuple[str, str | None], ...]:
    """(module, name) pairs that a file imports from the package, inside functions too."""
    path, found = path_of(module), []
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(a.name, None) for a in node.names if a.name.split(".")[0] == "openmm_slm"]
        elif isinstance(node, ast.ImportFrom):
            target = node.module or ""
            if node.level:
                base = package.split(".")
                base = base[: len(base) - node.level + 1]
                target = ".".join([*base, *([node.module] if node.module else [])])
            if target.split(".")[0] == "openmm_slm":
                below = [f"{target}.{a.name}" for a in node.names]
                found += [
                    (name, None) if name in ALL else (target, a.name)
                    for name, a in zip(below, node.names, strict=True)
                ]
    return tuple(found)


def imported(module: str) -> set[str]:
    return {name for name, _ in named(module)}


@pytest.mark.parametrize("module", sorted(ALL))
def test_a_file_imports_its_own_room_or_an_earlier_one(module):
    for other in imported(module):
        assert room(other) <= room(module), f"{module} imports {other}, a later room"


@pytest.mark.parametrize("module", sorted(ALL))
def test_imports_name_what_there_is(module):
    for other, name in named(module):
        assert other in ALL | {"openmm_slm"}, f"{module} imports {other}, which is not there"
        if name is not None and module != "openmm_slm.__main__":
            assert hasattr(importlib.import_module(other), name), f"{other} has no {name}"


def test_no_circle_of_files_imports_itself():
    """Lazy imports and those of type checking count."""
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in done:
            for other in sorted(imported(module) & ALL):
                visit(other, (*path, module))
            done.add(module)

    for module in sorted(ALL):
        visit(module, ())


def test_the_top_level_has_rooms_and_few_files():
    files = {path.stem for path in ROOT.glob("*.py*") if path.is_file()}
    assert files == {*FIRST, *LAST}
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()} - {"__pycache__"}
    assert folders == set(ROOMS)


def test_tokenizer_and_language_do_not_know_each_other():
    for module in ALL:
        for one, other in (("tokenizer", "language"), ("language", "tokenizer")):
            if module.startswith(f"openmm_slm.{one}."):
                assert not [m for m in imported(module) if m.startswith(f"openmm_slm.{other}")]


@pytest.mark.parametrize("module", sorted(ALL))
def test_private_names_stay_in_their_file(module):
    assert [n for _, n in named(module) if n and n.startswith("_") and n != "__version__"] == []


def test_thresholds_of_validity_are_defined_once():
    """No other file gives a number to a name of `criteria`, or repeats an ideal bond length."""
    criteria = importlib.import_module("openmm_slm.validity.criteria")
    names = {name for name in vars(criteria) if name.isupper()}
    lengths = {0.1459, 0.1525, 0.1231}
    for module in sorted(ALL - {criteria.__name__, "openmm_slm.protein.geometry"}):
        for node in ast.walk(ast.parse(path_of(module).read_text())):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                given = {t.id.lstrip("_") for t in node.targets if isinstance(t, ast.Name)}
                assert not given & names, f"{module} defines {given & names} again"
            assert not (isinstance(node, ast.Constant) and node.value in lengths), (
                f"{module} repeats {node.value} nm"
            )


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_rooms_before_networks_load_nothing_heavy(name):
    """Importing any of their files loads neither torch nor another large library."""
    files = [module for module in sorted(ALL) if module.startswith(f"openmm_slm.{name}.")]
    assert files
    code = "".join(f"import {module}\n" for module in files)
    loaded = fresh(f"import sys\n{code}print(' '.join(sys.modules))").split()
    assert set(HEAVY) & set(loaded) == set()


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
        "flexibility": lambda f: f(traj),
        "finetune": lambda f: pytest.raises(ValueError, f, wobbling, tmp_path / "model"),
        "Flexibility": lambda f: f(None, *np.zeros((4, 1))),
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

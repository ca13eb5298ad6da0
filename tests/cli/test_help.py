"""Help: each verb has an example that works as it is printed, and none keeps the user waiting."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from observed_motions import TINY_MOTIONS, write_motions
from reference_sets import write_references
from toy_decoys import TINY_SEGMENTS, write_toy_decoys
from toys import LETTERS, TINY, TINY_BACKMAPPING, TINY_LM, TINY_PACKER

import openmm_slm
from openmm_slm.cli.main import main
from openmm_slm.data.shards import read_index

HEAVY = {"torch", "openmm", "mdtraj", "scipy", "numpy", "pandas", "matplotlib", "parmed", "gemmi"}
# What an example takes up must have been made by one before it.
FIRST = ("sample", "prepare", "train tokenizer", "tokenize", "train lm", "train packer")
NOT_RUN = {
    "models download": "asks for a licence, and for 2.8 GB",
    "models import-esm3": "needs those weights",
    "models import-esmdiff": "needs a published checkpoint",
}


def verbs(command: click.Command = main, name: str = "") -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for below, child in command.commands.items():
            yield from verbs(child, f"{name} {below}".strip())
    else:
        yield name, command


VERBS = dict(verbs())


def example(name: str) -> list[str]:
    """Lines of the example that ``openmm-slm NAME --help`` prints; continued ones are joined."""
    text = CliRunner().invoke(main, [*name.split(), "--help"], terminal_width=80).output
    _, found, after = text.partition("\n  Example:\n")
    assert found, f"openmm-slm {name} --help has no example"
    return [line.strip() for line in after.replace("\\\n", " ").splitlines() if line.strip()]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    """A folder with the files that the examples name."""
    where = tmp_path_factory.mktemp("sandbox")
    generator = openmm_slm.EnsembleGenerator.from_pretrained("default", device="cpu")
    peptide = {"sequence": "GYDPETGTWG", "progress": False}
    generator.sample(**peptide, n=2, seed=3, sidechains=None).trajectory.save_pdb(
        str(where / "backbones.pdb")
    )
    md = generator.sample(**peptide, n=60, seed=4).trajectory
    md.save_xtc(str(where / "md.xtc"))
    md[0].save_pdb(str(where / "md.pdb"))
    (where / "measured.csv").write_text(
        "observable,value,error,unit,residue\nrg,0.7,0.1,nm,\n3J_HN_HA,7.0,2.0,Hz,A:7\n"
    )
    (where / "proteins.csv").write_text("name,sequence,exp_rg_nm\na,GYDPETGTWG,0.8\n")
    (where / "proteins.fasta").write_text(">a\nGYDPETGTWG\n>b\nACDEFGHIKL\n>c\nKLMNPQ\n")
    (where / "CARD.md").write_text("# A model of a test\n")
    configs = {
        "tokenizer": TINY, "lm": TINY_LM, "packer": TINY_PACKER, "backmapping": TINY_BACKMAPPING,
        "motions": TINY_MOTIONS, "segments": TINY_SEGMENTS,
    }  # fmt: skip
    for name, config in configs.items():
        config = {**config, "training": {**config["training"], "steps": 3}}
        (where / f"{name}.json").write_text(json.dumps(config))
    rng = np.random.default_rng(0)
    (where / "pdbs").mkdir()
    for number in range(12):
        sequence = "".join(rng.choice(list(LETTERS), 40 + number))
        frame = generator.sample(sequence, 1, seed=1, hydrogens=False, progress=False).trajectory
        frame.save_pdb(str(where / "pdbs" / f"p{number}.pdb"))
    dimer = ":".join(["ACDEFGHIKLMNPQRSTVWYACDE"] * 2)
    frame = generator.sample(dimer, 1, seed=1, hydrogens=False, progress=False).trajectory
    frame.save_pdb(str(where / "dimer.pdb"))
    write_references(where / "references")
    write_toy_decoys(where / "decoys")
    return where


def profiles(sandbox: Path) -> None:
    """Numbers of a user's own, one file an entry of the shards."""
    (sandbox / "arrays").mkdir()
    for row in read_index(sandbox / "shards"):
        length = len(row["sequence"].replace(":", ""))
        np.save(sandbox / "arrays" / f"{row['id']}.npy", np.ones((length, 4), np.float32))


@pytest.mark.parametrize("name", sorted(VERBS))
def test_every_verb_has_an_example_of_itself(name):
    assert any(line.startswith(f"openmm-slm {name}") for line in example(name))


@pytest.mark.slow
def test_every_example_works_as_it_is_printed(sandbox, monkeypatch):
    monkeypatch.chdir(sandbox)
    assert NOT_RUN.keys() <= VERBS.keys()
    for name in (*FIRST, *sorted(VERBS.keys() - set(FIRST) - NOT_RUN.keys())):
        if name == "embed":
            profiles(sandbox)
        if name == "train lm":  # the shards are there
            write_motions(sandbox / "shards", sandbox / "motions")
        for line in example(name):
            begin = time.monotonic()
            for command in line.split(" && "):
                first, *arguments = shlex.split(command)
                if first == "openmm-slm":
                    done = CliRunner().invoke(main, arguments)
                    assert done.exit_code == 0, (line, done.output, done.exception)
                else:
                    assert first == "python", line
                    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
            assert time.monotonic() - begin < 120, line
            print(f"{time.monotonic() - begin:5.1f} s  {line}")


def seconds(*command: str) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begin


def test_help_is_quick_and_loads_nothing_heavy():
    command = (sys.executable, "-X", "importtime", "-m", "openmm_slm", "--help")
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip() for line in shown.stderr.splitlines()}
    assert "click" in loaded and not HEAVY & loaded
    script = Path(sys.executable).with_name("openmm-slm")
    if not script.exists():
        pytest.skip("openmm-slm is not installed beside this Python")
    times = sorted(
        seconds(str(script), "--help") - seconds(sys.executable, "-c", "") for _ in "12345"
    )
    assert times[2] < 0.7, times


def test_nothing_on_the_way_to_help_depends_on_where_it_is_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, ["--help"]).exit_code == 0
    assert not os.listdir(tmp_path)

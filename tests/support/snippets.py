"""Commands and snippets of Markdown pages: found, made small, and run as a reader would."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from toys import TINY, TINY_LM, TINY_PACKER

import openmm_slm
from openmm_slm.cli.main import main

ROOT = Path(__file__).parents[2]
SEQUENCE = "NLYIQWLKDGGPSSGRPPPS"
NOT_RUN = re.compile(r"<!-- not run: (.+) -->")

# A page's numbers and what the tests put in their place, so that minutes become seconds. Pairs
# of a pattern and its replacement, tried in this order on the text of a block.
SMALLER = (
    (r"\bSEQUENCE\b", SEQUENCE),
    (r"(openmm-slm seed (?!.*replica).*?)-n \d+", r"\1-n 1"),
    (r"(openmm-slm seed .*?)-n \d+(?=.*replica)", r"\1-n 2"),
    (r"-n \d{2,}", "-n 3"),
    (r"\bn=\d{2,3}\b(?=.*relax=True)", "n=4"),
    (r"\bn=10\b", "n=1"),
    (r"\bn=\d{2,3}\b", "n=3"),
    (r"range\(500\)", "range(4)"),
    (r"\bbest=5\b", "best=2"),
    (r"--time-limit \d+", "--time-limit 1"),  # the configs are shorter than that
    (r"--hours [\d.]+", "--steps 1 --samples 4"),
    (r"\bhours=[\d.]+", "steps=1, samples=4"),
    (r"--solvent implicit", "--solvent implicit --equilibration 0.1"),
    (r'solvent="implicit"', 'solvent="implicit", equilibration=0.1'),
    (r"formats=\(", 'solvent="vacuum", equilibration=0, formats=('),
    (r"step\(50_000\)|step\(1000\)", "step(100)"),
    (r"run\.py 50000", "run.py 100"),
    (r"DCDReporter\(name, 500\)", "DCDReporter(name, 5)"),
    (r"in range\(3\)", "in range(2)"),
    (r"tica_lag=50, lengths=\(4000, 6000\)", "tica_lag=2, lengths=(40, 20), n_bootstrap=2"),
    (r"--lag 50 --lengths 4000,6000", "--lag 2 --lengths 40,20"),
    (r"(openmm-slm compare .*md\.pdb)(?= -o)", r"\1 --lag 2"),
    (r"compare\(traj, md_traj\)", "compare(traj, md_traj, tica_lag=2, n_bootstrap=2)"),
    (r'relax\(traj, forcefield="charmm36"', 'relax(traj[:1], forcefield="charmm36"'),
    (r"anneal=2\b", "anneal=0.1"),
    (r'"error": 2\.0', '"error": 9.0'),
    (r'relax\("md\.xtc"', 'relax("few.xtc"'),
)
# Networks of these configs; lm_t5.json begins as the shipped model on one page and keeps its size.
SMALL = {
    "tokenizer.json": TINY["model"],
    "packer.json": TINY_PACKER["model"],
    "lm.json": TINY_LM["model"],
    "lm_gpt.json": {"width": 32, "layers": 1, "heads": 2},
}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `reason`: why it is not run."""

    page: str
    line: int
    language: str
    text: str
    reason: str | None

    @property
    def smaller(self) -> str:
        text = self.text
        for pattern, replacement in SMALLER:
            text = re.sub(pattern, replacement, text)
        return text


def blocks(path: Path) -> Iterator[Block]:
    lines, number = path.read_text().splitlines(), 0
    while number < len(lines):
        if lines[number].startswith("```"):
            before = NOT_RUN.fullmatch(lines[number - 1]) if number else None
            end = lines.index("```", number + 1)
            yield Block(
                str(path.relative_to(ROOT)),
                number + 1,
                lines[number][3:],
                "\n".join(lines[number + 1 : end]) + "\n",
                before and before[1],
            )
            number = end
        number += 1


def run(block: Block, namespace: dict) -> None:
    """Run a block in the working directory; names of the Python blocks of a page are shared."""
    if block.language == "python":
        code = compile("\n" * block.line + block.smaller, block.page, "exec")
        exec(code, namespace)
        return
    for line in block.smaller.replace("\\\n", " ").splitlines():
        first, *arguments = shlex.split(line, comments=True) or [""]
        if first == "openmm-slm" and "$" not in line:
            done = CliRunner().invoke(main, arguments)
            assert done.exit_code == 0, (block.page, line, done.output, done.exception)
        elif first:
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            environment = {**os.environ, "PATH": path}
            done = subprocess.run(
                ["bash", "-ec", line], env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, (block.page, line, done.stderr)


def furnish(folder: Path) -> None:
    """The files that pages name, as a reader may have them: of Trp-cage, and a few chains."""
    generator = openmm_slm.EnsembleGenerator.from_pretrained("default", device="cpu")

    def sampled(sequence: str, n: int, seed: int = 1, **settings):
        return generator.sample(sequence, n, seed=seed, progress=False, **settings).trajectory

    known = sampled(SEQUENCE, 1, relax=True)
    known.save_pdb(str(folder / "x.pdb"))
    (folder / "fv.pdb").write_text(as_antibody((folder / "x.pdb").read_text()))
    moving = sampled(SEQUENCE, 60, template=known)
    moving.save_xtc(str(folder / "md.xtc"))
    moving[:3].save_xtc(str(folder / "few.xtc"))
    moving[0].save_pdb(str(folder / "md.pdb"))
    moving[20].save_pdb(str(folder / "open.pdb"))
    moving[40].save_pdb(str(folder / "closed.pdb"))
    backbones = moving.atom_slice(moving.topology.select("name N CA C O"))[:2]
    backbones.save_xtc(str(folder / "backbones.xtc"))
    backbones[0].save_pdb(str(folder / "backbone.pdb"))
    (folder / "proteins.fasta").write_text(">a\nGYDPETGTWG\n>b\nACDEFGHIKL\n>c\nKLMNPQ\n")
    (folder / "query.a3m").write_text(f">query\n{SEQUENCE}\n>other\n{SEQUENCE[:-1]}-\n")
    # Of few frames, so its error is large.
    (folder / "hst5.csv").write_text("observable,value,error,unit\nrg,1.2,1.0,nm\n")
    (folder / "CARD.md").write_text("# A model of a test\n")
    (folder / "pdbs").mkdir()
    rng = np.random.default_rng(0)
    for number in range(8):
        sequence = "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 24 + number))
        sampled(sequence, 1, hydrogens=False).save_pdb(str(folder / "pdbs" / f"p{number}.pdb"))
    known.save_pdb(str(folder / "pdbs" / "relative.pdb"))  # of SEQUENCE
    # The shipped list of chains knows this one by its length and first letters.
    listed = "EYFTL" + "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 26))
    (folder / "mirror" / "ai").mkdir(parents=True)
    found = folder / "mirror" / "ai" / "pdb1aie.ent"
    sampled(listed, 1, hydrogens=False).save_pdb(str(found.with_suffix(".pdb")))
    found.with_suffix(".pdb").rename(found)
    (folder / "configs").mkdir()
    for path in (ROOT / "configs").glob("*.json"):
        config = json.loads(path.read_text())
        config["model"] = config.get("model", {}) | SMALL.get(path.name, {})
        config["training"] |= {"steps": 2, "warmup": 1, "bf16": False, "optimizer": "adamw"}
        config["data"] |= {"residues": 256} | ({"crop": 32} if "crop" in config["data"] else {})
        (folder / "configs" / path.name).write_text(json.dumps(config))


def as_antibody(pdb: str) -> str:
    """The only chain renamed H, its residues numbered from 90."""
    lines = []
    for line in pdb.splitlines():
        if line.startswith(("ATOM", "TER")):
            line = f"{line[:21]}H{int(line[22:26]) + 89:4d}{line[26:]}"
        lines.append(line)
    return "\n".join(lines) + "\n"

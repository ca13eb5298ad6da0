"""A folder to train from on a machine that is lent for minutes, and what comes back from it.

    python tools/lease/lease.py pack --data shards --tokens tokens --start model/tokenizer -o lease
    python lease/run.py decoder decoder_deep.json --minutes 8 -o results    # there
    python tools/lease/lease.py unpack results -o run                             # here again
    python tools/lease/lease.py pack --data lease/data.npz --run run -o lease2    # the next piece

The folder holds this package's code, the configs, the data as one file and the weights to begin
with. The machine needs Python, torch, numpy, safetensors, tqdm and click. Limits: data 36 MiB,
weights 24 MiB, all 64 MiB. `run` is a run directory like any other: `openmm-slm train --resume`
goes on with it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import click

from openmm_slm.cli.common import directory, existing, new, report_errors
from openmm_slm.data.data_pack import pack_data
from openmm_slm.files.json_file import write_json
from openmm_slm.networks.storage import load_network
from openmm_slm.training.run_pack import expand_run, shrink_run

ROOT = Path(__file__).parents[2]
MIB = 2**20
DATA, WEIGHTS, ALL = 36 * MIB, 24 * MIB, 64 * MIB


@click.group()
def main() -> None:
    """Pack a folder for a lent machine, unpack its results."""


@main.command()
@click.option("--data", type=existing, required=True, help="Shards, or a data.npz made before.")
@click.option("--tokens", type=directory, help="Of the shards; for a decoder or language model.")
@click.option("--start", type=directory, help="Model directory to begin with (--init-from).")
@click.option("--run", type=directory, help="Run directory to go on with (--resume).")
@click.option("--configs", type=directory, default=ROOT / "configs", help="Training configs.")
@click.option("--atoms", type=click.Choice(["4", "14"]), default="4", help="14 for the packer.")
@click.option("--error", type=float, default=0.005, help="nm that atoms may be off.")
@click.option("--prefix", multiple=True, help="Shards whose names begin so [all].")
@click.option("-o", "--output", type=new, required=True)
@report_errors
def pack(data, tokens, start, run, configs, atoms, error, prefix, output):
    """Make the folder."""
    if output.exists() and any(output.iterdir()):
        raise ValueError(f"{output} holds files already; choose another folder")
    output.mkdir(parents=True, exist_ok=True)
    if data.is_file():
        if tokens:
            raise ValueError(f"{data} has its tokens inside; leave --tokens out, or give shards")
        shutil.copy(data, output / "data.npz")
    else:
        options = {"tokens": tokens, "atoms": int(atoms), "error": error, "prefix": prefix or None}
        packed = pack_data(data, output / "data.npz", **options)
        click.echo(
            "{entries:,} entries, {residues:,} residues ({absent:,} of them without a whole "
            "backbone), atoms off by at most {error:.5f} nm".format(**packed)
        )
    if start:
        load_network(start)  # whole and unaltered
        shutil.copytree(start, output / "start")
    if run:
        kept = shrink_run(run, output / "run", WEIGHTS - _size(output / "start"))
        click.echo(f"of the run's state: {', '.join(kept) or 'its models only'}")
    package = ROOT / "openmm_slm"
    for path in package.rglob("*.py"):
        target = output / "openmm_slm" / path.relative_to(package)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    shutil.copytree(configs, output / "configs", ignore=lambda _, names: _not_json(names))
    shutil.copy(Path(__file__).with_name("run.py"), output / "run.py")
    sizes = {
        "data": (_size(output / "data.npz"), DATA),
        "weights": (_size(output / "start") + _size(output / "run"), WEIGHTS),
        "all": (_size(output), ALL),
    }
    for name, (size, limit) in sizes.items():
        click.echo(f"{name:8}{size / MIB:6.2f} of {limit // MIB} MiB")
        if size > limit:
            raise ValueError(
                f"{name}: {size / MIB:.2f} MiB, the limit is {limit // MIB}; allow a larger "
                "--error, leave shards out by --prefix, or begin with a smaller model"
            )
    files = sorted(path for path in output.rglob("*") if path.is_file())
    sums = {
        path.relative_to(output).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }
    write_json(output / "manifest.json", sums)


@main.command()
@click.argument("results", type=directory)
@click.option("-o", "--output", type=new, required=True, help="Run directory to make.")
@report_errors
def unpack(results, output):
    """Make a run directory of what run.py wrote; checksums are verified."""
    expand_run(results, output)
    state = json.loads((results / "state" / "config.json").read_text())
    click.echo(f"{output}: step {state['config']['step']:,}; kept: {', '.join(state['kept'])}")
    for name in ("model", "decayed"):
        if (output / name).is_dir():
            click.echo(f"model: {output / name}")


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())


def _not_json(names: list[str]) -> list[str]:
    return [name for name in names if not name.endswith(".json")]


if __name__ == "__main__":
    main()

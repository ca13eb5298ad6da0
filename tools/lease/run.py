"""Train on a lent machine from the folder this file lies in (made by tools/lease/lease.py).

    python3 run.py decoder decoder_deep.json --minutes 8 -o $OUT

tokenizer; decoder (of frozen tokens); lm; packer: with a config of the folder. It goes on with the
run that came along, if one did. Speed and share of the machine's peak are printed; the results are
at most 64 MiB in 8 files of 16 MiB. SIGTERM ends the training early, with the results written.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

HOME = Path(__file__).resolve().parent
sys.path.insert(0, str(HOME))
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # there are many loaders, read before NumPy is

import click  # noqa: E402

from openmm_slm.cli.common import prepare_cpu, read_config_file, report_errors  # noqa: E402

MOST, FILES = 64 * 2**20, 8


def check_folder() -> None:
    """Refuse a folder that was altered on its way."""
    for name, checksum in json.loads((HOME / "manifest.json").read_text()).items():
        path = HOME / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != checksum:
            raise ValueError(f"{path}: missing or altered; bring the folder here again")


@click.command()
@click.argument("step", type=click.Choice(["tokenizer", "decoder", "lm", "packer"]))
@click.argument("config")
@click.option("--minutes", type=float, required=True, help="From the start of this command.")
@click.option("--decay", type=click.IntRange(1), help="Then anneal a copy over so many steps.")
@click.option("--device", default="auto", show_default=True)
@click.option("--loaders", type=int, help="Processes that make batches [cores - 2 for a GPU].")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@report_errors
def main(step, config, minutes, decay, device, loaders, output):
    """Train one step with CONFIG, a name in configs/."""
    begun = time.monotonic()
    if output.exists() and any(output.iterdir()):
        raise ValueError(f"{output} holds files already; choose another folder")
    check_folder()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    from openmm_slm.data.data_pack import unpack_data
    from openmm_slm.models.registry import find_device
    from openmm_slm.training.run_pack import expand_run, shrink_run

    prepare_cpu(None)
    device = find_device(device)
    if loaders is None:
        loaders = 0 if device == "cpu" else max(1, (os.cpu_count() or 1) - 2)
    values = read_config_file(HOME / "configs" / config)
    values["training"] = {**values.get("training", {}), "loaders": loaders}
    work = Path(tempfile.mkdtemp(prefix="lease_"))
    made = unpack_data(HOME / "data.npz", work)
    run = work / "run"
    resume = (HOME / "run").is_dir()
    if resume:
        expand_run(HOME / "run", run)
    click.echo(f"unpacked to {work} after {time.monotonic() - begun:.1f} s; {loaders} loaders")
    start = next((p for p in (HOME / "start", run / "model", run / "decayed") if p.is_dir()), None)
    if step == "tokenizer" and start != HOME / "start":
        start = None  # one that begins anew has losses of its own
    options = {"device": device, "init_from": start, "progress": False}
    train = _trainer(step, values, made, run, options)
    # One step, to its end, shows that all works and comes back before minutes are spent.
    train(resume=resume, time_limit=0)
    shrink_run(run, output, MOST, FILES)
    train(resume=True, time_limit=60 * minutes - (time.monotonic() - begun))
    exported, saved = (run / name for name in ("model/config.json", "checkpoint.safetensors"))
    if decay and exported.stat().st_mtime >= saved.stat().st_mtime:  # else a signal stopped it
        train(resume=True, decay=decay)
    kept = shrink_run(run, output, MOST, FILES)
    click.echo(f"results after {time.monotonic() - begun:.1f} s; of the state: {', '.join(kept)}")
    for path in sorted(output.rglob("*")):
        if path.is_file():
            click.echo(f"{path.stat().st_size / 2**20:6.2f} MiB  {path.relative_to(output)}")


def _trainer(step: str, values: dict, made: dict, run: Path, options: dict):
    """The function that trains, with all but its times given."""
    from functools import partial

    if step in ("decoder", "lm") and "tokens" not in made:
        sys.exit(f"{step} needs tokens; pack them with the data (--tokens)")
    data = made["data"]
    if step == "lm":
        from openmm_slm.training.train_language_model import train_language_model

        return partial(train_language_model, values, data, made["tokens"], run, **options)
    if step == "packer":
        from openmm_slm.training.train_packer import train_packer

        return partial(train_packer, values, data, run, **options)
    from openmm_slm.training.train_tokenizer import train_tokenizer

    tokens = made["tokens"] if step == "decoder" else None
    return partial(train_tokenizer, values, data, run, tokens=tokens, **options)


if __name__ == "__main__":
    main()

"""`sbatch` enough to run a job array on this machine: ``stub_sbatch.py [options] script args``.

It reads the script's #SBATCH lines as SLURM does (up to the first command; the command line counts
for more), runs up to CONCURRENT tasks at once in sessions of their own with SLURM's variables, and
writes --output. `KILL=2:PATH` in the environment kills task 2 with SIGKILL as soon as PATH exists,
and requeues it, as a node that goes down does.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CONCURRENT = 2


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(allow_abbrev=False)
    options.add_argument("--array", default="")
    options.add_argument("--cpus-per-task", default="1")
    options.add_argument("--output", default="slurm-%A_%a.out")
    options.add_argument("--open-mode", default="truncate")
    options.add_argument("--requeue", action="store_true")
    for ignored in ("--job-name", "--mem", "--time"):
        options.add_argument(ignored)
    options.add_argument("command", nargs=argparse.REMAINDER)
    return options


def directives(script: Path) -> list[str]:
    """Options of the comment lines before the first command."""
    found = []
    for line in script.read_text().splitlines():
        if line and not line.startswith("#"):
            break
        if line.startswith("#SBATCH "):
            found += line.split()[1:]
    return found


def numbers(array: str) -> list[int]:
    """Task numbers of ``1-4,7%2``."""
    out = []
    for part in array.partition("%")[0].split(","):
        first, _, last = part.partition("-")
        out += range(int(first), int(last or first) + 1)
    return out


def run(task: int, options: argparse.Namespace, environment: dict[str, str]) -> int:
    killed, _, path = os.environ.get("KILL", "").partition(":")
    path, doomed = Path(path), killed == str(task)
    log = options.output.replace("%A", "1").replace("%a", str(task))
    for restart in range(2):
        mode = "a" if options.open_mode == "append" else "w"
        with open(log, mode) as handle:
            process = subprocess.Popen(
                ["bash", *options.command], stdout=handle, stderr=handle, start_new_session=True,
                env={**environment, "SLURM_ARRAY_TASK_ID": str(task),
                     "SLURM_RESTART_COUNT": str(restart)},
            )  # fmt: skip
            while doomed and not restart and process.poll() is None:
                if path.exists():
                    os.killpg(process.pid, signal.SIGKILL)
                time.sleep(0.002)
            code = process.wait()
        if code != -signal.SIGKILL or not options.requeue:
            return code
        print(f"task {task} was killed and is requeued", flush=True)
    return code


def main() -> int:
    given = parser().parse_args()
    script = Path(given.command[0])
    options = parser().parse_args([*directives(script), *sys.argv[1:]])
    tasks = numbers(options.array)
    environment = {
        **os.environ,
        "SLURM_JOB_ID": "1",
        "SLURM_ARRAY_JOB_ID": "1",
        "SLURM_ARRAY_TASK_COUNT": str(len(tasks)),
        "SLURM_ARRAY_TASK_MIN": str(min(tasks)),
        "SLURM_ARRAY_TASK_MAX": str(max(tasks)),
        "SLURM_CPUS_PER_TASK": options.cpus_per_task,
    }
    with ThreadPoolExecutor(CONCURRENT) as pool:
        codes = list(pool.map(lambda task: run(task, options, environment), tasks))
    return max(map(abs, codes))


if __name__ == "__main__":
    sys.exit(main())

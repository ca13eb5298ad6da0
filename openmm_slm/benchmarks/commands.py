"""``openmm-slm`` as a child process: wall time, processor time, peak memory; and killed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from ..errors import SLMError
from .memory import mebibytes

# Linux counts the memory of the process that starts a child as the child's: a small one starts it.
_LAUNCHER = """
import json, resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([code, used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""


def run_command(*arguments: object) -> dict[str, float]:
    """Run ``openmm-slm`` with these arguments in a process of its own.

    Returns
    -------
    dict
        ``seconds``, ``cpu_seconds`` and ``memory_mib`` (peak), start of the process included.

    Raises
    ------
    SLMError
        The command fails, or the platform does not count the memory of a child process.
    """
    if not find_spec("resource"):
        raise SLMError("memory of a child process is not counted on Windows; leave the part out")
    command = [sys.executable, "-c", _LAUNCHER, *_command(arguments)]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    code, cpu_seconds, memory = json.loads(done.stdout) if done.stdout else (done.returncode, 0, 0)
    if code:
        last = done.stderr.strip()[-500:]
        raise SLMError(f"{' '.join(_command(arguments))} ended with code {code}: {last}")
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "memory_mib": mebibytes(memory)}


def kill_command(*arguments: object, output: Path, frames: int) -> None:
    """Start ``openmm-slm``, and kill it once its output folder counts so many frames."""
    process = subprocess.Popen(
        _command(arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    progress = output / "progress.json"
    while process.poll() is None:
        if (
            progress.exists()
            and json.loads(progress.read_text(encoding="utf-8"))["frames"] >= frames
        ):
            process.kill()
        time.sleep(0.05)


def _command(arguments: tuple) -> list[str]:
    return [sys.executable, "-m", "openmm_slm", *map(str, arguments)]

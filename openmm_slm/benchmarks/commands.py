"""``openmm-slm`` as a child process: wall time, processor time and peak memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ..errors import SLMError
from .memory import mebibytes


def run_command(*arguments: object, kill_at: tuple[Path, int] | None = None) -> dict[str, float]:
    """Run ``openmm-slm`` with these arguments in a process of its own.

    Parameters
    ----------
    kill_at : (path, int), optional
        Output folder and number of frames: the process is killed (SIGKILL) once its
        ``progress.json`` counts so many.

    Returns
    -------
    dict
        ``seconds``, ``cpu_seconds`` and ``memory_mib`` (peak), start of the process included.

    Raises
    ------
    SLMError
        The command fails, or the platform does not report the memory of a child process.
    """
    if not hasattr(os, "wait4"):
        raise SLMError("this benchmark needs os.wait4, which Windows lacks; leave the part out")
    command = [sys.executable, "-m", "openmm_slm", *map(str, arguments)]
    start = time.perf_counter()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        killed = kill_at is not None and _kill(process, *kill_at)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != (-signal.SIGKILL if killed else 0):
            errors.seek(0)
            last = errors.read().decode(errors="replace").strip()[-500:]
            raise SLMError(f"{' '.join(command)} ended with code {process.returncode}: {last}")
    return {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "memory_mib": mebibytes(usage.ru_maxrss),
    }


def _kill(process: subprocess.Popen, output: Path, frames: int) -> bool:
    """Kill the process once it has written so many frames; False if it ended before."""
    progress = output / "progress.json"
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if progress.exists() and json.loads(progress.read_text())["frames"] >= frames:
            process.kill()
            return True
        time.sleep(0.05)
    return False

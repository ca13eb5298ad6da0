"""Memory of a long run, and whether kill -9 costs anything.

`python tools/measure_streaming.py [N] [OPTIONS of sample]`

Samples N conformations (default 100,000) of a 30-residue peptide to disk, once at a stretch and
once killed in the middle and resumed; prints peak memory and whether the files are equal.
"""

from __future__ import annotations

import filecmp
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PEPTIDE = "GYDPETGTWGKLACDEFGHIRPDFCLEPPY"


def run(n: int, output: Path, *options: str, kill_at: int | None = None) -> None:
    """One process; with `kill_at` it is killed once it has written so many frames."""
    command = [sys.executable, "-m", "openmm_slm", "sample", PEPTIDE, "-n", str(n)]
    command += ["--seed", "1", "--threads", "1", "--device", "cpu", "-o", str(output), *options]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    progress = output / "progress.json"
    while kill_at and process.poll() is None:
        time.sleep(0.2)
        if progress.exists() and json.loads(progress.read_text())["frames"] >= kill_at:
            os.kill(process.pid, signal.SIGKILL)
            break
    _, status, usage = os.wait4(process.pid, 0)
    print(
        f"{output.name} {' '.join(options)}: exit status {os.waitstatus_to_exitcode(status)}, "
        f"{time.perf_counter() - start:.0f} s, peak {usage.ru_maxrss / 1024:.0f} MiB",
        flush=True,
    )


def main(n: int, *options: str) -> None:
    with tempfile.TemporaryDirectory() as root:
        whole, killed = Path(root, "whole"), Path(root, "killed")
        run(n, whole, *options)
        run(n, killed, *options, kill_at=n // 2)
        run(n, killed, *options, "--resume")
        for name in sorted(path.name for path in whole.iterdir()):
            same = filecmp.cmp(whole / name, killed / name, shallow=False)
            size = (whole / name).stat().st_size
            print(f"{name}, {size} bytes: {'equal' if same else 'DIFFERENT'}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, *sys.argv[2:])

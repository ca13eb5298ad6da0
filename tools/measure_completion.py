"""Time and memory of backbones to all atoms: python tools/measure_completion.py [FRAMES].

Samples backbones of BPTI (58 residues) and of sperm whale myoglobin (153), then completes FRAMES of
each (default 500) on two threads, each in a process of its own.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROTEINS = {
    "BPTI": "RPDFCLEPPYTGPCKARIIRYFYNAKAGLCQTFVYGGCRAKRNNFKSAEDCMRTCGGA",
    "myoglobin": "VLSEGEWQLVLHVWAKVEADVAGHGQDILIRLFKSHPETLEKFDRFKHLKTEAEMKASEDLKKHGVTVLTALGA"
    "ILKKKGHHEAELKPLAQSHATKHKIPIKYLEFISEAIIHVLHSRHPGDFGADAQGAMNKALELFRKDIGAKYKELGYQG",
}  # fmt: skip


def measure(name: str, path: str, frames: int) -> None:
    """One process: complete the backbones of a file, repeated up to `frames`."""
    import mdtraj as md

    import openmm_slm
    from openmm_slm.cli.common import prepare_cpu

    prepare_cpu(2)
    sampled = md.load(path)
    bare = md.join([sampled] * -(-frames // sampled.n_frames))[:frames]
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        full = openmm_slm.complete(bare, device="cpu", progress=False)
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{name}: {frames} frames of {full.n_residues} residues, {full.n_atoms} atoms: "
        f"{sorted(seconds)[1]:.1f} s (median of three, {min(seconds):.1f} to {max(seconds):.1f}), "
        f"peak {peak:.0f} MiB",
        flush=True,
    )


def main(frames: int) -> None:
    with tempfile.TemporaryDirectory() as root:
        for name, sequence in PROTEINS.items():
            output = str(Path(root, name))
            command = [sys.executable, "-m", "openmm_slm", "sample", sequence, "-n", "100"]
            command += ["--seed", "1", "--sidechains", "none", "-o", output]
            subprocess.run(command, check=True, capture_output=True)
            import mdtraj as md

            traj = md.load(f"{output}/samples.xtc", top=f"{output}/topology.pdb")
            traj.save_pdb(f"{output}/all.pdb")
            command = [sys.executable, __file__, name, f"{output}/all.pdb", str(frames)]
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)

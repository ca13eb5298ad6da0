"""The picture of a report page for the documentation.

python tools/picture_report.py [docs/report.png]: the page is what a command like that of
docs/plots.md writes; headless Chromium (Debian's package chromium) takes the picture.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

WIDTH, HEIGHT = 1100, 1530
COMMAND = "openmm-slm sample GYDPETGTWG -n 100 --seed 1 --relax --report -o out"


def main(output: str = "docs/report.png") -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("no Chromium found; install it (Debian: apt install chromium)")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first, *arguments = COMMAND.split()
        program = Path(sys.executable).with_name(first)
        subprocess.run([program, *arguments], cwd=folder, check=True)
        shot = folder / "page.png"
        subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--hide-scrollbars", f"--user-data-dir={folder / 'profile'}",
             f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={shot}",
             (folder / "out" / "report.html").as_uri()],
            check=True, capture_output=True, timeout=300,
        )  # fmt: skip
        with Image.open(shot) as page:  # 256 colours: a third of the size, off by 17 of 255 at most
            colours = Image.Quantize.MAXCOVERAGE
            small = page.convert("RGB").quantize(method=colours, dither=Image.Dither.NONE)
            small.save(output, optimize=True)
    print(f"{output}: {Path(output).stat().st_size // 1024} KiB, {COMMAND}")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""``openmm-slm check``: wraps `check_installation`."""

from __future__ import annotations

import sys

import click

from .common import device_option

_EXAMPLE = """\b
Example:
  openmm-slm check && openmm-slm sample GYDPETGTWG -n 10 -o samples
"""


@click.command(epilog=_EXAMPLE)
@device_option
def check(device: str) -> None:
    """Does this installation work? Exit code 0 if it does, 1 if not.

    Says which versions there are, where torch and OpenMM compute and which OpenMM plugins did not
    load, compares the shipped weights with their checksums, and samples and relaxes two frames of
    ten residues. A line with FAILED says what is wrong and the remedy.
    """
    from .installation import FAILED, check_installation

    failed = 0
    for finding in check_installation(device):
        click.echo(f"{finding.part:10} {finding.state:7} {finding.text}")
        failed += finding.state == FAILED
    if failed:
        click.echo(f"openmm-slm: this installation does not work ({failed} FAILED)", err=True)
        sys.exit(1)
    click.echo("openmm_slm works")

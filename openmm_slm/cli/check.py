"""``openmm-slm check``, which calls `check_installation`."""

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
    """Test this installation. The exit code is 0 if it works, else 1.

    Lists versions, the devices of torch and OpenMM, and OpenMM plugins that did not load; verifies
    the checksums of the shipped weights; samples and relaxes two frames of a ten-residue peptide.
    A line with FAILED names the problem and the remedy.
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

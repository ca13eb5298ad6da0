"""``python -m openmm_slm.testInstallation``: `openmm-slm check`, named after OpenMM's test."""

from .cli.check import check

if __name__ == "__main__":
    check(prog_name="python -m openmm_slm.testInstallation")

import sys
from pathlib import Path

import pytest
from hypothesis import settings

# Equal examples in every run; new ones with --hypothesis-profile=explore.
settings.register_profile("equal", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile("equal")

sys.path.insert(0, str(Path(__file__).parent / "support"))  # builders.py, toys.py, ...


# Frames that the tests of relaxation share; nobody changes them.


@pytest.fixture(scope="session")
def villin():
    from frames_to_relax import villin_with_clashes

    return villin_with_clashes()


@pytest.fixture(scope="session")
def relaxed(villin):
    import openmm_slm

    return openmm_slm.relax(villin, progress=False, processes=1)


@pytest.fixture(scope="session")
def peptide():
    from frames_to_relax import peptide_frames

    return peptide_frames()

"""``python -m openmm_slm``: the same as the ``openmm-slm`` command."""

from .cli import main

if __name__ == "__main__":
    main()

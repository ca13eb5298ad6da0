"""``python -m openmm_slm``: the same as the ``openmm-slm`` command."""

from .cli.main import main

if __name__ == "__main__":
    main()

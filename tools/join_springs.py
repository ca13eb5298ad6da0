"""Give springs of thermal motion the springs for B-factors of another network.

    python tools/join_springs.py THERMAL CRYSTAL OUT

THERMAL and CRYSTAL are models of `openmm-slm train motions`. OUT has the springs of THERMAL. Its
springs for B-factors are those of CRYSTAL, or all springs of CRYSTAL if it has none for B-factors
alone. The readout is that of CRYSTAL.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from openmm_slm.motions.spring_network import SpringNetwork
from openmm_slm.networks.storage import load_module, save_module


def main(thermal: str, crystal: str, output: str) -> None:
    springs, other = (load_module(where, SpringNetwork) for where in (thermal, crystal))
    joined = SpringNetwork(
        replace(springs.config, crystal=True, readout=other.readout is not None)
    ).eval()
    weights = {
        name: value
        for name, value in springs.state_dict().items()
        if not name.startswith(("crystal_network.", "readout."))
    }
    inner = other.crystal_network or other
    weights |= {
        f"crystal_network.{name}": value
        for name, value in inner.state_dict().items()
        if not name.startswith("readout.")
    }
    if other.readout is not None:
        weights |= {f"readout.{name}": v for name, v in other.readout.state_dict().items()}
    joined.load_state_dict(weights)
    save_module(output, joined)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])

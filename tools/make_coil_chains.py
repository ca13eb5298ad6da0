"""Add disordered chains made of coil stretches to a shard directory.

    python tools/make_coil_chains.py SHARDS [NUMBER]

The stretches of a chain come from one split, and the chain belongs to it: `NUMBER` training chains
(default 3,000), and a fiftieth as many for val and for test. They are shards of the prefix "coil",
which `tools/train_structure.py` reads.
"""

from __future__ import annotations

import sys

import numpy as np

from openmm_slm.data.coil_chains import MADE_OF_COIL, coil_chain, coil_stretches
from openmm_slm.data.shards import ShardDataset, ShardWriter


def main() -> None:
    directory = sys.argv[1]
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 3000
    writer = ShardWriter(directory, prefix=MADE_OF_COIL)
    for split, many in (("train", number), ("val", number // 50), ("test", number // 50)):
        stretches = coil_stretches(ShardDataset(directory, split, ("backbone", "heavy")))
        for i in range(many):
            rng = np.random.default_rng([len(split), i])
            sequence, backbone = coil_chain(rng, stretches)
            first, rows = np.arange(len(sequence)) == 0, np.arange(1, len(sequence) + 1)
            writer.add(f"{MADE_OF_COIL}_{split}_{i}", sequence, backbone, first, rows, split=split)
        print(f"{split}: {len(stretches)} stretches, {many} chains")
    writer.close()


if __name__ == "__main__":
    main()

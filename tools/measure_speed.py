"""Cost of a sample by length: python tools/measure_speed.py [MODEL ...].

Processor seconds of one thread for each sample of 50 to 800 residues (the sequence of ubiquitin
over and over): tokens, decoding, projection, side chains and hydrogens; and the most memory so far.
"""

from __future__ import annotations

import logging
import resource
import sys
import time

import numpy as np
import torch

import openmm_slm
from openmm_slm.allatom.completer import AtomCompleter
from openmm_slm.projection.close_peptides import close_peptide_bonds
from openmm_slm.protein.protein import Protein
from openmm_slm.protein.sequence import sequence_layout
from openmm_slm.protein.structure import from_backbone

UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
LENGTHS = (50, 100, 200, 400, 800)


def main(models: list[str]) -> None:
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    print("model       residues  samples   tokens   decode  project  all atoms   memory, MiB")
    for name in models:
        generator = openmm_slm.EnsembleGenerator.from_pretrained(name, device="cpu")
        for length in LENGTHS:
            sequence = (UBIQUITIN * 11)[:length]
            letters, _, index = sequence_layout((sequence,))
            first = np.arange(length) == 0
            n = generator.language_model.frames_together(length)
            clock = [time.process_time()]
            tokens = generator.language_model.sample(sequence, range(n), seed=0).tokens
            clock.append(time.process_time())
            decoded = generator.tokenizer.decode_tokens(tokens, letters, index)
            clock.append(time.process_time())
            backbone, _ = close_peptide_bonds(decoded, Protein(sequence, first))
            clock.append(time.process_time())
            atoms = np.full((n, length, 14, 3), np.nan, np.float32)
            atoms[:, :, :4] = backbone
            completer = AtomCompleter(
                from_backbone(backbone[:1], sequence), generator.packer, disulfides=None
            )
            clock.append(time.process_time())  # its topology is made once, whatever n is
            completer.complete(atoms)
            clock.append(time.process_time())
            tokens_s, decode_s, project_s, _, atoms_s = np.diff(clock) / n
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                f"{name:11} {length:8d} {n:8d} {tokens_s:8.3f} {decode_s:8.3f} {project_s:8.3f} "
                f"{atoms_s:10.3f} {memory:13.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:] or ["default", "diffusion"])

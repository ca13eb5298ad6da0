"""Time `openmm-slm prepare` on mmCIF files of real size: python tools/measure_prepare.py [FILES].

The files have 1 to 4 chains and 200 to 1,000 residues, stretches of a structure that PDBFixer's
tests ship, with waters.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import time
from pathlib import Path

import gemmi
import pdbfixer

from openmm_slm.data.merge import summarise, told
from openmm_slm.data.prepare import prepare


def write_files(folder: Path, number: int) -> int:
    """Write mmCIF files; returns the number of atoms."""
    source = gemmi.read_structure(str(Path(pdbfixer.__file__).parent / "tests/data/4JSV.pdb"))
    source.setup_entities()
    pools = [[r for r in c.get_polymer()] for c in source[0]]
    pools = [pool for pool in pools if len(pool) > 250]
    rng, atoms = random.Random(0), 0
    for file in range(number):
        length, parts = rng.randint(200, 1000), rng.choice([1, 1, 2, 2, 3, 4])
        structure = gemmi.Structure()
        structure.resolution = 2.0
        model = gemmi.Model(1) if gemmi.__version__ >= "0.7" else gemmi.Model("1")
        for name in "ABCD"[:parts]:
            pool, chain = rng.choice(pools), gemmi.Chain(name)
            n = min(length // parts, len(pool))
            at = rng.randint(0, len(pool) - n)
            for residue in pool[at : at + n]:
                chain.add_residue(residue)
            for i in range(n // 8):
                chain.add_residue(water(i))
            model.add_chain(chain)
        structure.add_model(model)
        structure.setup_entities()
        structure.assign_label_seq_id()
        atoms += model.count_atom_sites()
        document = structure.make_mmcif_document()
        document.write_file(str(folder / f"s{file:04d}.cif"), gemmi.cif.Style.Pdbx)
    return atoms


def water(number: int) -> gemmi.Residue:
    residue, atom = gemmi.Residue(), gemmi.Atom()
    residue.name, residue.het_flag = "HOH", "H"
    residue.seqid = gemmi.SeqId(2000 + number, " ")
    atom.name, atom.element = "O", gemmi.Element("O")
    atom.pos = gemmi.Position(number, number, number)
    residue.add_atom(atom)
    return residue


def main(number: int) -> None:
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root, "files")
        folder.mkdir()
        atoms = write_files(folder, number)
        size = sum(path.stat().st_size for path in folder.iterdir())
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        start = time.perf_counter()
        shards = prepare(folder, Path(root, "shards"))
        seconds = time.perf_counter() - start
        after = [
            resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        ]
        cpu = sum(sum(b[:2]) - sum(a[:2]) for a, b in zip(used, after, strict=True))
        print(
            f"{number} mmCIF files, {size / 1e6:.0f} MB, {atoms / 1e6:.1f} M atoms: "
            f"{seconds:.1f} s, {cpu:.1f} s of CPU time; {told(summarise(shards))}"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)

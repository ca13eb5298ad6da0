"""Side chains by PDBFixer, one frame at a time: the slow way, for those who want it.

PDBFixer overlays residue templates on the atoms that are there and relaxes what it added with a
soft force field. Without CB that gives D residues (pdbfixer issue 352), so CB is supplied here. The
torsions that come out are kept; a side chain that is not what these torsions make of the template
(an inverted CB of Ile or Thr, angles bent by up to 90 degrees) is built from them anew. PDBFixer
knows no rotamers: less than half of its chi1 are within 40 degrees of native ones.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from contextlib import contextmanager
from functools import lru_cache

import numpy as np

from ..errors import StructureError, require
from ..protein.atoms import ATOM14
from ..protein.geometry import cb_position, chirality
from ..protein.sequence import AMINO_ACIDS, THREE_LETTER
from ..protein.structure import ProteinStructure
from .ideal import measure_geometry
from .rotamers import chi_torsions
from .topology import heavy_topology, residue_name

# PDBFixer wants a file before it can be given atoms.
_ONE_ATOM = "ATOM      1  CA  ALA A   1       0.000   0.000   0.000  1.00  0.00           C\nEND\n"
MISSHAPEN = 0.05  # nm; an atom further than this from where the torsions put it
_LARGEST_PUCKER = np.radians(40)  # |chi1| of proline, beyond which its ring cannot close
_PUCKER = np.radians(27)
_CB = 4


def build_with_pdbfixer(
    structure: ProteinStructure,
    frames: Iterable[int] | None = None,
    rebuild: np.ndarray | None = None,
    *,
    progress: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """All heavy atoms of frames; seconds for each (3 s for 60 residues, 15 s for 150).

    Parameters
    ----------
    structure : ProteinStructure
        N, CA, C and O, and any side-chain atoms. What is there does not move.
    frames : iterable of int, optional
        Frames to build; default all.
    rebuild : ndarray, bool [L], optional
        Residues whose side chains are made anew; default none.
    progress : bool
        Show a bar when there is more than one frame.

    Returns
    -------
    atom14 : ndarray, float32 [F, L, 14, 3]
        nm; NaN for frames whose N, CA, C or O are not finite. The same input gives the same bits.
    repaired : ndarray, bool [F, L]
        Side chains that PDBFixer left misshapen and that were built from its torsions.

    Raises
    ------
    StructureError
        A residue is none of the 20.
    """
    torch = require("torch")
    tqdm = require("tqdm.auto").tqdm
    unit, mm = require("openmm.unit"), require("openmm")
    if "X" in structure.sequence:
        row = structure.sequence.index("X")
        raise StructureError(
            f"{residue_name(structure, row)} is none of the 20 amino acids: no side chain can "
            "be built; leave it out, or model it as one of them"
        )
    chosen = list(range(structure.n_frames)) if frames is None else list(frames)
    kinds = np.array([AMINO_ACIDS.index(letter) for letter in structure.sequence])
    given = np.array(structure.atom14[chosen], np.float32)
    if rebuild is not None:
        given[:, np.asarray(rebuild, bool), 4:] = np.nan
    side = np.array([len(ATOM14[letter]) > 4 for letter in structure.sequence])
    absent = ~np.isfinite(given[:, :, _CB]).all(-1) & side
    given[:, :, _CB] = np.where(absent[..., None], cb_position(given[:, :, :3]), given[:, :, _CB])
    whole = np.isfinite(given[:, :, :4]).all((1, 2, 3))
    built = np.full_like(given, np.nan)
    with _fixer() as fixer:
        for number in tqdm(np.flatnonzero(whole), disable=not progress or len(chosen) < 2):
            present = np.isfinite(given[number]).all(-1)
            fixer.topology = heavy_topology(structure, present)
            places = given[number][present].astype(float).tolist()
            fixer.positions = [mm.Vec3(*xyz) for xyz in places] * unit.nanometer
            fixer.missingResidues = {}
            fixer.findMissingAtoms()
            fixer.missingTerminals = {}
            fixer.addMissingAtoms(seed=1)
            xyz = np.array(fixer.positions.value_in_unit(unit.nanometer), np.float32)
            for atom in fixer.topology.atoms():
                row = atom.residue.index
                built[number, row, ATOM14[structure.sequence[row]].index(atom.name)] = xyz[
                    atom.index
                ]
    _name_methyls(built, structure.sequence, ~np.isfinite(given).all(-1))
    chi = np.nan_to_num(chi_torsions(built, kinds))
    open_ring = (kinds == AMINO_ACIDS.index("P")) & (np.abs(chi[:, :, 0]) > _LARGEST_PUCKER)
    chi[open_ring, 0] = np.sign(chi[open_ring, 0]) * _PUCKER
    ideal = _builder()(
        torch.as_tensor(built[:, :, :4]),
        torch.as_tensor(kinds).expand(len(chosen), -1),
        torch.as_tensor(chi, dtype=torch.float32),
        torch.as_tensor(given),
    ).numpy()
    with np.errstate(invalid="ignore"):
        off = np.linalg.norm(built - ideal, axis=-1) > MISSHAPEN  # False for NaN
    repaired = off.any(-1)
    out = np.where(repaired[..., None, None] & np.isfinite(built), ideal, built)
    return out.astype(np.float32), repaired


def _name_methyls(atom14: np.ndarray, sequence: str, new: np.ndarray) -> None:
    """Exchange the methyls of Val and Leu in place where both are `new` and have each other's name.

    Their names tell them apart (pro-R, pro-S), as CB of an L residue is told from its HA.
    """
    for letter, around in (("V", ("CA", "CB", "CG1", "CG2")), ("L", ("CB", "CG", "CD1", "CD2"))):
        rows = np.array([i for i, other in enumerate(sequence) if other == letter], int)
        slots = [ATOM14[letter].index(name) for name in around]
        one, other = slots[2:]
        swapped = chirality(*(atom14[:, rows, slot] for slot in slots)) > 0
        frame, at = np.nonzero(swapped & new[:, rows, one] & new[:, rows, other])
        row = rows[at]
        atom14[frame, row, one], atom14[frame, row, other] = (
            atom14[frame, row, other], atom14[frame, row, one],
        )  # fmt: skip


@contextmanager
def _fixer():
    """A PDBFixer without atoms, on one thread: sums in another order would change the result."""
    fixer, mm = require("pdbfixer").PDBFixer, require("openmm")
    names = [mm.Platform.getPlatform(i).getName() for i in range(mm.Platform.getNumPlatforms())]
    if "CPU" not in names:
        yield fixer(
            pdbfile=io.StringIO(_ONE_ATOM), platform=mm.Platform.getPlatformByName("Reference")
        )
        return
    platform = mm.Platform.getPlatformByName("CPU")
    threads = platform.getPropertyDefaultValue("Threads")
    platform.setPropertyDefaultValue("Threads", "1")
    try:
        yield fixer(pdbfile=io.StringIO(_ONE_ATOM), platform=platform)
    finally:
        platform.setPropertyDefaultValue("Threads", threads)


@lru_cache(maxsize=1)
def _builder():
    """Builder of side chains with the geometry of PDBFixer's templates."""
    from .builder import AtomBuilder

    nanometer = require("openmm.unit").nanometer
    with _fixer() as fixer:
        templates = fixer.templates
    atom14 = np.full((20, 14, 3), np.nan)
    for row, letter in enumerate(AMINO_ACIDS):
        template = templates[THREE_LETTER[letter]]
        places = np.array(template.positions.value_in_unit(nanometer))
        for atom in template.topology.atoms():
            if atom.name in ATOM14[letter]:
                atom14[row, ATOM14[letter].index(atom.name)] = places[atom.index]
    return AtomBuilder(measure_geometry([(atom14, np.arange(20))]))

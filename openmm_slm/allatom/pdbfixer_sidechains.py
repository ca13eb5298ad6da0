"""Build side chains with PDBFixer, one frame at a time (slow).

PDBFixer superposes residue templates on the atoms present and relaxes the added atoms with a soft
force field. Without CB it may give D residues (pdbfixer issue 352), so CB is added first. Some of
its side chains are misshapen: an inverted CB of Ile or Thr, or angles bent by up to 90 degrees.
These are rebuilt from their torsions with the geometry of the template. PDBFixer does not use a
rotamer library: less than half of its chi1 angles are within 40 degrees of the native ones.
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
from ..protein.unmodelled import residue_label
from .ideal import measure_geometry
from .rotamers import chi_torsions
from .topology import openmm_topology

# PDBFixer can only be created from a file; its atoms are replaced afterwards.
_ONE_ATOM = "ATOM      1  CA  ALA A   1       0.000   0.000   0.000  1.00  0.00           C\nEND\n"
MISSHAPEN = 0.05  # nm; largest distance of an atom from its position by the torsions
_LARGEST_PUCKER = np.radians(40)  # largest |chi1| at which the ring of proline can close
_PUCKER = np.radians(27)
_CB = 4


def build_with_pdbfixer(
    structure: ProteinStructure,
    frames: Iterable[int] | None = None,
    rebuild: np.ndarray | None = None,
    *,
    progress: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Build all heavy atoms of frames (3 s per frame for 60 residues, 15 s for 150).

    The same input gives bitwise identical results.

    Parameters
    ----------
    structure : ProteinStructure
        N, CA, C and O, and any side-chain atoms; these do not move.
    frames : iterable of int, optional
        Frames to build; default all.
    rebuild : ndarray, bool [L], optional
        Residues whose side chains are rebuilt; default none.
    progress : bool
        Show a progress bar for more than one frame.

    Returns
    -------
    atom14 : ndarray, float32 [F, L, 14, 3]
        nm; NaN for frames with non-finite N, CA, C or O.
    repaired : ndarray, bool [F, L]
        Misshapen side chains that were rebuilt from their torsions.

    Raises
    ------
    StructureError
        A residue is not one of the 20 amino acids.
    """
    torch = require("torch")
    tqdm = require("tqdm.auto").tqdm
    unit, mm = require("openmm.unit"), require("openmm")
    if "X" in structure.sequence:
        row = structure.sequence.index("X")
        raise StructureError(
            f"{residue_label(structure, row)} is not one of the 20 amino acids: its side chain "
            "cannot be built; remove it, or replace it by one of the 20"
        )
    chosen = list(range(structure.n_frames)) if frames is None else list(frames)
    kinds = np.array([AMINO_ACIDS.index(letter) for letter in structure.sequence])
    given = np.array(structure.atom14[chosen], np.float32)
    if rebuild is not None:
        given[:, np.asarray(rebuild, bool), 4:] = np.nan
    side = np.array([len(ATOM14[letter]) > 4 for letter in structure.sequence])
    absent = ~np.isfinite(given[:, :, _CB]).all(-1) & side
    given[:, :, _CB] = np.where(absent[..., None], cb_position(given[:, :, :3]), given[:, :, _CB])
    complete = np.isfinite(given[:, :, :4]).all((1, 2, 3))
    built = np.full_like(given, np.nan)
    with _fixer() as fixer:
        for number in tqdm(np.flatnonzero(complete), disable=not progress or len(chosen) < 2):
            present = np.isfinite(given[number]).all(-1)
            fixer.topology = openmm_topology(structure, present)
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
        misshapen = np.linalg.norm(built - ideal, axis=-1) > MISSHAPEN  # False for NaN
    repaired = misshapen.any(-1)
    out = np.where(repaired[..., None, None] & np.isfinite(built), ideal, built)
    return out.astype(np.float32), repaired


def _name_methyls(atom14: np.ndarray, sequence: str, new: np.ndarray) -> None:
    """Swap the methyl groups of Val and Leu in place if both are `new` and named the wrong way.

    The names CG1/CG2 and CD1/CD2 are stereospecific (pro-R, pro-S).
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
    """A PDBFixer without atoms; on one thread, so that the order of sums is reproducible."""
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
    """`AtomBuilder` with the geometry of PDBFixer's templates."""
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

"""Predict measured quantities for each frame: radius of gyration, end-to-end distance, 3J."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StructureError, require
from ..protein.atoms import D_AMINO_ACIDS, residue_letter
from ..protein.chains import protein_chains
from ..protein.structure import PEPTIDE_BOND, chain_names
from .experiment_file import COUPLING, COUPLING_HA2, COUPLING_HA3, END_TO_END, RG, Measurement

if TYPE_CHECKING:
    import mdtraj
    from mdtraj.core.topology import Residue

logger = logging.getLogger(__name__)

BLOCK = 1000  # frames whose coordinates are in double precision at once
#: Hz. Voegeli, Ying, Grishaev & Bax, J. Am. Chem. Soc. 129, 9377 (2007), table 1: fitted to a
#: structure with the averaging by motions removed, so that averages over frames include it once.
KARPLUS = (8.40, -1.36, 0.33)
HA, OTHER = -math.pi / 3, math.pi / 3  # H-N-CA-HA minus phi: HA of an L residue, and its mirror
_STEP = 0.38  # nm; CA-CA distance along a chain
_VOLUME = 0.134  # nm^3 per residue: 110 Da of 0.73 cm^3/g


@dataclass(frozen=True, eq=False)
class Predicted:
    """M observables of F frames.

    Attributes
    ----------
    values : ndarray [F, M]
        nm or Hz.
    root_mean_square : ndarray, bool [M]
        Whether the average over frames is the root mean square, as for lengths.
    """

    values: np.ndarray
    root_mean_square: np.ndarray


def predict(trajectory: mdtraj.Trajectory, measurements: Sequence[Measurement]) -> Predicted:
    """Predict each measurement for every frame.

    Parameters
    ----------
    trajectory : mdtraj.Trajectory
        Whole molecules, one chain per protein.
    measurements : sequence of Measurement

    Raises
    ------
    StructureError
        A residue does not exist or does not have the observable, an atom is missing, a length is
        impossible for the chain, or coordinates are not finite.
    """
    protein = _Protein(trajectory)
    columns = [_COLUMNS[m.observable](protein, m) for m in measurements]
    values = np.stack(columns, 1)
    if not np.isfinite(values).all():
        frame, column = np.argwhere(~np.isfinite(values))[0]
        raise StructureError(
            f"frame {frame} has coordinates that are not finite ({measurements[column].label}); "
            "remove such frames: traj[np.isfinite(traj.xyz).all((1, 2))]"
        )
    lengths = [m.observable in (RG, END_TO_END) for m in measurements]
    return Predicted(values, np.array(lengths))


def karplus(phi: np.ndarray, shift: float = HA) -> np.ndarray:
    """3J(HN,HA) (Hz) of phi (radians) through the torsion H-N-CA-HA, phi + `shift`."""
    a, b, c = KARPLUS
    cosine = np.cos(phi + shift)
    return a * cosine**2 + b * cosine + c


class _Protein:
    """The chains of a trajectory by name, and the lookup of residues."""

    def __init__(self, trajectory: mdtraj.Trajectory) -> None:
        found = protein_chains(trajectory.topology)
        if not found:
            raise StructureError(
                f"the samples have no protein among {trajectory.n_residues} residues; check their "
                "names"
            )
        self.trajectory = trajectory
        self.chains = dict(
            zip(chain_names([name for name, _ in found]), (rows for _, rows in found), strict=True)
        )

    def chain(self, m: Measurement) -> list[Residue]:
        """The chain that a measurement names, or the only one."""
        name = m.place.chain
        if name is None and len(self.chains) == 1:
            return next(iter(self.chains.values()))
        if name is None:
            raise StructureError(
                f"{m.source}: {m.label} names no chain of {', '.join(self.chains)}; name one, as "
                "in A:12"
            )
        if name not in self.chains:
            raise StructureError(
                f"{m.source}: {m.label} names chain {name!r}; the samples have "
                f"{', '.join(self.chains)}"
            )
        return self.chains[name]

    def residue(self, m: Measurement, number: tuple[int, str]) -> Residue:
        """The residue with a number and insertion code."""
        chain = self.chain(m)
        found = [r for r in chain if (r.resSeq, _code(r)) == number]
        if len(found) != 1:
            raise StructureError(
                f"{m.source}: {m.label} names residue {number[0]}{number[1]}, which its chain has "
                f"{len(found)} times; the residues are {chain[0].resSeq} to {chain[-1].resSeq}"
            )
        return found[0]


def _rg(protein: _Protein, m: Measurement) -> np.ndarray:
    """Radius of gyration [F] (nm) of the protein's atoms, weighted with their masses."""
    residues = [r for chain in protein.chains.values() for r in chain]
    largest = _STEP * len(residues) / math.sqrt(12)  # a straight line of residues
    ball = math.sqrt(3 / 5) * (3 * _VOLUME * len(residues) / (4 * math.pi)) ** (1 / 3)
    _check_length(m, 0.8 * ball, 1.1 * largest + 0.3, f"{len(residues)} residues")
    atoms = [a for r in residues for a in r.atoms if a.element is not None and a.element.mass > 0]
    if not any(atom.name == "CB" for atom in atoms):
        logger.warning("the frames have no side chains, so that rg is that of the other atoms")
    index = np.array([a.index for a in atoms])
    mass = np.array([a.element.mass for a in atoms])
    mass /= mass.sum()
    out = np.empty(protein.trajectory.n_frames)
    for start in range(0, len(out), BLOCK):
        x = protein.trajectory.xyz[start : start + BLOCK, index].astype(np.float64)
        x -= np.einsum("a,fad->fd", mass, x)[:, None]
        out[start : start + BLOCK] = np.sqrt(np.einsum("a,fad,fad->f", mass, x, x))
    return out


def _end_to_end(protein: _Protein, m: Measurement) -> np.ndarray:
    """Distance [F] (nm) of the first and last CA of a chain, or of two named residues."""
    chain = protein.chain(m)
    first, last = chain[0], chain[-1]
    if m.place.first is not None and m.place.last is not None:
        first, last = (protein.residue(m, number) for number in (m.place.first, m.place.last))
    steps = abs(last.index - first.index)
    if not steps:
        raise StructureError(f"{m.source}: {m.label} is the distance of a residue from itself")
    _check_length(m, 0.0, 1.1 * _STEP * steps, f"{steps + 1} residues")
    atoms = [_atom(m, r, "CA") for r in (first, last)]
    difference = np.diff(protein.trajectory.xyz[:, atoms].astype(np.float64), axis=1)[:, 0]
    return np.linalg.norm(difference, axis=-1)


def _coupling(protein: _Protein, m: Measurement) -> np.ndarray:
    """3J(HN,HA) [F] (Hz) of a residue through its phi."""
    assert m.place.first is not None
    residue = protein.residue(m, m.place.first)
    letter = residue_letter(residue.name)
    if letter == "P":
        raise StructureError(f"{m.source}: {m.label} is a proline, which has no HN; remove it")
    if letter != "G" and m.observable != COUPLING:
        raise StructureError(
            f"{m.source}: {m.label} is {residue.name}, which has one HA; give {COUPLING}"
        )
    phi = _phi(protein.trajectory, m, residue)
    if letter == "G" and m.observable == COUPLING:
        return (karplus(phi, HA) + karplus(phi, OTHER)) / 2
    mirrored = m.observable == COUPLING_HA3 or residue.name.strip().upper() in D_AMINO_ACIDS
    return karplus(phi, OTHER if mirrored else HA)


def _phi(trajectory: mdtraj.Trajectory, m: Measurement, residue: Residue) -> np.ndarray:
    """phi [F] (radians); the residue before may be a cap."""
    before = next((r for r in residue.chain.residues if r.index == residue.index - 1), None)
    atoms = [_atom(m, residue, name) for name in ("N", "CA", "C")]
    carbon = [a.index for a in before.atoms if a.name == "C"] if before is not None else []
    length = np.linalg.norm(np.diff(trajectory.xyz[0, [*carbon, atoms[0]]], axis=0))
    if not carbon or length >= PEPTIDE_BOND:
        raise StructureError(
            f"{m.source}: {m.label} has no residue bonded before it, so no phi; remove it"
        )
    quartet = [[*carbon, *atoms]]
    return require("mdtraj").compute_dihedrals(trajectory, quartet, periodic=False)[:, 0]


def _atom(m: Measurement, residue: Residue, name: str) -> int:
    for atom in residue.atoms:
        if atom.name == name:
            return atom.index
    raise StructureError(
        f"{m.source}: {m.label} needs the atom {name}, which {residue} lacks; give frames with "
        "N, CA and C"
    )


def _code(residue: Residue) -> str:
    return (getattr(residue, "insertion_code", "") or "").strip()


def _check_length(m: Measurement, least: float, most: float, of: str) -> None:
    """Refuse a length that the chain cannot have, most often one in another unit."""
    if not least <= m.value <= most:
        raise StructureError(
            f"{m.source}: {m.label} is {m.value:.3g} nm; {of} have {least:.2g} to {most:.2g} nm: "
            f"check the unit ({m.unit})"
        )


_COLUMNS = {
    RG: _rg,
    END_TO_END: _end_to_end,
    COUPLING: _coupling,
    COUPLING_HA2: _coupling,
    COUPLING_HA3: _coupling,
}

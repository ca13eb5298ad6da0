"""The definition of a *valid* frame, and reports on frames (NumPy; SciPy for all atoms).

A frame is valid if

- its coordinates are finite;
- every C-N length is within 0.015 nm of 0.133 nm, every N-CA and CA-C within 0.01 nm of ideal;
- every omega is within 30 degrees of 180 degrees, or of 0 where cis is allowed (before proline, and
  where the caller says so);
- no two heavy atoms more than two bonds apart are closer than 0.25 nm;
- frames of N, CA, C and O only: no two CA two or more residues apart are closer than 0.3 nm;
- frames with side chains: no bond passes through a ring, and CA, and CB of isoleucine and
  threonine, have L chirality.

Faults inside a rigid part that was taken from a known structure do not count. The criteria apply to
the side-chain atoms that are present. Missing atoms, open disulfides and Ramachandran classes are
reported but do not affect validity.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StructureError
from ..files.report_table import Report
from ..protein.atoms import ATOM14
from ..protein.bonding import OXT, SLOTS
from ..protein.chains import divided, protein_chains
from ..protein.disulfides import disulfide_formed
from ..protein.geometry import C_N, CA_C, N_CA, backbone_torsions, peptide_bond_lengths
from ..protein.keep_selection import is_bulk, other_residues
from ..protein.loading import load_structure
from ..protein.obstacles import ObstacleAtoms, Obstacles
from ..protein.protein import Protein
from ..protein.ramachandran import ALLOWED, FAVOURED, OUTLIER, classify
from ..protein.structure import ProteinStructure
from .close_contacts import close_contacts, closest_ca
from .criteria import BOND_TOLERANCE, CIS_OMEGA, CLASH, CLOSEST_CA, PEPTIDE_TOLERANCE, TRANS_OMEGA
from .handedness import wrong_hands
from .kept_contacts import kept_report
from .rings import pierced_rings

if TYPE_CHECKING:
    import mdtraj

BLOCK = 3_000_000  # largest size of an array for a block of frames
OXT_NAMES = ("OXT", "OT2", "O2", "OC2")  # names in the wwPDB archive, CHARMM and GROMACS


def backbone_report(
    backbone: np.ndarray, protein: Protein, rigid: np.ndarray | None = None
) -> Report:
    """Report on backbone frames.

    Parameters
    ----------
    backbone : ndarray, float32 [F, L, 4, 3]
        N, CA, C, O; nm.
    protein : Protein
    rigid : ndarray, int [L], optional
        Residues of the same number (0 or more) are a rigid part; its own bonds and close pairs do
        not count.

    Returns
    -------
    dict of ndarray [F]
        ``valid`` (bool), ``finite``, ``c_n_deviation_nm`` and ``bond_deviation_nm`` (largest
        deviation of C-N, and of N-CA and CA-C), ``broken_bonds`` (C-N off by over 0.015 nm),
        ``cis``, ``twisted_omega``, ``wrong_omega`` (counts; wrong: twisted, or cis where it is not
        allowed), ``closest_ca_nm`` (CA two or more residues apart), ``closest_heavy_nm`` and
        ``clashes`` (as in `all_atom_report`).
    """
    report = _backbone_columns(backbone, protein, rigid)
    frames, length = backbone.shape[:2]
    atoms = np.full((frames, length, SLOTS, 3), np.nan, np.float32)
    atoms[:, :, :4] = backbone
    flat = atoms.reshape(frames, SLOTS * length, 3)
    # A peptide bond that is broken in one frame is one in the others: neighbours count as bonded.
    bonded = Protein(protein.sequence, np.arange(length) == 0).bonding
    closest, clashes = close_contacts(flat, bonded, CLASH, rigid)
    valid = _valid_backbone(report) & (report["closest_ca_nm"] >= CLOSEST_CA) & (clashes == 0)
    return {"valid": valid, **report, "closest_heavy_nm": closest, "clashes": clashes}


def all_atom_report(
    atom14: np.ndarray,
    protein: Protein,
    *,
    terminal_oxygen: np.ndarray | None = None,
    rigid: np.ndarray | None = None,
) -> Report:
    """Report on frames of heavy atoms.

    Parameters
    ----------
    atom14 : ndarray, float32 [F, L, 14, 3]
        nm, NaN where absent; order as in `openmm_slm.protein.atoms.ATOM14`; unused slots are
        ignored.
    protein : Protein
    terminal_oxygen : ndarray, float32 [F, L, 3], optional
        OXT; nm, NaN where absent.
    rigid : ndarray, int [L] or [F, L], optional
        As in `backbone_report`. Bonds count if a residue is in no rigid part in any frame.

    Returns
    -------
    dict of ndarray [F]
        The columns of `backbone_report` (``finite`` also requires that no side-chain atom is
        infinite), then ``d_residues`` and ``wrong_cb`` (CA, and CB of Ile and Thr, that are
        inverted or planar; residues X are skipped, and D amino acids have to be D),
        ``closest_heavy_nm`` (atoms more than two bonds apart), ``clashes`` (such pairs under
        0.25 nm), ``pierced_rings``, ``missing_heavy_atoms`` (of `ATOM14`; X needs N, CA, C and O
        only), ``disulfides_open`` (pairs with SG-SG outside 0.18 to 0.25 nm), and
        ``ramachandran_favoured``, ``ramachandran_allowed``, ``ramachandran_outliers`` (see
        `openmm_slm.protein.ramachandran`).

    Raises
    ------
    StructureError
        An array's shape does not fit the protein.
    """
    atom14 = np.asarray(atom14)
    frames, length, sequence = atom14.shape[0], len(protein), protein.sequence
    if terminal_oxygen is None:
        terminal_oxygen = np.broadcast_to(np.float32(np.nan), (frames, length, 3))
    for name, array, shape in (
        ("atom14", atom14, (frames, length, 14, 3)),
        ("terminal_oxygen", terminal_oxygen, (frames, length, 3)),
    ):
        if array.shape != shape:
            raise StructureError(f"{name} has shape {array.shape}, expected {shape}")
    bonded = protein.bonding
    # The arrays below have up to rings x bonds, and some per atom, entries for each frame.
    block = max(1, BLOCK // (len(bonded.rings) * len(bonded.bonds) + 300 * length))
    count = np.array([len(ATOM14[letter]) for letter in sequence])
    known = (np.arange(SLOTS) < count[:, None]) | (np.arange(SLOTS) == OXT)
    anywhere = rigid.max(0) if np.ndim(rigid) == 2 else rigid
    parts = []
    for start in range(0, max(frames, 1), block):
        part = slice(start, start + block)
        atoms = np.concatenate([atom14[part], terminal_oxygen[part, :, None]], 2)
        infinite = (np.isinf(atoms).any(-1) & known).any((1, 2))
        atoms = np.where(known[..., None] & np.isfinite(atoms), atoms, np.float32(np.nan))
        report = _backbone_columns(atoms[:, :, :4], protein, anywhere)
        report["finite"] = report["finite"] & ~infinite
        at_ca, at_cb = wrong_hands(atoms, sequence, protein.d_residues)
        report |= {"d_residues": at_ca.sum(1), "wrong_cb": at_cb.sum(1)}
        flat = atoms.reshape(len(atoms), SLOTS * length, 3)
        inside = rigid[part] if np.ndim(rigid) == 2 else rigid
        closest, clashes = close_contacts(flat, bonded, CLASH, inside)
        report |= {"closest_heavy_nm": closest, "clashes": clashes}
        report["pierced_rings"] = pierced_rings(flat, bonded)
        report["missing_heavy_atoms"] = _missing(atoms, sequence)
        report["disulfides_open"] = (~disulfide_formed(atoms, protein.disulfides)).sum(1)
        report |= _ramachandran_counts(atoms, protein)
        valid = _valid_backbone(report)
        for column in ("d_residues", "wrong_cb", "clashes", "pierced_rings"):
            valid &= report[column] == 0
        parts.append({"valid": valid, **report})
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _backbone_columns(
    backbone: np.ndarray, protein: Protein, rigid: np.ndarray | None = None
) -> Report:
    """The columns of `backbone_report` that say something of bonds and CA."""
    frames, chain_break = len(backbone), protein.chain_break
    finite = np.isfinite(backbone).all((1, 2, 3))
    x = np.where(finite[:, None, None, None], backbone, 0.0)
    bonded, built = ~chain_break[1:], np.ones(len(protein), bool)
    if rigid is not None:
        bonded = bonded & ~((rigid[1:] >= 0) & (rigid[1:] == rigid[:-1]))
        built = rigid < 0
    peptide = peptide_bond_lengths(x, chain_break)[:, 1:][:, bonded]
    inner = np.concatenate(
        [
            np.linalg.norm(x[:, :, 0] - x[:, :, 1], axis=-1) - N_CA,
            np.linalg.norm(x[:, :, 2] - x[:, :, 1], axis=-1) - CA_C,
        ],
        1,
    )[:, np.tile(built, 2)]
    with np.errstate(invalid="ignore"):
        omega = np.abs(backbone_torsions(x, chain_break)[2][:, 1:][:, bonded])
    cis = omega < CIS_OMEGA
    twisted = ~cis & (omega < TRANS_OMEGA)
    may_be_cis = protein.cis_allowed | np.array(
        [letter == "P" for letter in protein.sequence], bool
    )
    c_n = np.abs(peptide - C_N)

    def largest(values: np.ndarray) -> np.ndarray:
        return values.max(1) if values.shape[1] else np.zeros(frames)

    return {
        "finite": finite,
        "c_n_deviation_nm": largest(c_n),
        "bond_deviation_nm": largest(np.abs(inner)),
        "broken_bonds": (c_n > PEPTIDE_TOLERANCE).sum(1),
        "cis": cis.sum(1),
        "twisted_omega": twisted.sum(1),
        "wrong_omega": (twisted | (cis & ~may_be_cis[1:][bonded])).sum(1),
        "closest_ca_nm": closest_ca(x[:, :, 1]),
    }


def _valid_backbone(report: Report) -> np.ndarray:
    """bool [F]: the criteria for backbones that apply with and without side chains."""
    return (
        report["finite"]
        & (report["c_n_deviation_nm"] <= PEPTIDE_TOLERANCE)
        & (report["bond_deviation_nm"] <= BOND_TOLERANCE)
        & (report["wrong_omega"] == 0)
    )


def _missing(atoms: np.ndarray, sequence: str) -> np.ndarray:
    """Number [F] of missing heavy atoms in atoms [F, L, 15, 3]."""
    count = [4 if letter == "X" else len(ATOM14[letter]) for letter in sequence]
    expected = np.arange(SLOTS) < np.array(count)[:, None]
    return (expected & ~np.isfinite(atoms).all(-1)).sum((1, 2))


def _ramachandran_counts(atoms: np.ndarray, protein: Protein) -> Report:
    """Number [F] of residues at each Ramachandran level."""
    with np.errstate(invalid="ignore"):
        phi, psi, _ = backbone_torsions(atoms[:, :, :4], protein.chain_break)
    level = classify(phi, psi, protein.sequence)
    names = {"favoured": FAVOURED, "allowed": ALLOWED, "outliers": OUTLIER}
    return {f"ramachandran_{name}": (level == value).sum(1) for name, value in names.items()}


def geometry_report(
    structure: ProteinStructure | mdtraj.Trajectory | str | os.PathLike,
    *,
    disulfides: Iterable[tuple[int, int]] | str = "auto",
    cis_allowed: np.ndarray | None = None,
    d_residues: np.ndarray | None = None,
) -> Report:
    """Report on the geometry and validity of frames from any source.

    Parameters
    ----------
    structure : ProteinStructure, mdtraj.Trajectory, or path of a PDB or mmCIF file
        Hydrogens, waters and monovalent ions are ignored. OXT, ligands, metals and nucleic acids
        are included if given in a Trajectory. Frames without any side chain are treated as
        backbones.
    disulfides : iterable of (int, int), "auto" or "none"
        Bonded cysteines, as residue rows from 0. "auto": the S-S bonds of a Trajectory's topology;
        without any, the pairs close enough to be bonded in more than half of the frames.
    cis_allowed : ndarray, bool [L], optional
        Residues other than proline whose preceding peptide bond may be cis.
    d_residues : ndarray, bool [L], optional
        D amino acids, which have to be D. All other residues have to be L.

    Returns
    -------
    dict of ndarray [F]
        ``frame`` (from 0), then the columns of `all_atom_report` or `backbone_report`, and of
        `openmm_slm.validity.kept_contacts.kept_report` if there is more than protein;
        ``pandas.DataFrame(report)`` makes a table.

    Raises
    ------
    StructureError
        The structure has no protein or no frame with finite coordinates, or a disulfide is
        impossible.
    """
    if hasattr(structure, "topology") and hasattr(structure, "xyz"):
        structure = divided(structure)
    found, oxygen, bonded = _read(structure)
    report: Report = {"frame": np.arange(found.n_frames)}
    with_side_chains = bool(set(found.sequence) - set("GX"))
    if with_side_chains and not np.isfinite(found.atom14[:, :, 4:]).any():
        atoms = found.backbone
        report |= backbone_report(atoms, Protein.of(found, None, cis_allowed))
    else:
        if bonded and isinstance(disulfides, str) and disulfides == "auto":
            disulfides = bonded
        protein = Protein.of(found, disulfides, cis_allowed, d_residues)
        atoms = found.atom14
        report |= all_atom_report(atoms, protein, terminal_oxygen=oxygen)
        if oxygen is not None:
            atoms = np.concatenate([atoms, oxygen[:, :, None]], 2)
    beside = None if oxygen is None else _beside(structure, found.sequence)
    if beside is not None:
        report |= kept_report(atoms, found.sequence, beside)
        report["valid"] = report["valid"] & (report["kept_clashes"] == 0)
    return report


def _beside(trajectory: mdtraj.Trajectory, sequence: str) -> Obstacles | None:
    """What a trajectory has besides protein, waters and monovalent ions; None if nothing."""
    topology = trajectory.topology
    others = [residue for residue in other_residues(topology) if not is_bulk(residue)]
    if not others:
        return None
    residues = (residue for _, chain in protein_chains(topology) for residue in chain)
    rows = {residue.index: row for row, residue in enumerate(residues)}
    return ObstacleAtoms.of(topology, others, rows, sequence).at(trajectory.xyz)


def _read(
    structure: ProteinStructure | mdtraj.Trajectory | str | os.PathLike,
) -> tuple[ProteinStructure, np.ndarray | None, list[tuple[int, int]]]:
    """The structure and, from a Trajectory, OXT [F, L, 3] and the S-S bonds of its topology.

    Frames of a Trajectory that are not finite are returned as NaN.
    """
    if not (hasattr(structure, "topology") and hasattr(structure, "xyz")):
        return load_structure(structure), None, []
    topology, xyz = structure.topology, structure.xyz
    residues = (residue for _, chain in protein_chains(topology) for residue in chain)
    row = {residue: i for i, residue in enumerate(residues)}
    good = np.isfinite(xyz[:, [atom.index for r in row for atom in r.atoms]]).all((1, 2))
    protein = load_structure(structure if good.all() or not good.any() else structure[good])
    atom14 = np.full((len(xyz), *protein.atom14.shape[1:]), np.nan, np.float32)
    atom14[good] = protein.atom14
    oxygen = np.full((len(xyz), len(row), 3), np.nan, np.float32)
    for atom in topology.atoms:
        if atom.residue in row and atom.name in OXT_NAMES:
            oxygen[good, row[atom.residue]] = xyz[good, atom.index]
    bridges = [
        (row[a.residue], row[b.residue])
        for a, b in topology.bonds
        if a.name == b.name == "SG" and a.residue in row and b.residue in row
    ]
    bonded = {(min(pair), max(pair)) for pair in bridges}
    if len({i for pair in bonded for i in pair}) < 2 * len(bonded):
        bonded = set()  # an SG in two bonds: MDTraj's reader guessed them from distances
    return replace(protein, atom14=atom14), oxygen, sorted(bonded)

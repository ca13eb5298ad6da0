"""Two proteins side by side in the files of AMBER, GROMACS, CHARMM and MDTraj."""

from __future__ import annotations

from pathlib import Path

import mdtraj as md
import numpy as np
import parmed
from all_atoms import template_chain
from force_fields import load
from frames_to_relax import completed

ONE, TWO = "ACDEFGHIKL", "GSPKEWLL"
BOTH = f"{ONE}:{TWO}"


def two_proteins(frames: int = 2) -> md.Trajectory:
    """All atoms of two extended chains, 3 nm apart."""
    x = np.concatenate([template_chain(ONE), template_chain(TWO) + np.float32([0, 3, 0])])
    traj = completed(x[None], BOTH)
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.002, (frames, traj.n_atoms, 3)).astype(np.float32)
    return md.Trajectory(traj.xyz + noise, traj.topology)


def write_all(traj: md.Trajectory, folder: Path) -> None:
    """Files ``two.<format>``; ``merged.gro`` numbers the residues through both proteins."""
    for kind in ("xtc", "dcd", "trr", "nc", "pdb", "gro"):
        traj.save(str(folder / f"two.{kind}"))
    (folder / "two.ent").write_bytes((folder / "two.pdb").read_bytes())
    traj[0].save_pdb(str(folder / "top.pdb"))
    traj.save_cif(str(folder / "two.cif"))
    (folder / "UPPER.PDB").write_bytes((folder / "two.pdb").read_bytes())
    topology = traj.topology.to_openmm()
    system = load("amber14-all.xml").createSystem(topology)
    amber = parmed.openmm.load_topology(topology, system, xyz=10 * traj.xyz[0])
    for name, kind in (("two.prmtop", "amber"), ("two.rst7", "rst7"), ("two.ncrst", "ncrst")):
        amber.save(str(folder / name), format=kind)
    (folder / "two.inpcrd").write_bytes((folder / "two.rst7").read_bytes())
    # AMBER's default since version 16: NetCDF under the name of the text format.
    (folder / "netcdf.rst7").write_bytes((folder / "two.ncrst").read_bytes())
    (folder / "restart.nc").write_bytes((folder / "two.ncrst").read_bytes())
    merged = traj.topology.copy()
    for number, residue in enumerate(merged.residues, 1):
        residue.resSeq = number
    md.Trajectory(traj.xyz, merged).save_gro(str(folder / "merged.gro"))
    write_psf(traj.topology, folder / "two.psf", ("PROA", "PROB"))
    write_psf(traj.topology, folder / "joined.psf", ("SYS", "SYS"))


def write_psf(topology: md.Topology, path: Path, segments: tuple[str, ...]) -> None:
    """Atoms and bonds as psfgen writes them, with a segment for each chain."""
    lines = [
        "PSF",
        "",
        "       1 !NTITLE",
        " REMARKS two proteins",
        "",
        f"{topology.n_atoms:8d} !NATOM",
    ]
    for atom in topology.atoms:
        residue = atom.residue
        lines.append(
            f"{atom.index + 1:8d} {segments[residue.chain.index]:<4} {residue.resSeq:<4d} "
            f"{residue.name:<4} {atom.name:<4} {atom.name[:1]:<4} {0:10.6f} "
            f"{atom.element.mass:13.4f} {0:11d}"
        )
    numbers = [number + 1 for bond in topology.bonds for number in (bond[0].index, bond[1].index)]
    lines += ["", f"{topology.n_bonds:8d} !NBOND: bonds"]
    for start in range(0, len(numbers), 8):
        lines.append("".join(f"{number:8d}" for number in numbers[start : start + 8]))
    path.write_text("\n".join([*lines, "", "       0 !NTHETA: angles", ""]))


def welded(topology: md.Topology) -> bool:
    """Whether a bond joins the two proteins."""
    return any(
        (a.residue.index < len(ONE)) != (b.residue.index < len(ONE)) for a, b in topology.bonds
    )

"""Seeds keep metals and ligands that force fields know, and name those they do not know."""

from __future__ import annotations

from pathlib import Path

import mdtraj as md
import numpy as np
import pytest
from holo import GLOBIN, atom_line, between, write_chain
from openmm import app, unit

import openmm_slm
from openmm_slm.errors import SLMError
from openmm_slm.protein.keep_selection import other_residues
from openmm_slm.relaxation.judging import FrameJudge
from openmm_slm.seeding.frames import solute

SHORT = {"equilibration": 0.2, "platform": "CPU"}


@pytest.fixture(scope="module")
def holo(tmp_path_factory) -> md.Trajectory:
    """Relaxed frames of the pocket of a globin with haem, CO and a zinc ion."""
    path = tmp_path_factory.mktemp("holo") / "globin.pdb"
    write_chain(path, GLOBIN)
    zinc = atom_line(1, "ZN", "ZN", between(path, (45, "ND1"), (41, "OD1"), 0.22), "ZN")
    sequence = write_chain(path, GLOBIN, zinc, numbers=(26, 103))
    return openmm_slm.generate_ensemble(
        sequence, 2, template=str(path), seed=1, relax={"repair": False}, progress=False
    )


def kept(topology) -> list[str]:
    return [r.name for r in other_residues(md.Topology.from_openmm(topology))]


def test_relaxed_frames_hold_the_groups_without_contacts(holo):
    judge = FrameJudge(holo.topology)
    report = judge.report(holo.xyz)
    assert (report["kept_clashes"] == 0).all()
    rigid = holo.topology.select("resname HEM CMO")
    x = holo.xyz[:, rigid]
    away = np.linalg.norm(x[:, :, None] - x[:, None], axis=-1)
    np.testing.assert_allclose(away[0], away[1], atol=1e-4)
    again = openmm_slm.relax(holo[:1], processes=1, iterations=5, repair=False, progress=False)
    np.testing.assert_array_equal(again.trajectory.xyz[:, judge.others], holo.xyz[:1, judge.others])


def test_a_ligand_without_parameters_is_named_with_the_remedy(holo):
    with pytest.raises(SLMError, match="no parameters for CMO 161.*HEM 160.*keep=.none"):
        list(openmm_slm.seed_simulations(holo, n=1, solvent="implicit", report=holo_report(holo)))
    with pytest.raises(ValueError, match="matches no atom"):
        openmm_slm.seed_simulations(holo, n=1, keep="resname XYZ", report=holo_report(holo))
    with pytest.raises(SLMError, match="nothing.xml.*no such file"):
        openmm_slm.seed_simulations(holo, n=1, parameters="nothing.xml")


def test_groups_in_another_periodic_image_come_to_the_protein(holo):
    boxed = md.Trajectory(holo.xyz.copy(), holo.topology)
    boxed.unitcell_vectors = np.tile(8 * np.eye(3), (len(holo), 1, 1))
    others = boxed.topology.select("resname HEM CMO ZN")
    boxed.xyz[:, others] += np.array([8, -8, 0])
    np.testing.assert_allclose(solute(boxed).xyz, holo.xyz, atol=1e-5)


def holo_report(trajectory: md.Trajectory) -> np.ndarray:
    return np.ones(len(trajectory), bool)


@pytest.mark.slow
def test_seeds_with_an_ion_run(holo):
    options = {"solvent": "implicit", "report": holo_report(holo), "keep": "resname ZN", **SHORT}
    (simulation,) = openmm_slm.seed_simulations(holo, n=1, **options)
    names = [r.name for r in simulation.topology.residues()]
    assert names.count("ZN") == 1 and "HEM" not in names
    simulation.step(1000)
    state = simulation.context.getState(getEnergy=True, getPositions=True)
    assert np.isfinite(state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))
    assert np.isfinite(state.getPositions(asNumpy=True)._value).all()


@pytest.mark.slow
def test_parameters_of_the_user_serve_for_a_ligand(holo, tmp_path):
    """CO, with made-up parameters in a file; it stays in the written seed."""
    path = tmp_path / "co.xml"
    path.write_text(
        '<ForceField><AtomTypes><Type name="co-C" class="co-C" element="C" mass="12.011"/>'
        '<Type name="co-O" class="co-O" element="O" mass="15.999"/></AtomTypes><Residues>'
        '<Residue name="CMO"><Atom name="C" type="co-C" charge="-0.02"/>'
        '<Atom name="O" type="co-O" charge="0.02"/><Bond atomName1="C" atomName2="O"/></Residue>'
        '</Residues><HarmonicBondForce><Bond class1="co-C" class2="co-O" length="0.1128" '
        'k="1100000"/></HarmonicBondForce>'
        '<NonbondedForce coulomb14scale="0.8333333333333334" lj14scale="0.5">'
        '<UseAttributeFromResidue name="charge"/>'
        '<Atom type="co-C" sigma="0.34" epsilon="0.36"/>'
        '<Atom type="co-O" sigma="0.3" epsilon="0.6"/></NonbondedForce></ForceField>'
    )
    out = openmm_slm.write_seeds(
        holo, tmp_path / "seeds", 1, solvent="vacuum", report=holo_report(holo),
        keep="resname CMO", parameters=[path], progress=False, **SHORT,
    )  # fmt: skip
    found = app.PDBxFile(str(Path(out) / "seed_000" / "topology.cif"))
    assert kept(found.topology) == ["CMO"]

"""`openmm-slm complete` on odd files: no traceback, and nothing lost without a word."""

from __future__ import annotations

import logging

import pytest
from click.testing import CliRunner
from odd_file_faults import faults_of_completion, refused_for_a_reason
from odd_files import build, plain, seeded

import openmm_slm
from openmm_slm.cli.main import main
from openmm_slm.files.frame_reader import FrameReader
from openmm_slm.sampling.template import Template


def faults(seed: int, folder, caplog) -> list[str]:
    """What is wrong with the frames that the command writes, or with its error."""
    odd = build(seeded(seed))
    path = folder / f"odd{odd.suffix}"
    path.write_bytes(odd.text.encode())
    caplog.clear()
    with caplog.at_level(logging.WARNING, "openmm_slm"):
        done = CliRunner().invoke(main, ["complete", str(path), "-o", str(folder / "out")])
    said = (done.output + caplog.text).replace(str(folder), "")
    if not isinstance(done.exception, SystemExit | None) or "Traceback" in said:
        return [f"traceback: {done.exception!r}"]
    if done.exit_code:
        return [] if refused_for_a_reason(odd, said) else [f"refused: {done.output}"]
    return faults_of_completion(odd, FrameReader(folder / "out").load(), said)


@pytest.mark.parametrize("seed", range(6))
def test_complete_keeps_or_names_what_odd_files_have(tmp_path, caplog, seed):
    assert faults(seed, tmp_path, caplog) == []


@pytest.mark.parametrize("missing", ["N", "C"])
def test_a_residue_that_is_built_anew_is_named(tmp_path, caplog, missing):
    odd = build(plain(missing=missing))
    (tmp_path / "odd.pdb").write_text(odd.text)
    warned = "GLY 6 of chain A: N or C is missing, and all atoms are built anew from CA"
    Template.of(tmp_path / "odd.pdb", "ACDEFGHIKL")
    assert warned in caplog.text
    caplog.clear()
    made = openmm_slm.complete(tmp_path / "odd.pdb", progress=False)
    assert warned in caplog.text and made.n_residues == 10
    caplog.clear()
    openmm_slm.complete(made.atom_slice(made.topology.select("name CA")), progress=False)
    assert "anew" not in caplog.text  # nothing else was there


@pytest.mark.slow
def test_complete_loses_nothing_of_200_odd_files(tmp_path, caplog):
    found = {}
    for seed in range(6, 206):
        folder = tmp_path / str(seed)
        folder.mkdir()
        found[seed] = faults(seed, folder, caplog)
    assert {seed: wrong for seed, wrong in found.items() if wrong} == {}

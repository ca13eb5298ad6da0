"""Benchmarks against references: what is read, what is compared with what, and what is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from reference_sets import SEQUENCE, bent, quick_sampler, write_references

from openmm_slm.benchmarks import md as md_benchmark
from openmm_slm.benchmarks.ceiling import benchmark_ceiling, reconstruct
from openmm_slm.benchmarks.ensemble_scores import ensemble_figures, evenly_spaced, tica_lag
from openmm_slm.benchmarks.md import benchmark_md
from openmm_slm.benchmarks.references import (
    load_ensemble,
    load_pair,
    read_references,
    trajectory_lengths,
)
from openmm_slm.benchmarks.samplers_and_baselines import SAMPLERS
from openmm_slm.cli.main import main
from openmm_slm.comparison.baselines import elastic_network
from openmm_slm.protein.trajectory import backbone_trajectory


@pytest.fixture
def references(tmp_path) -> Path:
    return write_references(tmp_path / "references")


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setitem(SAMPLERS, "from sequence", quick_sampler)


# -- reading ---------------------------------------------------------------------------------


def test_a_references_directory_is_read(references):
    found = read_references(references)
    assert [each.id for each in found] == ["a", "b", "c", "md", "nmr"]
    assert [each.is_pair for each in found] == [True] * 3 + [False] * 2
    assert [each.is_md for each in found] == [False] * 3 + [True, False]
    md = load_ensemble(found[3])
    assert (md.n_frames, md.n_residues) == (60, 20)
    assert trajectory_lengths(found[3], 60) == [40, 20]
    assert load_ensemble(found[4]).n_atoms == 20 and trajectory_lengths(found[4], 8) == [8]
    first, second = load_pair(found[2])
    assert (first.n_residues, second.n_residues) == (20, 17)


def test_bad_references_are_named(references, tmp_path):
    with pytest.raises(ValueError, match="targets.csv: cannot be read .* directory with"):
        read_references(tmp_path)
    text = (references / "targets.csv").read_text()
    (references / "targets.csv").write_text(text.replace("kind", "sort"))
    with pytest.raises(ValueError, match="no column 'kind'"):
        read_references(references)
    (references / "targets.csv").write_text(text.replace("a2.pdb", "gone.pdb"))
    with pytest.raises(ValueError, match=r"line 2: a has the file .*gone.pdb, which is missing"):
        read_references(references)
    (references / "targets.csv").write_text(text.replace(f'backbone",{SEQUENCE}', '",AAA'))
    with pytest.raises(ValueError, match="its sequence is ACDEF.*that of md .* is AAA"):
        load_ensemble(read_references(references)[3])
    (references / "targets.csv").write_text(text)
    (references / "trajectory_lengths.txt").write_text("40\n21\n")
    with pytest.raises(ValueError, match="lengths sum to 61, md has 60 frames"):
        trajectory_lengths(read_references(references)[3], 60)
    (references / "md.xtc").write_bytes(b"no trajectory")
    with pytest.raises(ValueError, match="md.xtc: cannot be read"):
        load_ensemble(read_references(references)[3])


# -- ceiling and MD --------------------------------------------------------------------------


class Perfect:
    """A tokenizer that loses nothing: tokens are numbers of frames that it remembers."""

    def encode_backbone(self, backbone, mask, index):
        self.seen = backbone
        return np.zeros(mask.shape, np.int64)

    def decode_tokens(self, tokens, amino_acids, index):
        return self.seen.copy()


def test_what_loses_nothing_is_its_own_ceiling():
    whole = backbone_trajectory(np.stack([bent(a) for a in range(0, 45, 5)]), SEQUENCE)
    rebuilt = reconstruct(Perfect(), whole)
    assert np.abs(rebuilt.xyz - whole.xyz).max() < 0.005  # ideal chains stay where they are
    assert rebuilt.topology == whole.topology

    def off(traj):
        x = traj.xyz.reshape(traj.n_frames, 20, 4, 3)
        return np.abs(np.linalg.norm(x[:, 1:, 0] - x[:, :-1, 2], axis=-1) - 0.133).max()

    stretched = elastic_network(whole[0], 30, 0.02)
    assert off(stretched) > 0.015 > 0.003 > off(reconstruct(Perfect(), stretched))


def test_frames_are_chosen_evenly():
    assert evenly_spaced(5, 100).tolist() == [0, 1, 2, 3, 4]
    assert evenly_spaced(1001, 3).tolist() == [0, 500, 1000]
    assert len(evenly_spaced(812, 100)) == 100
    assert tica_lag([376, 400]) == 20 and tica_lag([50]) == 5 and tica_lag([4]) == 1


def test_the_ceiling_names_what_it_leaves_out(references):
    pytest.importorskip("deeptime")
    table = benchmark_ceiling(references, device="cpu", frames=6, progress=False)
    lines = table.splitlines()
    assert lines[0] == "md (MD, backbone): 6 of 60 frames, 20 residues, TICA lag 2 frames"
    assert lines[1].split()[:2] == ["JS-PwD", "JS-TIC"]
    assert [line.split()[0] for line in lines[2:4]] == ["frames", "rebuilt"]
    assert lines[-1] == "nmr: left out, N, CA, C or O is absent"
    with pytest.raises(ValueError, match="no target 'a' for this benchmark; use md, nmr"):
        benchmark_ceiling(references, targets=("a",))


@pytest.mark.slow
def test_md_puts_baselines_at_equal_frames_beside_the_samples(references, monkeypatch):
    pytest.importorskip("deeptime")
    counts = []

    def sample(generator, sequence, start, n, seed):
        """The reference's own distribution: a perfect sampler."""
        assert sequence == SEQUENCE and start.n_frames == 1
        md = load_ensemble(read_references(references)[3])
        return md[np.random.default_rng(seed).integers(0, 60, n)]

    def counted(samples, *args, **kwargs):
        counts.append(samples.n_frames)
        return ensemble_figures(samples, *args, **kwargs)

    monkeypatch.setitem(SAMPLERS, "from sequence", sample)
    monkeypatch.setattr(md_benchmark, "ensemble_figures", counted)
    table = benchmark_md(references, device="cpu", n=60, progress=False)
    assert counts == [60] * 6
    names = ["MD", "from sequence", "from template", "of MD's size", "structure", "jitter", "ANM"]
    rows = {}
    for line in table.splitlines()[2:]:
        name = next(name for name in names if line.startswith(f"{name} "))
        rows[name] = [float(v) if v != "-" else np.nan for v in line[len(name) :].split()]
    assert list(rows) == names
    js = {name: row[0] for name, row in rows.items()}
    assert js["from sequence"] == pytest.approx(js["MD"], abs=0.03)  # at the noise floor
    assert js["MD"] < js["ANM"] < js["structure"]  # the reference was made by an ANM
    assert js["ANM"] < js["jitter"]


def test_commands_print_the_tables(references, tmp_path, quick):
    run = CliRunner().invoke
    options = ["--references", str(references), "--device", "cpu"]
    done = run(main, ["benchmark", "apo-holo", *options, "-o", str(tmp_path / "o"), "-n", "2"])
    assert done.exit_code == 0 and "3 pairs, 2 samples each" in done.output
    for verb in ("md", "ceiling"):
        done = run(main, ["benchmark", verb, *options, "--target", "zzz"])
        assert done.exit_code == 2 and "no target 'zzz'" in done.output

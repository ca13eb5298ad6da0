"""The benchmark of disordered proteins: what it reads, and what it says of errors."""

from __future__ import annotations

import numpy as np
import pytest
from builders import regular

from openmm_slm.benchmarks.disordered import benchmark_disordered, read_proteins, summary
from openmm_slm.benchmarks.tails import tails_table
from openmm_slm.data.shards import ShardWriter
from openmm_slm.errors import SLMError, StructureError

HEADER = "name,sequence,exp_rg_nm\n"


def test_errors_bias_and_exponent_are_those_of_the_table():
    length = np.array([50.0, 100.0, 200.0])
    formula = 0.254 * length**0.522
    rows = {
        str(n): {"residues": n, "rg": 0.2 * n**0.6, "measured": 0.2 * n**0.6 - 0.1, "formula": f}
        for n, f in zip(length, formula, strict=True)
    }
    text = summary(rows)
    assert "these samples: mean absolute error 0.100 nm, bias +0.100 nm" in text
    assert "exponent 0.60" in text


def test_proteins_are_sampled_and_compared(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text(HEADER + "a,GSEPTSKPEDGTPQSNEGKPSDAGQE,1.4\nb,DSHAKRHHGYKRKFHEKHHSHRGY,1.38\n")
    text = benchmark_disordered(path, n=4)
    assert "2 disordered proteins, 4 frames each" in text
    row = next(line for line in text.splitlines() if line.startswith("b "))
    assert 0.8 < float(row.split()[2]) < 2.0
    assert row.split()[4] == "1.38"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER, "no proteins"),
        ("name,sequence\na,GG\n", "line 2: give name, sequence and exp_rg_nm"),
        (HEADER + "a,GG,-1\n", "line 2"),
        (HEADER + "a,GG,1\nb,GG,nan\n", "line 3"),
    ],
)
def test_files_that_cannot_be_used_are_refused(tmp_path, text, message):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(SLMError, match=message):
        read_proteins(tmp_path / "p.csv")


def test_something_to_measure_has_to_be_given():
    with pytest.raises(SLMError, match="neither proteins nor data"):
        benchmark_disordered()


def test_shards_without_folds_of_the_right_size_are_named(tmp_path):
    writer = ShardWriter(tmp_path, atoms=14, prefix="heavy")
    atoms = np.full((30, 14, 3), np.nan, np.float32)
    atoms[:, :4] = regular(30, -60, -45)
    writer.add("x", "A" * 30, atoms, np.arange(30) == 0, np.arange(30), split="test")
    writer.close()
    with pytest.raises(StructureError, match="0 whole chains of 80 to 130 residues"):
        tails_table(_Generator(), tmp_path)


class _Generator:
    """Samples of the peptide alone, which come first."""

    def sample(self, *given: object, **more: object):
        from types import SimpleNamespace

        from openmm_slm.protein.structure import from_backbone

        frames = from_backbone(regular(40, -120, 130)[None], "A" * 40)
        return SimpleNamespace(trajectory=frames.to_trajectory("backbone"))

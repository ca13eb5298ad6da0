"""tools/nearest_training.py: the chain of highest identity that covers half of a protein."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from builders import helix

from openmm_slm.data.shards import ShardWriter
from openmm_slm.protein.sequence import AMINO_ACIDS


def sequence(seed: int, length: int) -> str:
    return "".join(np.random.default_rng(seed).choice(list(AMINO_ACIDS), length))


@pytest.mark.skipif(shutil.which("mmseqs") is None, reason="needs MMseqs2")
def test_the_nearest_training_chain_covers_half_of_the_protein(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "tools"))
    import nearest_training

    a, b, other = sequence(1, 80), sequence(2, 100), sequence(3, 90)
    changed = "".join("W" if i % 4 == 1 else letter for i, letter in enumerate(b))
    writer = ShardWriter(tmp_path / "data")
    for name, text, split, chain in (
        ("one", f"{sequence(4, 60)}:{a}", "train", "AB"),
        ("two", changed, "train", "C"),
        ("three", b[:40], "train", "D"),  # equal, but less than half of it
        ("four", other, "test", "E"),
    ):
        length = len(text.replace(":", ""))
        index = np.repeat([0, 1], [60, length - 60]) if ":" in text else np.zeros(length)
        writer.add(name, text, helix(length), np.arange(length) == 0, np.arange(length), index,
                   split=split, pdb=f"1{name}"[:4], chain=chain)  # fmt: skip
    writer.close()
    rows = "".join(f"{n},MD,{s}\n" for n, s in (("whole", a), ("near", b), ("alone", other)))
    (tmp_path / "targets.csv").write_text("id,kind,sequence\n" + rows)
    monkeypatch.setattr(sys, "argv", ["x", str(tmp_path / "data"), str(tmp_path)])
    nearest_training.main()
    told = capsys.readouterr().out
    lines = {line.split()[0]: line.split()[1:] for line in told.splitlines() if line}
    assert lines["whole"] == ["80", "1one_B", "100", "100"]
    assert lines["near"][1] == "1two_C" and 70 <= int(lines["near"][2]) <= 82
    assert lines["alone"] == ["90", "-"]
    assert "above 50 % identity: 2 of 3 proteins" in told

"""Files with measured averages: what they say, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmm_slm.comparison.experiment_file import UNITS, read_experiment
from openmm_slm.errors import StructureError

GOOD = {"observable": "rg", "value": 1.38, "error": 0.05, "unit": "nm"}
COUPLING = {"observable": "3J_HN_HA", "value": 7.1, "error": 0.5, "unit": "Hz", "residue": "A:12"}


def as_csv(records: list[dict]) -> str:
    text = io.StringIO(newline="")
    rows = csv.DictWriter(text, ("observable", "value", "error", "unit", "residue"))
    rows.writeheader()
    rows.writerows(records)
    return text.getvalue()


def test_both_formats_and_records_say_the_same(tmp_path):
    records = [
        GOOD,
        {"observable": "end_to_end", "value": 45, "error": 2, "unit": "Å", "residue": "A:5-60"},
        COUPLING,
        {**COUPLING, "residue": "H:100B"},
        {**COUPLING, "observable": "3J_HN_HA2", "residue": -3},
    ]
    (tmp_path / "x.json").write_text(json.dumps(records))
    (tmp_path / "x.csv").write_text("\ufeff" + as_csv(records) + "\n")  # as spreadsheets write it
    found = [[(m.observable, m.value, m.error, m.factor, m.place) for m in read_experiment(source)]
             for source in (records, tmp_path / "x.json", tmp_path / "x.csv")]  # fmt: skip
    assert found[0] == found[1] == found[2]
    value, error = found[0][1][1:3]
    assert (value, error) == (pytest.approx(4.5), pytest.approx(0.2))  # nm
    places = [row[-1] for row in found[0]]
    assert (places[1].chain, places[1].first, places[1].last) == ("A", (5, ""), (60, ""))
    assert (places[3].chain, places[3].first) == ("H", (100, "B"))
    assert (places[4].chain, places[4].first) == (None, (-3, ""))


@given(
    st.sampled_from([(name, unit) for name, units in UNITS.items() for unit in units]),
    st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.integers(-99, 9999), st.sampled_from("ABz9"),
)  # fmt: skip
def test_what_is_written_is_read(tmp_path_factory, kind, value, error, number, chain):
    residue = {"rg": "", "end_to_end": chain}.get(kind[0], f"{chain}:{number}")
    if residue == "9":  # a bare number is a residue
        residue = "A"
    record = dict(zip(("observable", "unit"), kind, strict=True))
    record |= {"value": value, "error": error, "residue": residue}
    path = tmp_path_factory.mktemp("x") / "x.csv"
    path.write_text(as_csv([record]))
    (found,) = read_experiment(path)
    assert found.value / found.factor == pytest.approx(value)
    assert found.error / found.factor == pytest.approx(error)
    assert found.label == f"{kind[0]} {residue}".strip()


@given(st.text(max_size=60), st.sampled_from([".csv", ".json"]))
def test_any_text_is_read_or_refused_with_a_reason(tmp_path_factory, text, kind):
    path = tmp_path_factory.mktemp("x") / f"x{kind}"
    path.write_text(text, encoding="utf-8")
    try:
        assert read_experiment(path)
    except StructureError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"observable": "Rh"}, "row 2: observable is 'Rh'; known are rg, end_to_end, 3J_HN_HA"),
        ({"observable": None}, "observable is ''"),
        ({"unit": "pm"}, "unit of rg is 'pm'; give nm or Å"),
        ({"unit": "Hz"}, "unit of rg is 'Hz'"),
        ({"unit": ""}, "unit of rg is ''"),
        ({"value": ""}, "value is missing"),
        ({"error": None}, "error is missing"),
        ({"error": 0}, "error is 0; give a number above 0"),
        ({"error": -0.1}, "error is -0.1"),
        ({"value": -1.2}, "value is -1.2"),
        ({"value": "nan"}, "value is 'nan'"),
        ({"value": math.inf}, "value is inf"),
        ({"value": "1,38"}, "value is '1,38'"),
        ({"value": True}, "value is True"),
        ({"value": [1.0]}, r"value is \[1.0\]"),
        ({"value": 10**400}, "value is 1000"),
        ({"residue": "A:5"}, "it is that of all protein atoms"),
        ({"chain": "A"}, "row 2 has 'chain'"),
        ({"observable": "3J_HN_HA", "unit": "Hz"}, "give chain and number, as in A:12"),
        ({"observable": "3J_HN_HA", "unit": "Hz", "residue": "A:5-9"}, "as in A:12"),
        ({"observable": "end_to_end", "residue": "A:5"}, "two residues"),
        ({"observable": "end_to_end", "residue": "A-B:C"}, "two residues"),
        ({"unit": "Å", "value": 13.8}, "rg is there already .row 1"),
    ],
)
def test_records(change, named):
    with pytest.raises(StructureError, match=named):
        read_experiment([GOOD, {**GOOD, **change}])


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("x.csv", "", "the file is empty"),
        ("x.json", " \n", "the file is empty"),
        ("x.json", "[]", "no measurement"),
        ("x.csv", "observable,value,error,unit\n", "no measurement"),
        ("x.json", "{", "not readable as JSON"),
        ("x.json", '{"observable": "rg"}', "the file has a dict; give a list"),
        ("x.json", "[3]", "row 1 is 3"),
        ("x.json", '[{"observable": "rg", "unit": "nm", "value": NaN}]', "value is nan"),
        ("x.csv", "observable,value,unit\nrg,1,nm\n", "the columns are observable, value, unit"),
        ("x.csv", "observable,value,error,unit,color\nrg,1,1,nm,b\n", "color; give"),
        ("x.csv", "observable,value,value,error,unit\nrg,1,1,1,nm\n", "each once"),
        ("x.csv", "observable,value,error,unit\nrg,1,nm\n", "row 1 has 3 fields for 4 columns"),
        ("x.csv", 'observable,value,error,unit\n"rg,1,1,nm\n', "not readable as CSV"),
        ("x.txt", "rg 1.38", "ends with .json or .csv"),
    ],
)  # fmt: skip
def test_files(name, text, named, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(StructureError, match=named):
        read_experiment(tmp_path / name)


def test_files_that_are_not_text(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "x.csv", tmp_path / "none.csv", tmp_path):
        with pytest.raises(StructureError, match="cannot be read"):
            read_experiment(path)

"""The form all benchmarks share: targets, the printed table, the JSON rows."""

import json

import pytest
import torch

from gendesign.benchmark.record import Row, check_record, hardware, table, write
from gendesign.errors import UserError


@pytest.mark.parametrize(
    ("value", "target", "met"),
    [
        (0.90, ">= 0.90", True),
        (0.89, ">= 0.90", False),
        (5.0, "<= 5", True),
        (5.01, "<= 5", False),
        (0, "<= 0", True),
        (1, "<= 0", False),
        (-1.5, ">= -2", True),
        (None, "<= 5", False),
        (float("nan"), ">= 0.90", False),
        (float("inf"), ">= 0.90", False),
        (0.1, None, None),
    ],
)
def test_targets(value, target, met):
    assert Row("x", value, "", 10, target).met is met


@pytest.mark.parametrize("target", ["5", "> 5", "<=5", ">= 0.9.1", ">= ninety"])
def test_a_target_of_another_form_is_refused(target):
    with pytest.raises(ValueError, match="neither"):
        Row("x", 1.0, "", 1, target)


def test_table_shows_counts_and_what_was_missed():
    rows = [
        Row("valid", 0.91, "fraction", 200, ">= 0.90"),
        Row("PoseBusters", 0.8, "fraction", 200, ">= 0.85"),
        Row("strain", None, "kcal/mol", 0, "<= 5"),
        Row("time", 12.25, "s/molecule", 20),
    ]
    first, second, third, last = table(rows).splitlines()
    assert "0.910 (182 of 200)" in first and first.endswith(">= 0.90  met")
    assert "160 of 200" in second and second.endswith("not met")
    assert "not measured" in third and third.endswith("not met")
    assert last.endswith("n=20") and "12.25 s/molecule" in last


def test_written_rows(tmp_path):
    valid, strain = Row("valid", 2 / 3, "fraction", 3, ">= 0.90"), Row("strain", float("inf"), "kcal/mol", 2)
    rows = [valid, strain, Row("n", 0, "", 3)]
    write(rows, tmp_path / "x.json", torch.device("cpu"))
    found = json.loads((tmp_path / "x.json").read_text())
    assert [list(row) for row in found] == [["name", "value", "unit", "target", "n", "hardware"]] * 3
    assert [row["value"] for row in found] == [0.666667, None, 0]
    assert found[0]["target"] == ">= 0.90" and found[1]["target"] is None
    assert all(row["hardware"] == hardware() for row in found) and "torch threads" in hardware()
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_a_record_that_cannot_be_a_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="record="):
        check_record(tmp_path / "file")

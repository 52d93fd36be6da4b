"""The short table on the terminal: what was asked, how many succeeded, where to look."""

from pathlib import Path

from ase import Atoms

from gendesign.run.table import MOST_ROWS, failures, measured_table, readable, terminal_lines
from gendesign.screening import Screening, summarise
from gendesign.screening.perovskite import HEADLINES, PerovskiteScreening
from gendesign.screening.screen import HEADLINES as OF_MOLECULES
from gendesign.structure.types import Candidate, Row, Verdict


def summary(names: list[str], **more) -> dict:
    table = [{"name": name, "value": 0.5, "unit": "fraction", "n": 4} for name in names]
    return {"table": table, "timings": {"candidates": 4, "seconds": {"generate": 8.0}}, **more}


def test_a_long_table_is_shortened_to_its_headlines():
    names = [f"row {k}" for k in range(MOST_ROWS + 3)]
    content = summary(names, headlines=("row 2", "row 0", "row that was not measured"), asked="generate: 4 candidates")
    lines = terminal_lines(content | {"warnings": ["look\nout"]}, Path("out"))
    assert lines == [
        "generate: 4 candidates",
        "attempted           4",
        "row 0               50 % of 4",
        "row 2               50 % of 4",
        "time per candidate  2.00 s (generate 2.00)",
        "results in out: open out/report.html (10 more rows)",
        "warning: look out",
    ]


def test_a_short_table_and_one_without_headlines():
    assert len(terminal_lines(summary(["a", "b"], headlines=("a",)))) == 4
    assert len(terminal_lines(summary([f"row {k}" for k in range(30)]))) == MOST_ROWS + 2


def test_headlines_are_rows_of_the_tables():
    verdicts = [Verdict(0, "finished", True), Verdict(0, "rank", None, 1.0)]
    measured = ("energy_per_formula", "space_group", "decomposition_energy", "energy_above_competing_phases")
    verdicts += [Verdict(0, check, None, 1.0) for check in measured]
    assert set(HEADLINES) <= {row["name"] for row in PerovskiteScreening().summarise(verdicts, 1)}
    assert len(HEADLINES) + 3 <= 12
    verdicts = [Verdict(0, "smiles", None, "C"), Verdict(0, "diversity", None, 0.5)]
    verdicts += [Verdict(0, check, True) for check in ("valid", "posebusters", "unique", "novel")]
    assert set(OF_MOLECULES) <= {row.name for row in summarise(verdicts, 1)}
    assert Screening().strain_methods[1] == "gfn2"


def test_measured_rows():
    rows = [Row("share", 0.5, "fraction", 4, ">= 0.9"), Row("time", None, "s", 0)]
    assert measured_table(rows).splitlines() == [
        "share  0.500 (2 of 4)  n=4  >= 0.9  not met",
        "time   not measured    n=0",
    ]


def test_failures_are_counted_with_their_most_frequent_reason():
    def made(*reasons):
        return [Candidate(Atoms("H"), k, failure=reason) for k, reason in enumerate(reasons)]

    assert failures(made(None, None, "lost")) == []
    assert failures(made("hot: 3 K", "lost", "hot: 7.5 K")) == ["3 of 3 failed, 2 of them so: hot: 3 K"]
    assert failures(made("lost", None)) == ["1 of 2 failed: lost"]


def test_shares_of_atoms_and_whole_numbers():
    rows = [
        {"name": "defects", "value": 0.042, "unit": "fraction of atoms", "n": 2},
        {"name": "cooling rate", "value": 135000.0, "unit": "K/ps", "n": 2},
    ]
    shown = dict(readable(rows, {"candidates": 2, "seconds": {}}))
    assert shown["defects"] == "4.2 % of atoms" and shown["cooling rate"] == "135000 K/ps"

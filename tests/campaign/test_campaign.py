"""Whole campaigns of toys in one process: what is made again after a change, selections, merged files, reports."""

import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import toys

from gendesign.campaign import Campaign
from gendesign.campaign.campaign import query, status, verify
from gendesign.campaign.results import MERGED
from gendesign.errors import SettingsError, UserError

HERE = {"engine": {"use": "local", "workers": 0}}


def run(content, **how):
    return Campaign({**content, **HERE}, allow=["toys"]).run(**how)


def calls(folder) -> Counter:
    """Candidates computed by each stage, and the file begun anew."""
    path = Path(folder) / "calls.txt"
    if not path.is_file():
        return Counter()
    counts: Counter = Counter()
    for line in path.read_text().splitlines():
        name, indices = line.split(" ")
        counts[name] += len(indices.split(","))
    path.unlink()
    return counts


@pytest.fixture
def counted(tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_CALLS", str(tmp_path))
    return tmp_path


def merged(folder) -> list[bytes]:
    return [(folder / name).read_bytes() for name in MERGED]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "campaign"
    return run(toys.content(folder)), folder


def test_the_funnel_counts_every_candidate_once(whole):
    _, folder = whole
    funnel = json.loads((folder / "funnel.json").read_text())
    assert [(row["stage"], row["entered"], row["kept"]) for row in funnel] == [
        ("generate", 80, 72), ("size", 72, funnel[1]["kept"]), ("nudge", 20, 20), ("again", 20, 20),
    ]  # fmt: skip
    assert funnel[0]["reasons"] == {"no room": 8}
    assert funnel[1]["reasons"] == {"even is not met": 72 - funnel[1]["kept"]}
    assert funnel[2]["reasons"] == {"not selected": funnel[1]["kept"] - 20}
    rows = pq.read_table(folder / "candidates.parquet").to_pylist()
    assert len(rows) == 80 and sorted(row["rank"] for row in rows if row["rank"]) == list(range(1, 21))
    assert {row["grid_seed"] for row in rows} == {"0", "1"}


def test_the_budget_takes_the_best_by_pareto_rank(whole):
    _, folder = whole
    rows = [row for row in pq.read_table(folder / "candidates.parquet").to_pylist() if row["even"]]
    inside = {(r["run"], r["candidate"]) for r in rows if r["last_stage"] == "again"}
    costs = {(r["run"], r["candidate"]): (r["size"], -r["skew"]) for r in rows}

    def dominates(a, b):
        return costs[a] != costs[b] and costs[a][0] <= costs[b][0] and costs[a][1] <= costs[b][1]

    outside = costs.keys() - inside
    assert len(inside) == 20 and outside
    # nobody who stayed outside dominates one who entered
    assert not any(dominates(a, b) for a in outside for b in inside)


def test_the_same_command_again_computes_nothing(counted):
    content = toys.content(counted / "campaign", n=20)
    run(content)
    first = merged(counted / "campaign")
    assert calls(counted)["generate"] == 40
    run(content)
    assert calls(counted) == {} and merged(counted / "campaign") == first


def test_a_changed_check_runs_again_with_what_follows_and_nothing_else(counted):
    folder = counted / "campaign"
    run(toys.content(folder, n=20))
    before = calls(counted)
    run(toys.content(folder, n=20, again={"version": 3}))  # the last stage
    after = calls(counted)
    assert after == {"size": 20} and before["nudge"] == 20
    run(toys.content(folder, n=20, size={"version": 9}))  # the first stage
    after = calls(counted)
    assert after["generate"] == 0 and after["nudge"] == 20 and after["size"] == 36 + 20
    run(toys.content(folder, n=20))  # back again: everything is still there
    assert calls(counted) == {}


def test_a_changed_filter_or_budget_computes_only_new_candidates_shards(counted):
    folder = counted / "campaign"
    run(toys.content(folder, n=20, nudge={"budget": 4}))
    assert calls(counted)["nudge"] == 4
    run(toys.content(folder, n=20, nudge={"budget": 5}))
    after = calls(counted)
    assert after["generate"] == after["size"] - after["nudge"] == 0 and 1 <= after["nudge"] <= 5


def test_a_new_grid_value_and_a_larger_n_add_shards(counted):
    folder = counted / "campaign"
    run(toys.content(folder, n=20, seeds=(0,)))
    calls(counted)
    run(toys.content(folder, n=20, seeds=(0, 1)))
    assert calls(counted)["generate"] == 20
    run(toys.content(folder, n=25, seeds=(0, 1)))
    assert calls(counted)["generate"] == 10


def test_memory_that_runs_out_halves_the_batch(counted, whole):
    folder = counted / "campaign"
    run(toys.content(folder, size={"memory": 14}))
    halved = [json.loads(p.read_text()).get("batches", 1) for p in folder.glob("stages/size-*/*/*/timings.json")]
    assert max(halved) > 1
    assert merged(folder)[0] == merged(whole[1])[0]  # candidates.parquet


def test_a_single_candidate_too_large_has_failed_with_its_reason(counted):
    run(toys.content(counted / "campaign", n=20, size={"memory": 5, "keep": []}))
    rows = pq.read_table(counted / "campaign" / "candidates.parquet").to_pylist()
    failed = [row for row in rows if "out of memory" in row["reason"]]
    assert failed and all(row["size"] is None for row in failed)


def test_a_corrupted_part_is_named_and_made_again(whole, tmp_path, capsys):
    content = toys.content(tmp_path / "campaign")
    run(content)
    part = next((tmp_path / "campaign").glob("stages/size-*/*/00001-*"))
    (part / "verdicts.parquet").write_bytes(b"PAR1 rubbish")
    assert [line for line in verify(tmp_path / "campaign") if part.name in line]
    with pytest.raises(UserError, match="cannot be read"):
        run(content)
    for file in part.iterdir():
        file.unlink()
    part.rmdir()
    run(content)
    assert merged(tmp_path / "campaign") == merged(whole[1])
    assert not list(verify(tmp_path / "campaign"))


def test_the_ledger_is_rebuilt_from_the_folders(whole):
    _, folder = whole
    before = status(folder)
    (folder / "ledger.sqlite").unlink()
    with pytest.raises(SettingsError, match="ledger"):
        status(folder)
    assert list(verify(folder)) == ["ledger.sqlite is missing; the campaign's command makes it from the shards"]
    run(toys.content(folder))
    assert status(folder) == before and before[0]["state"] == "finished"


def test_a_damaged_table_is_one_line_that_says_what_makes_it_anew(tmp_path):
    (tmp_path / "candidates.parquet").write_text("no parquet")
    with pytest.raises(SettingsError, match=r"cannot be read .*; gendesign campaign report .* makes it anew"):
        Campaign({"output": str(tmp_path)}).results()


def test_python_and_sql(whole):
    _, folder = whole
    campaign = Campaign(folder)
    assert len(campaign.results()) == 80
    pytest.importorskip("duckdb")
    counts = campaign.table('SELECT count(*) AS n FROM verdicts WHERE "check" = ?', ["even"])
    assert counts["n"][0] == 72
    for wrong in (f"SELECT * FROM read_text('{folder}/funnel.json')", f"COPY candidates TO '{folder}/x.csv'",
                  "INSTALL httpfs", "SET enable_external_access = true", "SELEC 1"):  # fmt: skip
        with pytest.raises(UserError, match="the query cannot be run"):
            query(folder, wrong)


def test_two_settings_of_the_same_run_are_refused(tmp_path):
    content = toys.content(tmp_path / "campaign")
    content["generators"]["twin"] = content["generators"]["toy"] | {"grid": {"seed": [0]}}
    run(content)  # other names: other runs, whose copies a stage may leave out
    content["stages"]["nudge"] |= {"unique": "inchikey", "budget": None}
    results = run(content)
    assert len({entry.values["smiles"].value for entry, _ in results.finalists}) == len(results.finalists)

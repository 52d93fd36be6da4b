"""The benchmark of campaigns, small: a simulation that loses nothing, and what a budget misses."""

import json

import pytest

from gendesign import cli
from gendesign.benchmark.campaign import regrets, simulation
from gendesign.benchmark.large_campaign import metered, rows_of
from gendesign.campaign.coordinator import run_campaign
from gendesign.errors import UserError

STUBS = "gendesign.benchmark.stubs"


def test_the_table_of_a_tiny_run(tmp_path, capsys):
    words = ["shards=200", "rows=300", "workers=7", "stubs=10", "molecules=0", "large=0"]
    assert cli.main(["benchmark", "campaign", f"record={tmp_path}", *(f"campaigns.{word}" for word in words)]) == 0
    rows = {row["name"]: row for row in json.loads((tmp_path / "campaign.json").read_text())}
    assert rows["simulation: shards entered in the ledger"]["value"] == 1
    assert rows["simulation: shards made once too often beyond the kills"]["value"] <= 0
    assert rows["ledger: status"]["n"] == 300 and "ledger: status" in capsys.readouterr().out


def test_killed_workers_of_the_simulation_are_asked_again(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{STUBS}.DEATHS", 0.2)
    rows = {row.name: row.value for row in simulation(tmp_path, 5, 300, 1)}
    assert rows["simulation: workers killed"] > 30 and rows["simulation: shards entered in the ledger"] == 1


def test_a_perfect_objective_misses_nothing_and_its_opposite_all(tmp_path):
    content = {
        "output": str(tmp_path / "campaign"), "potential": f"{STUBS}:potential", "shard_size": 5,
        "generators": {"lines": {"_target_": f"{STUBS}.Lines", "n": 20}}, "engine": {"use": "local", "workers": 0},
        "stages": {"stage": {"_target_": f"{STUBS}.Stub"}}, "rank": {"by": ["min candidate_number"]},
    }  # fmt: skip
    survey = run_campaign(content, allow=[STUBS])
    rows = {row.name: row.value for row in regrets(survey, ("min candidate_number",), (0.25,), 5)}
    assert (
        rows["20 candidates: missed of the best 5, budget 25%, rank"] == 0
        and rows["20 candidates: missed of the best 5, budget 25%, random"] == 0.75
    )
    rows = {row.name: row.value for row in regrets(survey, ("max candidate_number",), (0.25,), 5)}
    assert rows["20 candidates: missed of the best 5, budget 25%, rank"] == 1


def of_stubs(folder, **more):
    return {
        "output": str(folder / "campaign"), "potential": f"{STUBS}:potential", "shard_size": 5,
        "generators": {"lines": {"_target_": f"{STUBS}.Lines", "n": 20}}, "engine": {"use": "local", "workers": 1},
        "stages": {"stage": {"_target_": f"{STUBS}.Stub"}}, "rank": {"by": ["min number_1"]},
    } | more  # fmt: skip


def test_memory_and_time_of_a_campaign_are_of_all_its_processes_and_parts(tmp_path):
    content = of_stubs(tmp_path)
    first = metered(tmp_path, content, (f"allow={STUBS}",))
    rows = {row.name.split(": ")[1]: row for row in rows_of(tmp_path, content, first)}
    assert rows["accounted for"].value == 1 and rows["accounted for"].n == 20
    assert 0.05 < rows["memory of all its processes"].value < 6
    again = metered(tmp_path, content, (f"allow={STUBS}",))
    assert again["seconds"] > first["seconds"] and again["memory"] >= first["memory"]


def test_a_campaign_that_ends_with_an_error_has_no_rows(tmp_path):
    with pytest.raises(UserError, match="ended with the message above"):
        metered(tmp_path, of_stubs(tmp_path, shard_size="many"))


def test_a_campaign_that_is_not_finished_is_refused(tmp_path, capsys):
    words = [f"record={tmp_path}", f"campaigns.finished={tmp_path}"]
    assert cli.main(["benchmark", "campaign", *words]) == 2
    assert "no campaign folder" in capsys.readouterr().err

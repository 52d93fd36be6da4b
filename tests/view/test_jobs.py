"""How runs are followed: frames of several workers, reasons of failures, lists of runs that cannot be read."""

import asyncio
import json

import pytest

from gendesign.errors import UserError
from gendesign.view.client import Warm
from gendesign.view.jobs import FAILED, Jobs, _Seen, _state


def test_frames_hold_the_molecules_of_all_workers_and_skip_cut_lines(tmp_path):
    first, second = tmp_path / "growing-000000.jsonl", tmp_path / "growing-000001.jsonl"
    for index, path in enumerate((first, second)):
        path.write_text(json.dumps({"sigma": 1.0, "molecules": [[index, [6], [[0, 0, 0]]]]}) + "\n")
    seen = _Seen(tmp_path, tmp_path / "progress", tmp_path / "run")
    assert [row["molecules"][0][0] for row in seen.frames()] == [0, 1]
    assert seen.frames() == []
    with first.open("a") as file:
        file.write('{"sigma": 0.9, "mole\n' + json.dumps({"sigma": 0.8, "molecules": []}) + "\n")
    assert [row["sigma"] for row in seen.frames()] == [0.8, 1.0]  # the other one has made no step
    second.unlink()
    with first.open("a") as file:
        file.write(json.dumps({"sigma": 0.7, "molecules": []}) + "\n")
    assert [row["sigma"] for row in seen.frames()] == [0.7]


def test_the_reason_of_a_failure_is_no_warning(tmp_path):
    log = tmp_path / "log"
    log.write_text("gendesign: n=0: give more\ngendesign: warning: slow\nTraceback\n")
    assert _state(2, False, log) == (FAILED, "n=0: give more")
    log.write_text("gendesign: warning: slow\nTraceback\n")
    assert _state(1, False, log) == (FAILED, "it ended with an error; see its log")


def test_a_list_of_runs_that_cannot_be_read_is_said_in_one_line(tmp_path):
    async def read():
        return Jobs(tmp_path, Warm([], tmp_path), lambda name, content: None)

    for text in ("[{", '[{"other": 1}]'):
        (tmp_path / "jobs.json").write_text(text)
        with pytest.raises(UserError, match="cannot be read"):
            asyncio.run(read())

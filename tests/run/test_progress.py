"""What a run says on stderr where there is no terminal."""

import time

from gendesign.run.progress import Bar


def test_phases_have_names_and_end_with_their_stage():
    bar = Bar(8, 4, ["generate", "relax"])
    bar.shard(0, 2)
    assert bar.description == "0 of 2 shards, generating"
    bar.phase("halving 1 of 2", 3, 10)
    assert bar.description == "0 of 2 shards, halving 1 of 2 (3 of 10)"
    bar.stage("generate", 1)  # candidates that the phase has ended
    assert "halving" in bar.description
    bar.stage("relax", 1)
    assert bar.description == "0 of 2 shards, relaxing"
    bar.shard(2, 2)
    assert bar.description == "writing the results"
    bar.phase("competing phases")
    assert bar.description == "2 of 2 shards, competing phases"
    bar.phase("")
    assert bar.description == "writing the results"


def test_a_line_appears_when_there_was_none_for_long(capsys):
    with Bar(10, 5, ["generate"], most_silent=0.05) as bar:
        bar.shard(0, 2)
        bar.stage("generate", 4)
        bar.phase("starts", 4, 5)
        time.sleep(0.3)
    time.sleep(0.1)
    lines = capsys.readouterr().err.splitlines()
    assert 1 <= len(lines) <= 7
    assert lines[0].startswith("0 of 2 shards, starts (4 of 5): 40 % after 0 s, about 0 s left")


def test_no_line_in_a_short_run(capsys):
    with Bar(10, 5, ["generate"]) as bar:
        bar.shard(0, 2)
        bar.shard(1, 2)
    assert [line.split(" after")[0] for line in capsys.readouterr().err.splitlines()] == ["shard 1 of 2"]

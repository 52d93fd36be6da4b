"""Rows of the benchmark of the diffusion model, with a model of random weights."""

import json

import pytest
import tiny
import torch
from clouds import model
from omegaconf import OmegaConf

from gendesign.benchmark import diffusion as benchmark
from gendesign.benchmark.tally import Tally
from gendesign.generate.diffusion import checkpoint
from gendesign.generate.diffusion.loss import NoiseLevels
from gendesign.run.settings import resolve
from gendesign.structure.files import read_structures
from gendesign.structure.types import Row


@pytest.fixture
def folder(tmp_path):
    checkpoint.save(model(dtype=torch.float32), NoiseLevels(), tmp_path / "model", name="random")
    return tmp_path / "model"


def test_every_sample_counts_and_targets_are_those_of_the_field(folder, tmp_path):
    made = benchmark.generator(
        str(folder), tiny.potential(dtype="float32"), calls=4, elements=["C", "N", "O"],
        reference=tiny.references(tmp_path),
    )  # fmt: skip
    rows = {row.name: row for row in benchmark.raw_rows(made, 6, 0, tmp_path, ())}
    assert rows["atoms stable, raw"].target == ">= 0.987" and rows["valid and unique, raw"].n == 6
    assert 0 <= rows["valid, raw"].value <= 1 and rows["pieces of a molecule, raw"].value >= 1
    assert rows["valid, best of 4 by learned energy"].n == 1
    assert len(read_structures([tmp_path / "raw.extxyz"], strict=False)) == 6


def test_validity_and_time_are_measured_for_each_number_of_calls(folder, tmp_path, monkeypatch):
    usual = dict(elements=["C", "N", "O"], reference=tiny.references(tmp_path))
    plain = benchmark.generator
    monkeypatch.setattr(benchmark, "generator", lambda *words, **keys: plain(*words, **usual, **keys))
    settings = OmegaConf.create({"checkpoint": str(folder), "calls": [4, 64], "per_call": 2})
    rows = {row.name: row for row in benchmark.call_rows(settings, tiny.potential(dtype="float32"), 0)}
    assert rows["time of sampling, 64 calls"].target == "<= 1" and rows["time of sampling, 4 calls"].target is None
    assert rows["time of sampling, 64 calls"].value > rows["time of sampling, 4 calls"].value > 0


def test_four_generators_are_compared_at_every_size_and_the_table_is_written(folder, tmp_path, monkeypatch, capsys):
    asked = []

    def judged(words, config, potential, path):
        asked.append((words, path.name))
        return Tally.of([], 5), 2.0

    monkeypatch.setattr(benchmark, "judged", judged)
    monkeypatch.setattr(benchmark, "load", lambda config: tiny.potential(dtype="float32"))
    monkeypatch.setattr(benchmark, "generator", lambda *words, **keys: None)
    monkeypatch.setattr(benchmark, "raw_rows", lambda *words: [Row("valid, raw", 0.5, "fraction", 2)])
    monkeypatch.setattr(benchmark, "call_rows", lambda *words: [])
    config = resolve("benchmark", [f"record={tmp_path / 'record'}", f"output={tmp_path}", "diffusion.sizes=[9,15]"])
    config.diffusion.checkpoint, config.diffusion.per_size = str(folder), 5
    benchmark.run(config)
    assert len(asked) == 8 and len({name for _, name in asked}) == 8
    words_of = {name: words for words, name in asked}
    raw, finished = (words_of[f"diffusion,-{kind}-15"] for kind in ("raw", "finished"))
    assert "generator.finish=false" in raw and "generator.finish=false" not in finished
    rows = {row["name"]: row for row in json.loads((tmp_path / "record" / "diffusion.json").read_text())}
    assert rows["strict validity, diffusion, finished, 15 heavy atoms"]["target"] == ">= 0.70"
    assert rows["strict validity, SimGen, 9 heavy atoms"]["n"] == 5 and "valid, raw" in capsys.readouterr().out

"""Rows of the benchmark of the diffusion model, with a model of random weights."""

import pytest
import tiny
import torch
from clouds import model
from omegaconf import OmegaConf

from gendesign.benchmark import diffusion as benchmark
from gendesign.generate.diffusion import checkpoint
from gendesign.generate.diffusion.loss import NoiseLevels
from gendesign.structure.files import read_structures


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

"""The results folder: the same bytes after any interruption, one configuration, one writer."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import chains as toy
import pytest

from gendesign.errors import SettingsError, UserError
from gendesign.run.folder import check_folder, open_folder
from gendesign.run.records import read_candidates, read_verdicts

PROMISED = ("molecules.sdf", "candidates.extxyz", "verdicts.parquet")


def promised(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in PROMISED]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    toy.run_toy(folder)
    return folder


def test_kill_and_resume_gives_the_same_bytes(whole, tmp_path):
    folder = tmp_path / "run"
    repository = Path(toy.__file__).parents[2]
    child = subprocess.Popen(
        [sys.executable, toy.__file__, str(folder), "0.15"], env={**os.environ, "PYTHONPATH": str(repository)}
    )
    deadline = time.monotonic() + 60
    while not (folder / "shards" / "00000").is_dir() and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    finished = [path.name for path in (folder / "shards").iterdir() if not path.name.startswith(".")]
    assert 0 < len(finished) < 4
    kept = (folder / "shards" / "00000" / "candidates.extxyz").stat().st_mtime_ns
    toy.run_toy(folder)
    assert (folder / "shards" / "00000" / "candidates.extxyz").stat().st_mtime_ns == kept
    assert promised(folder) == promised(whole)


class Counted(toy.Chains):
    """Chains that say which candidates they made."""

    def __init__(self):
        super().__init__()
        self.made = []

    def generate(self, indices, *, seed):
        self.made.extend(indices)
        return super().generate(indices, seed=seed)


def breaks_at(number, error, **changes):
    """The toy's stages, whose screening meets `error` at candidate `number`."""

    def screen(rows):
        if rows[0].index < number:
            return toy.screen(rows)
        raise error

    return replace(toy.stages(), screen=screen, **changes)


def test_a_shard_that_broke_off_goes_on_whole(whole, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(ZeroDivisionError):
        toy.run_toy(folder, made=breaks_at(3, ZeroDivisionError()))
    partial = folder / "shards" / ".00001.partial"
    partial.mkdir()
    (partial / "candidates.extxyz").write_text("half a li")
    toy.run_toy(folder)
    assert promised(folder) == promised(whole)
    assert not [path for path in folder.rglob("*.partial")]


def test_an_error_in_the_first_shard_keeps_its_steps_unless_other_settings_are_wanted(whole, tmp_path):
    folder, generator = tmp_path / "run", Counted()

    wanted = UserError("other settings, please")
    with pytest.raises(UserError):
        toy.run_toy(folder, made=breaks_at(0, wanted))
    assert not folder.exists()  # nothing that other settings could use, so nothing is left behind
    full = UserError("no space left")
    full.__cause__ = OSError(28, "no space left")
    for error in (MemoryError(), full):
        with pytest.raises(type(error)):
            toy.run_toy(folder, made=breaks_at(0, error, generator=generator))
        assert {path.stem for path in (folder / "shards" / ".00000.begun").iterdir()} == {"generate", "relax"}
    with pytest.raises(SettingsError, match="or remove the folder, where no shard is finished"):
        toy.run_toy(folder, identity={**toy.IDENTITY, "settings": {**toy.IDENTITY["settings"], "seed": 6}})
    toy.run_toy(folder, made=replace(toy.stages(), generator=generator))
    assert generator.made == list(range(toy.N))  # nothing twice
    assert promised(folder) == promised(whole)


def test_an_interruption_costs_a_stage_and_not_the_shard(whole, tmp_path):
    folder, generator = tmp_path / "run", Counted()

    def interrupted(rows):
        if rows[0].index == 3:
            raise KeyboardInterrupt
        return toy.screen(rows)

    stages = replace(toy.stages(), generator=generator)
    with pytest.raises(KeyboardInterrupt):
        toy.run_toy(folder, made=replace(stages, screen=interrupted))
    assert {path.stem for path in (folder / "shards" / ".00001.begun").iterdir()} == {"generate", "relax"}
    toy.run_toy(folder, made=stages)
    assert generator.made == list(range(toy.N))  # nothing twice
    assert promised(folder) == promised(whole)
    assert not [path for path in folder.rglob("*.begun")]


def test_what_was_written_reads_back(whole):
    verdicts = read_verdicts(whole / "verdicts.parquet")
    candidates = read_candidates(whole / "candidates.extxyz", verdicts)
    assert [candidate.index for candidate in candidates] == list(range(toy.N))
    assert candidates[4].failure == 'no room for "hydrogen", given up'
    assert len(candidates[9].atoms) == 0 and candidates[9].failure
    first = candidates[0]
    assert first.history == ("grown", "closed", "relaxed") and first.seed == toy.SEED and first.generator == "chains"
    assert first.atoms.get_potential_energy() == first.info["energy"] == -len(first.atoms) / 3
    assert first.atoms.get_forces().shape == (len(first.atoms), 3)
    assert {verdict.check for verdict in verdicts} == {"finished", "valid", "smiles", "strain_toy", "unique"}
    assert [v.reason for v in verdicts if v.candidate == 4] == ['no room for "hydrogen", given up']


def test_another_configuration_is_refused_by_its_keys(whole):
    settings = {**toy.IDENTITY["settings"], "seed": 6}
    with pytest.raises(SettingsError, match="seed was 5, now 6") as refused:
        toy.run_toy(whole, identity={**toy.IDENTITY, "settings": settings})
    assert "\n" not in str(refused.value) and "generator" not in str(refused.value)
    check_folder(whole, {**toy.IDENTITY, "weights": None})
    with pytest.raises(SettingsError, match="weights"):
        check_folder(whole, {**toy.IDENTITY, "weights": "1"})


def test_folders_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    for path, words in [("file", "is a file"), ("file/run", "is a file"), ("other", "holds other files")]:
        with pytest.raises(SettingsError, match=words):
            check_folder(tmp_path / path, toy.IDENTITY)
    with pytest.raises(SettingsError, match=r"not writable|cannot be created"), open_folder(Path("/proc/run"), {}):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "other"]


def test_one_writer(tmp_path):
    with open_folder(tmp_path / "run", toy.IDENTITY):
        second = open_folder(tmp_path / "run", toy.IDENTITY)
        with pytest.raises(SettingsError, match="in use"):
            second.__enter__()
    with open_folder(tmp_path / "run", toy.IDENTITY):
        pass

"""Runs in worker processes: the same bytes for any number of them, after deaths and when the run grows."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import chains as toy
import pytest

from gendesign.errors import SettingsError
from gendesign.processes import Pool
from gendesign.run.folder import open_folder
from gendesign.run.pipeline import run, shard_ranges
from gendesign.run.records import read_candidates, read_verdicts
from gendesign.run.shard import make_shard

PROMISED = ("molecules.sdf", "candidates.extxyz", "verdicts.parquet")


def promised(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in PROMISED]


def run_with(folder: Path, workers: int, made=None, n: int = toy.N, shard_size: int = toy.SHARD_SIZE, **more) -> dict:
    made = made or toy.stages()
    identity = {**toy.IDENTITY, "settings": {**toy.IDENTITY["settings"], "n": n}}
    with open_folder(folder, identity) as opened, Pool(workers, residents={"stages": made}) as pool:
        return run(made, opened, n=n, seed=toy.SEED, shard_size=shard_size, progress=toy.Silent(), pool=pool, **more)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("whole") / "run"
    toy.run_toy(folder)
    return promised(folder)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("workers", [0, 1, 2, 5])
def test_same_bytes_for_any_number_of_workers(tmp_path, whole, workers, together):
    summary = run_with(tmp_path / "run", workers, together=together)
    assert promised(tmp_path / "run") == whole and summary["shards"] == {"finished": 4, "total": 4}


class Deadly(toy.Chains):
    """Chains of which one kills the process that makes it, so many times."""

    def __init__(self, folder: Path, index: int, times: int):
        super().__init__()
        self.__dict__.update(folder=folder, index=index, times=times)

    def generate(self, indices, *, seed):
        for candidate in super().generate(indices, seed=seed):
            if candidate.index == self.index and len(list(self.folder.iterdir())) < self.times:
                (self.folder / str(os.getpid())).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield candidate


@pytest.mark.parametrize("times", [2, 99])
def test_a_shard_whose_worker_dies_is_made_again(tmp_path, whole, times):
    (tmp_path / "deaths").mkdir()
    made = replace(toy.stages(), generator=Deadly(tmp_path / "deaths", 4, times))
    run_with(tmp_path / "run", 2, made)
    if times == 2:
        assert promised(tmp_path / "run") == whole
        return
    verdicts = read_verdicts(tmp_path / "run" / "verdicts.parquet")
    candidates = read_candidates(tmp_path / "run" / "candidates.extxyz", verdicts)
    assert [candidate.index for candidate in candidates] == list(range(toy.N))
    assert "died 3 times (killed by SIGKILL" in candidates[4].failure
    assert "made alone" in candidates[3].history[-1] and "made alone" not in candidates[2].history[-1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_run_is_completed_to_the_same_bytes(tmp_path, whole, number):
    code = (
        f"import sys; sys.path[:0] = [{str(Path(toy.__file__).parent)!r}, {str(Path(__file__).parent)!r}]\n"
        "import chains, signal, test_workers\nfrom pathlib import Path\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # which a shell's background jobs ignore
        f"test_workers.run_with(Path({str(tmp_path / 'run')!r}), 2, chains.stages(0.2))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(toy.__file__).parents[2])}
    child = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not any((tmp_path / "run" / "shards").glob("[0-9]*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(number)
    child.wait(timeout=20)
    assert 0 < len(list((tmp_path / "run" / "shards").glob("[0-9]*"))) < 4
    run_with(tmp_path / "run", 1)
    assert promised(tmp_path / "run") == whole


def test_a_run_may_grow_and_keeps_its_shards(tmp_path):
    folder = tmp_path / "run"
    run_with(folder, 2, n=5)
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("shards/*/candidates.extxyz")}
    assert len(kept) == 2
    run_with(folder, 2, n=11)
    assert all(path.stat().st_mtime_ns == before for path, before in kept.items())
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["grown"] == [5] and summary["identity"]["settings"]["n"] == 11
    run_with(tmp_path / "other", 0, n=11)
    assert promised(folder) == promised(tmp_path / "other")  # chains do not depend on their shard
    before = promised(folder)
    run_with(folder, 1, n=11)
    assert promised(folder) == before
    with pytest.raises(SettingsError, match="n=11, now n=5: give n=11 or more"):
        run_with(folder, 1, n=5)


def test_shard_ranges():
    assert shard_ranges([10], 4) == [range(0, 4), range(4, 8), range(8, 10)]
    assert shard_ranges([5, 5, 11], 4) == [range(0, 4), range(4, 5), range(5, 9), range(9, 11)]
    assert shard_ranges([8, 9], 4) == [range(0, 4), range(4, 8), range(8, 9)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_full_disk_ends_in_one_line_and_keeps_shards(tmp_path, whole, workers, monkeypatch, capsys):
    from gendesign import cli

    def full(*_):
        raise OSError(28, "No space left on device", str(tmp_path / "run"))

    def act(verb, files, config):
        run_with(tmp_path / "run", workers)

    monkeypatch.setitem(cli.VERBS, "generate", cli.Verb("toy", act))
    with monkeypatch.context() as patched:
        real = toy.Chains.generate
        patched.setattr(toy.Chains, "generate", lambda *own, **seed: full() if 7 in own[1] else real(*own, **seed))
        assert cli.main(["generate", "n=10"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "No space left on device" in said
    assert said.rstrip().endswith("gendesign generate n=10")
    assert any((tmp_path / "run" / "shards").glob("[0-9]*"))
    assert cli.main(["generate", "n=10"]) == 0 and promised(tmp_path / "run") == whole


def test_a_shard_that_is_there_is_not_made_again(tmp_path):
    made = toy.stages()
    with open_folder(tmp_path / "run", toy.IDENTITY) as folder:
        make_shard(made, folder, 0, [0, 1], toy.SEED, lambda _: None)
        before = (folder.shard(0) / "candidates.extxyz").stat().st_mtime_ns
        make_shard(made, folder, 0, [0, 1], toy.SEED, lambda _: None)  # its worker died before it could say so
        assert (folder.shard(0) / "candidates.extxyz").stat().st_mtime_ns == before


def test_workers_compute_with_one_thread_whatever_their_parent_did():
    code = (
        "import os, torch\nfrom gendesign.processes import Pool\n"
        "def work():\n    large = bool(torch.ones(4_000_000).exp().mean() > 2.7)\n"
        "    return torch.get_num_threads(), os.environ['OMP_NUM_THREADS'], large\n"
        "torch.set_num_threads(2)\nwork()\n"
        "with Pool(1, residents={'any': 1}) as pool:\n    print(pool.map([(work, ())]))\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "PYTHONPATH": str(Path(toy.__file__).parents[2])}
    child = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert child.stdout.endswith("[(1, '1', True)]\n"), child.stderr


@pytest.mark.parametrize("error", [None, RuntimeError])
def test_processes_of_the_checks_end_with_the_run(monkeypatch, error):
    import torch
    from omegaconf import OmegaConf

    from gendesign.run import build

    closed = []
    stages = replace(toy.stages(), close=lambda: closed.append(True))

    def act(*_, **__):
        if error:
            raise error
        return {}

    monkeypatch.setattr(build, "source_of", lambda *_: build.Source(toy.Chains(), 1, []))
    monkeypatch.setattr(build, "stages_of", lambda *_: stages)
    monkeypatch.setattr(build, "run", act)
    config = OmegaConf.create({"workers": 0, "shard_size": 1, "seed": 0})
    with pytest.raises(error) if error else nullcontext():
        build.make_run(config, [], SimpleNamespace(device=torch.device("cpu")), None)
    assert closed == [True]

"""Campaigns whose workers and coordinators are killed end with the bytes of an undisturbed one, on every engine.

GENDESIGN_KILLS=full kills as often as a release is tested with; SLURM is tested where `make test-slurm` has started it.
"""

import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
import toys

from gendesign.campaign import Campaign
from gendesign.campaign.campaign import status, stop, verify
from gendesign.campaign.results import MERGED
from gendesign.errors import SettingsError

FULL = os.environ.get("GENDESIGN_KILLS") == "full"
N = 100 if FULL else 30  # of each of two runs
WORKERS, COORDINATORS = (20, 5) if FULL else (3, 1)
PATIENCE = 3000 if FULL else 1200
SLURM = pytest.mark.skipif("SLURM_CONF" not in os.environ, reason="make test-slurm starts a cluster")
PARSL = pytest.mark.skipif(importlib.util.find_spec("parsl") is None, reason="parsl is not installed")
PROGRAM = Path(__file__).with_name("run_toy.py")
ROOT = Path(__file__).parents[2]
STARTED: list[subprocess.Popen] = []


def coordinator(folder, engine="local", pause=0.05, n=N, log=None):
    paths = os.pathsep.join([str(ROOT), str(PROGRAM.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "TOY_PAUSE": str(pause)}
    words = [sys.executable, str(PROGRAM), str(folder), engine, str(n)]
    log = open(log or folder.with_suffix(".log"), "a")  # noqa: SIM115 - of the process
    STARTED.append(subprocess.Popen(words, env=environment, stdout=log, stderr=log))
    return STARTED[-1]


def events(folder):
    """Every line of the workers' logs: (time, pid, event, key)."""
    out = []
    for path in (folder / "logs").glob("*.jsonl"):
        pid = int(path.stem.rpartition("-")[2])
        for line in path.read_text().splitlines():
            with suppress(ValueError):
                row = json.loads(line)
                out.append((row["time"], pid, row["event"], (row["run"], row["number"], row["stage"])))
    return sorted(out)


def alive(pid) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def busy(folder) -> list[int]:
    """Workers that are making a shard right now."""
    last = {pid: event for _, pid, event, _ in events(folder)}
    return [pid for pid, event in last.items() if event == "begin" and alive(pid)]


def merged(folder) -> list[bytes]:
    return [(folder / name).read_bytes() for name in MERGED]


def wait_for(condition, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def jobs() -> list[str]:
    words = ["squeue", "--noheader", "--me", "--format=%i %j"]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in lines if "gendesign-" in line]


@pytest.fixture(autouse=True)
def ended():
    """No coordinator survives a test that failed."""
    yield
    for process in STARTED:
        if process.poll() is None:
            process.kill()
            process.wait()
    STARTED.clear()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "campaign"
    content = toys.content(folder, n=N) | {"engine": {"use": "local", "workers": 0}}
    Campaign(content, allow=["toys"]).run()
    return folder


@pytest.mark.parametrize("engine", ["local", pytest.param("slurm", marks=SLURM), pytest.param("parsl", marks=PARSL)])
def test_killed_workers_and_coordinators_lose_nothing(engine, undisturbed, tmp_path):
    folder = tmp_path / "campaign"
    plan = ["worker"] * WORKERS + ["coordinator"] * COORDINATORS
    if engine == "slurm":
        plan += ["scancel", "requeue"] * (5 if FULL else 1)
    random.Random(7).shuffle(plan)
    killed = Counter()
    pause = 0.4 if FULL else 0.05  # long enough for all strikes
    process = coordinator(folder, engine, pause)
    end = time.monotonic() + PATIENCE
    while process.poll() != 0:
        assert process.poll() in (None, -signal.SIGKILL), folder.with_suffix(".log").read_text()[-2000:]
        assert time.monotonic() < end, "waited too long"
        if process.poll() is not None:  # the same command again
            process = coordinator(folder, engine, pause)
        if plan and busy(folder):
            kind = plan.pop()
            hit = strike(kind, folder, process)
            killed[kind] += hit
            if FULL and not hit:  # none of that kind at the moment
                plan.insert(0, kind)
            time.sleep(0.4)
        time.sleep(0.05)
    print(engine, dict(killed))
    assert killed["worker"] >= 1 and killed["coordinator"] >= 1 and not (FULL and plan)
    assert merged(folder) == merged(undisturbed)
    begun = Counter(key for _, _, event, key in events(folder) if event == "begin")
    assert max(begun.values()) <= 1 + killed.total()
    workers = {pid for _, pid, _, _ in events(folder)}
    if engine == "parsl":  # managers leave by themselves, within their heartbeat, when their interchange is gone
        wait_for(lambda: not mentioning(folder), 120)
    assert not [pid for pid in workers if alive(pid)]
    assert not list(verify(folder)) and status(folder)[0]["state"] == "finished"
    if engine == "slurm":
        wait_for(lambda: not jobs(), 60)


def mentioning(folder) -> list[str]:
    """Command lines of processes, other than this one, that name a path within the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if f"{folder}/" in line and int(path.parent.name) != os.getpid():
                found.append(line)
    return found


def strike(kind, folder, process) -> int:
    """Kill one of that kind; 0 where there was none by then."""
    if kind == "coordinator":
        process.kill()
        process.wait()
        return 1
    if kind == "worker":
        pids = busy(folder)
        if not pids:
            return 0
        with suppress(ProcessLookupError):
            os.kill(random.choice(pids), signal.SIGKILL)
        return 1
    found = [line.split()[0] for line in jobs()]
    if not found:
        return 0
    words = ["scancel", found[0]] if kind == "scancel" else ["scontrol", "requeue", found[0]]
    return int(subprocess.run(words, capture_output=True, check=False).returncode == 0)


def test_a_candidate_that_kills_its_worker_is_set_aside_with_its_reason(tmp_path):
    import pyarrow.parquet as pq

    usual, deadly = tmp_path / "usual", tmp_path / "deadly"
    engine = {"engine": {"use": "local", "workers": 1}}
    Campaign(toys.content(usual, n=10, seeds=[0]) | engine, allow=["toys"]).run()
    Campaign(toys.content(deadly, n=10, seeds=[0], deadly=(3,), size={"deadly": 6}) | engine, allow=["toys"]).run()
    rows = {row["candidate"]: row for row in pq.read_table(deadly / "candidates.parquet").to_pylist()}
    expected = {row["candidate"]: row for row in pq.read_table(usual / "candidates.parquet").to_pylist()}
    lost = [index for index, row in expected.items() if row["size"] == 6 and index != 3]
    assert lost and "died 3 times" in rows[3]["reason"] and rows[3]["last_stage"] == "generate"
    for index, row in rows.items():
        if index in lost:
            assert "died 3 times" in row["reason"] and row["last_stage"] == "size"
        elif index != 3:
            assert row["size"] == expected[index]["size"]


def test_a_second_coordinator_is_refused_and_stop_ends_the_first(tmp_path):
    folder = tmp_path / "campaign"
    process = coordinator(folder, pause=0.3)
    wait_for(lambda: busy(folder))
    with pytest.raises(SettingsError, match="another coordinator"):
        Campaign(toys.content(folder, n=N), allow=["toys"]).run()
    assert status(folder)[0]["state"] == "running"
    assert stop(folder)
    assert process.wait(60) == 1 and not stop(folder)
    assert "was stopped" in folder.with_suffix(".log").read_text()
    assert status(folder)[0]["state"] == "stopped"
    assert not [pid for pid in {pid for _, pid, _, _ in events(folder)} if alive(pid)]


def test_a_worker_that_slept_while_its_shard_was_made_doubles_nothing(tmp_path, undisturbed):
    """A worker is stopped; another campaign process finishes the shard; the late result is thrown away."""
    from gendesign.campaign.site import Task, advance
    from gendesign.campaign.worker import open_site

    folder = tmp_path / "campaign"
    process = coordinator(folder, pause=0.2)
    wait_for(lambda: busy(folder))
    sleeper = busy(folder)[0]
    os.kill(sleeper, signal.SIGSTOP)
    key = next(key for _, pid, _, key in reversed(events(folder)) if pid == sleeper)
    advance(open_site(folder, ["toys"]), Task(key[0], key[1], 0))
    os.kill(sleeper, signal.SIGCONT)
    assert process.wait(PATIENCE) == 0
    assert not list(folder.rglob("*partial*"))
    assert merged(folder) == merged(undisturbed)


def test_a_full_disk_ends_in_words_and_the_same_command_goes_on(tmp_path, undisturbed):
    disk, log = tmp_path / "disk", tmp_path / "log.txt"
    disk.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)]).returncode:
        pytest.skip("a small disk can be mounted by root only")
    try:
        process = coordinator(disk / "campaign", pause=0.0, log=log)
        assert process.wait(PATIENCE) == 1
        assert "gendesign: " in log.read_text() and "Traceback" not in log.read_text(), log.read_text()[-2000:]
        assert subprocess.run(["mount", "-o", "remount,size=200m", str(disk)]).returncode == 0
        process = coordinator(disk / "campaign", pause=0.0, log=log)
        assert process.wait(PATIENCE) == 0
        shutil.copytree(disk / "campaign", tmp_path / "copy")
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)
    assert not list(verify(tmp_path / "copy"))
    assert merged(tmp_path / "copy") == merged(undisturbed)

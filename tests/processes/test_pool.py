"""Worker processes: answers in order, time limits, deaths, and no process left behind."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from gendesign.errors import UserError
from gendesign.processes import SERIAL, TELL, Failure, Pool

HERE = Path(__file__)


def square(x):
    return x * x


def say(tell, x):
    tell(x + 1)
    return x


def sleep(seconds):
    time.sleep(seconds)
    return seconds


def die(counter, least):
    """Kill the own process until a file has counted to `least`."""
    with open(counter, "a") as file:
        file.write("x")
    if os.path.getsize(counter) < least:
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def noted(said, *row):
    said.append(row)


def refuse(words):
    raise UserError(words) from OSError(28, "no space left on device")


def add(table, x):
    return table["base"] + x


@pytest.fixture(scope="module")
def forked():
    with Pool(2, residents={"table": {"base": 100}}) as pool:
        yield pool


def test_answers_are_in_order_and_the_same_as_in_turn(forked):
    tasks = [(square, (x,)) for x in range(7)]
    assert forked.map(tasks) == SERIAL.map(tasks) == Pool(0).map(tasks) == [x * x for x in range(7)]


def test_workers_hold_residents(forked):
    table = forked.residents["table"]
    assert forked.map([(add, (forked.resident(table), 5))]) == [105]
    assert SERIAL.resident(table) is table and forked.resident(HERE) is HERE


def test_tasks_may_tell_while_they_work(forked):
    for spread in (forked, SERIAL):
        said = []
        assert spread.map([(say, (TELL, 3)), (say, (TELL, 5))], partial(noted, said)) == [3, 5]
        assert sorted(said) == [(0, 4), (1, 6)]


def test_errors_arrive_with_their_cause(forked):
    with pytest.raises(UserError, match="one line") as caught:
        forked.map([(square, (2,)), (refuse, ("one line",))])
    assert caught.value.__cause__.errno == 28
    assert forked.map([(square, (3,))]) == [9]  # the pool goes on


def test_a_dead_worker_is_replaced_and_its_task_done_again(forked, tmp_path):
    said = []
    answers = forked.map([(square, (4,)), (die, (str(tmp_path / "count"), 3))], lambda *row: said.append(row))
    assert answers == [16, "alive"] and said == [(1, None), (1, None)]


def test_after_three_deaths_a_task_is_given_up_with_its_reason(forked, tmp_path):
    answer, other = forked.map([(die, (str(tmp_path / "count"), 99)), (square, (5,))])
    assert isinstance(answer, Failure) and "died 3 times (killed by SIGKILL" in answer.reason
    assert other == 25 and (tmp_path / "count").read_text() == "xxx"


def test_time_limit():
    with Pool(1, residents={"any": object()}, time_limit=0.5) as pool:
        late, soon = pool.map([(sleep, (60,)), (sleep, (0,))])
    assert late == Failure("stopped after the time limit of 0.5 s", timed_out=True) and soon == 0


def test_fresh_workers_need_no_main_guard(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import math\nfrom gendesign.processes import Pool\n"
        "print('once')\nwith Pool(2) as pool:\n    print(pool.map([(math.sqrt, (x,)) for x in (4.0, 9.0)]))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[2])}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.split("\n") == ["once", "[2.0, 3.0]", ""]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("residents", ["dict(a=1)", "None"])
def test_no_worker_outlives_the_parent(tmp_path, number, residents):
    code = f"""
import signal, sys; sys.path.insert(0, {str(HERE.parent)!r})
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
import test_pool
from gendesign.processes import Pool
with Pool(2, residents={residents}, preload=("test_pool",)) as pool:
    pool.map([(test_pool.mark, ({str(tmp_path)!r},))] * 2)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parents[2]), str(HERE.parent)])}
    parent = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = [int(path.name) for path in tmp_path.iterdir()]
    assert len(workers) == 2
    parent.send_signal(number)
    parent.wait(timeout=20)
    deadline = time.monotonic() + 10
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, workers))


def mark(folder):
    """Say that this process works, and work for long."""
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(100)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

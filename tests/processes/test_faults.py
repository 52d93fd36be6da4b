"""What can go wrong around worker processes: each of these hung, leaked, blamed the wrong task or ended a run."""

import math
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from gendesign.processes import TELL, Failure, Pool
from gendesign.processes.children import Nursery

ROOT = Path(__file__).parents[2]


def square(x):
    return x * x


def noted(said, *row):
    said.append(row)


def chatter(tell, data):
    for _ in range(50):
        tell("x" * 100_000)
    return len(data)


def break_pipe():
    raise BrokenPipeError("a program of the task's own went away")


def unpicklable():
    return lambda: None


class Unreadable:
    """Can be pickled, and not unpickled."""

    def __reduce__(self):
        return (int, ("no number",))


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pid, seconds=10.0):
    deadline = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(pid)


def script(code, tmp_path, **more):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=90, **more
    )


def test_a_pool_closes_while_another_that_was_forked_later_goes_on(tmp_path):
    code = (
        "from gendesign.processes import Pool\ndef square(x):\n    return x * x\n"
        "a, b = Pool(1, residents={'x': 1}).start(), Pool(1, residents={'x': 1}).start()\n"
        "assert a.map([(square, (2,))]) == [4]\na.close()\nprint(b.map([(square, (3,))]))\nb.close()"
    )
    done = script(code, tmp_path)
    assert done.returncode == 0 and done.stdout == "[9]\n", done.stderr


def test_a_pool_that_is_dropped_takes_its_processes_with_it():
    pool = Pool(1, residents={"any": 1})
    (worker,) = pool.map([(os.getpid, ())])
    del pool
    assert gone(worker)


def test_a_worker_that_died_idle_is_no_fault_of_the_next_task():
    with Pool(1, residents={"any": 1}, attempts=1) as pool:
        (worker,) = pool.map([(os.getpid, ())])
        os.kill(worker, signal.SIGKILL)
        assert gone(worker)
        assert pool.map([(square, (3,))]) == [9]


@pytest.mark.parametrize("residents", [{"any": 1}, None])
def test_the_server_of_workers_is_replaced(residents):
    with Pool(1, residents=residents) as pool:
        (worker,) = pool.map([(os.getpid, ())])
        os.kill(pool._starter.process.pid, signal.SIGKILL)
        assert gone(worker)
        assert pool.map([(math.sqrt, (9.0,)), (math.sqrt, (16.0,))]) == [3.0, 4.0]


def test_a_server_that_is_killed_again_and_again_is_said(monkeypatch):
    def child(self):
        os.kill(self.process.pid, signal.SIGKILL)
        gone(self.process.pid)
        raise ConnectionResetError

    monkeypatch.setattr(Nursery, "child", child)
    with Pool(1, residents={"any": 1}) as pool, pytest.raises(ChildProcessError, match="was killed 3 times"):
        pool.map([(square, (3,))])


def test_a_server_that_cannot_fork_says_so(monkeypatch):
    from gendesign.processes import children

    with Pool(1, residents={"any": 1}) as pool:

        def refuse():
            raise OSError(11, "Resource temporarily unavailable")

        real = children._fork
        forked = []
        # the first fork is the server's own, the next ones are inside it
        monkeypatch.setattr(children, "_fork", lambda: refuse() if forked else (forked.append(1), real())[1])
        with pytest.raises(ChildProcessError, match=r"no more processes can be started \(Resource temp"):
            pool.map([(square, (3,))])


def test_large_tasks_large_answers_and_much_that_is_told_do_not_block():
    said = []
    with Pool(2, residents={"any": 1}) as pool:
        tasks = [(chatter, (TELL, b"y" * 3_000_000)) for _ in range(5)]
        assert pool.map(tasks, partial(noted, said)) == [3_000_000] * 5
    assert len(said) == 250


def test_an_error_in_the_listener_ends_what_runs_and_leaves_the_pool_usable():
    def told(task, value):
        raise KeyboardInterrupt

    with Pool(2, residents={"any": 1}) as pool:
        with pytest.raises(KeyboardInterrupt):
            pool.map([(chatter, (TELL, b""))] * 3, told)
        assert pool.map([(square, (k,)) for k in range(4)]) == [0, 1, 4, 9]


def test_answers_that_nobody_waits_for_are_not_taken_for_others():
    with Pool(2, residents={"any": 1}) as pool:
        answers = pool.unordered([(square, (k,)) for k in range(6)])
        next(answers)
        answers.close()
        assert pool.map([(square, (k,)) for k in range(7, 10)]) == [49, 64, 81]


def test_errors_of_pipes_and_pickles_are_errors_and_no_deaths():
    with Pool(1, residents={"any": 1}) as pool:
        with pytest.raises(BrokenPipeError, match="of the task's own"):
            pool.map([(break_pipe, ())])
        with pytest.raises(Exception, match=r"pickle|local object"):
            pool.map([(unpicklable, ())])
        with pytest.raises(ValueError, match="invalid literal"):
            pool.map([(square, (Unreadable(),))])
        assert pool.map([(square, (2,))]) == [4]


def test_modules_of_the_current_folder_do_not_replace_the_standard_ones(tmp_path):
    (tmp_path / "queue.py").write_text("raise SystemExit('the wrong queue')\n")
    path = str(ROOT)
    code = (
        f"import sys; sys.path[0] = {path!r}\nimport math\nfrom gendesign.processes import Pool\n"
        "with Pool(1) as pool:\n    print(pool.map([(math.sqrt, (4.0,))]))"
    )
    done = script(code, tmp_path)
    assert done.stdout == "[2.0]\n", done.stderr


def test_children_hold_no_lock_of_the_parent(tmp_path):
    from gendesign.processes.children import PRIVATE

    opened = open(tmp_path / "lock", "w")  # noqa: SIM115
    PRIVATE.add(opened)
    with Pool(1, residents={"any": 1}) as pool:
        (held,) = pool.map([(links, ())])
    assert str(tmp_path / "lock") not in held and not opened.closed
    opened.close()


def links():
    return [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.exists()]


def test_time_limits_need_workers():
    assert Pool(0, time_limit=0.0).map([(square, (2,))]) == [4]
    with Pool(1, residents={"any": 1}, time_limit=0.0) as pool:
        (answer,) = pool.map([(time.sleep, (5,))])
    assert isinstance(answer, Failure) and answer.timed_out

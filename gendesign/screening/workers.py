"""Worker processes whose tasks can be stopped: libraries in C++ answer to no timer inside their own process.

They are started as plain subprocesses and not by multiprocessing, which would import the user's script again and ask
every script for an `if __name__ == "__main__"`.
"""

import math
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

STARTING = 300.0  # seconds to import everything on a busy machine


@dataclass(frozen=True)
class Failure:
    """The answer to a task that raised, took too long (`stopped`) or killed its process."""

    reason: str
    stopped: bool = False


class Workers:
    """`count` processes, started when first used, that answer the tasks of one owner within `time_limit` seconds.

    With `count` 0 tasks run in the calling process and have no time limit. Use as a context, or close().
    """

    def __init__(self, count: int = 1, time_limit: float = 120.0):
        self.count, self.time_limit = count, time_limit
        self._idle: list[_Worker] = []

    def map(self, tasks: Sequence[tuple[Callable, tuple]], owners: Sequence[Any] | None = None) -> list[Any]:
        """Answers to tasks (function, arguments) in order; a `Failure` where there is none. Both must be picklable.

        Tasks with the same of `owners` (tasks,) share the time limit, which begins with the first of them.
        """
        if self.count == 0:
            return [_answer(*task) for task in tasks]
        owners = range(len(tasks)) if owners is None else owners
        answers: list[Any] = [None] * len(tasks)
        deadlines: dict[Any, float] = {}
        queue, busy = deque(range(len(tasks))), {}
        try:
            while queue or busy:
                while queue and len(busy) < self.count:
                    number = queue.popleft()
                    if deadlines.get(owners[number], math.inf) <= time.monotonic():
                        answers[number] = stopped(self.time_limit)
                        continue
                    worker = self._idle.pop() if self._idle else _Worker()
                    deadline = deadlines.setdefault(owners[number], time.monotonic() + self.time_limit)
                    worker.send(tasks[number], self.time_limit, deadline)
                    busy[worker] = number
                if not busy:
                    break
                wait([w.pipe for w in busy], max(0.0, min(w.deadline for w in busy) - time.monotonic()))
                for worker in list(busy):
                    answer = worker.poll()
                    if answer is not None:
                        answers[busy.pop(worker)] = answer[0]
                        self._idle += [worker] if worker.alive else []
        finally:
            for worker in busy:
                worker.stop()
        return answers

    def close(self) -> None:
        """Stop all processes."""
        while self._idle:
            self._idle.pop().stop()

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Worker:
    def __init__(self):
        self.pipe, other = Pipe()
        command = f"from gendesign.screening.workers import serve; serve({other.fileno()})"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p or "." for p in sys.path)}
        self._process = subprocess.Popen([sys.executable, "-c", command], env=environment, pass_fds=[other.fileno()],
                                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)  # fmt: skip
        other.close()
        self.alive = True
        if not self.pipe.poll(STARTING):
            self.stop()
            raise RuntimeError("a worker process for screening did not start; see its messages above")
        self.pipe.recv()

    def send(self, task: tuple[Callable, tuple], limit: float, deadline: float) -> None:
        self.limit, self.deadline = limit, deadline
        try:
            self.pipe.send(task)
        except OSError:
            self.deadline = 0.0  # the process is gone; poll() says so

    def poll(self) -> tuple[Any] | None:
        """(answer,) if there is one, None while the task runs within its time."""
        try:
            if self.pipe.poll():
                return (self.pipe.recv(),)
        except (EOFError, OSError):
            self.stop()
            return (Failure("the process that ran it died"),)
        if time.monotonic() < self.deadline:
            return None
        self.stop()
        return (stopped(self.limit),)

    def stop(self) -> None:
        self.alive = False
        self._process.kill()
        self._process.wait()
        self.pipe.close()


def stopped(limit: float) -> Failure:
    """What is said of a task that had no time left of `limit` seconds."""
    return Failure(f"stopped after the time limit of {limit:g} s", stopped=True)


def _answer(function: Callable, arguments: tuple) -> Any:
    try:
        return function(*arguments)
    except Exception as error:  # a candidate that breaks a library must not end the run
        return Failure(f"{type(error).__name__}: {' '.join(str(error).split())[:160]}")


def serve(descriptor: int) -> None:
    """Answer the tasks that arrive on a pipe until it closes."""
    pipe = Connection(descriptor)
    pipe.send("ready")
    # Libraries write progress and warnings about single molecules; their findings come back as answers.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        pipe.send(_answer(*task))

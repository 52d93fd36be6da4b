"""A pool of worker processes with answers in the order of the tasks, time limits, and tolerance of crashed workers."""

import os
import pickle
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any

from gendesign.processes import children
from gendesign.processes.children import Child, Forking, Nursery, Starter
from gendesign.processes.spread import TELL, Resident, Task

ATTEMPTS = 3  # deaths of workers after which a task is given up
ANSWERED, MESSAGE, RAISED, DIED, LATE = "answered", "message", "raised", "died", "late"
AGAIN = None  # the message of a task that starts again because its worker died
SERVE = "gendesign.processes.pool:serve"


@dataclass(frozen=True)
class Failure:
    """The answer of a task that exceeded its time limit, or whose worker died on every attempt."""

    reason: str
    timed_out: bool = False


def late(limit: float) -> Failure:
    """The failure of a task that exceeded `limit` seconds."""
    return Failure(f"stopped after the time limit of {limit:g} s", timed_out=True)


class Pool:
    """A pool of `count` workers, started on first use. Use it as a context manager, or call close().

    count: number of workers, each of which computes with one thread. With 0 tasks run in the calling process, without a
        time limit.
    residents: objects by name that workers inherit, so that tasks need not carry them. With residents, or in a child
        process, workers are forked. Otherwise they come from a fresh interpreter, because a process with other threads,
        such as a notebook, must not be forked.
    preload: modules that the fresh interpreter imports.
    time_limit: seconds for one task, None for no limit. A task that exceeds it is answered by a Failure.
    attempts: number of deaths of its worker after which a task is answered by a Failure.
    """

    def __init__(
        self,
        count: int,
        *,
        residents: Mapping[str, Any] | None = None,
        preload: Sequence[str] = (),
        time_limit: float | None = None,
        attempts: int = ATTEMPTS,
    ) -> None:
        self.count, self.time_limit, self.attempts = count, time_limit, attempts
        self.residents, self.preload = dict(residents or {}), tuple(preload)
        self._starter: Starter | None = None
        self._idle: list[_Worker] = []
        self._lost = 0  # starters that were killed

    def start(self) -> "Pool":
        """Start the process from which workers are forked. With residents, call it before any thread is started."""
        if self._starter is None and self.count:
            serving = partial(serve, residents=self.residents)
            if children.IN_CHILD:
                self._starter = Forking(serving)
            elif self.residents:
                self._starter = Nursery.forked(serving)
            else:
                self._starter = Nursery.started(SERVE, self.preload)
        return self

    def resident(self, thing: Any) -> Any:
        """A `Resident` in place of `thing` if workers inherited it, otherwise `thing` itself."""
        return next((Resident(name) for name, held in self.residents.items() if held is thing), thing)

    def map(
        self,
        tasks: Sequence[Task],
        on_message: Callable[[int, Any], None] | None = None,
        owners: Sequence[Any] | None = None,
    ) -> list[Any]:
        """The answers of the tasks in order. An exception in a task is raised here.

        on_message: called as on_message(task, value) with the messages of tasks (TELL), and with AGAIN if a task starts
        again.
        owners: (tasks,); tasks with the same owner share one time limit, which starts with the first of them. By
            default each task has a time limit of its own.
        """
        answers: list[Any] = [None] * len(tasks)
        for number, answer in self.unordered(tasks, on_message, owners):
            answers[number] = answer
        return answers

    def unordered(
        self,
        tasks: Sequence[Task],
        on_message: Callable[[int, Any], None] | None = None,
        owners: Sequence[Any] | None = None,
    ) -> Iterator[tuple[int, Any]]:
        """Yield (number of the task, answer) in order of completion; arguments as in `map`."""
        if not self.count:
            yield from enumerate(_here(task, self.residents, on_message, k) for k, task in enumerate(tasks))
            return
        self.start()
        queue, busy = deque(range(len(tasks))), {}
        deaths = [0] * len(tasks)
        ends: dict[Any, float] = {}  # deadline of each owner
        try:
            while queue or busy:
                while queue and len(busy) < self.count:
                    number = queue.popleft()
                    owner = None if owners is None else owners[number]
                    if ends.get(owner, NEVER) <= _now():
                        yield number, late(self.time_limit)
                        continue
                    worker = self._worker()
                    busy[worker] = number
                    worker.send(tasks[number], self.time_limit)
                    if owners is not None:
                        worker.deadline = ends.setdefault(owner, worker.deadline)
                if not busy:
                    break
                soonest = min(worker.deadline for worker in busy)
                wait([worker.child.pipe for worker in busy], None if soonest == NEVER else max(0.0, soonest - _now()))
                for worker in list(busy):
                    number = busy[worker]
                    for kind, value in worker.messages():
                        if kind == MESSAGE:
                            if on_message is not None:
                                on_message(number, value)
                            continue
                        del busy[worker]
                        if kind == DIED:
                            deaths[number] += 1
                            if deaths[number] < self.attempts:
                                if on_message is not None:
                                    on_message(number, AGAIN)
                                queue.appendleft(number)
                                continue
                            value = Failure(_death(value, deaths[number]))
                        elif kind == LATE:
                            value = late(self.time_limit)
                        else:
                            self._idle.append(worker)
                            if kind == RAISED:
                                error, cause = value
                                raise error from cause
                        yield number, value
        finally:
            for worker in busy:
                worker.child.end()

    def _worker(self) -> "_Worker":
        """An idle worker, or a new one."""
        while self._idle:
            worker = self._idle.pop()
            if worker.waits():
                return worker
            worker.child.end()  # it died while idle, which does not count as a death of the next task
        while True:
            try:
                return _Worker(self.start()._starter.child())
            except ConnectionError as error:  # the process from which workers are forked was killed
                self._starter.close()
                self._starter = None
                self._lost += 1
                if self._lost >= ATTEMPTS:
                    raise ChildProcessError(
                        f"the process that starts workers was killed {self._lost} times, often for lack of memory"
                    ) from error

    def close(self) -> None:
        """Stop all processes."""
        while self._idle:
            self._idle.pop().child.end()
        if self._starter is not None:
            self._starter.close()
            self._starter = None

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


NEVER = float("inf")
_now = time.monotonic


class _Worker:
    """A child that computes a task or waits for one."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.deadline = NEVER

    def send(self, task: Task, limit: float | None) -> None:
        self.deadline = NEVER if limit is None else _now() + limit
        with suppress(BrokenPipeError, ConnectionResetError):  # the process has ended: messages() will report it
            self.child.pipe.send(task)

    def waits(self) -> bool:
        """Whether the worker is alive and idle: its pipe then has nothing to read, not even its end."""
        try:
            return not self.child.pipe.poll()
        except OSError:
            return False

    def messages(self) -> list[tuple[str, Any]]:
        """New messages. The last one is ANSWERED, RAISED, DIED or LATE when the task has ended."""
        answers: list[tuple[str, Any]] = []
        try:
            while self.child.pipe.poll():
                answers.append(self.child.pipe.recv())
                if answers[-1][0] != MESSAGE:
                    return answers
        except (EOFError, OSError):
            return [*answers, (DIED, self.child.end())]
        if _now() >= self.deadline:
            self.child.end()
            return [*answers, (LATE, None)]
        return answers


def _death(status: int, times: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        how = f"killed by {signal.Signals(number).name}" + (", often for lack of memory" if number == 9 else "")
    else:
        how = f"ended with status {os.waitstatus_to_exitcode(status)}"
    return f"the process that worked on it died {times} time{'s' * (times > 1)} ({how})"


def _here(task: Task, residents: Mapping[str, Any], on_message: Callable | None, number: int) -> Any:
    function, arguments = task
    tell = (lambda value: on_message(number, value)) if on_message else (lambda value: None)
    return function(*_filled(arguments, residents, tell))


def _filled(arguments: Sequence[Any], residents: Mapping[str, Any], tell: Callable[[Any], None]) -> list[Any]:
    objects = {**residents, TELL.name: tell}
    return [objects[value.name] if isinstance(value, Resident) else value for value in arguments]


def serve(pipe: Connection, residents: Mapping[str, Any] | None = None) -> None:
    """Answer the tasks that arrive on a pipe until it closes."""
    compute_with_one_thread()

    def tell(value: Any) -> None:
        pipe.send((MESSAGE, value))

    while True:
        try:
            function, arguments = pipe.recv()
            answer = ANSWERED, function(*_filled(arguments, residents or {}, tell))
        except (EOFError, ConnectionError) as error:
            if _closed(pipe):  # the parent has ended
                return
            answer = _raised(error)
        except Exception as error:  # from the task, or because it cannot be unpickled here
            answer = _raised(error)
        try:
            pipe.send(answer)
        except ConnectionError:
            return
        except Exception as error:  # the answer cannot be pickled
            pipe.send(_raised(error))


def compute_with_one_thread() -> None:
    """Use one thread in torch, in the libraries of numpy, and in libraries that are loaded later, such as tblite.

    With another number of threads the same products differ in their last bits (MKL, measured). A process whose parent
    computed with several threads would also wait forever for them, because threads are not forked.
    """
    from threadpoolctl import threadpool_limits

    os.environ.update(children.ONE_THREAD)
    threadpool_limits(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _closed(pipe: Connection) -> bool:
    """Whether the other end of the pipe is closed; an idle worker can read nothing else."""
    try:
        return pipe.poll()
    except OSError:
        return True


def _raised(error: Exception) -> tuple[str, tuple[BaseException | None, BaseException | None]]:
    return RAISED, (_portable(error), _portable(error.__cause__))


def _portable(error: BaseException | None) -> BaseException | None:
    """The error, or a RuntimeError with the same message if it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error

"""Processes for checks with a time limit: a timer cannot interrupt a C++ library in its own process."""

from collections.abc import Callable, Sequence
from typing import Any

from gendesign.processes import Failure, Pool, late
from gendesign.processes.spread import Task

__all__ = ["Failure", "Workers", "late"]


class Workers:
    """`count` processes, started when first used, that answer the checks of one owner within `time_limit` seconds.

    With `count` 0 checks run in the calling process and have no time limit. Use as a context, or close().
    """

    def __init__(self, count: int = 1, time_limit: float = 120.0) -> None:
        self.count, self.time_limit = count, time_limit
        # A check that killed its process would do so again.
        self._pool = Pool(count, preload=("gendesign.screening.screen",), time_limit=time_limit, attempts=1)

    def map(self, tasks: Sequence[Task], owners: Sequence[Any] | None = None) -> list[Any]:
        """Answers to tasks (function, arguments) in order; a `Failure` where there is none. Both must be picklable.

        Tasks with the same of `owners` (tasks,) share the time limit, which begins with the first of them.
        """
        return self._pool.map([(_answer, task) for task in tasks], owners=owners)

    def close(self) -> None:
        """Stop all processes."""
        self._pool.close()

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _answer(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    try:
        return function(*arguments)
    except Exception as error:  # a candidate that breaks a library must not end the run
        return Failure(f"{type(error).__name__}: {' '.join(str(error).split())[:160]}")

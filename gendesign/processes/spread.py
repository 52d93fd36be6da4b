"""Independent tasks, run one after the other or by worker processes with the same answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Task = tuple[Callable[..., Any], tuple[Any, ...]]  # a function and its arguments


@dataclass(frozen=True)
class Resident:
    """A placeholder in the arguments of a task for an object that every worker has inherited."""

    name: str


TELL = Resident("tell")  # in a worker: a function that sends one value to the `on_message` callback of the caller


class Spread(Protocol):
    """Runs tasks, whose answers do not depend on where they run. count: number of worker processes, 0 for none."""

    count: int

    def map(self, tasks: Sequence[Task], on_message: Callable[[int, Any], None] | None = None) -> list[Any]:
        """The answers of the tasks in order;

        `on_message(task, value)` is called with the values that tasks send by TELL.
        """

    def resident(self, thing: Any) -> Any:
        """A `Resident` in place of `thing` if workers inherited it, otherwise `thing` itself."""


class Serial:
    """Runs tasks one after the other in the calling process."""

    count = 0

    def map(self, tasks: Sequence[Task], on_message: Callable[[int, Any], None] | None = None) -> list[Any]:
        """The answers of the tasks in order;

        `on_message(task, value)` is called with the values that tasks send by TELL.
        """
        answers = []
        for number, (function, arguments) in enumerate(tasks):
            tell = (lambda value, number=number: on_message(number, value)) if on_message else (lambda value: None)
            answers.append(function(*(tell if argument is TELL else argument for argument in arguments)))
        return answers

    def resident(self, thing: Any) -> Any:
        """The thing itself, because tasks are not pickled."""
        return thing


SERIAL = Serial()

"""Tasks that are independent of each other, done in turn or by worker processes, with the same answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Task = tuple[Callable[..., Any], tuple[Any, ...]]  # a function and its arguments


@dataclass(frozen=True)
class Resident:
    """Stands, among the arguments of a task, for an object that every worker holds already."""

    name: str


TELL = Resident("tell")  # in a worker: a function that sends one value to whoever waits for the task


class Spread(Protocol):
    """Does tasks; the answers do not depend on who does them. count: worker processes, 0 for none."""

    count: int

    def map(self, tasks: Sequence[Task], told: Callable[[int, Any], None] | None = None) -> list[Any]: ...

    def resident(self, thing: Any) -> Any: ...


class Serial:
    """Tasks one after the other in the calling process."""

    count = 0

    def map(self, tasks: Sequence[Task], told: Callable[[int, Any], None] | None = None) -> list[Any]:
        """The answers in order; `told(task, value)` hears what tasks say through TELL."""
        answers = []
        for number, (function, arguments) in enumerate(tasks):
            tell = (lambda value, number=number: told(number, value)) if told else (lambda value: None)
            answers.append(function(*(tell if argument is TELL else argument for argument in arguments)))
        return answers

    def resident(self, thing: Any) -> Any:
        """The thing itself: nothing has to travel."""
        return thing


SERIAL = Serial()

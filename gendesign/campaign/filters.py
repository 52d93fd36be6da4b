"""Conditions and objectives as text: `sa_score <= 4`, `valid`, `min energy`. They are never evaluated as code."""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gendesign.errors import SettingsError
from gendesign.structure.types import Verdict

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
CONDITION = re.compile(r"\s*(not )?\s*([A-Za-z_]\w*)\s*(?:(<=|>=|<|>)\s*([-+\d.eE]+))?\s*")
OBJECTIVE = re.compile(r"\s*(min|max)\s+([A-Za-z_]\w*)\s*")
Values = Mapping[str, Verdict]  # the verdicts of one candidate by check


@dataclass(frozen=True)
class Filter:
    """One condition on a candidate: a check is passed (or not), or its value is on one side of `limit`."""

    text: str
    column: str
    negated: bool = False
    relation: str = ""
    limit: float = 0.0

    @classmethod
    def parse(cls, text: str, key: str = "keep") -> "Filter":
        """A filter such as `valid`, `not small_rings > 0` or `sa_score <= 4.5`. Raises SettingsError."""
        match = CONDITION.fullmatch(str(text))
        try:
            limit = float(match[4]) if match and match[4] else 0.0
        except ValueError:
            match = None
        if match is None:
            raise SettingsError(
                f"{key}={text}: give a check, such as valid, or a comparison, such as 'sa_score <= 4.5'"
            )
        return cls(" ".join(str(text).split()), match[2], bool(match[1]), match[3] or "", limit)

    def refuse(self, values: Values) -> str:
        """Why a candidate with these verdicts does not pass, or an empty text."""
        verdict = values.get(self.column)
        answer = None if verdict is None else self._answer(verdict)
        if answer is None:
            reason = f": {verdict.reason}" if verdict is not None and verdict.reason else ""
            return f"{self.text}: {self.column} has no value{reason}"
        if answer is self.negated:
            return f"{self.text} is not met"
        return ""

    def _answer(self, verdict: Verdict) -> bool | None:
        if not self.relation:
            return verdict.passed
        value = number(verdict)
        return None if value is None else OPERATORS[self.relation](value, self.limit)


@dataclass(frozen=True)
class Objective:
    """A property to minimise (`sign` 1) or to maximise (`sign` -1)."""

    column: str
    sign: float

    @classmethod
    def parse(cls, text: str, key: str = "by") -> "Objective":
        """An objective such as `min strain_gfn2`. Raises SettingsError."""
        match = OBJECTIVE.fullmatch(str(text))
        if match is None:
            raise SettingsError(f"{key}={text}: give min or max and a column, such as 'min sa_score'")
        return cls(match[2], 1.0 if match[1] == "min" else -1.0)

    def cost(self, values: Values) -> float:
        """The number to minimise, inf where nothing was measured."""
        value = number(values[self.column]) if self.column in values else None
        return float("inf") if value is None else self.sign * value


def number(verdict: Verdict) -> float | None:
    """The value of a verdict as a number: a passed check counts 1, a failed one 0; None for texts and nothing."""
    if isinstance(verdict.value, str):
        return None
    if verdict.value is not None:
        return float(verdict.value) if verdict.value == verdict.value else None
    return None if verdict.passed is None else float(verdict.passed)


def refusal(filters: Sequence[Filter], values: Values) -> str:
    """The reason of the first filter that a candidate does not pass, or an empty text."""
    return next(filter(None, (one.refuse(values) for one in filters)), "")

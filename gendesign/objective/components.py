"""Component of an objective: a score, the transform that makes it a desirability, and its weight."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gendesign.errors import UserError
from gendesign.objective.scores import NAMED
from gendesign.objective.transforms import SHAPES, Transform
from gendesign.structure.callables import FORMS, check_callable, load_function

CALLED = ("atoms", "mol")
USAGE = "SCORE [ARGUMENT ...] [TRANSFORM NUMBERS] [weight W] [penalty] [named NAME]"


@dataclass(frozen=True)
class Component:
    """A score with its transform and weight.

    score: a name in NAMED, a function `(atoms, mol) -> float`, or the place of one as path/to/file.py:function.
    arguments: words that some named scores need (SMILES, SMARTS). transform: a Transform or its words, such as
    "falling 2 6"; None for the default of the score or `as_is`. weight: in the mean. penalty: multiply the mean by the
    desirability instead. name: in reports. Raises UserError for unknown scores and unusable arguments.
    """

    score: str | Callable[..., float]
    arguments: Sequence[str] = ()
    transform: Transform | str | None = None
    weight: float = 1.0
    penalty: bool = False
    name: str | None = None

    def __post_init__(self) -> None:
        words = (self.arguments,) if isinstance(self.arguments, str) else tuple(map(str, self.arguments))
        object.__setattr__(self, "arguments", words)
        if not self.is_own and self.score not in NAMED:
            raise UserError(
                f"score '{self.score}' is unknown; allowed are {', '.join(NAMED)}, or a function of yours as {FORMS}"
            )
        if self.is_own and words:
            raise UserError(f"score '{self.label}' takes no arguments, but '{' '.join(words)}' was given; leave it out")
        if self.name is None:
            object.__setattr__(self, "name", " ".join([self.label, *words]))
        object.__setattr__(self, "transform", self._shape())
        weight = float(self.weight) if isinstance(self.weight, int | float) else math.nan
        if not (math.isfinite(weight) and weight > 0):
            raise UserError(f"score '{self.name}': weight {self.weight} must be above zero; give a number such as 1.0")

    def _shape(self) -> Transform:
        if isinstance(self.transform, Transform):
            return self.transform
        if isinstance(self.transform, Mapping):
            return Transform(**self.transform)
        if self.transform is not None:
            return Transform.read(str(self.transform))
        default = Transform() if self.is_own else NAMED[self.score].transform
        if default is None:
            raise UserError(
                f"score '{self.label}' is not between 0 and 1; add a transform, such as '{self.name} gaussian 2 1'; "
                f"there are {', '.join(SHAPES)}"
            )
        return default

    @property
    def is_own(self) -> bool:
        """Whether the score is a function of the user."""
        return not isinstance(self.score, str) or ":" in self.score

    @property
    def geometry(self) -> bool:
        """Whether the score needs a potential, and takes all candidates at once."""
        return not self.is_own and NAMED[self.score].geometry

    @property
    def label(self) -> str:
        """Name of the score without its arguments."""
        return self.score if isinstance(self.score, str) else getattr(self.score, "__name__", type(self.score).__name__)

    def function(self) -> Callable[..., Any]:
        """The function: of (atoms, mol) for one of the user, else of the arguments that `Named` states."""
        if not self.is_own:
            return NAMED[self.score].make(self.arguments)
        if isinstance(self.score, str):
            return load_function(self.score, CALLED)
        check_callable(self.score, self.label, CALLED)
        return self.score

    @classmethod
    def read(cls, source: "Component | Mapping[str, Any] | str | Callable[..., float]") -> "Component":
        """From a component, its settings, a function, or words such as `similarity CCO rising 0.2 0.8 weight 2`."""
        if isinstance(source, cls):
            return source
        if isinstance(source, Mapping):
            try:
                return cls(**source)
            except TypeError as error:
                raise UserError(f"component {dict(source)}: {error}; write it as '{USAGE}'") from None
        if callable(source):
            return cls(source)
        if not isinstance(source, str) or not source.split():
            raise UserError(f"component {source!r} names no score; write it as '{USAGE}'")
        return cls(**_settings(source))


def _settings(text: str) -> dict[str, Any]:
    """Keywords of Component from its words."""
    score, *words = text.split()
    clauses: list[list[str]] = [[]]
    for word in words:
        if word in SHAPES or word in ("weight", "penalty", "named"):
            clauses.append([])
        clauses[-1].append(word)
    settings: dict[str, Any] = {"score": score, "arguments": clauses[0]}
    for keyword, *rest in clauses[1:]:
        key = {"named": "name"}.get(keyword, "transform" if keyword in SHAPES else keyword)
        if key in settings:
            raise UserError(f"component '{text}' has two of '{key}'; write it as '{USAGE}'")
        if keyword in SHAPES:
            settings[key] = " ".join([keyword, *rest])
        elif len(rest) != (keyword != "penalty"):
            raise UserError(
                f"component '{text}': '{keyword}' is followed by a wrong number of words; write it as '{USAGE}'"
            )
        else:
            settings[key] = True if keyword == "penalty" else rest[0] if key == "name" else _number(rest[0], text)
    return settings


def _number(word: str, text: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise UserError(f"component '{text}': '{word}' is not a number; write it as '{USAGE}'") from None

"""Settings as dataclass fields with default, unit, bounds and help text.

    @dataclass(frozen=True)
    class Relaxation:
        fmax: float = setting(0.05, "largest force of a relaxed structure", unit="eV/Angstrom", above=0)

        def __post_init__(self) -> None:
            check_bounds(self, "relaxation")

The command line, its help and the resolved settings of a run are built from these fields (run/schema.py).
"""

import dataclasses
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass
from numbers import Integral, Real
from typing import Any

from gendesign.errors import UserError

KEY, SECTION = "setting", "section"  # keys of the metadata of a dataclass field


@dataclass(frozen=True)
class Setting:
    """The description of a setting.

    help: one line without a full stop. unit: unit of a number, such as Angstrom.
    least, most: inclusive bounds. above, below: exclusive bounds. infinite: whether -inf and inf are allowed.
    allowed: the complete list of allowed words; `cuda:N` stands for cuda:0, cuda:1 and so on; empty allows any word.
    file: whether the value names one or more files, whose content belongs to the identity of a run.
    identity: whether the value belongs to the identity of a run; False, for example, for the number of workers.
    """

    help: str
    unit: str = ""
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    infinite: bool = False
    allowed: tuple[str, ...] = ()
    file: bool = False
    identity: bool = True

    @property
    def bounded(self) -> bool:
        """Whether any bound is set."""
        return any(bound is not None for bound in (self.least, self.most, self.above, self.below))

    def range(self) -> str:
        """The bounds in words, such as "from 0 to 1" or "above 0"; "" without bounds."""
        if self.least is not None and self.most is not None:
            return f"from {self.least:g} to {self.most:g}"
        words = {"of {:g} or more": self.least, "above {:g}": self.above, "of {:g} or less": self.most,
                 "below {:g}": self.below}  # fmt: skip
        return " and ".join(text.format(bound) for text, bound in words.items() if bound is not None)

    def wanted(self, whole: bool = False) -> str:
        """The required value in words, such as "a number above 0, eV/Angstrom"; `whole` for integers."""
        words = "a whole number" if whole else "a number" if self.bounded or self.infinite else "a finite number"
        return " ".join(filter(None, [words, self.range()])) + (f", {self.unit}" if self.unit else "")

    def holds(self, value: float) -> bool:
        """Whether a number is within the bounds, and finite unless infinite values are allowed."""
        return (
            (math.isfinite(value) or (self.infinite and not math.isnan(value)))
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def fits(self, word: str) -> bool:
        """Whether a word is allowed."""
        return not self.allowed or re.sub(r":\d+$", ":N", word) in self.allowed


@dataclass(frozen=True)
class Section:
    """A section of settings: the dotted name of its dataclass, which is not imported until needed."""

    target: str
    optional: bool = False


def setting(
    default: Any = MISSING,
    help: str = "",
    *,
    factory: Callable[[], Any] | Any = MISSING,
    unit: str = "",
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    infinite: bool = False,
    allowed: tuple[str, ...] = (),
    file: bool = False,
    identity: bool = True,
) -> Any:
    """A dataclass field described by a `Setting`; `factory` makes the default of a mutable value."""
    about = Setting(help, unit, least, most, above, below, infinite, tuple(allowed), file, identity)
    if factory is not MISSING:
        return dataclasses.field(default_factory=factory, metadata={KEY: about})
    return dataclasses.field(default=default, metadata={KEY: about})


def section(target: str, *, optional: bool = False) -> Any:
    """A dataclass field for a section of settings, whose keys are the fields of the class with the name `target`.

    An optional section is present only if the settings contain it.
    """
    return dataclasses.field(default=None, metadata={SECTION: Section(target, optional)})


def settings_of(cls: type) -> dict[str, Setting]:
    """The settings of a dataclass by field name, in order. Fields without a `Setting` are omitted."""
    return {field.name: field.metadata[KEY] for field in dataclasses.fields(cls) if KEY in field.metadata}


def check_bounds(instance: Any, section: str) -> None:
    """Raise UserError for a field of `instance` that is out of bounds or not an allowed word.

    `section` is the place of the fields in the settings, such as "generator.start". Sequences are checked value by
    value. None is not checked here, nor are words (auto, 5-12) in a field whose type has both numbers and text. A field
    of type int requires whole numbers.
    """
    for field in dataclasses.fields(instance):
        about: Setting | None = field.metadata.get(KEY)
        if about is None:
            continue
        value, whole = getattr(instance, field.name), field.type in (int, "int", int | None, "int | None")
        key = f"{section}.{field.name}" if section else field.name
        for part in _parts(value):
            if isinstance(part, Real) and not isinstance(part, bool):
                if not about.holds(float(part)) or (whole and not isinstance(part, Integral)):
                    raise UserError(f"{key}={shown(value)}: give {about.wanted(whole)}")
            elif part is value and isinstance(part, str) and _is_numeric(field.type):
                raise UserError(f"{key}={part}: give {about.wanted(whole)}")
            elif part is not None and not about.fits(str(part)):
                raise UserError(f"{key}={shown(value)}: allowed are {', '.join(about.allowed)}")


def shown(value: Any) -> str:
    """A value in the syntax of the command line."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(shown, value))}]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_numeric(annotation: Any) -> bool:
    """Whether the type of a field has numbers and no text."""
    text = str(annotation)
    return "str" not in text and ("int" in text or "float" in text)


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        yield from value
    else:
        yield value

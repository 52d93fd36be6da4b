"""Settings as dataclass fields: default, unit, bounds, help and "is a file" stand where the value is used.

    @dataclass(frozen=True)
    class Relaxation:
        fmax: float = setting(0.05, "largest force of a relaxed structure", unit="eV/Angstrom", above=0)

        def __post_init__(self) -> None:
            check_bounds(self, "relaxation")

The command line, its help and the resolved settings of a run are made from these fields (run/schema.py).
"""

import dataclasses
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass
from numbers import Integral, Real
from typing import Any

from gendesign.errors import UserError

KEY, SECTION = "setting", "section"  # of the metadata of a dataclass field


@dataclass(frozen=True)
class Setting:
    """What a field says of itself beside its default.

    help: one line without a full stop. unit: such as Angstrom, for numbers. least, most: smallest and largest value
    that is allowed; above, below: the same where the bound itself is not; infinite: whether -inf and inf are allowed.
    allowed: the words that may be given, if these are all; `cuda:N` stands for cuda:0, cuda:1 and so on. file: the
    value names a file (or several), whose content belongs to the identity of a run. identity: whether another value
    makes another run; False for the number of workers, say.
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
        """The bounds in words, such as "from 0 to 1" or "above 0, at most 5"; empty without any."""
        if self.least is not None and self.most is not None:
            return f"from {self.least:g} to {self.most:g}"
        words = {"of {:g} or more": self.least, "above {:g}": self.above, "of {:g} or less": self.most,
                 "below {:g}": self.below}  # fmt: skip
        return " and ".join(text.format(bound) for text, bound in words.items() if bound is not None)

    def wanted(self, whole: bool = False) -> str:
        """What number is needed, such as "a number above 0, eV/Angstrom"."""
        words = "a whole number" if whole else "a number" if self.bounded or self.infinite else "a finite number"
        return " ".join(filter(None, [words, self.range()])) + (f", {self.unit}" if self.unit else "")

    def holds(self, value: float) -> bool:
        """Whether a number is within the bounds, and finite unless infinite ones are allowed."""
        return (
            (math.isfinite(value) or (self.infinite and not math.isnan(value)))
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def fits(self, word: str) -> bool:
        """Whether a word is one of the allowed ones, if not all are allowed."""
        return not self.allowed or re.sub(r":\d+$", ":N", word) in self.allowed


@dataclass(frozen=True)
class Section:
    """The class of a section of settings by its dotted name, so that naming it imports nothing."""

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
    """A dataclass field with what `Setting` holds; `factory` makes the default of a mutable value."""
    about = Setting(help, unit, least, most, above, below, infinite, tuple(allowed), file, identity)
    if factory is not MISSING:
        return dataclasses.field(default_factory=factory, metadata={KEY: about})
    return dataclasses.field(default=default, metadata={KEY: about})


def section(target: str, *, optional: bool = False) -> Any:
    """A dataclass field that stands for a section of settings: the fields of the class `target` names.

    An optional section is there only where the settings have it.
    """
    return dataclasses.field(default=None, metadata={SECTION: Section(target, optional)})


def settings_of(cls: type) -> dict[str, Setting]:
    """The settings of a dataclass by field name, in order; fields without one are none."""
    return {field.name: field.metadata[KEY] for field in dataclasses.fields(cls) if KEY in field.metadata}


def check_bounds(instance: Any, section: str) -> None:
    """Raise UserError of one line for a field of `instance` outside its bounds or its allowed words.

    `section` is where the field stands in the settings, such as "generator.start". None is left to the field's type,
    and so is a word (auto, 5-12) where numbers have bounds; a sequence is checked value by value. A field of type int
    takes whole numbers only.
    """
    for field in dataclasses.fields(instance):
        about: Setting | None = field.metadata.get(KEY)
        if about is None:
            continue
        value, whole = getattr(instance, field.name), field.type in (int, "int")
        key = f"{section}.{field.name}" if section else field.name
        for part in _parts(value):
            if isinstance(part, Real) and not isinstance(part, bool):
                if not about.holds(float(part)) or (whole and not isinstance(part, Integral)):
                    raise UserError(f"{key}={shown(value)}: give {about.wanted(whole)}")
            elif part is not None and not about.fits(str(part)):
                raise UserError(f"{key}={shown(value)}: allowed are {', '.join(about.allowed)}")


def shown(value: Any) -> str:
    """A value as it would be typed."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(shown, value))}]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        yield from value
    else:
        yield value

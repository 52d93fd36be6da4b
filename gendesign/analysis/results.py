"""What an analysis finds: numbers and curves of every model, and their means over models."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Value:
    """One number of a model. about: the cutoff or another setting that it depends on."""

    name: str
    value: float
    unit: str = ""
    about: str = ""


@dataclass(frozen=True)
class Curve:
    """Columns over a common x. kind: names the file and the figure."""

    kind: str
    x_name: str
    x: np.ndarray
    columns: dict[str, np.ndarray]


@dataclass
class Found:
    """The results of one model. notes: what should be known when reading them; labels: per-atom arrays by name."""

    name: str
    values: list[Value] = field(default_factory=list)
    curves: dict[str, Curve] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, value: float, unit: str = "", about: str = "") -> None:
        """Add one number."""
        self.values.append(Value(name, float(value), unit, about))


@dataclass(frozen=True)
class Mean:
    """A number over models: mean, standard error of the mean (None for one model), and the number of models."""

    name: str
    value: float
    error: float | None
    unit: str
    n: int
    about: str


def means(found: Sequence[Found]) -> list[Mean]:
    """Every number averaged over the models that have it, in the order of the first model that has it."""
    names = dict.fromkeys(value.name for one in found for value in one.values)
    tables = [{value.name: value for value in one.values} for one in found]
    out = []
    for name in names:
        values = [table[name] for table in tables if name in table]
        numbers = np.array([value.value for value in values])
        n = len(numbers)
        error = float(numbers.std(ddof=1) / np.sqrt(n)) if n > 1 else None
        abouts = dict.fromkeys(value.about for value in values)
        out.append(Mean(name, float(numbers.mean()), error, values[0].unit, n, "; ".join(filter(None, abouts))))
    return out


def mean_curves(found: Sequence[Found]) -> dict[str, tuple[Curve, dict[str, np.ndarray]]]:
    """Every curve averaged over models on the x of the first, and standard errors of its columns (none for one)."""
    out = {}
    for kind in dict.fromkeys(kind for one in found for kind in one.curves):
        curves = [one.curves[kind] for one in found if kind in one.curves]
        x = curves[0].x
        columns, errors = {}, {}
        for name in dict.fromkeys(_names(curves)):
            rows = [np.interp(x, curve.x, curve.columns[name]) for curve in curves if name in curve.columns]
            columns[name] = np.mean(rows, axis=0)
            if len(rows) > 1:
                errors[name] = np.std(rows, axis=0, ddof=1) / np.sqrt(len(rows))
        out[kind] = (Curve(kind, curves[0].x_name, x, columns), errors)
    return out


def _names(curves: Iterable[Curve]) -> Iterable[str]:
    for curve in curves:
        yield from curve.columns

"""Transforms from the value of a score to a desirability between 0 and 1."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gendesign.errors import UserError

STEEPNESS = 2 * math.log(19)  # a sigmoid is 0.05 at one of its bounds and 0.95 at the other


def _logistic(z: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(z / 2))  # 1 / (1 + exp(-z)) that cannot overflow


def _sigmoid(x: np.ndarray, low: float, high: float) -> np.ndarray:
    return _logistic(STEEPNESS * (x - (low + high) / 2) / (high - low))


@dataclass(frozen=True)
class Shape:
    """A function of values (n,) and of its numbers; if `ordered`, the first number must be below the second."""

    numbers: tuple[str, ...]
    function: Callable[..., np.ndarray]
    ordered: bool = False


SHAPES = {
    "as_is": Shape((), lambda x: np.clip(x, 0, 1)),
    "rising": Shape(("low", "high"), lambda x, low, high: np.clip((x - low) / (high - low), 0, 1), True),
    "falling": Shape(("low", "high"), lambda x, low, high: np.clip((high - x) / (high - low), 0, 1), True),
    "sigmoid": Shape(("low", "high"), _sigmoid, True),
    "reverse_sigmoid": Shape(("low", "high"), lambda x, low, high: 1 - _sigmoid(x, low, high), True),
    "gaussian": Shape(("target", "width"), lambda x, target, width: np.exp(-(((x - target) / width) ** 2) / 2)),
    "range": Shape(("low", "high"), lambda x, low, high: ((x >= low) & (x <= high)).astype(float), True),
    "above": Shape(("low",), lambda x, low: (x >= low).astype(float)),
    "below": Shape(("high",), lambda x, high: (x <= high).astype(float)),
}


@dataclass(frozen=True)
class Transform:
    """`shape` one of SHAPES, with its `numbers`.

    as_is (clipped to 0..1), rising and falling ramps between low and high, sigmoid (0.05 at low, 0.95 at high) and
    reverse_sigmoid, gaussian around a target (width: the standard deviation), range (1 from low to high, else 0),
    above and below (1 from a bound on). Raises UserError for unknown shapes and unusable bounds.
    """

    shape: str = "as_is"
    numbers: Sequence[float] = ()

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise UserError(f"transform '{self.shape}' is unknown; allowed are {', '.join(SHAPES)}: give one of them")
        shape = SHAPES[self.shape]
        usage = " ".join([self.shape, *(name.upper() for name in shape.numbers)])
        try:
            numbers = tuple(float(number) for number in self.numbers)
        except (TypeError, ValueError):
            numbers = (math.nan,)
        object.__setattr__(self, "numbers", numbers)
        text = " ".join([self.shape, *map(str, self.numbers)])
        if len(numbers) != len(shape.numbers) or not all(map(math.isfinite, numbers)):
            raise UserError(f"transform '{text}' needs {len(shape.numbers)} finite numbers; write it as {usage}")
        if shape.ordered and not numbers[0] < numbers[1]:
            raise UserError(f"transform '{text}': low must be less than high; write it as {usage}")
        if self.shape == "gaussian" and not numbers[1] > 0:
            raise UserError(f"transform '{text}': the width must be above zero; write it as {usage}")

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Desirabilities (n,) in 0..1 of `values` (n,); NaN stays NaN."""
        values = np.asarray(values, dtype=float)
        with np.errstate(over="ignore", invalid="ignore"):
            desirabilities = SHAPES[self.shape].function(values, *self.numbers)
        return np.where(np.isnan(values), np.nan, desirabilities)

    @classmethod
    def read(cls, text: str) -> "Transform":
        """From words such as `falling 2 6`."""
        shape, *numbers = text.split() or [""]
        return cls(shape, numbers)

"""Colours and panels of the pictures of all tests."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = ("#2c6e9f", "#e0802b", "#4b9b5a", "#b0413e", "#7a5ea8", "#8a6d4b", "#c970a8", "#6b6b6b")
OWN, REFERENCE = COLOURS[0], COLOURS[1]


def grid(count: int, *, columns: int, size: tuple[float, float], **shared: bool) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels of `size` inches in at most `columns` columns; unused panels are hidden."""
    columns = max(1, min(columns, count))
    lines = max(1, math.ceil(count / columns))
    figure = Figure(figsize=(size[0] * columns, size[1] * lines), layout="constrained")
    axes = list(figure.subplots(lines, columns, squeeze=False, **shared).flat)
    for empty in axes[count:]:
        empty.set_visible(False)
    for panel in axes[:count]:
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, axes[:count]

"""Whether predicted deviations are those of the errors: likelihood, one factor, a table and a picture."""

from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from torch import Tensor

from gendesign.errors import UserError

BANDS = (0.5, 0.8, 0.98)  # shares of the errors that a picture's lines bound


class Bin(NamedTuple):
    """Structures of similar predicted deviation: their number, the root mean square of prediction and of error, and
    the shares of errors within one and two deviations (0.683 and 0.954 for Gaussian errors)."""

    n: int
    predicted: float
    actual: float
    within_one: float
    within_two: float


def best_factor(error: Tensor, deviation: Tensor) -> float:
    """The factor on `deviation` under which Gaussian errors are likeliest; entries predicted as exact are left out."""
    error, deviation = error.flatten(), deviation.flatten()
    known = deviation > 1e-12
    if not known.any():
        raise UserError("every deviation is zero; calibrate with structures that the potential does not know exactly")
    return float((error[known] / deviation[known]).square().mean().sqrt())


def likelihood_loss(error: Tensor, deviation: Tensor) -> float:
    """Mean negative log-likelihood of Gaussian errors, in nats."""
    error, deviation = error.flatten(), deviation.flatten()
    known = deviation > 1e-12
    scaled = error[known] / deviation[known]
    return float((0.5 * scaled.square() + deviation[known].log() + 0.5 * np.log(2 * np.pi)).mean())


def calibration_table(predicted: Sequence[float], error: Sequence[float], bins: int = 5) -> list[Bin]:
    """Bins of equal numbers by predicted deviation, lowest first, and all together at the end."""
    deviations, errors = np.ravel(predicted), np.abs(np.ravel(error))
    order = np.argsort(deviations, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)] + [order]
    return [
        Bin(
            len(part),
            float(np.sqrt(np.mean(deviations[part] ** 2))),
            float(np.sqrt(np.mean(errors[part] ** 2))),
            float(np.mean(errors[part] <= deviations[part])),
            float(np.mean(errors[part] <= 2 * deviations[part])),
        )
        for part in parts
    ]


def calibration_plot(
    predicted: Sequence[float], error: Sequence[float], file: str | Path, *, quantity: str = "energy", unit: str = "eV"
) -> None:
    """Write a PNG: actual against predicted deviation on logarithmic axes, with bins, ideal line and quantile bands.

    Between a pair of lines lie 50, 80 and 98 % of the errors if these are Gaussian with the predicted deviation.
    """
    from matplotlib.figure import Figure

    deviations, errors = np.ravel(predicted), np.abs(np.ravel(error))
    positive = (deviations > 0) & (errors > 0)
    deviations, errors = deviations[positive], errors[positive]
    if not len(deviations):
        raise UserError("no deviation above zero; nothing can be drawn")
    figure = Figure(figsize=(4.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    ends = np.quantile(deviations, [0, 1]) * [0.8, 1.25]
    for share in BANDS:
        low, high = (NormalDist().inv_cdf(0.5 + side / 2) for side in ((1 - share) / 2, (1 + share) / 2))
        axes.fill_between(ends, low * ends, high * ends, color="tab:blue", alpha=0.1, lw=0)
    few = np.random.default_rng(0).permutation(len(deviations))[:4000]
    axes.plot(deviations[few], errors[few], ".", color="0.25", ms=2.5, alpha=0.5, mew=0)
    rows = calibration_table(list(deviations), list(errors), bins=min(10, max(1, len(deviations) // 10)))[:-1]
    axes.plot([r.predicted for r in rows], [r.actual for r in rows], "o", color="tab:orange", ms=5, label="rms of bins")
    axes.plot(ends, ends, color="black", lw=1, label="ideal, and 50, 80, 98 % bands")
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=(max(np.quantile(errors, 0.01), 1e-12), 1.5 * errors.max()))
    axes.set_xlabel(f"predicted deviation of the {quantity} ({unit})")
    axes.set_ylabel(f"actual error ({unit})")
    axes.legend(fontsize=7, loc="lower right")
    figure.savefig(file, dpi=110)

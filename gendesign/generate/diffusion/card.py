"""The card of a diffusion model, and the curves of its training."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from gendesign.generate.diffusion.loss import LEVELS, NoiseLevels
from gendesign.generate.diffusion.model import EnergyModel
from gendesign.generate.diffusion.network import count_of_parameters
from gendesign.structure.journal import read_log


def linear_errors(model: EnergyModel, sigma: float) -> tuple[float, float]:
    """Errors of the best Gaussian, which knows no molecules: s^2 / (s^2 + sigma^2) for positions and elements.

    Positions are about the centre, so that one atom of a molecule has no noise of its own.
    """
    s = model.statistics
    x, z = (spread**2 / (spread**2 + sigma**2) for spread in (s.spread, s.element_spread))
    return x * (1 - 1 / s.atoms), z


def card(name: str, licence: str, model: EnergyModel, noise: NoiseLevels, facts: Mapping[str, Any], log: Path) -> str:
    """The card in Markdown. facts: what config.yaml says of the training; log: log.csv of it."""
    last = next((row for row in reversed(read_log(log)) if f"x@{LEVELS[0]:g}" in row), {})
    low, high = noise.seen
    s = model.statistics
    lines = ["| noise (Angstrom) | positions | by shrinking alone | elements | by shrinking alone |", "|---" * 5 + "|"]
    for level in LEVELS:
        x, z = linear_errors(model, level)
        values = (last.get(f"x@{level:g}"), x, last.get(f"z@{level:g}"), z)
        lines.append(f"| {level:g} | " + " | ".join("" if v is None else f"{v:.3f}" for v in values) + " |")
    settings = ", ".join(f"{key} {value}" for key, value in asdict(model.settings).items())
    training = "\n".join(f"- {key}: {value}" for key, value in facts.items() if key not in ("name", "licence"))
    return f"""# {name}

An energy-based diffusion model of molecules of {", ".join(model.elements)}, trained by gendesign. Licence: {licence}.
Its gradient is the score of arXiv 2402.08708. It is no potential: the energy has no unit and no meaning without noise.

## Training

{training}
- noise levels seen: {low:.3g} to {high:.3g} Angstrom (ln sigma: mean {noise.mean:g}, deviation {noise.spread:g})
- spread of a coordinate: {s.spread:.3f} Angstrom at {s.atoms:.1f} atoms, growing as n^{s.growth:.2f}

## Errors

Mean squared error of denoised held-out molecules over that of the noise; 1 removes nothing.

{chr(10).join(lines)}

## Network

{count_of_parameters(model):,} weights; {settings}.
"""


def learning_curves(log: Path, picture: Path) -> None:
    """Plot the loss and the held-out errors at every noise level against steps."""
    rows = read_log(log)
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    axes = figure.subplots(1, 3)
    axes[0].plot([r["step"] for r in rows], [r["loss"] for r in rows], marker=".")
    axes[0].set(xlabel="step", title="loss")
    for axis, kind, title in zip(axes[1:], "xz", ("positions", "elements"), strict=True):
        for level in LEVELS:
            points = [(r["step"], r[f"{kind}@{level:g}"]) for r in rows if f"{kind}@{level:g}" in r]
            if points:
                axis.plot(*zip(*points, strict=True), marker=".", label=f"{level:g} Å")
        axis.set(xlabel="step", title=f"error of denoised {title}", yscale="log")
        if axis.lines:
            axis.legend(frameon=False, title="noise")
    figure.savefig(picture, dpi=120)

"""Mean-squared displacements of a trajectory, and diffusion coefficients by element."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from gendesign.errors import UserError

CM2_S = 1e-1  # of Angstrom^2 / fs in cm^2 / s
FIT = (0.3, 0.8)  # part of the lag times between which the slope is fitted


@dataclass(frozen=True)
class Diffusion:
    """Diffusion of one element.

    time (lags,): ps. displacement (lags,): mean-squared displacement, Angstrom^2. coefficient: cm^2/s, its slope over
    six. exponent: slope of both logarithms, 1 for diffusion and 0 for vibrations in a solid.
    """

    element: str
    time: np.ndarray
    displacement: np.ndarray
    coefficient: float
    exponent: float


def unwrapped(frames: Sequence[Atoms]) -> np.ndarray:
    """Continuous positions (frames, atoms, 3): no step is longer than half a cell; drift of the centre removed."""
    place = np.array([frame.positions for frame in frames])
    steps = np.diff(place, axis=0)
    for k, frame in enumerate(frames[1:]):
        cell = frame.cell.array
        steps[k] -= np.rint(steps[k] @ np.linalg.inv(cell)) @ cell
    path = np.concatenate([place[:1], place[0] + np.cumsum(steps, axis=0)])
    masses = frames[0].get_masses()
    centre = np.einsum("a,tax->tx", masses, path) / masses.sum()
    return path - (centre - centre[0])[:, None]


def diffusion(frames: Sequence[Atoms], timestep: float) -> list[Diffusion]:
    """Diffusion of every element in frames that are `timestep` fs apart, averaged over all starts."""
    if len(frames) < 10:
        raise UserError(f"diffusion needs 10 frames or more, not {len(frames)}; write more of the trajectory")
    if len({len(frame) for frame in frames}) > 1:
        raise UserError("the frames have different numbers of atoms; leave trajectory=true out")
    path = unwrapped(frames)
    lags = np.arange(1, max(4, len(frames) // 2))
    out = []
    for symbol in sorted(set(frames[0].symbols)):
        own = path[:, frames[0].symbols == symbol]
        displacement = np.array([((own[lag:] - own[:-lag]) ** 2).sum(2).mean() for lag in lags])
        time = lags * timestep * 1e-3
        low, high = int(FIT[0] * len(lags)), max(int(FIT[1] * len(lags)), int(FIT[0] * len(lags)) + 2)
        slope = float(np.polyfit(time[low:high], displacement[low:high], 1)[0])
        safe = np.maximum(displacement[low:high], 1e-12)
        exponent = float(np.polyfit(np.log(time[low:high]), np.log(safe), 1)[0])
        out.append(Diffusion(str(symbol), time, displacement, slope / 6 * 1e-3 * CM2_S, exponent))
    return out

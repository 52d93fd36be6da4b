"""Vibrational density of states, from velocities of a trajectory and from the dynamical matrix of a small cell."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator

from gendesign.errors import UserError

MOST_ATOMS = 600  # of a cell whose dynamical matrix is made: six calls of the potential per atom
THZ = 1e12


@dataclass(frozen=True)
class Vibrations:
    """Density of states (bins,) per THz at `frequency` (bins,) in THz, with integral 1.

    modes: frequencies of a dynamical matrix in THz, negative for imaginary ones, and participation their share of atoms
    that take part; empty for a trajectory.
    """

    frequency: np.ndarray
    density: np.ndarray
    modes: np.ndarray
    participation: np.ndarray


def from_velocities(frames: Sequence[Atoms], timestep: float, resolution: float = 0.5) -> Vibrations:
    """The spectrum of the mass-weighted velocity autocorrelation of frames that are `timestep` fs apart.

    Frames need momenta. resolution: in THz, the width of the window. Drift of the whole cell is removed.
    """
    if len(frames) < 16:
        raise UserError(f"a density of states needs 16 frames or more, not {len(frames)}; write more of the trajectory")
    if not all(frame.has("momenta") for frame in frames):
        raise UserError("the frames have no velocities; write momenta into the trajectory")
    masses = frames[0].get_masses()
    velocity = np.array([frame.get_velocities() for frame in frames])
    drift = np.einsum("a,tax->tx", masses, velocity) / masses.sum()
    weighted = (velocity - drift[:, None]) * np.sqrt(masses)[None, :, None]
    weighted = weighted.reshape(len(frames), -1)
    span = min(len(frames) // 2, max(8, round(1e15 / (resolution * THZ * timestep))))
    size = 2 * len(frames)
    correlation = np.zeros(span)
    for low in range(0, weighted.shape[1], 3000):  # columns at once, which bounds the memory
        spectrum = np.fft.rfft(weighted[:, low : low + 3000], n=size, axis=0)
        correlation += np.fft.irfft((np.abs(spectrum) ** 2).sum(1), n=size)[:span]
    correlation /= (len(frames) - np.arange(span)) * correlation[0] / len(frames)
    window = np.cos(np.pi / 2 * np.arange(span) / span) ** 2
    density = np.fft.rfft(np.concatenate([correlation * window, np.zeros(7 * span)])).real
    # one-sided transform: the value at lag 0 counts half
    density = np.maximum(density - correlation[0] * window[0] / 2, 0)
    frequency = np.fft.rfftfreq(8 * span, timestep * 1e-15) / THZ
    area = np.trapezoid(density, frequency)
    return Vibrations(frequency, density / area, np.empty(0), np.empty(0))


def from_dynamical_matrix(
    atoms: Atoms,
    calculator: Calculator,
    distance: float = 0.01,
    width: float = 0.25,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Vibrations:
    """Modes of the cell at the centre of its zone, from central differences of forces; Gaussians of `width` THz.

    distance: of the displacements, Angstrom. Raises UserError for more atoms than MOST_ATOMS.
    """
    n = len(atoms)
    if n > MOST_ATOMS:
        raise UserError(
            f"the dynamical matrix of {n} atoms needs {6 * n} calls of the potential; give {MOST_ATOMS} atoms or "
            "fewer, or a trajectory with velocities"
        )
    copy = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    copy.calc = calculator
    hessian = np.empty((3 * n, 3 * n))
    for row in range(3 * n):
        forces = []
        for sign in (1, -1):
            copy.positions[row // 3, row % 3] += sign * distance
            forces.append(copy.get_forces().ravel().copy())
            copy.positions[row // 3, row % 3] -= sign * distance
        hessian[row] = (forces[1] - forces[0]) / (2 * distance)
        report(row + 1, 3 * n)
    mass = np.repeat(atoms.get_masses(), 3)
    dynamical = (hessian + hessian.T) / 2 / np.sqrt(np.outer(mass, mass))
    squared, vectors = np.linalg.eigh(dynamical)
    # eV / (Angstrom^2 u) to (2 pi THz)^2
    scale = np.sqrt(units._e / units._amu) * 1e10 / (2 * np.pi * THZ)
    modes = np.sign(squared) * np.sqrt(np.abs(squared)) * scale
    weight = (vectors.reshape(n, 3, -1) ** 2).sum(1)
    participation = 1 / (n * (weight**2).sum(0))
    frequency = np.linspace(0, max(1.0, modes.max() * 1.15), 400)
    optical = np.delete(modes, np.argsort(np.abs(modes))[:3])  # without the translations of the cell
    peaks = np.exp(-((frequency[:, None] - optical[None]) ** 2) / (2 * width**2))
    density = peaks.sum(1)
    return Vibrations(frequency, density / np.trapezoid(density, frequency), modes, participation)

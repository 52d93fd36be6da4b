"""Bond-orientational order: Steinhardt's q_l and the averages of Lechner and Dellago."""

import numpy as np
from scipy.special import sph_harm_y

from gendesign.analysis.neighbours import Bonds

CHUNK = 500_000  # bonds whose harmonics are in memory at once


def harmonics(bonds: Bonds, l: int) -> np.ndarray:  # noqa: E741 - the name of the field
    """Mean spherical harmonics of the bonds of every atom (n, l + 1), m = 0 to l; those of -m are their conjugates."""
    out = np.zeros((bonds.n, l + 1), dtype=complex)
    for low in range(0, len(bonds.i), CHUNK):
        i, vector = bonds.i[low : low + CHUNK], bonds.vector[low : low + CHUNK]
        theta = np.arccos(np.clip(vector[:, 2] / bonds.distance[low : low + CHUNK], -1, 1))
        phi = np.arctan2(vector[:, 1], vector[:, 0])
        begin, end = int(i[0]), int(i[-1]) + 1
        for m in range(l + 1):
            value = sph_harm_y(l, m, theta, phi)
            out[begin:end, m] += np.bincount(i - begin, value.real, end - begin)
            out[begin:end, m] += 1j * np.bincount(i - begin, value.imag, end - begin)
    return out / np.maximum(bonds.counts, 1)[:, None]


def averaged(bonds: Bonds, values: np.ndarray) -> np.ndarray:
    """Mean of `values` (n, ...) over every atom and its neighbours."""
    total = values.copy()
    for column in range(values.shape[1]):
        of = values[bonds.j, column]
        total[:, column] += np.bincount(bonds.i, of.real, bonds.n) + 1j * np.bincount(bonds.i, of.imag, bonds.n)
    return total / (bonds.counts + 1)[:, None]


def steinhardt(bonds: Bonds, l: int, average: bool = False) -> np.ndarray:  # noqa: E741
    """q_l of every atom (n,) (Steinhardt, Nelson, Ronchetti, Phys. Rev. B 28, 784 (1983)); 0.5745 for q_6 of fcc.

    average: of harmonics averaged over the neighbours first (Lechner, Dellago, J. Chem. Phys. 129, 114707 (2008)).
    """
    values = harmonics(bonds, l)
    if average:
        values = averaged(bonds, values)
    power = np.abs(values[:, 0]) ** 2 + 2 * (np.abs(values[:, 1:]) ** 2).sum(1)
    return np.asarray(np.sqrt(4 * np.pi / (2 * l + 1) * power))

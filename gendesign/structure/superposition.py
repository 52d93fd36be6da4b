"""Distances between structures: as they lie, or after the best rotation and translation."""

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist


def aligned_rmsd(first: np.ndarray, second: np.ndarray) -> float:
    """Root mean square distance of paired points (n, 3) after the best rotation and translation (Kabsch 1976)."""
    if len(first) == 0:
        return 0.0
    a, b = first - first.mean(0), second - second.mean(0)
    u, singular, vt = np.linalg.svd(a.T @ b)
    singular[-1] *= np.sign(np.linalg.det(u @ vt))
    square = ((a**2).sum() + (b**2).sum() - 2 * singular.sum()) / len(a)
    return float(np.sqrt(max(square, 0.0)))


def squares_apart(one: np.ndarray, other: np.ndarray, numbers: np.ndarray) -> float:
    """Sum of squared distances (Angstrom^2) of the heavy atoms of two molecules, whichever atoms of an element match.

    A molecule that stands upside down, or has two branches alike, is where its image is under other names.
    """
    total = 0.0
    for z in set(numbers.tolist()) - {1}:
        squares = cdist(one[numbers == z], other[numbers == z], "sqeuclidean")
        total += squares[linear_sum_assignment(squares)].sum()
    return float(total)

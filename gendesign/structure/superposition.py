"""Distances between structures, at fixed positions or after optimal superposition."""

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist


def aligned_rmsd(first: np.ndarray, second: np.ndarray) -> float:
    """RMSD of paired points (n, 3) after the optimal rotation and translation (Kabsch, Acta Cryst. A32, 922, 1976)."""
    if len(first) == 0:
        return 0.0
    a, b = first - first.mean(0), second - second.mean(0)
    u, singular, vt = np.linalg.svd(a.T @ b)
    singular[-1] *= np.sign(np.linalg.det(u @ vt))
    square = ((a**2).sum() + (b**2).sum() - 2 * singular.sum()) / len(a)
    return float(np.sqrt(max(square, 0.0)))


def squared_distance(first: np.ndarray, second: np.ndarray, numbers: np.ndarray) -> float:
    """Sum of squared distances (Angstrom^2) of the heavy atoms of two molecules at fixed positions.

    Atoms of one element are assigned to each other so that the sum is least: symmetry-equivalent atoms may be permuted.
    first, second (atoms, 3) in Angstrom; numbers (atoms,) of both.
    """
    total = 0.0
    for z in set(numbers.tolist()) - {1}:
        squares = cdist(first[numbers == z], second[numbers == z], "sqeuclidean")
        total += squares[linear_sum_assignment(squares)].sum()
    return float(total)

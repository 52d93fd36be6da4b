"""Distances between structures after the best rotation and translation."""

import numpy as np


def aligned_rmsd(first: np.ndarray, second: np.ndarray) -> float:
    """Root mean square distance of paired points (n, 3) after the best rotation and translation (Kabsch 1976)."""
    if len(first) == 0:
        return 0.0
    a, b = first - first.mean(0), second - second.mean(0)
    u, singular, vt = np.linalg.svd(a.T @ b)
    singular[-1] *= np.sign(np.linalg.det(u @ vt))
    square = ((a**2).sum() + (b**2).sum() - 2 * singular.sum()) / len(a)
    return float(np.sqrt(max(square, 0.0)))

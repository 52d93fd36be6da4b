"""Neutral bond orders by exact search: does a bond graph have a Lewis structure without charges and radicals?"""

from collections.abc import Sequence

import numpy as np
from ase.data import covalent_radii
from scipy.optimize import Bounds, LinearConstraint, milp

# Valences of neutral closed-shell atoms, by atomic number.
NEUTRAL_VALENCES = {
    1: (1,), 5: (3,), 6: (4,), 7: (3,), 8: (2,), 9: (1,), 14: (4,), 15: (3, 5), 16: (2, 4, 6), 17: (1,), 35: (1,), 53: (1,)
}  # fmt: skip
TIME_LIMIT = 2.0  # seconds; small molecules take milliseconds


def neutral_orders(numbers: np.ndarray, positions: np.ndarray, bonds: Sequence[tuple[int, int]]) -> list[int] | None:
    """The order 1, 2 or 3 of each bond so that every atom has a neutral valence, or None when there is no such choice.

    An integer linear programme over the orders beyond one. Among several solutions the lowest valences of sulfur and
    phosphorus win, then multiple bonds at short distances. `numbers` (atoms,), `positions` (atoms, 3) in Angstrom.
    """
    if any(int(z) not in NEUTRAL_VALENCES for z in numbers):
        return None
    ends = np.array(bonds, int).reshape(-1, 2)
    degree = np.bincount(ends.ravel(), minlength=len(numbers))
    choices = [[v - d for v in NEUTRAL_VALENCES[int(z)] if v >= d] for z, d in zip(numbers, degree, strict=True)]
    if not all(choices):
        return None
    # Unknowns: the extra order of each bond, then for each atom how many steps of two its valence is raised.
    count, atoms = len(ends), np.arange(len(numbers))
    equal = np.zeros((len(numbers), count + len(numbers)))
    equal[ends[:, 0], np.arange(count)] = 1
    equal[ends[:, 1], np.arange(count)] = 1
    equal[atoms, count + atoms] = -2
    lowest = np.array([choice[0] for choice in choices])
    highest = np.array([choice[-1] for choice in choices])
    limit = np.minimum(2, np.minimum(highest[ends[:, 0]], highest[ends[:, 1]]))
    length = np.linalg.norm(positions[ends[:, 0]] - positions[ends[:, 1]], axis=1)
    relative = length / covalent_radii[numbers][ends].sum(1)
    answer = milp(
        np.concatenate([relative, np.full(len(numbers), 100.0)]),
        integrality=np.ones(equal.shape[1]),
        bounds=Bounds(0, np.concatenate([limit, (highest - lowest) // 2])),
        constraints=LinearConstraint(equal, lowest, lowest),
        options={"time_limit": TIME_LIMIT},
    )
    return None if answer.x is None else [1 + int(round(extra)) for extra in answer.x[:count]]

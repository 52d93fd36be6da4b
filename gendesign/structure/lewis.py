"""Bond orders by exact search: does a bond graph have a Lewis structure without radicals and stray charges?"""

from collections.abc import Sequence

import numpy as np
from ase.data import covalent_radii
from scipy.optimize import Bounds, LinearConstraint, milp

# Valences of neutral closed-shell atoms, by atomic number.
VALENCES = {1: (1,), 5: (3,), 6: (4,), 7: (3,), 8: (2,), 9: (1,), 14: (4,), 15: (3, 5), 16: (2, 4, 6)}
VALENCES |= {17: (1,), 35: (1,), 53: (1,)}
POSITIVE = (7,)  # nitrogen with four bonds, beside one of
NEGATIVE = (6, 7, 8)  # with a bond less: nitro, N-oxide, isocyanide, azide, diazo
CHARGE_COST, RAISED_COST = 1e4, 1e2  # far above what all bond lengths together can add
TIME_LIMIT = 2.0  # seconds; small molecules take milliseconds


def lewis_structure(
    numbers: np.ndarray, positions: np.ndarray, bonds: Sequence[tuple[int, int]]
) -> tuple[list[int], list[int]] | None:
    """Orders 1 to 3 of the bonds and charges of the atoms that complete every octet, or None when there are none.

    An integer linear programme: fewest charges (only in pairs of neighbours, N+ beside C-, N- or O-), then lowest
    valences of sulfur and phosphorus, then multiple bonds where they are short. `numbers` (atoms,), `positions`
    (atoms, 3) in Angstrom.
    """
    if any(int(z) not in VALENCES for z in numbers):
        return None
    ends, n = np.array(bonds, int).reshape(-1, 2), len(numbers)
    incidence = np.zeros((n, len(ends)))
    incidence[ends.ravel(), np.repeat(np.arange(len(ends)), 2)] = 1
    beside = incidence @ incidence.T * (1 - np.eye(n))
    lowest = np.array([min(VALENCES[int(z)]) for z in numbers])
    raises = np.array([max(VALENCES[int(z)]) for z in numbers]) - lowest
    # Unknowns: the order of each bond beyond one; for each atom its valence raised by two, a charge +1, a charge -1.
    one, none = np.eye(n), np.zeros((n, n))
    valence = np.hstack([incidence, -2 * one, -one, one])
    plus_has_minus = np.hstack([0 * incidence, none, one, -beside])
    minus_has_plus = np.hstack([0 * incidence, none, -beside, one])
    neutral = np.concatenate([np.zeros(len(ends) + n), np.ones(n), -np.ones(n)])[None]
    missing = lowest - incidence.sum(1)
    relative = np.linalg.norm(np.diff(positions[ends], axis=1)[:, 0], axis=1) / covalent_radii[numbers][ends].sum(1)
    upper = [np.full(len(ends), 2), raises // 2, np.isin(numbers, POSITIVE), np.isin(numbers, NEGATIVE)]
    answer = milp(
        np.concatenate([relative, np.full(n, RAISED_COST), np.full(2 * n, CHARGE_COST)]),
        integrality=np.ones(valence.shape[1]),
        bounds=Bounds(0, np.concatenate(upper)),
        constraints=[
            LinearConstraint(valence, missing, missing),
            LinearConstraint(np.vstack([plus_has_minus, minus_has_plus]), -np.inf, 0),
            LinearConstraint(neutral, 0, 0),
        ],
        options={"time_limit": TIME_LIMIT},
    )
    if answer.x is None:
        return None
    x = np.rint(answer.x).astype(int)
    return (1 + x[: len(ends)]).tolist(), (x[-2 * n : -n] - x[-n:]).tolist()

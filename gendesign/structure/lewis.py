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
# What may carry a charge anywhere in a molecule, each with what it costs beyond `CHARGE_COST`: ammonium before oxonium,
# alkoxide before carbanion. A cation has one bond more than the neutral atom, an anion one less, but borate one more.
CATIONS = {7: 0.0, 15: 0.0, 8: 2e4, 16: 1e4}
ANIONS = {8: 0.0, 16: 0.0, 5: 0.0, 7: 1e4, 6: 2e4}
BORON = 5
# Far above what all bond lengths together can add; a contact goes before charges appear.
CHARGE_COST, REMOVED_COST, RAISED_COST = 1e5, 3e3, 1e3
REMOVED_GAIN = 1e3  # less for a contact that is longer by the sum of covalent radii: of two the longer one goes
NODE_LIMIT = 500  # of the search, so that its end depends on no clock; molecules need a handful
TIME_LIMIT = 20.0  # seconds, for what no molecule reaches


def lewis_structure(
    numbers: np.ndarray,
    positions: np.ndarray,
    bonds: Sequence[tuple[int, int]],
    *,
    contacts: np.ndarray | None = None,
    anywhere: bool = False,
) -> tuple[list[int], list[int]] | None:
    """Orders of the bonds and charges of the atoms that complete every octet, or None when there are none.

    An integer linear programme: fewest charges, then fewest contacts removed, then lowest valences of sulfur and
    phosphorus, then multiple bonds where they are short. Orders are 1 to 3, those of `contacts` (bonds,) of bool 1, or
    0 where they are removed. Charges come in pairs of neighbours, N+ beside C-, N- or O-; with `anywhere` as any
    CATIONS and ANIONS, which must be equally many. `numbers` (atoms,), `positions` (atoms, 3) in Angstrom.
    """
    if any(int(z) not in VALENCES for z in numbers):
        return None
    numbers = np.asarray(numbers)
    ends, n = np.array(bonds, int).reshape(-1, 2), len(numbers)
    incidence = np.zeros((n, len(ends)))
    incidence[ends.ravel(), np.repeat(np.arange(len(ends)), 2)] = 1
    beside = incidence @ incidence.T * (1 - np.eye(n))
    lowest = np.array([min(VALENCES[int(z)]) for z in numbers])
    raises = np.array([max(VALENCES[int(z)]) for z in numbers]) - lowest
    loose = np.zeros(len(ends), bool) if contacts is None else np.asarray(contacts, bool)
    # Unknowns: the order of each bond beyond one; for each atom its valence raised by two, a charge +1, a charge -1.
    one, none = np.eye(n), np.zeros((n, n))
    valence = np.hstack([incidence, -2 * one, -one, np.diag(np.where(numbers == BORON, -1.0, 1.0))])
    plus_has_minus = np.hstack([0 * incidence, none, one, -beside])
    minus_has_plus = np.hstack([0 * incidence, none, -beside, one])
    neutral = np.concatenate([np.zeros(len(ends) + n), np.ones(n), -np.ones(n)])[None]
    missing = lowest - incidence.sum(1)
    relative = np.linalg.norm(np.diff(positions[ends], axis=1)[:, 0], axis=1) / covalent_radii[numbers][ends].sum(1)
    positive, negative = (CATIONS, ANIONS) if anywhere else (dict.fromkeys(POSITIVE, 0.0), dict.fromkeys(NEGATIVE, 0.0))
    signs = [np.isin(numbers, list(positive)), np.isin(numbers, list(negative))]
    extra = [[costs.get(int(z), 0.0) for z in numbers] for costs in (positive, negative)]
    constraints = [LinearConstraint(valence, missing, missing), LinearConstraint(neutral, 0, 0)]
    if not anywhere:
        constraints.append(LinearConstraint(np.vstack([plus_has_minus, minus_has_plus]), -np.inf, 0))
    answer = milp(
        np.concatenate(
            [
                np.where(loose, REMOVED_GAIN * (relative - 1) - REMOVED_COST, relative),
                np.full(n, RAISED_COST),
                CHARGE_COST + np.concatenate(extra),
            ]
        ),
        integrality=np.ones(valence.shape[1]),
        bounds=Bounds(
            np.concatenate([np.where(loose, -1, 0), np.zeros(3 * n)]),
            np.concatenate([np.where(loose, 0, 2), raises // 2, *signs]),
        ),
        constraints=constraints,
        options={"node_limit": NODE_LIMIT, "time_limit": TIME_LIMIT, "mip_rel_gap": 0.0},
    )
    if answer.x is None:
        return None
    x = np.rint(answer.x).astype(int)
    return (1 + x[: len(ends)]).tolist(), (x[-2 * n : -n] - x[-n:]).tolist()

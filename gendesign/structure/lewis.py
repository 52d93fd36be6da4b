"""Bond orders by integer programming: find a Lewis structure of a bond graph without radicals and stray charges."""

from collections.abc import Sequence

import numpy as np
from ase.data import covalent_radii
from scipy.optimize import Bounds, LinearConstraint, milp

# Valences of neutral closed-shell atoms, by atomic number.
VALENCES = {1: (1,), 5: (3,), 6: (4,), 7: (3,), 8: (2,), 9: (1,), 14: (4,), 15: (3, 5), 16: (2, 4, 6)}
VALENCES |= {17: (1,), 35: (1,), 53: (1,)}
POSITIVE = (7,)  # nitrogen with four bonds, next to an atom of NEGATIVE
NEGATIVE = (6, 7, 8)  # with one bond less than usual: nitro, N-oxide, isocyanide, azide, diazo
# Elements that may carry a charge anywhere in a molecule, with their cost beyond `CHARGE_COST`: ammonium is preferred
# to oxonium, alkoxide to carbanion. A cation has one bond more than the neutral atom, an anion one less; borate has one
# more.
CATIONS = {7: 0.0, 15: 0.0, 8: 2e4, 16: 1e4}
ANIONS = {8: 0.0, 16: 0.0, 5: 0.0, 7: 1e4, 6: 2e4}
BORON = 5
# Costs far above the sum of all bond lengths. Removing a contact is cheaper than a charge.
CHARGE_COST, REMOVED_COST, RAISED_COST = 1e5, 3e3, 1e3
REMOVED_GAIN = 1e3  # a longer contact is cheaper to remove, by this much per sum of covalent radii
NODE_LIMIT = 500  # of the search, so that its end does not depend on a clock; molecules need only a few nodes
TIME_LIMIT = 20.0  # seconds; no molecule reaches it


def lewis_structure(
    numbers: np.ndarray,
    positions: np.ndarray,
    bonds: Sequence[tuple[int, int]],
    *,
    contacts: np.ndarray | None = None,
    anywhere: bool = False,
) -> tuple[list[int], list[int]] | None:
    """Bond orders (bonds,) and formal charges (atoms,) that complete every octet, or None if there are none.

    An integer linear programme minimises, in this order: the number of charges, the number of removed contacts, the
    valences of sulfur and phosphorus, and the lengths of multiple bonds.

    numbers (atoms,): atomic numbers. positions (atoms, 3) in Angstrom. bonds: pairs of atoms.
    contacts (bonds,) of bool: pairs that get order 1, or 0 if they are removed; other orders are 1 to 3.
    anywhere: allow equally many CATIONS and ANIONS anywhere; by default charges occur only in pairs of neighbours, N+
        next to C-, N- or O-.
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
    # Variables: the order of each bond minus one; for each atom whether its valence is raised by two, a charge +1, a
    # charge -1.
    identity, zero = np.eye(n), np.zeros((n, n))
    valence = np.hstack([incidence, -2 * identity, -identity, np.diag(np.where(numbers == BORON, -1.0, 1.0))])
    plus_has_minus = np.hstack([0 * incidence, zero, identity, -beside])
    minus_has_plus = np.hstack([0 * incidence, zero, -beside, identity])
    neutral = np.concatenate([np.zeros(len(ends) + n), np.ones(n), -np.ones(n)])[None]
    missing = lowest - incidence.sum(1)
    relative = np.linalg.norm(np.diff(positions[ends], axis=1)[:, 0], axis=1) / covalent_radii[numbers][ends].sum(1)
    positive, negative = (CATIONS, ANIONS) if anywhere else (dict.fromkeys(POSITIVE, 0.0), dict.fromkeys(NEGATIVE, 0.0))
    signs = [np.isin(numbers, list(positive)), np.isin(numbers, list(negative))]
    extra = [[costs.get(int(z), 0.0) for z in numbers] for costs in (positive, negative)]
    constraints = [LinearConstraint(valence, missing, missing), LinearConstraint(neutral, 0, 0)]
    if not anywhere:
        constraints.append(LinearConstraint(np.vstack([plus_has_minus, minus_has_plus]), -np.inf, 0))
    bond_costs = np.where(loose, REMOVED_GAIN * (relative - 1) - REMOVED_COST, relative)
    answer = milp(
        np.concatenate([bond_costs, np.full(n, RAISED_COST), CHARGE_COST + np.concatenate(extra)]),
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

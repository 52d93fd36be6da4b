"""The most likely bond orders of a skeleton: exact dynamic programming over its atoms (see skeleton.py)."""

from dataclasses import dataclass

import numpy as np

from gendesign.generate.simgen.skeleton import (
    VALENCE,
    Assignment,
    Geometry,
    kind,
    log_atom,
    log_length,
    log_twist,
    states,
    twist,
)

ROWS_PER_KEY, KEYS, WINDOW = 6, 400, 25.0  # bounds of the search; the window is in units of log-likelihood


@dataclass(frozen=True)
class _State:
    """One choice for an atom: orders by edge, kind, hydrogens, log-likelihood of the atom alone."""

    orders: dict[int, int]
    kind: str
    hydrogens: int
    score: float


def assign(geometry: Geometry, count: int) -> list[Assignment]:
    """The `count` most likely assignments with different hydrogens per atom, best first."""
    order, edge_score = _visiting_order(geometry), _EdgeScore(geometry)
    # The key of a group holds what affects later atoms: kinds of the open atoms, orders of their open edges.
    # A row of it is (score, hydrogens so far, chain of states).
    groups: dict[tuple, list[tuple]] = {((), ()): [(0.0, (), None)]}
    visited: set[int] = set()
    open_atoms, open_edges = [], []
    for atom in order:
        visited.add(atom)
        back = [e for e in geometry.incident[atom] if geometry.other(e, atom) in visited]
        choices = _choices(geometry, atom)
        before = open_atoms, open_edges
        ahead = [e for e in geometry.incident[atom] if geometry.other(e, atom) not in visited]
        open_edges = [e for e in open_edges if e not in back] + ahead
        open_atoms = [a for a in (*open_atoms, atom) if not set(geometry.incident[a]).isdisjoint(open_edges)]
        grown: dict[tuple, dict[tuple, tuple]] = {}
        for key, rows in groups.items():
            kinds = dict(zip(before[0], key[0], strict=True))
            orders = dict(zip(before[1], key[1], strict=True))
            for choice in choices:
                if any(orders[e] != choice.orders[e] for e in back):
                    continue
                kinds[atom] = choice.kind
                gain = choice.score + sum(edge_score(e, choice.orders[e], kinds) for e in back)
                all_orders = {**orders, **choice.orders}
                new_key = tuple(kinds[a] for a in open_atoms), tuple(all_orders[e] for e in open_edges)
                best = grown.setdefault(new_key, {})
                for score, hydrogens, chain in rows:
                    counts, total = (*hydrogens, choice.hydrogens), score + gain
                    if counts not in best or best[counts][0] < total:
                        best[counts] = (total, counts, (chain, choice))
        groups = _pruned(grown, max(ROWS_PER_KEY, count))
    rows = sorted((row for group in groups.values() for row in group), key=lambda row: (-row[0], row[1]))
    return [_assignment(geometry, order, row) for row in rows[: 2 * count]]


def _visiting_order(geometry: Geometry) -> list[int]:
    """An order that keeps few atoms open at a time: always the neighbour that leaves the fewest, the newest first."""
    far = [{geometry.other(e, a) for e in geometry.incident[a]} for a in range(len(geometry.symbols))]
    start = min(range(len(far)), key=lambda a: (len(far[a]), a))
    order, visited, border = [], set(), {start: 0}  # border: atoms next to visited ones, with the step they joined
    while border:
        step = len(order)

        def opened(a: int) -> tuple[int, int, int]:
            closed = sum(far[k] <= visited | {a} for k in far[a] & visited)
            return bool(far[a] - visited) - closed, -border[a], a

        atom = min(border, key=opened)
        del border[atom]
        order.append(atom)
        visited.add(atom)
        border.update({k: step for k in sorted(far[atom]) if k not in visited})
    return order


def _choices(geometry: Geometry, atom: int) -> list[_State]:
    symbol, edges, rings = geometry.symbols[atom], geometry.incident[atom], {}
    out = []
    for orders in states(geometry, atom):
        bonded = [o for o in orders if o]
        hydrogens = max(0, VALENCE[symbol] - sum(bonded))
        score = log_atom(geometry, atom, orders, rings)
        out.append(_State(dict(zip(edges, orders, strict=True)), kind(symbol, bonded), hydrogens, score))
    return out


class _EdgeScore:
    """Log-likelihood of an edge for its order and the kinds of its ends, cached."""

    def __init__(self, geometry: Geometry):
        self.geometry = geometry
        self.cache: dict[tuple, float] = {}
        self.twists = [log_twist(twist(geometry, e)) for e in range(len(geometry.edges))]

    def __call__(self, edge: int, order: int, kinds: dict[int, str]) -> float:
        i, j = self.geometry.edges[edge]
        if order == 0:
            return self.geometry.absent[edge]
        key = (edge, order, kinds[i], kinds[j])
        if key not in self.cache:
            symbols = (self.geometry.symbols[i], self.geometry.symbols[j])
            score = log_length(symbols, key[2:], order, self.geometry.lengths[edge])
            self.cache[key] = score + (self.twists[edge] if order == 2 else 0.0)
        return self.cache[key]


def _pruned(grown: dict[tuple, dict[tuple, tuple]], per_key: int) -> dict[tuple, list[tuple]]:
    """The best rows of every key, of the best keys."""
    if not grown:
        return {}
    ranked = {key: sorted(rows.values(), key=lambda row: (-row[0], row[1]))[:per_key] for key, rows in grown.items()}
    keys = sorted(ranked, key=lambda key: (-ranked[key][0][0], key))[:KEYS]
    least = ranked[keys[0]][0][0] - WINDOW
    return {key: [row for row in ranked[key] if row[0] >= least] for key in keys if ranked[key][0][0] >= least}


def _assignment(geometry: Geometry, order: list[int], row: tuple) -> Assignment:
    score, counts, chain = row
    hydrogens, orders, kinds = np.zeros(len(order), int), {}, {}
    hydrogens[order] = counts
    for atom in reversed(order):
        chain, state = chain
        orders.update(state.orders)
        kinds[atom] = state.kind
    bonds = tuple((*geometry.edges[e], o) for e, o in sorted(orders.items()) if o)
    return Assignment(bonds, tuple(hydrogens.tolist()), tuple(kinds[a] for a in range(len(order))), score)

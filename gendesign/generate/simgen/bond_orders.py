"""The most likely bond orders of a skeleton: exact dynamic programming over its atoms (see skeleton.py)."""

from collections import deque
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

PARTIALS_PER_KEY, KEYS, WINDOW = 6, 400, 25.0  # bounds of the search; the window is in units of log-likelihood


@dataclass(frozen=True)
class _State:
    """One choice for an atom: orders by edge, kind, hydrogens, log-likelihood of the atom alone."""

    orders: dict[int, int]
    kind: str
    hydrogens: int
    score: float


def assign(geometry: Geometry, count: int) -> list[Assignment]:
    """The `count` most likely assignments with different hydrogens per atom, best first."""
    order = _visiting_order(geometry)
    edge_score = _EdgeScore(geometry)
    visited: set[int] = set()
    # A key holds all that later atoms can feel: kinds of the open atoms and orders of their open edges.
    # A partial is (score, hydrogens so far, orders by edge, kinds by atom).
    partials: dict[tuple, list[tuple]] = {(): [(0.0, (), {}, {})]}
    for atom in order:
        choices = _choices(geometry, atom)
        visited.add(atom)
        open_atoms = [a for a in visited if any(geometry.other(e, a) not in visited for e in geometry.incident[a])]
        open_edges = [e for a in open_atoms for e in geometry.incident[a] if geometry.other(e, a) not in visited]
        back = [e for e in geometry.incident[atom] if geometry.other(e, atom) in visited]
        grown: dict[tuple, dict[tuple, tuple]] = {}
        for group in partials.values():
            for score, hydrogens, orders, kinds in group:
                for choice in choices:
                    if any(orders[e] != choice.orders[e] for e in back):
                        continue
                    new_kinds = {**kinds, atom: choice.kind}
                    total = score + choice.score + sum(edge_score(e, choice.orders[e], new_kinds) for e in back)
                    new_orders = {**orders, **choice.orders}
                    key = (*(new_kinds[a] for a in open_atoms), *(new_orders[e] for e in open_edges))
                    counts = (*hydrogens, choice.hydrogens)
                    best = grown.setdefault(key, {})
                    if counts not in best or best[counts][0] < total:
                        best[counts] = (total, counts, new_orders, new_kinds)
        partials = _pruned(grown, max(PARTIALS_PER_KEY, 2 * count))
    rows = sorted((row for group in partials.values() for row in group), key=lambda row: (-row[0], row[1]))
    return [_assignment(geometry, order, row) for row in rows[: 4 * count]]


def _visiting_order(geometry: Geometry) -> list[int]:
    """Breadth first from an outermost atom, so that few atoms are open at a time."""

    def walk(start: int) -> list[int]:
        seen, queue = [start], deque([start])
        while queue:
            atom = queue.popleft()
            for e in geometry.incident[atom]:
                if (far := geometry.other(e, atom)) not in seen:
                    seen.append(far)
                    queue.append(far)
        return seen

    return walk(walk(0)[-1])


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
    """Log-likelihood of an edge given its order and the kinds of its ends, remembered."""

    def __init__(self, geometry: Geometry):
        self.geometry = geometry
        self.memory: dict[tuple, float] = {}
        self.twists = [log_twist(twist(geometry, e)) for e in range(len(geometry.edges))]

    def __call__(self, edge: int, order: int, kinds: dict[int, str]) -> float:
        i, j = self.geometry.edges[edge]
        if order == 0:
            return self.geometry.absent[edge]
        key = (edge, order, kinds[i], kinds[j])
        if key not in self.memory:
            symbols = (self.geometry.symbols[i], self.geometry.symbols[j])
            score = log_length(symbols, key[2:], order, self.geometry.lengths[edge])
            self.memory[key] = score + (self.twists[edge] if order == 2 else 0.0)
        return self.memory[key]


def _pruned(grown: dict[tuple, dict[tuple, tuple]], per_key: int) -> dict[tuple, list[tuple]]:
    """The best partials of every key, of the best keys."""
    if not grown:
        return {}
    ranked = {key: sorted(rows.values(), key=lambda row: (-row[0], row[1]))[:per_key] for key, rows in grown.items()}
    keys = sorted(ranked, key=lambda key: (-ranked[key][0][0], key))[:KEYS]
    least = ranked[keys[0]][0][0] - WINDOW
    return {key: [row for row in ranked[key] if row[0] >= least] for key in keys if ranked[key][0][0] >= least}


def _assignment(geometry: Geometry, order: list[int], row: tuple) -> Assignment:
    score, counts, orders, kinds = row
    hydrogens = np.zeros(len(order), int)
    hydrogens[order] = counts
    bonds = tuple((*geometry.edges[e], o) for e, o in sorted(orders.items()) if o)
    return Assignment(bonds, tuple(hydrogens.tolist()), tuple(kinds[a] for a in range(len(order))), score)

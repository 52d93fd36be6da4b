"""Which candidates enter the next stage: Pareto ranks, exact top-k, diversity, and copies left out.

All results are independent of the order in which shards finished.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from rdkit import Chem, rdBase

from gendesign.campaign.filters import Objective, Values
from gendesign.errors import UserError

Id = tuple[str, int]  # run and candidate


@dataclass(frozen=True)
class Entry:
    """One candidate of a selection. atoms: makes its structure, which only some ways of comparing need."""

    id: Id
    values: Values
    atoms: Callable[[], Atoms]
    descriptor: np.ndarray | None = None


def pareto_ranks(costs: np.ndarray) -> np.ndarray:
    """Front of every row of `costs` (candidates, objectives), 0 the best; all objectives are minimised.

    Rows that hold a value that is not finite come after all others. O(n log n) for one objective, O(n^2) comparisons
    in blocks for more (Deb et al. 2002 define the fronts).
    """
    ranks = np.full(len(costs), -1)
    bad = ~np.isfinite(costs).all(axis=1) if costs.size else np.ones(len(costs), bool)
    rest = np.flatnonzero(~bad)
    if costs.shape[1] == 1:
        ranks[rest] = np.unique(costs[rest, 0], return_inverse=True)[1]
    else:
        rest = rest[np.lexsort(costs[rest].T[::-1])]  # a row can only be dominated by an earlier one
        front = 0
        while len(rest):
            best = _first_front(costs[rest])
            ranks[rest[best]] = front
            rest, front = rest[~best], front + 1
    ranks[bad] = ranks.max(initial=-1) + 1
    return ranks


def _first_front(costs: np.ndarray) -> np.ndarray:
    """Which of these rows, in lexicographic order, no other one dominates."""
    kept = np.empty((0, costs.shape[1]))
    out = np.zeros(len(costs), bool)
    for k, row in enumerate(costs):
        dominated = (kept <= row).all(axis=1) & (kept < row).any(axis=1)
        if not dominated.any():
            out[k] = True
            kept = np.vstack([kept, row])
    return out


def crowding(costs: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Crowding distance of every row within its front (Deb et al. 2002): large where neighbours are far."""
    out = np.zeros(len(costs))
    for front in np.unique(ranks):
        members = np.flatnonzero(ranks == front)
        for column in costs[members].T:
            order = np.argsort(column, kind="stable")
            width = column[order[-1]] - column[order[0]]
            if not np.isfinite(width) or width == 0:
                continue
            gaps = np.full(len(members), np.inf)
            gaps[1:-1] = (column[order[2:]] - column[order[:-2]]) / width
            out[members[order]] += gaps
    return out


def ranked(entries: Sequence[Entry], by: Sequence[Objective]) -> list[tuple[Entry, int]]:
    """Entries with their Pareto front, best first: by front, then by crowding, then by name. Exact in any order."""
    entries = sorted(entries, key=lambda entry: entry.id)
    if not by or not entries:
        return [(entry, 0) for entry in entries]
    costs = np.array([[objective.cost(entry.values) for objective in by] for entry in entries])
    ranks = pareto_ranks(costs)
    spread = crowding(costs, ranks) if len(by) > 1 else np.zeros(len(entries))
    order = sorted(range(len(entries)), key=lambda k: (ranks[k], -spread[k], entries[k].id))
    return [(entries[k], int(ranks[k])) for k in order]


def chosen(
    entries: Sequence[Entry], *, by: Sequence[Objective], budget: int | None, acquisition: str, unique: str | None,
    distance: float,
) -> list[Entry]:  # fmt: skip
    """Those that enter a stage: copies left out (the best-ranked one stays), then at most `budget` of the rest.

    acquisition: rank (best by `by`), uncertainty (largest `uncertainty`, or what `by` names), diversity (farthest
    points of descriptors, the best-ranked one first), or first.
    """
    if acquisition == "uncertainty" and not by:
        by = (Objective("uncertainty", -1.0),)
    order = [entry for entry, _ in ranked(entries, by)]
    if unique is not None:
        copies = set(copies_of(order, unique, distance))
        order = [entry for entry in order if entry.id not in copies]
    if budget is None or len(order) <= budget:
        return order
    if acquisition == "first":
        return sorted(order, key=lambda entry: entry.id)[:budget]
    if acquisition == "diversity":
        return [order[k] for k in farthest_points(descriptors_of(order), budget)]
    return order[:budget]


def farthest_points(points: np.ndarray, count: int) -> list[int]:
    """Rows of `points` (n, d), each as far as possible from all chosen before; the first row begins (Gonzalez 1985)."""
    chosen = [0]
    nearest = np.linalg.norm(points - points[0], axis=1)
    nearest[0] = -1.0  # so that equal points are not taken twice
    while len(chosen) < min(count, len(points)):
        k = int(nearest.argmax())
        chosen.append(k)
        nearest = np.minimum(nearest, np.linalg.norm(points - points[k], axis=1))
        nearest[chosen] = -1.0
    return chosen


def descriptors_of(entries: Sequence[Entry]) -> np.ndarray:
    """Descriptors (n, d), each column divided by its spread over the entries. Raises UserError where one is missing."""
    if any(entry.descriptor is None for entry in entries):
        raise UserError("diversity and unique=descriptor need descriptors; put a stage of kind descriptors before")
    points = np.array([entry.descriptor for entry in entries], dtype=float)
    points = np.nan_to_num(points, nan=np.inf)
    finite = points[np.isfinite(points).all(axis=1)]
    spread = finite.std(axis=0) if len(finite) else np.ones(points.shape[1])
    return np.where(np.isfinite(points), points, 1e6) / np.where(spread > 1e-9, spread, 1.0)


def copies_of(entries: Sequence[Entry], how: str, distance: float) -> dict[Id, Id]:
    """Entries that are copies of an earlier one, with the one that they copy."""
    if how == "inchikey":
        return _by_key(entries)
    return _by_descriptor(entries, distance) if how == "descriptor" else _by_structure(entries)


def inchikey(values: Values) -> str:
    """InChIKey of a candidate's SMILES with stereochemistry; empty where it has none."""
    verdict = values.get("smiles_stereo") or values.get("smiles")
    if verdict is None or not isinstance(verdict.value, str):
        return ""
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(verdict.value)
        return "" if mol is None else Chem.MolToInchiKey(mol)


def _by_key(entries: Sequence[Entry]) -> dict[Id, Id]:
    first: dict[str, Id] = {}
    copies = {}
    for entry in entries:
        key = inchikey(entry.values)
        if key and first.setdefault(key, entry.id) != entry.id:
            copies[entry.id] = first[key]
    return copies


def _by_descriptor(entries: Sequence[Entry], distance: float) -> dict[Id, Id]:
    """Copies of the same composition whose descriptors are closer than `distance` (root mean square of columns)."""
    if not entries:
        return {}
    points = descriptors_of(entries) / np.sqrt(len(entries[0].descriptor))  # type: ignore[arg-type]
    originals: dict[str, list[int]] = {}
    copies = {}
    for k, entry in enumerate(entries):
        known = originals.setdefault(_composition(entry.atoms()), [])
        gaps = np.linalg.norm(points[known] - points[k], axis=1)
        if len(known) and gaps.min() < distance:
            copies[entry.id] = entries[known[int(gaps.argmin())]].id
        else:
            known.append(k)
    return copies


def _by_structure(entries: Sequence[Entry]) -> dict[Id, Id]:
    """Copies among crystals of one composition (pymatgen's StructureMatcher, heavy atoms)."""
    from gendesign.structure.crystals import heavy_structure, matcher

    match: Any = matcher()
    originals: dict[str, list[tuple[Id, Any]]] = {}
    copies = {}
    for entry in entries:
        atoms = entry.atoms()
        if not atoms.pbc.all():
            raise UserError("unique=structure compares crystals; molecules need unique=inchikey")
        known = originals.setdefault(_composition(atoms), [])
        structure = heavy_structure(atoms)
        original = next((other for other, shape in known if match.fit(shape, structure)), None)
        if original is None:
            known.append((entry.id, structure))
        else:
            copies[entry.id] = original
    return copies


def _composition(atoms: Atoms) -> str:
    formula: str = atoms.symbols.formula.reduce()[0].format("hill")
    return formula


def regret(costs: Sequence[float], selected: Sequence[int], top: int) -> float:
    """Share of the `top` lowest of all `costs` that are missing from those with the positions `selected`."""
    best = set(np.argsort(np.asarray(costs), kind="stable")[:top].tolist())
    return 1.0 - len(best & set(selected)) / max(1, min(top, len(costs)))

"""The best molecules an agent has built, by formula and graph."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gendesign.structure.bonds import connectivity, perceive
from gendesign.structure.identity import smiles
from gendesign.structure.types import Candidate

Row = tuple[float, list[int], list[list[float]]]  # return in Hartree, atomic numbers, positions
Rows = dict[str, dict[str, Row]]  # by formula and graph
# relaxed structures and their returns in Hartree
Relax = Callable[[Sequence[Atoms]], Sequence[tuple[Atoms, float]]]
BETTER = 0.01  # Hartree


@dataclass
class Archive:
    """For every formula the `most` valid molecules of highest return, one structure each; `seen` counts the finished.

    `valid` counts valid molecules, or clusters of so many `molecules`, whatever became of them. `lessons` are the same
    molecules relaxed, atoms in the order in which they were placed, as far as they kept their graph (`stable` of
    `relaxed` did at first). `waiting` are to be relaxed: new ones, and ones built better than before by `BETTER`, which
    may lie in a deeper minimum.
    """

    most: int = 200
    molecules: int = 1
    kept: Rows = field(default_factory=dict)
    lessons: Rows = field(default_factory=dict)
    waiting: Rows = field(default_factory=dict)
    seen: int = 0
    valid: int = 0
    relaxed: int = 0
    stable: int = 0

    def add(self, structures: Sequence[Atoms], returns: Sequence[float]) -> None:
        """Finished structures and their returns (Hartree)."""
        for atoms, gained in zip(structures, returns, strict=True):
            self.seen += 1
            key = name_of(atoms, self.molecules)
            if key is None:
                continue
            self.valid += 1
            formula = atoms.get_chemical_formula()
            own = self.kept.setdefault(formula, {})
            if key not in own or own[key][0] < gained:
                if key not in own or own[key][0] < gained - BETTER:
                    self.waiting.setdefault(formula, {})[key] = _row(atoms, gained)
                own[key] = _row(atoms, gained)
            if len(own) > self.most:
                worst = min(own, key=lambda k: own[k][0])
                for rows in (own, self.lessons.get(formula, {}), self.waiting.get(formula, {})):
                    rows.pop(worst, None)

    def learn(self, relax: Relax | None = None, fits: Callable[[Row], bool] = lambda row: True) -> None:
        """Make lessons of what waits and `fits`, as `relax` leaves it, or else as it is."""
        keys = [(formula, key) for formula, own in self.waiting.items() for key in own]
        structures = [Atoms(*self.waiting[formula][key][1:]) for formula, key in keys]
        returns = [self.waiting[formula][key][0] for formula, key in keys]
        found = list(zip(structures, returns, strict=True)) if relax is None or not keys else relax(structures)
        self.waiting = {}
        for (formula, key), (atoms, gained) in zip(keys, found, strict=True):
            own, same = self.lessons.setdefault(formula, {}), name_of(atoms, self.molecules) == key
            if relax is not None and key not in own:
                self.relaxed += 1
                self.stable += same
            if same and (key not in own or own[key][0] < gained) and fits(row := _row(atoms, gained)):
                own[key] = row

    def candidates(self, name: str) -> list[Candidate]:
        """All that is kept, formula by formula, the best first."""
        rows = [row for own in self.kept.values() for row in sorted(own.values(), key=lambda row: -row[0])]
        return [
            Candidate(Atoms(numbers, positions), k, name, history=("built",), info={"return": gained})
            for k, (gained, numbers, positions) in enumerate(rows)
        ]

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {key: _plain(value) if isinstance(value, dict) else value for key, value in vars(self).items()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Archive":
        return cls(**{key: _rows(value) if isinstance(value, dict) else value for key, value in state.items()})


def name_of(atoms: Atoms, molecules: int = 1) -> str | None:
    """SMILES of a valid molecule, or of a cluster of so many valid `molecules`; None for anything else."""
    if molecules == 1:
        mol = perceive(atoms).mol
        return None if mol is None else smiles(mol)
    pairs = np.array(sorted(connectivity(atoms)), dtype=int).reshape(-1, 2)
    bonds = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(atoms),) * 2)
    count, piece = connected_components(bonds, directed=False)
    names = [name_of(atoms[piece == k]) for k in range(count if count == molecules else 0)]
    return ".".join(sorted(names)) if names and None not in names else None


def _row(atoms: Atoms, gained: float) -> Row:
    return float(gained), atoms.numbers.tolist(), atoms.positions.tolist()


def _plain(rows: Rows) -> dict[str, dict[str, list]]:
    return {formula: {key: list(row) for key, row in own.items()} for formula, own in rows.items()}


def _rows(plain: dict[str, dict[str, list]]) -> Rows:
    return {formula: {key: tuple(row) for key, row in own.items()} for formula, own in plain.items()}

"""The best molecules that an agent has built, by formula and molecular graph."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gendesign.structure.bonds import connectivity, perceive
from gendesign.structure.identity import smiles
from gendesign.structure.types import Candidate

MIN_IMPROVEMENT = 0.01  # Hartree


class Entry(NamedTuple):
    """A structure with its return (Hartree): atomic numbers and positions (Angstrom) in the order of placement."""

    total_return: float
    numbers: list[int]
    positions: list[list[float]]

    @classmethod
    def of(cls, atoms: Atoms, total_return: float) -> "Entry":
        """The entry of a structure."""
        return cls(float(total_return), atoms.numbers.tolist(), atoms.positions.tolist())

    @property
    def atoms(self) -> Atoms:
        """The structure."""
        return Atoms(self.numbers, self.positions)


Entries = dict[str, dict[str, Entry]]  # by formula and SMILES
Relax = Callable[[Sequence[Atoms]], Sequence[tuple[Atoms, float]]]  # to relaxed structures and their returns (Hartree)


@dataclass
class Archive:
    """The `size` valid structures of highest return for every formula, one for each graph.

    A valid structure is one molecule, or a cluster of `n_molecules`. best: structures as they were built.
    demonstrations: the same structures relaxed, atoms in the order of placement, if they kept their graph. pending:
    structures that await relaxation: new graphs, and those built again with a return higher by MIN_IMPROVEMENT, which
    may belong to a deeper minimum.

    Counts: n_finished episodes with an emptied bag, n_valid of these, n_relaxed graphs, n_stable of these that kept
    their graph in the first relaxation.
    """

    size: int = 200
    n_molecules: int = 1
    best: Entries = field(default_factory=dict)
    demonstrations: Entries = field(default_factory=dict)
    pending: Entries = field(default_factory=dict)
    n_finished: int = 0
    n_valid: int = 0
    n_relaxed: int = 0
    n_stable: int = 0

    def add(self, structures: Sequence[Atoms], returns: Sequence[float]) -> None:
        """Add finished structures with their returns (Hartree)."""
        for atoms, total_return in zip(structures, returns, strict=True):
            self.n_finished += 1
            key = smiles_of(atoms, self.n_molecules)
            if key is None:
                continue
            self.n_valid += 1
            formula = atoms.get_chemical_formula()
            best = self.best.setdefault(formula, {})
            if key not in best or best[key].total_return < total_return:
                if key not in best or best[key].total_return < total_return - MIN_IMPROVEMENT:
                    self.pending.setdefault(formula, {})[key] = Entry.of(atoms, total_return)
                best[key] = Entry.of(atoms, total_return)
            if len(best) > self.size:
                worst = min(best, key=lambda k: best[k].total_return)
                for entries in (best, self.demonstrations.get(formula, {}), self.pending.get(formula, {})):
                    entries.pop(worst, None)

    def add_demonstrations(
        self, relax: Relax | None = None, accepts: Callable[[Entry], bool] = lambda entry: True
    ) -> None:
        """Relax all pending structures (without `relax` they stay as built); accepted ones become demonstrations."""
        keys = [(formula, key) for formula, entries in self.pending.items() for key in entries]
        structures = [self.pending[formula][key].atoms for formula, key in keys]
        returns = [self.pending[formula][key].total_return for formula, key in keys]
        unchanged = relax is None or not keys
        relaxed = list(zip(structures, returns, strict=True)) if unchanged else relax(structures)
        self.pending = {}
        for (formula, key), (atoms, total_return) in zip(keys, relaxed, strict=True):
            known, stable = self.demonstrations.setdefault(formula, {}), smiles_of(atoms, self.n_molecules) == key
            if relax is not None and key not in known:
                self.n_relaxed += 1
                self.n_stable += stable
            entry = Entry.of(atoms, total_return)
            if stable and (key not in known or known[key].total_return < total_return) and accepts(entry):
                known[key] = entry

    def candidates(self, name: str) -> list[Candidate]:
        """The best structures as candidates, formula by formula, by falling return."""
        entries = [
            entry for best in self.best.values() for entry in sorted(best.values(), key=lambda one: -one.total_return)
        ]
        return [
            Candidate(entry.atoms, k, name, history=("built",), info={"return": entry.total_return})
            for k, entry in enumerate(entries)
        ]

    def state_dict(self) -> dict[str, Any]:
        """All fields as plain values."""
        return {key: _to_plain(value) if isinstance(value, dict) else value for key, value in vars(self).items()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Archive":
        """The archive of a `state_dict`."""
        return cls(**{key: _from_plain(value) if isinstance(value, dict) else value for key, value in state.items()})


def smiles_of(atoms: Atoms, n_molecules: int = 1) -> str | None:
    """SMILES of a valid molecule, or of a cluster of `n_molecules` valid molecules; None for anything else."""
    if n_molecules == 1:
        mol = perceive(atoms).mol
        return None if mol is None else smiles(mol)
    pairs = np.array(sorted(connectivity(atoms)), dtype=int).reshape(-1, 2)
    bonds = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(atoms),) * 2)
    count, component = connected_components(bonds, directed=False)
    names = [smiles_of(atoms[component == k]) for k in range(count if count == n_molecules else 0)]
    return ".".join(sorted(names)) if names and None not in names else None


def _to_plain(entries: Entries) -> dict[str, dict[str, list]]:
    return {formula: {key: list(entry) for key, entry in group.items()} for formula, group in entries.items()}


def _from_plain(plain: dict[str, dict[str, list]]) -> Entries:
    return {formula: {key: Entry(*values) for key, values in group.items()} for formula, group in plain.items()}

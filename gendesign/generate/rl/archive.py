"""The best molecules an agent has built, by formula and graph."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ase import Atoms

from gendesign.structure.bonds import perceive
from gendesign.structure.identity import smiles
from gendesign.structure.types import Candidate

Row = tuple[float, list[int], list[list[float]]]  # return in Hartree, atomic numbers, positions


@dataclass
class Archive:
    """For every formula the `most` valid molecules of highest return, one structure each; `seen` counts the finished.

    `valid` counts those that were valid molecules, whatever became of them.
    """

    most: int = 200
    kept: dict[str, dict[str, Row]] = field(default_factory=dict)
    seen: int = 0
    valid: int = 0

    def add(self, structures: Sequence[Atoms], returns: Sequence[float]) -> None:
        """Finished structures and their returns (Hartree)."""
        for atoms, gained in zip(structures, returns, strict=True):
            self.seen += 1
            mol = perceive(atoms).mol
            if mol is None:
                continue
            self.valid += 1
            own = self.kept.setdefault(atoms.get_chemical_formula(), {})
            key = smiles(mol)
            if key not in own or own[key][0] < gained:
                own[key] = (float(gained), atoms.numbers.tolist(), atoms.positions.tolist())
            if len(own) > self.most:
                del own[min(own, key=lambda k: own[k][0])]

    def candidates(self, name: str) -> list[Candidate]:
        """All that is kept, formula by formula, the best first."""
        rows = [row for own in self.kept.values() for row in sorted(own.values(), key=lambda row: -row[0])]
        return [
            Candidate(Atoms(numbers, positions), k, name, history=("built",), info={"return": gained})
            for k, (gained, numbers, positions) in enumerate(rows)
        ]

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        kept = {formula: {k: list(row) for k, row in own.items()} for formula, own in self.kept.items()}
        return {"most": self.most, "kept": kept, "seen": self.seen, "valid": self.valid}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Archive":
        kept = {formula: {k: tuple(row) for k, row in own.items()} for formula, own in state["kept"].items()}
        return cls(state["most"], kept, state["seen"], state["valid"])

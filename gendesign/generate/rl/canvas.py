"""Observations (unfinished molecules with the atoms to place) and actions (one placement in each), as batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols
from torch import Tensor

from gendesign.errors import UserError


@dataclass(frozen=True)
class Canvas:
    """A batch of observations: one unfinished molecule and its bag for each environment.

    positions (environments, slots, 3) in Angstrom, zero where empty. numbers (environments, slots): atomic numbers, 0
    where empty, filled slots first. bag (environments, elements): counts of the atoms to place. elements: the atomic
    numbers to which columns of the bag and actions refer.
    """

    positions: Tensor
    numbers: Tensor
    bag: Tensor
    elements: tuple[int, ...]

    @classmethod
    def build(
        cls,
        structures: Sequence[Atoms],
        bags: Sequence[Mapping[int, int]],
        elements: Sequence[int],
        slots: int,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> Canvas:
        """From `structures` and `bags` (atomic number -> count); UserError for elements or atoms that do not fit."""
        n, elements = len(structures), tuple(int(z) for z in elements)
        unknown = {z for bag in bags for z, count in bag.items() if count and z not in elements}
        if unknown:
            allowed = " ".join(chemical_symbols[z] for z in elements)
            raise UserError(
                f"the bag holds {', '.join(chemical_symbols[z] for z in sorted(unknown))}, but the actions have "
                f"{allowed} only; give all elements of the task"
            )
        empty = cls(
            torch.zeros(n, slots, 3, dtype=dtype, device=device),
            torch.zeros(n, slots, dtype=torch.long, device=device),
            torch.tensor([[bag.get(z, 0) for z in elements] for bag in bags], device=device).reshape(n, len(elements)),
            elements,
        )
        return empty.with_atoms(structures)

    @cached_property
    def filled(self) -> Tensor:
        """Whether a slot holds an atom (environments, slots)."""
        return self.numbers > 0

    @cached_property
    def counts(self) -> Tensor:
        """Number of atoms on each canvas (environments,)."""
        return self.filled.sum(1)

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def slots(self) -> int:
        """Largest number of atoms."""
        return self.numbers.shape[1]

    def with_atoms(self, structures: Sequence[Atoms]) -> Canvas:
        """The same bags with other atoms; raises UserError for a structure with more atoms than slots."""
        positions, numbers = np.zeros((len(structures), self.slots, 3)), np.zeros((len(structures), self.slots), int)
        for i, atoms in enumerate(structures):
            if len(atoms) > self.slots:
                raise UserError(
                    f"{len(atoms)} atoms do not fit on a canvas of {self.slots}; give a canvas of {len(atoms)} or more"
                )
            positions[i, : len(atoms)], numbers[i, : len(atoms)] = atoms.positions, atoms.numbers
        return replace(
            self,
            positions=torch.as_tensor(positions).to(self.positions),
            numbers=torch.as_tensor(numbers).to(self.numbers),
        )

    def to_atoms(self) -> list[Atoms]:
        """One structure for each environment, in the order of the slots."""
        positions, numbers = self.positions.double().cpu().numpy(), self.numbers.cpu().numpy()
        return [Atoms(z[: (z > 0).sum()], x[: (z > 0).sum()]) for x, z in zip(positions, numbers, strict=True)]

    def to(self, target: torch.device | torch.dtype | str) -> Canvas:
        """On another device or with positions of another dtype; numbers and bag stay integers."""
        if isinstance(target, torch.dtype):
            return replace(self, positions=self.positions.to(target))
        moved = (part.to(target) for part in (self.positions, self.numbers, self.bag))
        return Canvas(*moved, self.elements)

    def __getitem__(self, rows: slice | Tensor | list[int]) -> Canvas:
        """The canvas of some environments."""
        return Canvas(self.positions[rows], self.numbers[rows], self.bag[rows], self.elements)

    @staticmethod
    def cat(parts: Sequence[Canvas]) -> Canvas:
        """One batch of all environments of `parts`, which have the same slots and elements."""
        joined = (torch.cat([getattr(part, key) for part in parts]) for key in ("positions", "numbers", "bag"))
        return Canvas(*joined, parts[0].elements)


@dataclass(frozen=True)
class Action:
    """One placement in each environment.

    focus (environments,): slot of the atom to build on. element (environments,): index into Canvas.elements. distance
    (environments,) in Angstrom. direction (environments, 3): unit vectors.
    """

    focus: Tensor
    element: Tensor
    distance: Tensor
    direction: Tensor

    def __getitem__(self, rows: slice | Tensor | list[int]) -> Action:
        return Action(self.focus[rows], self.element[rows], self.distance[rows], self.direction[rows])

    @staticmethod
    def cat(parts: Sequence[Action]) -> Action:
        """Concatenate actions of several batches."""
        keys = ("focus", "element", "distance", "direction")
        return Action(*(torch.cat([getattr(part, key) for part in parts]) for key in keys))


def new_positions(canvas: Canvas, action: Action) -> Tensor:
    """Positions of the placed atoms (environments, 3): x_focus + distance * direction; the origin on an empty canvas.

    Simm et al., ICLR 2021 (arXiv 2011.12747), section 3.
    """
    rows = torch.arange(len(canvas), device=canvas.positions.device)
    positions = canvas.positions[rows, action.focus] + action.distance[:, None] * action.direction
    return torch.where(canvas.counts[:, None] > 0, positions, torch.zeros_like(positions))

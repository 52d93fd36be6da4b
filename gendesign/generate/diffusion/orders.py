"""What the molecules of a run must be: numbers of atoms, elements and positions that are known before they are made."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase.data import atomic_numbers
from torch import Tensor

from gendesign.generate.diffusion import sizes
from gendesign.generate.diffusion.cloud import Cloud, Order, new_cloud
from gendesign.generate.simgen import composition
from gendesign.generate.simgen.elements import drawn_reference, shuffled_elements
from gendesign.generate.simgen.problem import Problem
from gendesign.randomness import Purpose
from gendesign.structure.counter_random import uniform

UNKNOWN, HEAVY = 0, -1  # in place of an atomic number


@dataclass(frozen=True)
class Orders:
    """Draws for every molecule what is known of it.

    counts: sizes of the training molecules; elements: atomic numbers of the model. Where the problem asks for nothing
    (`is_free`), only the number of atoms is known. Otherwise each atom is known to be hydrogen or heavy, heavy ones
    first, so that conditions can act on the heavy ones; with limits on the composition all elements are known.
    """

    problem: Problem
    counts: sizes.Counts
    elements: tuple[int, ...]
    is_free: bool

    def cloud(self, key: Tensor) -> Cloud:
        """The molecules of the random keys (molecules,), without noise yet."""
        problem = self.problem
        u = uniform(key, Purpose.DIFFUSION_SIZE, 2).cpu().numpy()
        allowed = [1, *problem.numbers]
        if self.is_free:
            drawn = sizes.drawn(self.counts, u[:, 0])
            orders = [_order(np.full(n, UNKNOWN)) for _, n in drawn]
            return new_cloud(orders, key, self.elements, allowed)
        low, high = problem.sizes
        new = low + (u[:, 1] * (high - low + 1)).astype(int)
        heavy = self._heavy(key, new)
        hydrogens = self._hydrogens(new, u[:, 0])
        fixed, kept = self._fixed()
        n_fixed = len(fixed)
        orders = []
        for atoms, wanted in zip(heavy, hydrogens, strict=True):
            count = _closed_shell(wanted, [*fixed.numbers, *atoms], len(kept))
            numbers = np.concatenate([fixed.numbers, atoms, np.ones(len(kept) + count, int)])
            positions = np.full((len(numbers), 3), np.nan)
            positions[:n_fixed] = fixed.positions
            positions[len(numbers) - len(kept) - count : len(numbers) - count] = kept
            orders.append(_order(numbers, positions))
        pair = torch.as_tensor(fixed.numbers), torch.as_tensor(fixed.positions)
        return new_cloud(orders, key, self.elements, [*allowed, *fixed.numbers.tolist()], n_fixed, pair)

    def _heavy(self, key: Tensor, new: np.ndarray) -> list[np.ndarray]:
        """Elements of the new heavy atoms of each molecule; HEAVY where the model chooses them."""
        problem = self.problem
        if problem.limits is None:
            return [np.full(n, HEAVY) for n in new]
        rows = drawn_reference(key, problem.references.weights).tolist()
        counts = np.array([[int((a.numbers == z).sum()) for z in problem.numbers] for a in problem.skeletons])
        u = uniform(key, Purpose.ROUNDING, 1)[:, 0].tolist()
        drawn = [
            problem.limits.drawn(counts[row] / counts[row].sum(), int(n), value)
            for row, n, value in zip(rows, new, u, strict=True)
        ]
        table = shuffled_elements(key, [composition.numbers_of(row, problem.elements) for row in drawn])
        return [row[: int(n)].numpy() for row, n in zip(table.cpu(), new, strict=True)]

    def _hydrogens(self, new: np.ndarray, u: np.ndarray) -> list[int]:
        """Number of new hydrogens of each molecule."""
        limits = self.problem.limits
        if limits is not None and limits.hydrogens is not None:
            return [limits.hydrogens] * len(new)
        drawn = sizes.drawn(self.counts, u, new.tolist())
        # every bond to a fragment takes the place of a hydrogen
        bonds = 0 if self.problem.fragments is None else len(self.problem.fragments.anchors)
        return [max(0, int(n - h) - bonds) for h, n in drawn]

    def _fixed(self) -> tuple["Known", np.ndarray]:
        """Heavy atoms of the fragments, and positions (hydrogens, 3) of the hydrogens that these keep."""
        fragments = self.problem.fragments
        if fragments is None:
            return Known(np.zeros(0, int), np.zeros((0, 3))), np.zeros((0, 3))
        fixed = fragments.fixed
        kept = np.concatenate([np.reshape(x, (-1, 3)) for x in fixed.hydrogen_positions])
        return Known(np.asarray(fixed.numbers, int), fixed.positions), kept


def _closed_shell(hydrogens: int, heavy: Sequence[int], kept: int) -> int:
    """The number of new hydrogens, one more where all elements are known and the electrons would be odd."""
    if min(heavy, default=1) <= 0:
        return hydrogens
    return hydrogens + (sum(heavy) + kept + hydrogens) % 2


@dataclass(frozen=True)
class Known:
    """Atoms of which numbers (atoms,) and positions (atoms, 3) are known."""

    numbers: np.ndarray
    positions: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)


def _order(numbers: np.ndarray, positions: np.ndarray | None = None) -> Order:
    where = np.full((len(numbers), 3), np.nan) if positions is None else positions
    return Order(torch.as_tensor(np.asarray(numbers, int)), torch.as_tensor(where))


def model_numbers(elements: Sequence[str]) -> tuple[int, ...]:
    """Atomic numbers of the elements of a model."""
    return tuple(atomic_numbers[e] for e in elements)

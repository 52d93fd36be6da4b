"""Structures to learn from: those that were given, and strained and displaced copies of them."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from gendesign.randomness import Purpose, stream

Group = tuple[int, Atoms]


def with_copies(structures: Sequence[Atoms], copies: int, strain: float, displacement: float, seed: int) -> list[Group]:
    """(number of the original, structure) of every structure and its copies.

    The cell of a copy is changed by a random symmetric strain of at most `strain` per component, its atoms by normal
    displacements (Angstrom). Molecules are displaced alone.
    """
    out = []
    for number, atoms in enumerate(structures):
        plain = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        out.append((number, plain))
        for k in range(copies):
            rng = stream(Purpose.DISTILLATION, seed, number * 1_000_003 + k)
            copy = plain.copy()
            if copy.pbc.any():
                tensor = rng.uniform(-strain, strain, (3, 3))
                copy.set_cell(copy.cell @ (np.eye(3) + (tensor + tensor.T) / 2), scale_atoms=True)
            copy.positions += rng.normal(0, displacement, copy.positions.shape)
            out.append((number, copy))
    return out


def held_out(numbers: Sequence[int], share: float, seed: int) -> set[int]:
    """The originals that are held out with all their copies: `share` of them, at least one, never all."""
    originals = sorted(set(numbers))
    count = min(max(1, round(share * len(originals))), len(originals) - 1)
    order = stream(Purpose.DISTILLATION_TEST, seed, 0).permutation(len(originals))
    return {originals[k] for k in order[:count]}

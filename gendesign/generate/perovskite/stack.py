"""Layers with their cations, put on top of each other until they touch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from gendesign.generate.perovskite.contacts import contact_height, radii

# Sideways steps, in in-plane lattice vectors, that crystals prefer: none, half of one, half of both.
SPECIAL = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5))
SLIDES = (1, 4, 16)  # steps tried for a layer, the one that lets it down deepest taken: some starts dense, some loose


@dataclass(frozen=True)
class Layer:
    """One layer with its cations, its slab's middle at z = 0.

    molecule (atoms,): -1 for the inorganic part, then 0, 1, ...; reach: for cations that bridge, the vector (3,) from
    here to where the next layer's middle is best; None where layers are free to slide.
    """

    numbers: np.ndarray
    positions: np.ndarray
    molecule: np.ndarray
    reach: np.ndarray | None = None


def draw_slide(rng: Generator, lattice: np.ndarray) -> np.ndarray:
    """A sideways step (3,) in Angstrom: half of the draws one of the special ones, the others anywhere.

    lattice (2, 3) of layers, (1, 3) of chains that lie side by side, (0, 3) of what repeats in no direction yet.
    """
    special = rng.random() < 0.5
    steps = SPECIAL[int(rng.integers(len(SPECIAL)))] if special else rng.random(2)
    return np.asarray(steps)[: len(lattice)] @ lattice


def stack(
    rng: Generator, layers: Sequence[Layer], lattice: np.ndarray, contact: float, padding: float, misfit: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """Origins of the layers (layers, 3) and the third lattice vector (3,).

    Each layer comes down on the one below, slid sideways, until two atoms are `contact` times their van der Waals
    distance apart, and is lifted by up to `padding` (Angstrom). Layers that are bridged go where the cations reach, and
    None is returned when that leaves them `misfit` (Angstrom) too far from it.
    """
    origins = [np.zeros(3)]
    for number, lower in enumerate(layers):
        upper = layers[(number + 1) % len(layers)]
        bridged = lower.reach is not None
        tries = 0 if bridged else int(rng.choice(SLIDES))
        slides = [draw_slide(rng, lattice) for _ in range(tries)] or [lower.reach * [1, 1, 0]]
        sizes = contact * radii(lower.numbers), contact * radii(upper.numbers)
        heights = [contact_height(lower.positions, sizes[0], upper.positions + s, sizes[1], lattice) for s in slides]
        height, slide = min(zip(heights, slides, strict=True), key=lambda pair: pair[0])
        if not bridged:
            height += padding * rng.random()
        elif height > lower.reach[2] + misfit:
            return None
        else:
            height = max(height, lower.reach[2])
        origins.append(origins[-1] + slide + [0, 0, height])
    return np.array(origins[:-1]), origins[-1]

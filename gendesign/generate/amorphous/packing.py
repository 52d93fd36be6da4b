"""Random packings: points drawn at random, then moved apart until all pairs keep their minimum distances."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from matscipy.neighbours import neighbour_list
from scipy.optimize import minimize

from gendesign.errors import UserError
from gendesign.generate.amorphous.composition import cubic_edge
from gendesign.randomness import Purpose, stream

ANIONS = ("N", "O", "F", "S", "Cl", "Se", "Br", "I")
BONDED, ANION_PAIR, SAME = 0.85, 1.55, 0.90  # of the sum of covalent radii
ENOUGH = 0.97  # of a minimum distance
SOFT = 1.05  # diameters of the soft spheres over the minimum distances, so that touching spheres keep them
DENSEST = 0.74  # volume fraction of the densest packing of equal spheres
TRIAL_ATOMS = 150  # of the packing that tells whether a density can be packed
ATTEMPTS = 3
STEPS = 300
PAIR = re.compile(r"\s*([A-Z][a-z]?)-([A-Z][a-z]?)\s*=\s*(\d+\.?\d*|\.\d+)\s*")


@dataclass(frozen=True)
class Distances:
    """Minimum distances in Angstrom by pair of elements, symbols in alphabetic order."""

    pairs: Mapping[tuple[str, str], float]

    @classmethod
    def of(cls, symbols: Sequence[str], given: Sequence[str] = ()) -> "Distances":
        """Those `given` as "Si-O=1.5"; the others are shares of the sums of covalent radii.

        0.85 of it for most pairs, 1.55 for two anions of a compound (O-O 2.05) and 0.90 for two equal atoms.
        """
        stated: dict[tuple[str, str], float] = {}
        for text in given:
            match = PAIR.fullmatch(text)
            if match is None or not {match[1], match[2]} <= set(symbols):
                raise UserError(
                    f"generator.min_distances={text}: write two elements of the model and Angstrom, such as Si-O=1.5"
                )
            stated[_pair(match[1], match[2])] = float(match[3])
        compound = bool(set(symbols) - set(ANIONS))
        table = {}
        for a, b in combinations_with_replacement(sorted(set(symbols)), 2):
            total = covalent_radii[atomic_numbers[a]] + covalent_radii[atomic_numbers[b]]
            share = ANION_PAIR if compound and {a, b} <= set(ANIONS) else SAME if a == b else BONDED
            table[a, b] = stated.get((a, b), float(share * total))
        return cls(table)

    def matrix(self, numbers: np.ndarray) -> np.ndarray:
        """(119, 119) by atomic number, 0 for elements that are not in `numbers`."""
        out = np.zeros((119, 119))
        for (a, b), distance in self.pairs.items():
            i, j = atomic_numbers[a], atomic_numbers[b]
            out[i, j] = out[j, i] = distance
        return out

    def fraction(self, composition: Mapping[str, int], volume: float) -> float:
        """Volume fraction of spheres whose diameters are the minimum distances of equal atoms."""
        spheres = sum(count * np.pi / 6 * self.pairs[symbol, symbol] ** 3 for symbol, count in composition.items())
        return float(spheres / volume)


def _pair(a: str, b: str) -> tuple[str, str]:
    return (a, b) if a <= b else (b, a)


def pack(composition: Mapping[str, int], edge: float, distances: Distances, rng: np.random.Generator) -> Atoms | None:
    """A random packing in a cube of `edge` Angstrom, None where the minimum distances could not be kept."""
    symbols = [symbol for symbol, count in composition.items() for _ in range(count)]
    atoms = Atoms(symbols, cell=[edge] * 3, pbc=True)
    for _ in range(ATTEMPTS):
        atoms.positions = rng.random((len(atoms), 3)) * edge
        atoms.positions = _apart(atoms, distances)
        atoms.wrap()
        if _worst(atoms, distances) >= ENOUGH:
            return atoms
    return None


def check_density(composition: Mapping[str, int], density: float, distances: Distances) -> None:
    """Raise UserError of one line for a density (g/cm3) that cannot be packed, by a small packing of the same kind."""
    edge = cubic_edge(composition, density)
    if distances.fraction(composition, edge**3) <= DENSEST:
        share = min(1.0, TRIAL_ATOMS / sum(composition.values()))
        small = {symbol: max(1, round(count * share)) for symbol, count in composition.items()}
        if pack(small, cubic_edge(small, density), distances, stream(Purpose.PACKING, 0, 0)) is not None:
            return
    kept = ", ".join(f"{a}-{b} {distance:.2f}" for (a, b), distance in distances.pairs.items())
    raise UserError(
        f"generator.density={density:g} g/cm3 cannot be packed with the minimum distances {kept} Angstrom; "
        "give a lower density, smaller generator.min_distances, or start from a crystal and compress it"
    )


class _Apart(Exception):
    """Every pair keeps its minimum distance: further minimisation is not needed."""


def _apart(atoms: Atoms, distances: Distances) -> np.ndarray:
    """Positions (atoms, 3) after minimising the overlap of soft spheres, 1/2 (1 - r/d)^2 for every pair below d."""
    table = distances.matrix(atoms.numbers) * SOFT
    reach, numbers, cell, pbc = float(table.max()), atoms.numbers, atoms.cell.array, atoms.pbc

    def overlap(x: np.ndarray) -> tuple[float, np.ndarray]:
        i, j, r, vector = neighbour_list("ijdD", cutoff=reach, positions=x.reshape(-1, 3), cell=cell, pbc=pbc)
        d = table[numbers[i], numbers[j]]
        near = r < d
        i, r, d, vector = i[near], np.maximum(r[near], 1e-6), d[near], vector[near]
        if not len(r) or (r / d).min() * SOFT >= ENOUGH:
            raise _Apart(x)
        depth = 1 - r / d
        pull = (depth / (d * r))[:, None] * vector
        gradient = np.stack([np.bincount(i, pull[:, k], len(numbers)) for k in range(3)], 1)
        return float(0.25 * np.sum(depth**2)), gradient.ravel()

    options = {"maxiter": STEPS, "ftol": 1e-14, "gtol": 1e-7, "maxcor": 6}
    try:
        x = minimize(overlap, atoms.positions.ravel(), jac=True, method="L-BFGS-B", options=options).x
    except _Apart as reached:
        x = reached.args[0]
    return np.array(x).reshape(-1, 3)


def _worst(atoms: Atoms, distances: Distances) -> float:
    """The smallest distance relative to its minimum, 1 or less."""
    table = distances.matrix(atoms.numbers)
    i, j, r = neighbour_list("ijd", atoms, float(table.max()))
    return float(min(1.0, (r / table[atoms.numbers[i], atoms.numbers[j]]).min(initial=1.0)))

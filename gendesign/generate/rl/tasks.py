"""Tasks: the bag of atoms to place and the initial atoms of every episode.

Simm et al., ICLR 2021 (arXiv 2011.12747), section 5: single, several and stochastic bags, solvation, scaffolds.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.collections import g2
from ase.data import atomic_numbers, chemical_symbols
from scipy.spatial import ConvexHull, QhullError

from gendesign.errors import UserError
from gendesign.fields import check_bounds, setting
from gendesign.randomness import Purpose, stream
from gendesign.structure.files import read_structures
from gendesign.structure.formula import parse_formula, parse_range
from gendesign.structure.lewis import VALENCES

Bag = dict[int, int]  # atoms left to place, by atomic number
ORDERS = ("cycle", "draw")
DRAWS = 1000  # largest number of bags drawn in search of a closed shell


@dataclass(frozen=True)
class Task(ABC):
    """Base of all tasks (the `_target_`s of conf/task), without refills, region and penalty."""

    @abstractmethod
    def start(self, rng: np.random.Generator, episode: int = 0) -> tuple[Bag, Atoms]:
        """The first bag and the initial atoms of an episode; `episode` is its index in the environment."""

    @property
    @abstractmethod
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers of bags and initial atoms, ascending."""

    @property
    @abstractmethod
    def sizes(self) -> tuple[int, int]:
        """Largest number of atoms on the canvas when the first bag is empty, and when all refills are."""

    @cached_property
    def initial_atoms(self) -> Atoms:
        """The atoms from which every episode starts."""
        return Atoms()

    @property
    def n_molecules(self) -> int:
        """Number of molecules in a finished structure."""
        return 1

    def refill(self, completed: int) -> Bag:
        """The bag after `completed` emptied ones; an empty bag ends the episode."""
        return {}

    def allows(self, position: np.ndarray) -> bool:
        """Whether an atom may be placed at `position` (3,) in Angstrom."""
        return True

    def penalty(self, position: np.ndarray) -> float:
        """Penalty in Hartree of a placement at `position` (3,) in Angstrom."""
        return 0.0


@dataclass(frozen=True)
class SingleBag(Task):
    """Build one formula in every episode."""

    formula: str = setting("CH4O", "formula of the molecules")

    def __post_init__(self) -> None:
        self.bag  # noqa: B018  raises UserError before a run starts

    @cached_property
    def bag(self) -> Bag:
        """The bag of the formula."""
        return read_bag(self.formula, "task.formula")

    @property
    def elements(self) -> tuple[int, ...]:
        return tuple(sorted(self.bag))

    @property
    def sizes(self) -> tuple[int, int]:
        return (sum(self.bag.values()),) * 2

    def start(self, rng: np.random.Generator, episode: int = 0) -> tuple[Bag, Atoms]:
        return dict(self.bag), Atoms()


@dataclass(frozen=True)
class SeveralBags(Task):
    """Build one of several formulas in each episode."""

    formulas: Sequence[str] = setting(("CH4O", "C2H6O"), "formulas of the molecules, one for each episode")
    order: str = setting("cycle", "cycle: formulas in turn; draw: formulas at random", allowed=ORDERS)

    def __post_init__(self) -> None:
        check_bounds(self, "task")
        if isinstance(self.formulas, str) or not self.formulas:
            raise UserError(f"task.formulas={self.formulas}: give a list of one or more, such as [CH4O,C2H6O]")
        object.__setattr__(self, "formulas", tuple(self.formulas))
        self.bags  # noqa: B018

    @cached_property
    def bags(self) -> tuple[Bag, ...]:
        """The bags of the formulas."""
        return tuple(read_bag(formula, "task.formulas") for formula in self.formulas)

    @property
    def elements(self) -> tuple[int, ...]:
        return tuple(sorted({z for bag in self.bags for z in bag}))

    @property
    def sizes(self) -> tuple[int, int]:
        return (max(sum(bag.values()) for bag in self.bags),) * 2

    def start(self, rng: np.random.Generator, episode: int = 0) -> tuple[Bag, Atoms]:
        which = episode % len(self.bags) if self.order == "cycle" else rng.integers(len(self.bags))
        return dict(self.bags[which]), Atoms()


@dataclass(frozen=True)
class StochasticBag(Task):
    """Build bags of random size and composition, drawn until a closed-shell molecule exists (`has_closed_shell`)."""

    formula: str = setting("C7H8N2O2", "proportions in which elements are drawn")
    size: str | int = setting("8-16", "atoms of a molecule: a number, or a range such as 8-16 drawn from uniformly")

    def __post_init__(self) -> None:
        for z in self.proportions:
            if z not in VALENCES:
                known = " ".join(chemical_symbols[k] for k in sorted(VALENCES))
                raise UserError(
                    f"task.formula={self.formula}: the valence of {chemical_symbols[z]} is not known; "
                    f"allowed elements are {known}"
                )
        self.range  # noqa: B018
        for size in self.range:
            self._draw(stream(Purpose.TASK_TEST), size)

    @cached_property
    def proportions(self) -> Bag:
        """The bag of the formula, which sets the proportions of the elements."""
        return read_bag(self.formula, "task.formula")

    @cached_property
    def range(self) -> tuple[int, int]:
        """Smallest and largest bag."""
        return parse_range(self.size, "task.size")

    @property
    def elements(self) -> tuple[int, ...]:
        return tuple(sorted(self.proportions))

    @property
    def sizes(self) -> tuple[int, int]:
        return (self.range[1],) * 2

    def start(self, rng: np.random.Generator, episode: int = 0) -> tuple[Bag, Atoms]:
        low, high = self.range
        return self._draw(rng, int(rng.integers(low, high + 1))), Atoms()

    def _draw(self, rng: np.random.Generator, size: int) -> Bag:
        share = np.array([self.proportions[z] for z in self.elements], float)
        for _ in range(DRAWS):
            counts = rng.multinomial(size, share / share.sum())
            bag = {z: int(k) for z, k in zip(self.elements, counts, strict=True) if k}
            if has_closed_shell(bag):
                return bag
        raise UserError(
            f"task.formula={self.formula}, task.size={self.size}: no closed-shell molecule of {size} "
            f"atoms in {DRAWS} draws; choose another size, or proportions in which closed shells are common"
        )


@dataclass(frozen=True)
class Solvation(Task):
    """Place solvent molecules, one after the other, around a solute whose centre is the origin.

    The penalty of a placement is `distance_penalty` times its distance from the origin.
    """

    solute: str | Atoms = setting("H2CO", "file of the solute, or its name in ASE", file=True)
    solvent: str = setting("H2O", "formula of the solvent")
    n: int = setting(5, "solvent molecules", least=1)
    distance_penalty: float = setting(
        0.01, "penalty of a placement by its distance from the centre", unit="Hartree/Angstrom", least=0
    )

    def __post_init__(self) -> None:
        check_bounds(self, "task")
        self.bag, self.initial_atoms  # noqa: B018  raises UserError before a run starts

    @cached_property
    def bag(self) -> Bag:
        """The bag of one solvent molecule."""
        return read_bag(self.solvent, "task.solvent")

    @cached_property
    def initial_atoms(self) -> Atoms:
        atoms = read_initial_atoms(self.solute, "task.solute")
        atoms.positions -= atoms.positions.mean(0)
        return atoms

    @property
    def elements(self) -> tuple[int, ...]:
        return tuple(sorted({*self.bag, *self.initial_atoms.numbers.tolist()}))

    @property
    def sizes(self) -> tuple[int, int]:
        one = sum(self.bag.values())
        return len(self.initial_atoms) + one, len(self.initial_atoms) + self.n * one

    @property
    def n_molecules(self) -> int:
        return 1 + self.n

    def start(self, rng: np.random.Generator, episode: int = 0) -> tuple[Bag, Atoms]:
        return dict(self.bag), self.initial_atoms.copy()

    def refill(self, completed: int) -> Bag:
        return dict(self.bag) if completed < self.n else {}

    def penalty(self, position: np.ndarray) -> float:
        return self.distance_penalty * float(np.linalg.norm(position))


@dataclass(frozen=True)
class Scaffold(Task):
    """Add atoms to a scaffold, within a region.

    The region is the intersection of two: a convex hull, its faces moved outwards by `margin`, and all points within
    `max_distance` of a scaffold atom. None leaves either out. A hull of coplanar atoms has no volume and is refused.
    """

    scaffold: str | Atoms = setting("C6H6", "file of the scaffold, or its name in ASE", file=True)
    formula: str = setting("CH4O", "formula of the atoms to add")
    hull: str | Atoms | None = setting(
        None, "file of atoms whose convex hull is the region; null: the hull of the scaffold", file=True
    )
    margin: float | None = setting(
        None, "distance by which the faces of the hull are moved outwards; null: no hull", unit="Angstrom"
    )
    max_distance: float | None = setting(
        4.0, "largest distance from the nearest scaffold atom; null: any", unit="Angstrom", above=0
    )

    def __post_init__(self) -> None:
        check_bounds(self, "task")
        if self.margin is None and self.max_distance is None:
            raise UserError(
                "task.margin and task.max_distance are both null; give one of them, such as task.max_distance=4.0"
            )
        if self.hull is not None and self.margin is None:
            raise UserError("task.hull is given without task.margin; give the margin too, such as task.margin=0.0")
        self.bag, self.initial_atoms, self.faces  # noqa: B018  raises UserError before a run starts

    @cached_property
    def bag(self) -> Bag:
        """The bag of the formula."""
        return read_bag(self.formula, "task.formula")

    @cached_property
    def initial_atoms(self) -> Atoms:
        return read_initial_atoms(self.scaffold, "task.scaffold")

    @cached_property
    def faces(self) -> np.ndarray:
        """Outward normals and offsets of the faces of the hull (faces, 4); none without a hull."""
        if self.margin is None:
            return np.zeros((0, 4))
        points = self.initial_atoms if self.hull is None else read_initial_atoms(self.hull, "task.hull")
        try:
            return ConvexHull(points.positions).equations
        except (QhullError, ValueError) as error:
            key = "task.scaffold" if self.hull is None else "task.hull"
            raise UserError(
                f"{key}: its {len(points)} atoms have no convex hull with a volume; give four or more that are not "
                "coplanar, or use task.max_distance with task.margin=null"
            ) from error

    @property
    def elements(self) -> tuple[int, ...]:
        return tuple(sorted({*self.bag, *self.initial_atoms.numbers.tolist()}))

    @property
    def sizes(self) -> tuple[int, int]:
        return (len(self.initial_atoms) + sum(self.bag.values()),) * 2

    def start(self, rng: np.random.Generator, episode: int = 0) -> tuple[Bag, Atoms]:
        return dict(self.bag), self.initial_atoms.copy()

    def allows(self, position: np.ndarray) -> bool:
        inside = self.margin is None or (self.faces[:, :3] @ position + self.faces[:, 3] <= self.margin).all()
        distances = np.linalg.norm(self.initial_atoms.positions - position, axis=1)
        near = self.max_distance is None or distances.min() <= self.max_distance
        return bool(inside and near)


def read_bag(formula: str, key: str) -> Bag:
    """Atomic number -> count of a formula; raises UserError that names `key`."""
    try:
        counts = parse_formula(str(formula))
    except UserError as error:
        raise UserError(f"{key}: {error}") from error
    return {atomic_numbers[symbol]: count for symbol, count in counts.items()}


def read_initial_atoms(source: str | Atoms, key: str) -> Atoms:
    """Elements and positions of a structure, of the first one in a file, or of a molecule named in ASE."""
    if isinstance(source, Atoms):
        atoms = source
    elif source in g2.names and not Path(source).exists():
        atoms = molecule(source)
    else:
        try:
            atoms = read_structures([source], hydrogens="ignore")[0].atoms
        except UserError as error:
            raise UserError(f"{key}: {error}; or give the name of a molecule in ASE, such as H2CO") from error
    if not len(atoms):
        raise UserError(f"{key} has no atoms; give a structure with one or more")
    return Atoms(atoms.numbers, atoms.positions)


def has_closed_shell(bag: Bag) -> bool:
    """Whether atoms of usual valence can form a connected molecule without radicals.

    The conditions of Senior (Am. J. Math. 73, 663, 1951): the sum of valences is even, no valence exceeds the sum of
    all others, and the sum for n atoms is at least 2(n - 1).
    """
    n, lowest = sum(bag.values()), {z: min(VALENCES[z]) for z in bag}
    total = sum(lowest[z] * count for z, count in bag.items())
    most = sum(max(VALENCES[z]) * count for z, count in bag.items())  # as sulfur in SF6
    return n > 0 and total % 2 == 0 and 2 * max(lowest.values()) <= total and most >= 2 * (n - 1)

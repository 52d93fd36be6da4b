"""What an agent is asked to build: the atoms it is given and those already there, episode by episode.

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
from gendesign.structure.files import read_structures
from gendesign.structure.formula import parse_formula, parse_range
from gendesign.structure.lewis import VALENCES

Bag = dict[int, int]  # atoms left to place, by atomic number
ORDERS = ("cycle", "draw")
DRAWS = 1000  # bags drawn before a closed shell is given up on


@dataclass(frozen=True)
class Task(ABC):
    """The `_target_`s of conf/task. What most tasks do not have, refills and a region, is answered here."""

    @abstractmethod
    def start(self, rng: np.random.Generator, episode: int = 0) -> tuple[Bag, Atoms]:
        """The first bag of an episode and the atoms that are there; `episode` counts an environment's episodes."""

    @property
    @abstractmethod
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that may occur, ascending, those of given atoms too."""

    @property
    @abstractmethod
    def sizes(self) -> tuple[int, int]:
        """Largest number of atoms on the canvas when a first bag is empty, and when all refills are."""

    @cached_property
    def given(self) -> Atoms:
        """The atoms that every episode starts from."""
        return Atoms()

    @property
    def molecules(self) -> int:
        """Of how many molecules a finished structure consists."""
        return 1

    def refill(self, completed: int) -> Bag:
        """The bag that follows after `completed` emptied ones; an empty one ends the episode."""
        return {}

    def allows(self, position: np.ndarray) -> bool:
        """Whether an atom may be placed at `position` (3,) in Angstrom."""
        return True

    def penalty(self, position: np.ndarray) -> float:
        """What a placement at `position` (3,) costs, in Hartree."""
        return 0.0


@dataclass(frozen=True)
class SingleBag(Task):
    """Build one formula again and again."""

    formula: str = "CH4O"

    def __post_init__(self) -> None:
        self.bag  # noqa: B018  what is wrong is said before anything runs

    @cached_property
    def bag(self) -> Bag:
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
    """Build one of `formulas` in each episode: by turns (`order` cycle) or drawn with equal chances (draw)."""

    formulas: Sequence[str] = ("CH4O", "C2H6O")
    order: str = "cycle"

    def __post_init__(self) -> None:
        if isinstance(self.formulas, str) or not self.formulas:
            raise UserError(f"task.formulas={self.formulas}: give a list of one or more, such as [CH4O,C2H6O]")
        if self.order not in ORDERS:
            raise UserError(f"task.order={self.order} is unknown; allowed are {', '.join(ORDERS)}")
        object.__setattr__(self, "formulas", tuple(self.formulas))
        self.bags  # noqa: B018

    @cached_property
    def bags(self) -> tuple[Bag, ...]:
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
    """Bags of `size` atoms (a number, or a range drawn from evenly), elements drawn in proportion to `formula`.

    A bag is drawn again until a connected closed-shell molecule of it exists; see `has_closed_shell`.
    """

    formula: str = "C7H8N2O2"
    size: str | int = "8-16"

    def __post_init__(self) -> None:
        for z in self.proportions:
            if z not in VALENCES:
                known = " ".join(chemical_symbols[k] for k in sorted(VALENCES))
                raise UserError(
                    f"task.formula={self.formula}: the valence of {chemical_symbols[z]} is not known; "
                    f"allowed are {known}"
                )
        self.range  # noqa: B018
        for size in self.range:
            self._draw(np.random.default_rng(0), size)

    @cached_property
    def proportions(self) -> Bag:
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
            f"task.formula={self.formula}, task.size={self.size}: no molecule of {size} atoms was found in {DRAWS} "
            "draws; choose other sizes, or proportions in which closed shells are common"
        )


@dataclass(frozen=True)
class Solvation(Task):
    """Place `n` molecules of `solvent` (a formula), one after the other, around a `solute`.

    The solute, a file or a name that ASE knows (H2CO), lies with its middle in the origin; each placement costs
    `pull` Hartree per Angstrom from there, 0.01 in the paper.
    """

    solute: str | Atoms = "H2CO"
    solvent: str = "H2O"
    n: int = 5
    pull: float = 0.01

    def __post_init__(self) -> None:
        if isinstance(self.n, bool) or self.n < 1:
            raise UserError(f"task.n={self.n}: a whole number of 1 or more solvent molecules is needed")
        if not self.pull >= 0:
            raise UserError(f"task.pull={self.pull}: give 0 or more Hartree per Angstrom")
        self.bag, self.given  # noqa: B018

    @cached_property
    def bag(self) -> Bag:
        return read_bag(self.solvent, "task.solvent")

    @cached_property
    def given(self) -> Atoms:
        atoms = read_given(self.solute, "task.solute")
        atoms.positions -= atoms.positions.mean(0)
        return atoms

    @property
    def elements(self) -> tuple[int, ...]:
        return tuple(sorted({*self.bag, *self.given.numbers.tolist()}))

    @property
    def sizes(self) -> tuple[int, int]:
        one = sum(self.bag.values())
        return len(self.given) + one, len(self.given) + self.n * one

    @property
    def molecules(self) -> int:
        return 1 + self.n

    def start(self, rng: np.random.Generator, episode: int = 0) -> tuple[Bag, Atoms]:
        return dict(self.bag), self.given.copy()

    def refill(self, completed: int) -> Bag:
        return dict(self.bag) if completed < self.n else {}

    def penalty(self, position: np.ndarray) -> float:
        return self.pull * float(np.linalg.norm(position))


@dataclass(frozen=True)
class Scaffold(Task):
    """Add the atoms of `formula` to a `scaffold` (a file, or a name that ASE knows), within a region.

    The region is the convex hull of the atoms of the file `hull` (None: of the scaffold), its faces moved outwards by
    `margin` Angstrom, and what lies within `reach` Angstrom of a scaffold atom; None leaves either out. Flat or short
    hulls have no inside and are refused.
    """

    scaffold: str | Atoms = "C6H6"
    formula: str = "CH4O"
    hull: str | Atoms | None = None
    margin: float | None = None
    reach: float | None = 4.0

    def __post_init__(self) -> None:
        if self.margin is None and self.reach is None:
            raise UserError("task.margin and task.reach are both null; give one of them, such as task.reach=4.0")
        if self.hull is not None and self.margin is None:
            raise UserError("task.hull is given without task.margin; give the margin too, such as task.margin=0.0")
        if self.reach is not None and not self.reach > 0:
            raise UserError(f"task.reach={self.reach}: give a distance above 0 Angstrom")
        self.bag, self.given, self.faces  # noqa: B018

    @cached_property
    def bag(self) -> Bag:
        return read_bag(self.formula, "task.formula")

    @cached_property
    def given(self) -> Atoms:
        return read_given(self.scaffold, "task.scaffold")

    @cached_property
    def faces(self) -> np.ndarray:
        """Outward normals and offsets of the hull's faces (faces, 4); none without a hull."""
        if self.margin is None:
            return np.zeros((0, 4))
        points = self.given if self.hull is None else read_given(self.hull, "task.hull")
        try:
            return ConvexHull(points.positions).equations
        except (QhullError, ValueError) as error:
            key = "task.scaffold" if self.hull is None else "task.hull"
            raise UserError(
                f"{key}: its {len(points)} atoms have no convex hull with an inside; give four or more that are not in "
                "one plane, or use task.reach with task.margin=null"
            ) from error

    @property
    def elements(self) -> tuple[int, ...]:
        return tuple(sorted({*self.bag, *self.given.numbers.tolist()}))

    @property
    def sizes(self) -> tuple[int, int]:
        return (len(self.given) + sum(self.bag.values()),) * 2

    def start(self, rng: np.random.Generator, episode: int = 0) -> tuple[Bag, Atoms]:
        return dict(self.bag), self.given.copy()

    def allows(self, position: np.ndarray) -> bool:
        inside = self.margin is None or (self.faces[:, :3] @ position + self.faces[:, 3] <= self.margin).all()
        near = self.reach is None or np.linalg.norm(self.given.positions - position, axis=1).min() <= self.reach
        return bool(inside and near)


def read_bag(formula: str, key: str) -> Bag:
    """Atomic number -> count of a formula; raises UserError that names `key`."""
    try:
        counts = parse_formula(str(formula))
    except UserError as error:
        raise UserError(f"{key}: {error}") from error
    return {atomic_numbers[symbol]: count for symbol, count in counts.items()}


def read_given(source: str | Atoms, key: str) -> Atoms:
    """Elements and positions of a structure, of the first one in a file, or of a molecule that ASE knows by name."""
    if isinstance(source, Atoms):
        atoms = source
    elif source in g2.names and not Path(source).exists():
        atoms = molecule(source)
    else:
        try:
            atoms = read_structures([source], hydrogens="ignore")[0].atoms
        except UserError as error:
            raise UserError(f"{key}: {error}; or name a molecule that ASE knows, such as H2CO") from error
    if not len(atoms):
        raise UserError(f"{key} has no atoms; give a structure with one or more")
    return Atoms(atoms.numbers, atoms.positions)


def has_closed_shell(bag: Bag) -> bool:
    """Whether atoms of usual valence can form one molecule without radicals (Senior, Am. J. Math. 73, 663, 1951).

    The sum of valences is even, no atom has more than all others together, and n atoms have at least 2(n - 1).
    """
    n, lowest = sum(bag.values()), {z: min(VALENCES[z]) for z in bag}
    total = sum(lowest[z] * count for z, count in bag.items())
    most = sum(max(VALENCES[z]) * count for z, count in bag.items())  # as sulfur in SF6
    return n > 0 and total % 2 == 0 and 2 * max(lowest.values()) <= total and most >= 2 * (n - 1)

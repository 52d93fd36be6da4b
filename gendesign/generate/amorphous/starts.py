"""Where a model begins: a random packing, a crystal with a name, or the user's file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal

from gendesign.errors import UserError
from gendesign.generate.amorphous.composition import composition_of, counts, cubic_edge, scaled_to, usual_density
from gendesign.generate.amorphous.packing import Distances, check_density, pack
from gendesign.randomness import Purpose, stream
from gendesign.structure.files import read_structures

RANDOM = "random"
WIDTH = 0.05  # Angstrom, of the displacements that break the symmetry of a crystal


def diamond() -> Atoms:
    """Cubic cell of silicon, 8 atoms."""
    return bulk("Si", "diamond", a=5.431, cubic=True)


def beta_cristobalite() -> Atoms:
    """Ideal cubic cell of SiO2, 24 atoms, with straight Si-O-Si."""
    sites = [(0, 0, 0), (0.125, 0.125, 0.125)]
    return crystal(["Si", "O"], sites, spacegroup=227, cellpar=[7.16] * 3 + [90] * 3)


def quartz() -> Atoms:
    """Alpha quartz, 9 atoms (Levien et al., Am. Mineral. 65, 920, 1980)."""
    sites = [(0.4697, 0, 2 / 3), (0.4135, 0.2669, 0.1191 + 2 / 3)]
    return crystal(["Si", "O"], sites, spacegroup=154, cellpar=[4.916, 4.916, 5.4054, 90, 90, 120])


def cristobalite() -> Atoms:
    """Alpha cristobalite, 12 atoms (Dollase, Z. Kristallogr. 121, 369, 1965)."""
    sites = [(0.3003, 0.3003, 0), (0.2392, 0.1044, 0.1787)]
    return crystal(["Si", "O"], sites, spacegroup=92, cellpar=[4.9717, 4.9717, 6.9223, 90, 90, 90])


PROTOTYPES = {
    "cristobalite": cristobalite,
    "diamond": diamond,
    "beta_cristobalite": beta_cristobalite,
    "quartz": quartz,
}


@dataclass(frozen=True)
class Starts:
    """The first structures of the models.

    formula, n_atoms and density as given, None where they were not; start: random, the name of a prototype, or a file;
    min_distances: "Si-O=1.5". Raises UserError for what does not go together.
    """

    formula: str | None
    n_atoms: int | None
    density: float | None
    start: str = RANDOM
    min_distances: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise UserError of one line for an impossible start."""
        if self.start != RANDOM:
            _ = self.structures
            return
        if self.formula is None:
            raise UserError("generator.formula is missing; give SiO2, Si, SiO, or a ratio such as Si:O=1:1.5")
        check_density(self.composition, self.packed_density, self.distances)

    @cached_property
    def composition(self) -> Mapping[str, int]:
        """Atoms of each element in a model; that of the first one where a file has several."""
        if self.start == RANDOM:
            return counts(str(self.formula), self.n_atoms)
        return composition_of(self.structures[0])

    @property
    def elements(self) -> list[str]:
        """Symbols of all models."""
        if self.start == RANDOM:
            return sorted(self.composition)
        return sorted({symbol for atoms in self.structures for symbol in atoms.get_chemical_symbols()})

    @cached_property
    def distances(self) -> Distances:
        """Minimum distances of a packing."""
        return Distances.of(list(self.composition), self.min_distances)

    @property
    def packed_density(self) -> float:
        """Density of a random packing, g/cm3."""
        if self.density is not None:
            return self.density
        return usual_density(self.composition, self.formula or "this composition")

    @cached_property
    def structures(self) -> list[Atoms]:
        """The crystal, or the structures of the file, at the density asked for; empty for a random packing."""
        if self.start == RANDOM:
            return []
        if self.start in PROTOTYPES:
            made = [_supercell(self.start, PROTOTYPES[self.start](), self.n_atoms)]
        else:
            made = self._read()
        self._check_formula(made)
        return made if self.density is None else [scaled_to(atoms, self.density) for atoms in made]

    def make(self, index: int, seed: int) -> Atoms | None:
        """The start of candidate `index`; None where no packing was found."""
        if self.start == RANDOM:
            return self.pack(self.packed_density, index, seed)
        atoms = self.structures[index % len(self.structures)].copy()
        if self.start in PROTOTYPES:  # one crystal for all: the displacements make models different
            atoms.positions += WIDTH * stream(Purpose.TRIALS, seed, index).standard_normal((len(atoms), 3))
        return atoms

    def pack(self, density: float, index: int, seed: int) -> Atoms | None:
        """A random packing of the composition, from the stream of (seed, index)."""
        edge = cubic_edge(self.composition, density)
        return pack(self.composition, edge, self.distances, stream(Purpose.PACKING, seed, index))

    def _read(self) -> list[Atoms]:
        if not Path(self.start).is_file():
            names = ", ".join(PROTOTYPES)
            raise UserError(f"generator.start={self.start}: give {RANDOM}, one of {names}, or a file of structures")
        read = read_structures([self.start], hydrogens="ignore")
        usable = [candidate.atoms for candidate in read if candidate.failure is None]
        if not usable:
            raise UserError(f"generator.start={self.start}: no structure can be used: {read[0].failure}")
        for atoms in usable:
            if not atoms.pbc.any() or atoms.cell.rank < 3:
                raise UserError(f"generator.start={self.start}: a structure has no cell; give periodic ones")
            atoms.calc = None
        if self.n_atoms is not None and any(len(atoms) != self.n_atoms for atoms in usable):
            sizes = ", ".join(map(str, sorted({len(atoms) for atoms in usable})))
            raise UserError(f"generator.n_atoms={self.n_atoms}: {self.start} has {sizes} atoms; leave n_atoms out")
        return usable

    def _check_formula(self, structures: Sequence[Atoms]) -> None:
        if self.formula is None:
            return
        for atoms in structures:
            composition = composition_of(atoms)
            wanted = counts(self.formula, None)
            if set(wanted) != set(composition):
                raise UserError(
                    f"generator.formula={self.formula}, but {self.start} holds {', '.join(composition)}; "
                    "leave the formula out, or give another start"
                )
            shares = np.array([composition[symbol] / wanted[symbol] for symbol in composition])
            if np.ptp(shares) > 0.02 * shares.mean():
                raise UserError(
                    f"generator.formula={self.formula}, but {self.start} is {atoms.get_chemical_formula()}; "
                    "leave the formula out, or give another start"
                )


def _supercell(name: str, cell: Atoms, n_atoms: int | None) -> Atoms:
    """The supercell of `cell` with so many atoms whose edges differ least; about 216 atoms where None are given."""
    lengths = cell.cell.lengths()

    def spread(repeats: tuple[int, int, int]) -> float:
        edges = lengths * repeats
        return float(edges.max() / edges.min())

    wanted = 216 if n_atoms is None else n_atoms
    count = max(1, round(wanted / len(cell)))
    if n_atoms is not None and count * len(cell) != n_atoms:
        low = max(1, n_atoms // len(cell)) * len(cell)
        raise UserError(
            f"generator.n_atoms={n_atoms}: {name} has {len(cell)} atoms per cell; give {low} or {low + len(cell)}"
        )
    divisors = [d for d in range(1, count + 1) if count % d == 0]
    options = [(a, b, count // (a * b)) for a in divisors for b in divisors if count % (a * b) == 0]
    return cell * min(options, key=spread)

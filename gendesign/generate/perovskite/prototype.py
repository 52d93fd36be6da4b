"""Starts in the cell and space group of a crystal whose coordinates are not known, as powder diffraction gives them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.geometry import cellpar_to_cell
from numpy.random import Generator
from pymatgen.symmetry.groups import SpaceGroup

from gendesign.generate.perovskite.build import DEPTH, Draws, Start, described, joined
from gendesign.generate.perovskite.composition import Composition
from gendesign.generate.perovskite.contacts import contact_height, radii
from gendesign.generate.perovskite.layer import Tilt, build_framework, draw_tilt
from gendesign.generate.perovskite.placement import Arrangement
from gendesign.generate.perovskite.stack import SLIDES, Layer, draw_slide
from gendesign.generate.perovskite.symmetry import LayerGroup, fill_orbits
from gendesign.structure.types import UserError

NEAR = 1e-3  # of a lattice vector: the same place
PLANE = "sqrt2"  # two metals in the plane of every layer
FITS = 1.3  # most that this plane differs from that of flat octahedra, as a ratio
CLOSER = 0.6  # of the van der Waals distance, where other starts keep more: the cell gives no way


@dataclass(frozen=True)
class KnownCell:
    """Cell and space group of a crystal whose layers are one octahedron thick, as published.

    parameters: a, b, c in Angstrom and alpha, beta, gamma in degrees, right angles where only three are given; group:
    Hermann-Mauguin symbol, in pymatgen's setting of it and with a metal at the origin. Two of the vectors, whichever,
    span the layers and hold two metals. Of a triclinic cell three numbers are enough: the third vector may then lean
    and what is given is its height. Raises UserError for anything else.
    """

    parameters: tuple[float, ...]
    group: str

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "parameters", tuple(float(number) for number in np.ravel(self.parameters)))
            closed = len(self.parameters) in (3, 6) and min(self.parameters) > 0 and self.volume > 0
        except (AssertionError, TypeError, ValueError):  # the first is ASE's, of angles that do not close
            closed = False
        if not closed:
            text = ", ".join(f"{number:g}" if isinstance(number, float) else str(number) for number in self.parameters)
            raise UserError(
                f"generator.known_cell=[{text}]: give a, b, c in Angstrom, or these and three angles in degrees that "
                "close a cell"
            )
        self.operations  # noqa: B018  a symbol that does not exist is said now

    @property
    def six(self) -> list[float]:
        """a, b, c and the three angles."""
        return [*self.parameters, 90.0, 90.0, 90.0][:6]

    @property
    def vectors(self) -> np.ndarray:
        """The cell (3, 3)."""
        return cellpar_to_cell(self.six)

    @property
    def volume(self) -> float:
        """Angstrom^3."""
        return float(abs(np.linalg.det(self.vectors)))

    @property
    def leans(self) -> bool:
        """Whether nothing is known of how layers are shifted against each other."""
        return len(self.parameters) == 3 and len(self.operations[0]) <= 2 and self.group.startswith("P")

    @cached_property
    def operations(self) -> tuple[np.ndarray, np.ndarray]:
        """Rotations (k, 3, 3) and shifts (k, 3) in lattice vectors, the identity first."""
        try:
            found = SpaceGroup(self.group).symmetry_ops
        except ValueError:
            raise UserError(
                f"generator.space_group={self.group}: not a Hermann-Mauguin symbol that pymatgen knows; write such as "
                "Pbca, P2_1/c or P-1"
            ) from None
        matrices = sorted((op.affine_matrix for op in found), key=lambda m: not np.array_equal(m, np.eye(4)))
        return np.array(matrices)[:, :3, :3], np.array(matrices)[:, :3, 3] % 1

    def stacked(self, bond: float) -> "Stacked":
        """The cell with its layers, of octahedra with this bond (Angstrom), along the first two vectors; UserError
        where no two vectors span two of them."""
        flat, (rotations, shifts) = 2 * (2 * bond) ** 2, self.operations
        orders = [np.roll(range(3), turn) for turn in range(3)]
        areas = [float(np.linalg.norm(np.cross(*self.vectors[order[:2]]))) for order in orders]
        off, order, area = min((abs(np.log(area / flat)), order.tolist(), area) for order, area in zip(orders, areas))
        if off > np.log(FITS):
            raise UserError(
                f"generator.known_cell: none of its faces, of {', '.join(f'{area:.1f}' for area in areas)} Angstrom^2, "
                f"is that of two octahedra, about {flat:.0f}; give a cell with two metals in the plane of its layers"
            )
        sizes, angles = np.reshape(self.six, (2, 3))[:, order]
        rotations, shifts = rotations[:, order][:, :, order], shifts[:, order]
        return Stacked(self.group, self.leans, cellpar_to_cell([*sizes, *angles]), rotations, shifts)


@dataclass(frozen=True)
class Stacked:
    """A known cell (3, 3) with its layers along the first two vectors, in the xy plane; rotations (k, 3, 3) and shifts
    (k, 3) of its group in lattice vectors; leans: as KnownCell has it, the third vector being upright so far."""

    group: str
    leans: bool
    cell: np.ndarray
    rotations: np.ndarray
    shifts: np.ndarray

    @property
    def origins(self) -> np.ndarray:
        """One metal of each layer (layers, 3) in lattice vectors, the first at the origin."""
        return self.shifts[np.unique(np.round(self.shifts[:, 2], 3), return_index=True)[1]]

    @property
    def layers(self) -> int:
        """Layers per cell."""
        return len(self.origins)


def build_in_cell(composition: Composition, known: KnownCell, draws: Draws, seed: int, index: int) -> Start:
    """Start `index` in that cell: octahedra tilted and displaced, cations drawn, all of it as the group demands.

    Of `draws` count tilt, tilted, distortion, cap, contact (at most CLOSER) and redraws. Atoms, their array `molecule`
    and their info are as build_start makes them. Raises UserError for compositions and groups that have no such cell.
    """
    _refuse(composition, known)
    rng, stacked = np.random.default_rng([seed, index]), known.stacked(composition.bond)
    for _ in range(draws.redraws):
        atoms = _attempt(rng, composition, stacked, draws)
        if atoms is not None:
            return Start(atoms)
    return Start(Atoms(), f"no arrangement without contacts in {draws.redraws} draws (generator.contact, cap)")


def check_known(composition: Composition, known: KnownCell, draws: Draws, seed: int, tries: int = 4) -> None:
    """Raise UserError for what build_in_cell cannot do, also where none of a few starts finds room for the cation."""
    if all(build_in_cell(composition, known, draws, seed, index).failure for index in range(tries)):
        raise UserError(
            f"generator.known_cell: {composition.cation.smiles} finds no room in it in {tries} starts of "
            f"{draws.redraws} draws; is it the cell of this composition? Else give a lower generator.contact, a larger "
            "generator.cap or more generator.redraws"
        )


def _refuse(composition: Composition, known: KnownCell) -> None:
    if composition.thickness != 1 or composition.cation.charge != 1 or len(composition.halides) > 1:
        raise UserError(
            "generator.known_cell is for layers one octahedron thick (generator.thickness=1) of one halide with cations "
            f"of charge +1, and this is {composition.formula()}; leave generator.known_cell and space_group out"
        )
    if composition.cation.chiral and (np.linalg.det(known.operations[0]) < 0).any():
        raise UserError(
            f"generator.space_group={known.group} has reflections or an inversion, and {composition.cation.smiles} is "
            "chiral; give a group of rotations alone, such as P2_12_12_1"
        )


def _attempt(rng: Generator, composition: Composition, known: Stacked, draws: Draws) -> Atoms | None:
    cell, contact = known.cell.copy(), min(draws.contact, CLOSER)
    tilt = draw_tilt(rng, PLANE, draws.tilt) if rng.random() < draws.tilted else Tilt()
    metals, halides, pockets = _flat(composition, known)
    group = _group(known, metals, halides, pockets)
    # The tilts of one layer, which the group leads into the others.
    steps = np.zeros((len(metals) + len(halides), 3))
    own = slice(len(metals), len(metals) + len(halides) // known.layers)
    steps[own] = known.layers * (_halides(composition, tilt, cell) - _halides(composition, Tilt(), cell))
    steps += rng.normal(0, draws.distortion, steps.shape)
    arrangement = Arrangement(cell[:2] if known.leans else cell, contact)
    symbols = [composition.metal] * len(metals) + [composition.halides[0][0]] * len(halides)
    numbers = np.array([atomic_numbers[symbol] for symbol in symbols])
    arrangement.add(numbers, np.vstack([metals, halides]) + group.symmetrized(steps), tested=False)
    if not fill_orbits(rng, composition.cation, pockets, arrangement, group, draws.cap):
        return None
    layer = arrangement.layer()
    if known.leans:
        slide = _slide(rng, layer, cell, contact)
        if slide is None:
            return None
        cell[2] += slide
    atoms = joined([layer], np.zeros((1, 3)), cell, 0)
    atoms.info = described(composition, known.layers, PLANE, tilt, len(metals), known.group)
    return atoms


def _slide(rng: Generator, layer: Layer, cell: np.ndarray, contact: float) -> np.ndarray | None:
    """A sideways step (3,) that lets the next layer down far enough; None where none of a few does."""
    sizes = contact * radii(layer.numbers)
    for _ in range(max(SLIDES)):
        slide = draw_slide(rng, cell[:2])
        height = contact_height(layer.positions, sizes, layer.positions + slide, sizes, cell[:2])
        if height <= cell[2, 2]:
            return slide
    return None


def _halides(composition: Composition, tilt: Tilt, cell: np.ndarray) -> np.ndarray:
    """Of a layer (8, 3) around the origin, its plane strained to that of the cell."""
    framework = build_framework(PLANE, 1, composition.bond, tilt)
    out = framework.halides.copy()
    out[:, :2] = out[:, :2] @ np.linalg.inv(framework.lattice[:, :2]) @ cell[:2, :2]
    return out


def _flat(composition: Composition, known: Stacked) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Metals, halides and pockets, those above before those below, of flat layers; layer by layer."""
    cell = known.cell
    middle = (cell[0] + cell[1]) / 2
    up = np.array([0, 0, DEPTH * composition.bond])
    origins = known.origins @ cell
    metals = np.concatenate([[origin, origin + middle] for origin in origins])
    halides = np.concatenate([_halides(composition, Tilt(), cell) + origin for origin in origins])
    return metals, halides, np.vstack([metals + cell[0] / 2 + up, metals + cell[0] / 2 - up])


def _group(known: Stacked, metals: np.ndarray, halides: np.ndarray, pockets: np.ndarray) -> LayerGroup:
    """The operations in Angstrom, and where they lead atoms and pockets."""
    cell, inverse = known.cell, np.linalg.inv(known.cell)
    turns, moves = cell.T @ known.rotations @ inverse.T, known.shifts @ cell
    parts = []
    for places, offset in ((metals, 0), (halides, len(metals)), (pockets, 0)):
        apart = (np.einsum("kxy,ny->knx", turns, places) + moves[:, None])[:, :, None] - places
        apart = apart @ inverse
        there = (np.abs(apart - np.round(apart)) < NEAR).all(axis=-1)
        if not (there.sum(axis=-1) == 1).all():
            raise UserError(
                f"generator.space_group={known.group} does not lead flat octahedra of this cell into each other; is "
                "there a metal at its origin, and are a, b and c those of the setting that pymatgen has of this symbol?"
            )
        parts.append(there.argmax(axis=-1) + offset)
    if (parts[2][1:] == parts[2][0]).any():
        raise UserError(
            f"generator.space_group={known.group} leads a cation onto itself in this cell, as if it were disordered; "
            "give a subgroup of it"
        )
    return LayerGroup(known.group, turns, moves, np.hstack(parts[:2]), parts[2])

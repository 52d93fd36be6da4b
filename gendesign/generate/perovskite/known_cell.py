"""Starts in the cell and space group of a crystal whose coordinates are not known, as powder diffraction gives them."""

import re
import warnings
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import product

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.geometry import cellpar_to_cell
from numpy.random import Generator
from pymatgen.symmetry.groups import SpaceGroup

from gendesign.errors import UserError
from gendesign.generate.perovskite.build import DEPTH, Start, described, joined
from gendesign.generate.perovskite.compound import Compound
from gendesign.generate.perovskite.contacts import contact_height, radii
from gendesign.generate.perovskite.layer import Tilt, build_framework, draw_tilt
from gendesign.generate.perovskite.placement import Arrangement
from gendesign.generate.perovskite.settings import RandomStarts
from gendesign.generate.perovskite.stack import SLIDES, Layer, draw_slide
from gendesign.generate.perovskite.symmetry import LayerGroup, fill_orbits
from gendesign.randomness import Purpose, stream

NEAR = 1e-3  # of a lattice vector: the same place
PLANE = "sqrt2"  # two metals in the plane of every layer
FITS = 1.3  # most that this plane differs from that of flat octahedra, as a ratio
# Of the van der Waals distance, in the first draw and in the last: other starts keep more, but the cell gives no way.
CLOSER, CLOSEST = 0.6, 0.45
PLACES = np.array(list(product((0, 0.25, 0.5, 0.75), repeat=3)))  # of a metal, in lattice vectors
# How thick a layer is, roughly: flat octahedra and 18 Angstrom^3 for each heavy atom of the cations, and a share of
# both: 12.5 Angstrom for (butylammonium)2PbI4, 16.8 with phenethylammonium (measured 13.1 and 16.4).
HEAVY, SHARE = 18.0, 1.12
LOOSE = 1.5  # most that it differs from this, as a ratio
OLD = {"Cmca": "Cmce", "Cmma": "Cmme", "Ccca": "Ccce", "Abm2": "Aem2", "Aba2": "Aea2"}  # symbols before 1992


@dataclass(frozen=True)
class KnownCell:
    """Cell and space group of a crystal whose layers are one octahedron thick, as published.

    parameters: a, b, c in Angstrom and alpha, beta, gamma in degrees, right angles where only three are given; group:
    Hermann-Mauguin symbol of that setting. Two of the vectors, whichever, span the layers and hold two metals. Of a
    triclinic cell of one layer three numbers are enough: the third vector may then lean and what is given is its
    height. Raises UserError for anything else.
    """

    parameters: tuple[float, ...]
    group: str

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "parameters", tuple(float(number) for number in np.ravel(self.parameters)))
            closed = len(self.parameters) in (3, 6) and np.isfinite(self.parameters).all() and self._closed
        except (AssertionError, TypeError, ValueError):  # the first is ASE's, of angles that do not close
            closed = False
        if not closed:
            raise UserError(
                f"{self._text}: give a, b, c in Angstrom, or these and three angles in degrees that close a cell"
            )
        metric, rotations = self.vectors @ self.vectors.T, self.operations[0]
        if np.abs(np.swapaxes(rotations, 1, 2) @ metric @ rotations - metric).max() > NEAR * metric.max():
            raise UserError(
                f"{self._text} does not have the lengths and angles that generator.start.space_group={self.group} "
                "demands; give both in one setting, as published"
            )

    @property
    def _text(self) -> str:
        numbers = (f"{number:g}" if isinstance(number, float) else str(number) for number in np.ravel(self.parameters))
        return f"generator.start.known_cell=[{','.join(numbers)}]"

    @property
    def _closed(self) -> bool:
        sizes = self.parameters[:3]
        return min(self.parameters) > 0 and abs(np.linalg.det(self.vectors)) > 0.05 * np.prod(sizes)

    @property
    def six(self) -> list[float]:
        """a, b, c and the three angles."""
        return [*self.parameters, 90.0, 90.0, 90.0][:6]

    @property
    def vectors(self) -> np.ndarray:
        """The cell (3, 3)."""
        return cellpar_to_cell(self.six)

    @property
    def leans(self) -> bool:
        """Whether nothing is known of how layers are shifted against each other."""
        alone = np.abs(np.abs(self.operations[0]) - np.eye(3)).max() < NEAR  # the identity and inversions
        return len(self.parameters) == 3 and bool(alone) and np.linalg.norm(self.operations[1]) < NEAR

    @cached_property
    def operations(self) -> tuple[np.ndarray, np.ndarray]:
        """Rotations (k, 3, 3) and shifts (k, 3) in lattice vectors, the identity first."""
        matrices = _operations(str(self.group))
        return matrices[:, :3, :3], matrices[:, :3, 3] % 1

    def stacked(self, bond: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The cell (3, 3) with its layers, of octahedra with this bond (Angstrom), along the first two vectors and in
        the xy plane; rotations and shifts in these. UserError where no two vectors span two octahedra."""
        flat, (rotations, shifts) = 2 * (2 * bond) ** 2, self.operations
        orders = [np.roll(range(3), turn).tolist() for turn in range(3)]
        areas = [float(np.linalg.norm(np.cross(*self.vectors[order[:2]]))) for order in orders]
        off, order = min((abs(np.log(area / flat)), order) for order, area in zip(orders, areas, strict=True))
        if off > np.log(FITS):
            raise UserError(
                f"{self._text}: none of its faces, of {', '.join(f'{area:.1f}' for area in areas)} Angstrom^2, is that "
                f"of two octahedra, about {flat:.0f}; give a cell with two metals in the plane of its layers"
            )
        sizes, angles = np.reshape(self.six, (2, 3))[:, order]
        return cellpar_to_cell([*sizes, *angles]), rotations[:, order][:, :, order], shifts[:, order]


@dataclass(frozen=True)
class CellSetting:
    """A known cell (3, 3) with a metal at its origin, layers in the xy plane: flat octahedra, pockets, and the group.

    metals (m, 3), halides (h, 3), pockets (p, 3), those above before those below, in Angstrom; first: the halides of
    the first layer; layers: of the cell.
    """

    cell: np.ndarray
    metals: np.ndarray
    halides: np.ndarray
    pockets: np.ndarray
    group: LayerGroup
    layers: int

    @property
    def first(self) -> slice:
        """The halides of the first layer, as a slice."""
        return slice(0, len(self.halides) // self.layers)


def build_in_cell(compound: Compound, known: KnownCell, options: RandomStarts, seed: int, index: int) -> Start:
    """Start `index` in that cell: octahedra tilted and displaced, cations drawn, all of it as the group demands.

    Of `draws` count tilt, tilted, distortion, cap, contact (at most CLOSER, less with every
    draw down to CLOSEST) and redraws. Where metals sit in relation
    to the group, on quarters of its cell, is drawn as well. Atoms, their array `molecule` and their info are as
    build_start makes them, but for `tilt`, of which the group may leave little. Raises UserError for compositions and
    groups that have no such cell.
    """
    settings = possible_settings(compound, known)
    rng = stream(Purpose.KNOWN_CELL_START, seed, index)
    for contact in np.linspace(min(options.contact, CLOSER), min(options.contact, CLOSEST), options.redraws):
        setting = settings[int(rng.integers(len(settings)))]
        atoms = _attempt(rng, compound, known, setting, replace(options, contact=float(contact)))
        if atoms is not None:
            return Start(atoms)
    return Start(
        Atoms(), f"no arrangement without contacts in {options.redraws} draws (generator.start.contact, cation_angle)"
    )


def check_known(compound: Compound, known: KnownCell, options: RandomStarts, seed: int, tries: int = 4) -> None:
    """Raise UserError for what build_in_cell cannot do, also where none of a few starts finds room for the cation."""
    if all(build_in_cell(compound, known, options, seed, index).failure for index in range(tries)):
        raise UserError(
            f"generator.start.known_cell: {compound.cation.smiles} finds no room in it in {tries} starts of "
            f"{options.redraws} draws; check that it is the cell of this composition, give a group of more operations, "
            f"a generator.start.contact below {CLOSEST}, a larger generator.start.cation_angle or more redraws"
        )


def possible_settings(compound: Compound, known: KnownCell) -> tuple[CellSetting, ...]:
    """The ways in which metals can sit in the cell, with that number of layers for which it is filled best; UserError
    where there is none."""
    if compound.thickness != 1 or compound.cation.charge != 1 or len(compound.halides) > 1:
        raise UserError(
            "generator.start.known_cell is for layers one octahedron thick (generator.composition.thickness=1) of one "
            "halide with cations of charge +1; leave generator.start.known_cell and space_group out"
        )
    if compound.cation.chiral and (np.linalg.det(known.operations[0]) < 0).any():
        raise UserError(
            f"generator.start.space_group={known.group} has reflections or an inversion, and {compound.cation.smiles} "
            "is chiral; give a group of rotations alone, such as P2_1 or P2_12_12_1"
        )
    settings = _settings(compound.bond, known)
    area = np.linalg.norm(np.cross(*settings[0].cell[:2]))
    full = SHARE * (2 * compound.bond + 4 * compound.cation.heavy * HEAVY / area)
    off = {one.layers: abs(np.log(one.cell[2, 2] / one.layers / full)) for one in settings}
    layers = min(off, key=off.get)
    if off[layers] > np.log(LOOSE):
        height = settings[0].cell[2, 2]
        raise UserError(
            f"generator.start.known_cell: {height:.1f} Angstrom for {' or '.join(map(str, sorted(off)))} layers, as "
            f"many as generator.start.space_group={known.group} makes of one, but one layer of this composition takes "
            f"about {full:.0f}; give the cell and the group of the whole crystal, one layer and P-1 at the least"
        )
    if known.leans and layers > 1:
        raise UserError(
            f"generator.start.known_cell: three numbers are enough for a triclinic cell of one layer, and this has "
            f"{layers}; give its angles too"
        )
    return tuple(one for one in settings if one.layers == layers)


@cache
def _settings(bond: float, known: KnownCell) -> list[CellSetting]:
    cell, rotations, shifts = known.stacked(bond)
    settings, faults = [], set()
    for place in PLACES:
        moved = (shifts + rotations @ place - place) % 1
        setting = _setting(bond, known.group, cell, rotations, moved)
        if isinstance(setting, CellSetting):
            settings.append(setting)
        else:
            faults.add(setting)
    if settings:
        return settings
    wrong, mend = "leads octahedra astray", "are the axes those of the symbol?"
    if True in faults:
        wrong, mend = "leads cations onto themselves", "a subgroup of it has room for ordered ones"
    raise UserError(
        f"generator.start.space_group={known.group} {wrong} in this cell, for a metal at any of the quarters of its "
        f"vectors; {mend}"
    )


@cache
def _operations(symbol: str) -> np.ndarray:
    """Matrices (k, 4, 4) of a space group, the identity first; the setting is that of the symbol."""
    screws = re.sub(r"2(?=1)|3(?=[12])|4(?=[123])|6(?=[1-5])", r"\g<0>_", symbol)  # P21/c
    unique_b = [f"{name[:1]}1{name[1:]}1" for name in (symbol, screws)]  # P2_1/n
    for name in (symbol, OLD.get(symbol, symbol), screws, *unique_b):
        try:
            with warnings.catch_warnings():  # of symbols without a longer form
                warnings.simplefilter("ignore")
                operations = SpaceGroup(name).symmetry_ops
        except (ValueError, KeyError):
            continue
        return np.array(sorted((op.affine_matrix for op in operations), key=lambda m: not np.array_equal(m, np.eye(4))))
    raise UserError(
        f"generator.start.space_group={symbol}: not a Hermann-Mauguin symbol that pymatgen knows; write such as Pbca, "
        "P2_1/c, P2_1/n or P-1"
    )


def _attempt(
    rng: Generator, compound: Compound, known: KnownCell, setting: CellSetting, options: RandomStarts
) -> Atoms | None:
    cell, contact, group = setting.cell.copy(), options.contact, setting.group
    tilt = draw_tilt(rng, PLANE, options.tilt) if rng.random() < options.tilted else Tilt()
    metals, halides = setting.metals, setting.halides
    # The tilts of one layer, which the group leads into the others.
    steps = np.zeros((len(metals) + len(halides), 3))
    bond, flat = compound.bond, halides[setting.first]
    steps[len(metals) :][setting.first] = setting.layers * (_halides(bond, tilt, cell) - flat)
    steps += rng.normal(0, options.distortion, steps.shape)
    arrangement = Arrangement(cell[:2] if known.leans else cell, contact)
    symbols = [compound.metal] * len(metals) + [compound.halides[0][0]] * len(halides)
    numbers = np.array([atomic_numbers[symbol] for symbol in symbols])
    arrangement.add(numbers, np.vstack([metals, halides]) + group.symmetrized(steps), tested=False)
    if not fill_orbits(rng, compound.cation, setting.pockets, arrangement, group, options.cation_angle):
        return None
    layer = arrangement.layer()
    if known.leans:
        slide = _slide(rng, layer, cell, contact)
        if slide is None:
            return None
        cell[2] += slide
    atoms = joined([layer], np.zeros((1, 3)), cell, 0)
    atoms.info = described(compound, setting.layers, PLANE, tilt, len(metals), str(known.group))
    del atoms.info["tilt"]
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


def _halides(bond: float, tilt: Tilt, cell: np.ndarray) -> np.ndarray:
    """Of a layer (8, 3) around the origin, its plane strained to that of the cell."""
    framework = build_framework(PLANE, 1, bond, tilt)
    out = framework.halides.copy()
    out[:, :2] = out[:, :2] @ np.linalg.inv(framework.lattice[:, :2]) @ cell[:2, :2]
    return out


def _setting(
    bond: float, symbol: str, cell: np.ndarray, rotations: np.ndarray, shifts: np.ndarray
) -> CellSetting | bool:
    """Flat layers wherever the operations, in lattice vectors, lead the one with a metal at the origin; instead True
    where they lead a cation onto itself and False where octahedra do not fall on each other."""
    origins = shifts[np.unique(np.round(shifts[:, 2], 3) % 1, return_index=True)[1]] @ cell
    up = np.array([0, 0, DEPTH * bond])
    metals = np.concatenate([[origin, origin + (cell[0] + cell[1]) / 2] for origin in origins])
    halides = np.concatenate([_halides(bond, Tilt(), cell) + origin for origin in origins])
    pockets = np.vstack([metals + cell[0] / 2 + up, metals + cell[0] / 2 - up])
    inverse = np.linalg.inv(cell)
    turns, moves, parts = cell.T @ rotations @ inverse.T, shifts @ cell, []
    for places, before in ((metals, 0), (halides, len(metals)), (pockets, 0)):
        apart = (np.einsum("kxy,ny->knx", turns, places) + moves[:, None])[:, :, None] - places
        apart = apart @ inverse
        there = (np.abs(apart - np.round(apart)) < NEAR).all(axis=-1)
        if not (there.sum(axis=-1) == 1).all():
            return False
        parts.append(there.argmax(axis=-1) + before)
    if (parts[2][1:] == parts[2][0]).any():
        return True
    group = LayerGroup(symbol, turns, moves, np.hstack(parts[:2]), parts[2])
    return CellSetting(cell, metals, halides, pockets, group, len(origins))

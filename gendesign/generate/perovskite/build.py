"""The random builder: start `index` of a search, a function of (settings, seed, index) alone."""

from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.random import Generator

from gendesign.errors import UserError
from gendesign.generate.perovskite.bridges import MISFIT, fill_bridge_orbits, fill_bridges
from gendesign.generate.perovskite.composition import CELLS, HALIDES, STACKED, Composition
from gendesign.generate.perovskite.layer import Framework, Tilt, build_framework, draw_tilt
from gendesign.generate.perovskite.placement import (
    Arrangement,
    Orientation,
    draw_orientation,
    fill_cages,
    fill_pockets,
)
from gendesign.generate.perovskite.stack import Layer, stack
from gendesign.generate.perovskite.symmetry import GROUPS, LayerGroup, draw_group, fill_orbits, group_table

ORIENTATIONS = ("shared", "each", "both")
DEPTH = 1.25  # of the metal-halide distance: how far the anchor stands from the outermost metals, 4.0 Angstrom for Pb-I
SYMMETRY = 5  # the random stream of which starts are symmetric


@dataclass(frozen=True)
class Draws:
    """What is drawn for a start and how.

    cells: in-plane cells, one drawn for each start: 1, sqrt2 or 2x2. layers: slabs per cell. tilt: largest tilt of
    octahedra in degrees; tilted: share of starts that have any. distortion: standard deviation of a displacement of
    every inorganic atom, Angstrom. orientations: one for all cations of a layer but for reflections (shared), one for
    each, or half of the starts so (both). cap: largest angle of the cations' axis to the normal, degrees. padding:
    largest gap above contact between layers, Angstrom. contact: share of the van der Waals distance that atoms keep.
    compact: arrangements made for a start, the densest of which it is. redraws: those tried before it fails. symmetry:
    share of starts whose layers obey a layer group each, with the cations between them; 3D perovskites have none.
    """

    cells: tuple[str, ...] = ("sqrt2",)
    layers: int = 1
    tilt: float = 15.0
    tilted: float = 0.7
    distortion: float = 0.05
    orientations: str = "both"
    cap: float = 45.0
    padding: float = 1.5
    contact: float = 0.7
    compact: int = 3
    redraws: int = 100
    symmetry: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "cells", tuple(str(cell) for cell in self.cells))
        wrong = [cell for cell in self.cells if cell not in CELLS]
        if wrong or not self.cells:
            raise UserError(
                f"generator.cell={','.join(self.cells)}: allowed are {', '.join(CELLS)}, or several of them"
            )
        if self.orientations not in ORIENTATIONS:
            raise UserError(f"generator.orientations={self.orientations}: allowed are {', '.join(ORIENTATIONS)}")
        bounds = {
            "layers": (1, 20), "tilt": (0, 40), "tilted": (0, 1), "distortion": (0, 1), "cap": (0, 90),
            "padding": (0, 20), "contact": (0.3, 1), "compact": (1, 1000), "redraws": (1, 100_000),
            "symmetry": (0, 1),
        }  # fmt: skip
        for key, (low, high) in bounds.items():
            if not low <= getattr(self, key) <= high:
                raise UserError(f"generator.{key}={getattr(self, key)}: give a number from {low} to {high}")


@dataclass(frozen=True)
class Start:
    """A start or why there is none: plain values that say what was drawn are in atoms.info."""

    atoms: Atoms
    failure: str | None = None


def build_start(composition: Composition, draws: Draws, seed: int, index: int) -> Start:
    """Draw start `index`: periodic atoms, first metals, then halides, A-site cations and spacers.

    The array `molecule` is -1 for the inorganic part and numbers the cations; atoms.info has metal, halide, thickness,
    cell, layers, formula_units, tilt (degrees about x, y, z), orientations (shared, each, or the layers' groups), and
    cations, which says how many of which SMILES follow the inorganic atoms, in order ("4 CCCC[NH3+]"). After `redraws`
    arrangements without room the failure says so; a symmetric start is drawn without symmetry before that.
    """
    rng = np.random.default_rng([seed, index])
    # Drawn elsewhere, so that the other starts are what they are without such ones.
    layered = composition.thickness is not None
    symmetric = layered and np.random.default_rng([seed, index, SYMMETRY]).random() < draws.symmetry
    found = _arrangements(rng, composition, draws, symmetric)
    if symmetric and not found:
        found = _arrangements(rng, composition, draws, False)
    if found:
        return Start(min(found, key=lambda atoms: atoms.get_volume() / atoms.info["formula_units"]))
    return Start(Atoms(), f"no arrangement without contacts in {draws.redraws} draws (generator.contact, cap, cell)")


def check_recipe(composition: Composition, draws: Draws, seed: int, tries: int = 4) -> None:
    """Raise UserError where the cells cannot hold the mixture, or none of a few starts finds room for the cation."""
    for cell in draws.cells:
        composition.halide_counts(units(composition, cell, draws.layers))
    if composition.thickness is None and draws.layers > 1:
        raise UserError(f"generator.layers={draws.layers}: a 3D perovskite has no layers; leave it at 1")
    if draws.symmetry and composition.thickness is None:
        raise UserError(f"generator.symmetry={draws.symmetry}: a 3D perovskite has no layer groups; leave it at 0")
    if draws.symmetry:
        group_table(GROUPS[0])  # a missing package is said now
    if all(build_start(composition, draws, seed, index).failure for index in range(tries)):
        raise UserError(
            f"generator.cation={composition.cation.smiles} fits no pocket: {tries} starts of {draws.redraws} draws all "
            "had atoms in contact; give a lower generator.contact, a larger generator.cell or more generator.redraws"
        )


def units(composition: Composition, cell: str, layers: int = 1) -> int:
    """Formula units in a cell."""
    return CELLS[cell] * (STACKED[cell] if composition.thickness is None else layers)


def _arrangements(rng: Generator, composition: Composition, draws: Draws, symmetric: bool) -> list[Atoms]:
    """The first `compact` of `redraws` attempts that found room."""
    found: list[Atoms] = []
    for _ in range(draws.redraws):
        atoms = _attempt(rng, composition, draws, symmetric)
        if atoms is not None:
            found.append(atoms)
        if len(found) == draws.compact:
            break
    return found


def _attempt(rng: Generator, composition: Composition, draws: Draws, symmetric: bool) -> Atoms | None:
    cell = draws.cells[int(rng.integers(len(draws.cells)))]
    tilt = draw_tilt(rng, cell, draws.tilt) if rng.random() < draws.tilted else Tilt()
    framework = build_framework(cell, composition.thickness, composition.bond, tilt)
    each = draws.orientations == "each" or (draws.orientations == "both" and rng.random() < 0.5)
    shared = None if each or composition.thickness is None else draw_orientation(rng, composition.cation, draws.cap)
    count = units(composition, cell, draws.layers)
    species = halide_species(rng, composition, count)
    if composition.thickness is None:
        layer = _filled_3d(rng, composition, draws, framework, species)
        layers, origins, third = [layer], np.zeros((1, 3)), framework.lattice[2]
        if layer is None:
            return None
    else:
        layers, symbols = [], []
        for number, kinds in enumerate(np.split(species, draws.layers)):
            # The next layer may be turned the other way: the same lattice, the tilts reversed.
            turned = framework if number == 0 or rng.random() < 0.5 else _reversed(cell, composition, tilt)
            group = draw_group(rng, turned, composition.cation.chiral) if symmetric else None
            if symmetric and group is None:
                return None
            layer = _filled(rng, composition, draws, turned, kinds, shared, number == 0, group)
            if layer is None:
                return None
            layers.append(layer)
            symbols += [group.symbol] if symmetric else []
        stacked = stack(rng, layers, framework.lattice, draws.contact, draws.padding, MISFIT)
        if stacked is None:
            return None
        origins, third = stacked
    caged = composition.caged * count // draws.layers
    atoms = joined(layers, origins, np.vstack([framework.lattice[:2], third]), caged)
    orientations = ", ".join(symbols) if symmetric else "each" if each else "shared"
    atoms.info = described(composition, draws.layers, cell, tilt, count, orientations)
    return atoms


def described(
    composition: Composition, layers: int, cell: str, tilt: Tilt, count: int, orientations: str
) -> dict[str, str | int]:
    """The info of a start of so many layers and formula units (`count`) per cell."""
    return {
        "metal": composition.metal,
        "halide": "".join(f"{symbol}{n if n > 1 else ''}" for symbol, n in composition.halides),
        "thickness": "3d" if composition.thickness is None else composition.thickness,
        "cell": cell,
        "layers": layers,
        "formula_units": count,
        "tilt": " ".join(f"{angle:.2f}" for angle in tilt.angles),
        "orientations": orientations,
        "cations": cations_text(composition, count),
    }


def cations_text(composition: Composition, count: int) -> str:
    """How many of which cation follow the inorganic atoms, as numbers and SMILES in turn."""
    parts = [f"{composition.spacers * count} {composition.cation.smiles}"]
    if composition.caged:
        parts.insert(0, f"{composition.caged * count} {composition.a_site.smiles}")
    return " ".join(parts)


def halide_species(rng: Generator, composition: Composition, count: int) -> np.ndarray:
    """Atomic numbers of all halides of a cell, a mixture in random order."""
    counts = composition.halide_counts(count)
    species = np.repeat([atomic_numbers[symbol] for symbol in counts], list(counts.values()))
    return rng.permutation(species)


def _reversed(cell: str, composition: Composition, tilt: Tilt) -> Framework:
    back = replace(tilt, angles=tuple(-angle for angle in tilt.angles))
    return build_framework(cell, composition.thickness, composition.bond, back)


def _inorganic(
    rng: Generator,
    composition: Composition,
    draws: Draws,
    framework: Framework,
    species: np.ndarray,
    group: LayerGroup | None = None,
) -> Arrangement:
    metals, halides = framework.metals, framework.halides
    numbers = np.concatenate([np.full(len(metals), atomic_numbers[composition.metal]), species])
    positions = np.vstack([metals, halides])
    arrangement = Arrangement(framework.lattice, draws.contact)
    steps = rng.normal(0, draws.distortion, positions.shape)
    arrangement.add(numbers, positions + (steps if group is None else group.symmetrized(steps)), tested=False)
    return arrangement


def _filled(
    rng: Generator,
    composition: Composition,
    draws: Draws,
    framework: Framework,
    species: np.ndarray,
    shared: Orientation | None,
    first: bool,
    group: LayerGroup | None,
) -> Layer | None:
    arrangement = _inorganic(rng, composition, draws, framework, species, group)
    if composition.caged and not fill_cages(rng, composition.a_site, framework.cages, arrangement):
        return None
    up = np.array([0.0, 0.0, DEPTH * composition.bond])
    if composition.cation.charge == 2:
        above, below = framework.above + up, framework.below - up
        if group is not None:
            reach = fill_bridge_orbits(rng, composition.cation, above, below, arrangement, group, draws.cap)
        else:
            reach = fill_bridges(rng, composition.cation, above, below, arrangement, shared, draws.cap)
        return None if reach is None else arrangement.layer(reach)
    pockets = [(site + up, True) for site in framework.above] + [(site - up, False) for site in framework.below]
    if group is not None:
        sites = np.array([site for site, _ in pockets])
        fits = fill_orbits(rng, composition.cation, sites, arrangement, group, draws.cap)
    else:
        fits = fill_pockets(rng, composition.cation, pockets, arrangement, shared, draws.cap, first)
    return arrangement.layer() if fits else None


def _filled_3d(
    rng: Generator, composition: Composition, draws: Draws, framework: Framework, species: np.ndarray
) -> Layer | None:
    arrangement = _inorganic(rng, composition, draws, framework, species)
    fits = fill_cages(rng, composition.cation, framework.cages, arrangement)
    return arrangement.layer() if fits else None


def joined(layers: list[Layer], origins: np.ndarray, cell: np.ndarray, caged: int) -> Atoms:
    """One periodic structure: metals, halides, A-site cations, spacers, each kind of all layers together.

    caged: how many molecules of each layer, its first, stand in cages.
    """
    parts = []
    for number, (layer, origin) in enumerate(zip(layers, origins, strict=True)):
        halide = np.isin(layer.numbers, [atomic_numbers[symbol] for symbol in HALIDES])
        kind = np.where(layer.molecule < 0, halide, 2 + (layer.molecule >= caged))
        name = np.where(layer.molecule < 0, -1, layer.molecule + number * len(layer.numbers))
        parts.append((layer.numbers, layer.positions + origin, kind, name))
    numbers, positions, kind, name = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(kind, kind="stable")
    atoms = Atoms(numbers[order], positions[order], cell=cell, pbc=True)
    seen = {old: new for new, old in enumerate(dict.fromkeys(m for m in name[order].tolist() if m >= 0))}
    atoms.set_array("molecule", np.array([seen.get(m, -1) for m in name[order].tolist()]))
    return atoms

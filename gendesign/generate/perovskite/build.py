"""The random builder: start `index` of a search, a function of (settings, seed, index) alone."""

from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.random import Generator

from gendesign.errors import UserError
from gendesign.generate.perovskite.bridges import MISFIT, fill_bridge_orbits, fill_bridges
from gendesign.generate.perovskite.compound import HALIDES, STACKED, Compound
from gendesign.generate.perovskite.layer import Framework, Tilt, build_framework, draw_tilt
from gendesign.generate.perovskite.placement import (
    Arrangement,
    Orientation,
    draw_orientation,
    fill_cages,
    fill_pockets,
)
from gendesign.generate.perovskite.settings import CELLS, RandomStarts
from gendesign.generate.perovskite.stack import Layer, stack
from gendesign.generate.perovskite.symmetry import LayerGroup, draw_group, fill_orbits
from gendesign.randomness import Purpose, stream

DEPTH = 1.25  # of the metal-halide distance: how far the anchor stands from the outermost metals, 4.0 Angstrom for Pb-I


@dataclass(frozen=True)
class Start:
    """A start or why there is none: plain values that say what was drawn are in atoms.info."""

    atoms: Atoms
    failure: str | None = None


def build_start(compound: Compound, options: RandomStarts, seed: int, index: int) -> Start:
    """Draw start `index`: periodic atoms, first metals, then halides, A-site cations and spacers.

    The array `molecule` is -1 for the inorganic part and numbers the cations; atoms.info has metal, halide, thickness,
    cell, layers, formula_units, tilt (degrees about x, y, z), orientations (shared, each, or the layers' groups), and
    cations, which says how many of which SMILES follow the inorganic atoms, in order ("4 CCCC[NH3+]"). After `redraws`
    arrangements without room the failure says so; a symmetric start is drawn without symmetry before that.
    """
    rng = stream(Purpose.START, seed, index)
    layered = compound.thickness is not None
    # A stream of its own leaves the other starts the same for every share of symmetric ones.
    symmetric = layered and stream(Purpose.SYMMETRY, seed, index).random() < options.symmetry
    arrangements = _arrangements(rng, compound, options, symmetric)
    if symmetric and not arrangements:
        arrangements = _arrangements(rng, compound, options, False)
    if arrangements:
        return Start(min(arrangements, key=lambda atoms: atoms.get_volume() / atoms.info["formula_units"]))
    return Start(
        Atoms(),
        f"no arrangement without contacts in {options.redraws} draws (generator.start.contact, cation_angle, cells)",
    )


def check_recipe(compound: Compound, options: RandomStarts, seed: int, tries: int = 4) -> None:
    """Raise UserError where the cells cannot hold the mixture, or none of a few starts finds room for the cation."""
    for cell in options.cells:
        compound.halide_counts(units(compound, cell, options.layers))
    if compound.thickness is None and options.layers > 1:
        raise UserError(f"generator.start.layers={options.layers}: a 3D perovskite has no layers; leave it at 1")
    if all(build_start(compound, options, seed, index).failure for index in range(tries)):
        raise UserError(
            f"generator.composition.cation={compound.cation.smiles} fits no pocket: {tries} starts of {options.redraws}"
            " draws all had atoms in contact; give a lower generator.start.contact, larger generator.start.cells or"
            " more generator.start.redraws"
        )


def units(compound: Compound, cell: str, layers: int = 1) -> int:
    """Formula units in a cell."""
    return CELLS[cell] * (STACKED[cell] if compound.thickness is None else layers)


def _arrangements(rng: Generator, compound: Compound, options: RandomStarts, symmetric: bool) -> list[Atoms]:
    """The first `compact` of `redraws` attempts that found room."""
    arrangements: list[Atoms] = []
    for _ in range(options.redraws):
        atoms = _attempt(rng, compound, options, symmetric)
        if atoms is not None:
            arrangements.append(atoms)
        if len(arrangements) == options.densest_of:
            break
    return arrangements


def _attempt(rng: Generator, compound: Compound, options: RandomStarts, symmetric: bool) -> Atoms | None:
    cell = options.cells[int(rng.integers(len(options.cells)))]
    tilt = draw_tilt(rng, cell, options.tilt) if rng.random() < options.tilted else Tilt()
    framework = build_framework(cell, compound.thickness, compound.bond, tilt)
    each = options.orientations == "each" or (options.orientations == "both" and rng.random() < 0.5)
    shared = (
        None if each or compound.thickness is None else draw_orientation(rng, compound.cation, options.cation_angle)
    )
    count = units(compound, cell, options.layers)
    species = halide_species(rng, compound, count)
    if compound.thickness is None:
        layer = _filled_3d(rng, compound, options, framework, species)
        layers, origins, third = [layer], np.zeros((1, 3)), framework.lattice[2]
        if layer is None:
            return None
    else:
        layers, symbols = [], []
        for number, kinds in enumerate(np.split(species, options.layers)):
            # The next layer may be turned the other way: the same lattice, the tilts reversed.
            turned = framework if number == 0 or rng.random() < 0.5 else _reversed(cell, compound, tilt)
            group = draw_group(rng, turned, compound.cation.chiral) if symmetric else None
            if symmetric and group is None:
                return None
            layer = _filled(rng, compound, options, turned, kinds, shared, number == 0, group)
            if layer is None:
                return None
            layers.append(layer)
            symbols += [group.symbol] if symmetric else []
        stacked = stack(rng, layers, framework.lattice, options.contact, options.padding, MISFIT)
        if stacked is None:
            return None
        origins, third = stacked
    caged = compound.caged * count // options.layers
    atoms = joined(layers, origins, np.vstack([framework.lattice[:2], third]), caged)
    orientations = ", ".join(symbols) if symmetric else "each" if each else "shared"
    atoms.info = described(compound, options.layers, cell, tilt, count, orientations)
    return atoms


def described(
    compound: Compound, layers: int, cell: str, tilt: Tilt, count: int, orientations: str
) -> dict[str, str | int]:
    """The info of a start of so many layers and formula units (`count`) per cell."""
    return {
        "metal": compound.metal,
        "halide": "".join(f"{symbol}{n if n > 1 else ''}" for symbol, n in compound.halides),
        "thickness": "3d" if compound.thickness is None else compound.thickness,
        "cell": cell,
        "layers": layers,
        "formula_units": count,
        "tilt": " ".join(f"{angle:.2f}" for angle in tilt.angles),
        "orientations": orientations,
        "cations": cations_text(compound, count),
    }


def cations_text(compound: Compound, count: int) -> str:
    """How many of which cation follow the inorganic atoms, as numbers and SMILES in turn."""
    parts = [f"{compound.spacers * count} {compound.cation.smiles}"]
    if compound.caged:
        parts.insert(0, f"{compound.caged * count} {compound.a_site.smiles}")
    return " ".join(parts)


def halide_species(rng: Generator, compound: Compound, count: int) -> np.ndarray:
    """Atomic numbers of all halides of a cell, a mixture in random order."""
    counts = compound.halide_counts(count)
    species = np.repeat([atomic_numbers[symbol] for symbol in counts], list(counts.values()))
    return rng.permutation(species)


def _reversed(cell: str, compound: Compound, tilt: Tilt) -> Framework:
    back = replace(tilt, angles=tuple(-angle for angle in tilt.angles))
    return build_framework(cell, compound.thickness, compound.bond, back)


def _inorganic(
    rng: Generator,
    compound: Compound,
    options: RandomStarts,
    framework: Framework,
    species: np.ndarray,
    group: LayerGroup | None = None,
) -> Arrangement:
    metals, halides = framework.metals, framework.halides
    numbers = np.concatenate([np.full(len(metals), atomic_numbers[compound.metal]), species])
    positions = np.vstack([metals, halides])
    arrangement = Arrangement(framework.lattice, options.contact)
    steps = rng.normal(0, options.distortion, positions.shape)
    arrangement.add(numbers, positions + (steps if group is None else group.symmetrized(steps)), tested=False)
    return arrangement


def _filled(
    rng: Generator,
    compound: Compound,
    options: RandomStarts,
    framework: Framework,
    species: np.ndarray,
    shared: Orientation | None,
    first: bool,
    group: LayerGroup | None,
) -> Layer | None:
    arrangement = _inorganic(rng, compound, options, framework, species, group)
    if compound.caged and not fill_cages(rng, compound.a_site, framework.cages, arrangement):
        return None
    up = np.array([0.0, 0.0, DEPTH * compound.bond])
    if compound.cation.charge == 2:
        above, below = framework.above + up, framework.below - up
        if group is not None:
            reach = fill_bridge_orbits(rng, compound.cation, above, below, arrangement, group, options.cation_angle)
        else:
            reach = fill_bridges(rng, compound.cation, above, below, arrangement, shared, options.cation_angle)
        return None if reach is None else arrangement.layer(reach)
    pockets = [(site + up, True) for site in framework.above] + [(site - up, False) for site in framework.below]
    if group is not None:
        sites = np.array([site for site, _ in pockets])
        fits = fill_orbits(rng, compound.cation, sites, arrangement, group, options.cation_angle)
    else:
        fits = fill_pockets(rng, compound.cation, pockets, arrangement, shared, options.cation_angle, first)
    return arrangement.layer() if fits else None


def _filled_3d(
    rng: Generator, compound: Compound, options: RandomStarts, framework: Framework, species: np.ndarray
) -> Layer | None:
    arrangement = _inorganic(rng, compound, options, framework, species)
    fits = fill_cages(rng, compound.cation, framework.cages, arrangement)
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

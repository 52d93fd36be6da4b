"""Competing phases of a perovskite: the same composition with octahedra in chains or metals in single units."""

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.geometry import minkowski_reduce
from numpy.random import Generator
from scipy.spatial.transform import Rotation

from gendesign.errors import UserError
from gendesign.generate.perovskite.build import cations_text, halide_species, joined
from gendesign.generate.perovskite.cation import Cation
from gendesign.generate.perovskite.comparison import lowest
from gendesign.generate.perovskite.compound import Compound
from gendesign.generate.perovskite.contacts import contact_height, radii
from gendesign.generate.perovskite.motifs import Motif, motifs
from gendesign.generate.perovskite.placement import TRIES, Arrangement, draw_flip, draw_free, draw_orientation
from gendesign.generate.perovskite.stack import Layer, stack
from gendesign.potential.protocol import PotentialLike
from gendesign.processes import SERIAL, Spread
from gendesign.randomness import Purpose, stream
from gendesign.structure.perovskite import network_fault

# Shares of the van der Waals distance: heads touch halides, whereas blocks keep off so that they stay what they are.
CONTACT, APART = 0.7, 0.85
CAP, PADDING, DISTORTION = 60.0, 0.5, 0.05
COMPACT, REDRAWS = 12, 60  # arrangements of which the densest is a start, and draws for them
MARGIN = 1e-6  # Angstrom by which what touches is set apart, so that rounding makes it no clash
# How a block that repeats along none or one direction is turned once it repeats along z as well: into x, into xy.
INTO = (np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]]), np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]]))


def competing_phases_energy(
    compound: Compound, potential: PotentialLike, starts: int, spread: Spread = SERIAL
) -> float | None:
    """Energy (eV per formula unit) of the lowest crystal of chains or units, relaxed from `starts` random starts.

    Not counted are crystals that relax into the perovskite itself and those whose cations break. None where no crystal
    counts, and where none is built (see competing_starts).
    """
    crystals = competing_starts(compound, starts)
    return lowest(crystals, potential, lambda atoms: network_fault(atoms, compound.thickness) != "", spread)


def competing_starts(compound: Compound, count: int) -> list[Atoms]:
    """Starts 0 to count - 1, without those for which no room was found.

    None are built for layers of more than one octahedron, whose composition fits no simple chain, and for mixtures of
    halides that neither one nor two repeats of a motif can hold in whole numbers.
    """
    if compound.caged:
        return []
    starts = (competing_start(compound, index) for index in range(count))
    return [atoms for atoms in starts if atoms is not None]


def competing_start(compound: Compound, index: int) -> Atoms | None:
    """Start `index`, a function of the composition and the index alone; motifs take turns. None without room.

    Periodic atoms in the order, and with the array `molecule`, of build_start; atoms.info: motif, cations,
    formula_units.
    """
    rng = stream(Purpose.COMPETING_PHASE, index)
    shapes = motifs(compound.thickness is not None, compound.bond)
    motif = shapes[index % len(shapes)]
    lengths = [n for n in ((1, 2) if len(motif.lattice) else (1,)) if _holds(compound, n * len(motif.metals))]
    crystals: list[Atoms] = []
    for _ in range(REDRAWS if lengths else 0):
        length = int(rng.choice(lengths))
        block = _surrounded(rng, compound, motif if length == 1 else motif.repeated(length))
        if block is None:
            continue
        # A second block only beside one of a single period, as larger cells cost more than they tell.
        crystals.append(_packed(rng, compound, *block, blocks=1 if length == 2 else int(rng.integers(1, 3))))
        crystals[-1].info["motif"] = motif.name
        if len(crystals) == COMPACT:
            break
    return min(crystals, key=lambda atoms: atoms.get_volume() / atoms.info["formula_units"], default=None)


def _holds(compound: Compound, units: int) -> bool:
    try:
        compound.halide_counts(units)
    except UserError:
        return False
    return True


def _surrounded(rng: Generator, compound: Compound, motif: Motif) -> tuple[Layer, np.ndarray] | None:
    """The motif with the cations that make it neutral, and its lattice; None where one found no room."""
    units = len(motif.metals)
    metals = np.full(units, atomic_numbers[compound.metal])
    positions = np.concatenate([motif.metals, motif.halides])
    arrangement = Arrangement(motif.lattice, CONTACT)
    numbers = np.concatenate([metals, halide_species(rng, compound, units)])
    arrangement.add(numbers, positions + rng.normal(0, DISTORTION, positions.shape), tested=False)
    for _ in range(units * compound.spacers):
        arrangement = _joined_by(rng, compound.cation, arrangement)
        if arrangement is None:
            return None
    return arrangement.layer(), motif.lattice


def _joined_by(rng: Generator, cation: Cation, arrangement: Arrangement) -> Arrangement | None:
    """The arrangement, turned, with one more cation that came down on it, head first, until it touched.

    Of several directions, heads and places along the chain the deepest one is taken that leaves room for the images.
    """
    lattice = arrangement.lattice
    sizes = CONTACT * radii(np.concatenate(arrangement.numbers)), CONTACT * radii(cation.numbers)
    tries = []
    for _ in range(TRIES):
        turn = _turn(rng, bool(len(lattice)))
        below = [positions @ turn.T for positions in arrangement.positions]
        tethered = bool(cation.ends[0])
        orientation = draw_orientation(rng, cation, CAP) if tethered else draw_free(rng, cation)
        guest = orientation.positions(cation, draw_flip(rng, cation, True, False)) + rng.random(len(lattice)) @ lattice
        height = contact_height(np.concatenate(below), sizes[0], guest, sizes[1], lattice)
        tries.append((height, below, guest + [0, 0, height + MARGIN]))
    for height, below, guest in sorted(tries, key=lambda one: one[0]):
        turned = Arrangement(lattice, CONTACT, list(arrangement.numbers), below)
        if np.isfinite(height) and turned.add(cation.numbers, guest):
            return turned
    return None


def _turn(rng: Generator, chain: bool) -> np.ndarray:
    """Any rotation (3, 3), of a chain one about its axis x."""
    if chain:
        return Rotation.from_rotvec([rng.uniform(0, 2 * np.pi), 0, 0]).as_matrix()
    return Rotation.from_quat(rng.normal(size=4)).as_matrix()


def _packed(rng: Generator, compound: Compound, block: Layer, lattice: np.ndarray, blocks: int) -> Atoms:
    """A crystal: the block is put on itself until it touches, in one direction after the other.

    Of two blocks the second is turned by half about the direction in which they are stacked. The cell is the one with
    the shortest vectors: slides leave it steep, which relaxes badly.
    """
    while len(lattice) < 2:
        _, third = stack(rng, [block], lattice, APART, PADDING, np.inf)
        turn = INTO[len(lattice)]
        lattice = np.vstack([lattice, third]) @ turn.T
        block = Layer(block.numbers, block.positions @ turn.T, block.molecule)
    turned = Layer(block.numbers, block.positions * [-1, -1, 1], block.molecule)
    layers = [block, turned][:blocks]
    origins, third = stack(rng, layers, lattice, APART, PADDING, np.inf)
    cell, _ = minkowski_reduce(np.vstack([lattice, third]))
    atoms = joined(layers, origins, cell, 0)
    units = int(np.isin(atoms.numbers, atomic_numbers[compound.metal]).sum())
    atoms.info = {"cations": cations_text(compound, units), "formula_units": units}
    return atoms

"""What a perovskite can fall apart into: halide salts of its cations and the metal halide, relaxed by the potential."""

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers
from ase.spacegroup import crystal
from numpy.random import Generator

from gendesign.generate.perovskite.cation import Cation
from gendesign.generate.perovskite.comparison import lowest
from gendesign.generate.perovskite.compound import BOND, Compound
from gendesign.generate.perovskite.placement import Arrangement, draw_orientation
from gendesign.generate.perovskite.stack import Layer, stack
from gendesign.potential.protocol import PotentialLike
from gendesign.processes import SERIAL, Spread
from gendesign.randomness import Purpose, stream

WIDTHS = np.arange(4.4, 12.0, 0.2)  # Angstrom, of a salt's square cell, the narrowest with room taken
CONTACT, CAP, PADDING = 0.7, 40.0, 0.5
# Cotunnite, as ZrO2 under pressure has it; relaxation makes it that of the compound.
COTUNNITE = ((0.246, 0.25, 0.110), (0.360, 0.25, 0.425), (0.025, 0.75, 0.339))


def salt_start(rng: Generator, cation: Cation, halide: str) -> Atoms | None:
    """A random crystal of two formula units of the cation's halide, heads to heads and tails to tails.

    Each layer is a square net of anchors and halides with all cations on one side, the next one turned over; a +2
    cation has its second halide beside its far end. None where no cell had room. atoms.info["cations"] as in starts.
    """
    orientation = draw_orientation(rng, cation, CAP)
    positions = orientation.positions(cation, np.ones(3))
    far = positions[orientation.end.other]
    number = atomic_numbers[halide]
    for width in WIDTHS:
        lattice = np.array([[width, 0, 0], [0, width, 0]])
        ions = np.array([[width / 2, width / 2, 0.0], far + [width / 2, width / 2, 0]])[: cation.charge]
        arrangement = Arrangement(lattice, CONTACT)
        arrangement.add(np.full(len(ions), number), ions, tested=False)
        if not arrangement.add(cation.numbers, positions):
            continue
        numbers = np.concatenate(arrangement.numbers)
        molecule = np.repeat([-1, 0], [len(ions), len(positions)])
        up = np.concatenate(arrangement.positions)
        layers = [Layer(numbers, up, molecule), Layer(numbers, up * [1, -1, -1], molecule)]
        origins, third = stack(rng, layers, lattice, CONTACT, PADDING, np.inf)
        both = np.concatenate([layer.positions + at for layer, at in zip(layers, origins, strict=True)])
        order = np.argsort(np.tile(molecule, 2), kind="stable")
        atoms = Atoms(np.tile(numbers, 2)[order], both[order], cell=np.vstack([lattice, third]), pbc=True)
        atoms.info = {"cations": f"2 {cation.smiles}", "formula_units": 2}
        return atoms
    return None


def salt_starts(cation: Cation, halide: str, count: int, number: int = 0) -> list[Atoms]:
    """Random crystals of a salt, none for a cation without nitrogen; of a bare ion the structures of CsCl and NaCl.

    number: of the salt among those of one compound, whose random numbers differ.
    """
    if len(cation.numbers) == 1:
        length = 2.6 + BOND["Pb"][halide] * 0.35  # near the distance of caesium to its halides
        shapes = {"cesiumchloride": 2 * length / np.sqrt(3), "rocksalt": 2 * length}
        ions = [bulk(cation.symbols[0] + halide, kind, a=a) for kind, a in shapes.items()]
        for atoms in ions:
            atoms.info = {"formula_units": 1}
        return ions
    if not all(cation.ends):
        return []
    crystals = [salt_start(stream(Purpose.SALT, number, i), cation, halide) for i in range(count)]
    return [atoms for atoms in crystals if atoms is not None]


def metal_halide_starts(metal: str, halide: str) -> list[Atoms]:
    """MX2 as in CdI2, layers of edge-sharing octahedra, and as in PbCl2 (cotunnite)."""
    d = BOND[metal][halide]
    a, height = d * np.sqrt(2), d / np.sqrt(3)
    c = 2 * height + 1.05 * d
    cell = [[a, 0, 0], [-a / 2, a * np.sqrt(3) / 2, 0], [0, 0, c]]
    places = [[0, 0, 0], [1 / 3, 2 / 3, height / c], [2 / 3, 1 / 3, -height / c]]
    layered = Atoms([metal, halide, halide], scaled_positions=places, cell=cell, pbc=True)
    scale = d / BOND["Pb"]["Cl"]
    dense = crystal(
        [metal, halide, halide],
        COTUNNITE,
        spacegroup=62,
        cellpar=[7.62 * scale, 4.53 * scale, 9.05 * scale, 90, 90, 90],
    )
    layered.info, dense.info = {"formula_units": 1}, {"formula_units": 4}
    return [layered, dense]


def precursors_energy(
    compound: Compound, potential: PotentialLike, starts: int, spread: Spread = SERIAL
) -> float | None:
    """Energy (eV) of the balanced precursors of one formula unit: AX, A'X or A'X2, and MX2, each the lowest found.

    `starts` random crystals are tried for each salt. None for mixtures of halides, whose share in each precursor is
    open, and where no intact precursor was found.
    """
    if len(compound.halides) > 1:
        return None
    halide = compound.halides[0][0]
    parts = [(compound.spacers, salt_starts(compound.cation, halide, starts))]
    if compound.caged:
        parts.append((compound.caged, salt_starts(compound.a_site, halide, starts, 1)))
    parts.append((compound.metals, metal_halide_starts(compound.metal, halide)))
    energies = [(count, lowest(crystals, potential, spread=spread)) for count, crystals in parts]
    if any(energy is None for _, energy in energies):
        return None
    return sum(count * energy for count, energy in energies)

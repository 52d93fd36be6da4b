"""How the cations of a relaxed layered perovskite sit in the pockets of its layers: what mutations change."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from ase.build import make_supercell
from matscipy.neighbours import neighbour_list

from gendesign.generate.perovskite.build import DEPTH
from gendesign.generate.perovskite.cation import Cation
from gendesign.generate.perovskite.contacts import radii
from gendesign.generate.perovskite.layer import IN_PLANE
from gendesign.structure.perovskite import METALS, TYPICAL, halides_of, metals_of

CONTACT = 0.62  # share of the van der Waals distance that atoms of mutants keep, or that of their parent if less
# In-plane steps from one octahedron to the next, in lattice vectors.
STEPS = {cell: np.linalg.inv(vectors) for cell, (vectors, _) in IN_PLANE.items()}
LARGER = {"1": "sqrt2", "sqrt2": "2x2"}  # the cell with twice as many octahedra


@dataclass(frozen=True)
class Seat:
    """How one cation sits in a pocket.

    atoms: its indices; middle (3,): of the pocket, in the plane of the metals; side: of the layer, 1 or -1;
    positions (atoms, 3): from that middle in the axes of the layer. Lengths in Angstrom.
    """

    atoms: np.ndarray
    middle: np.ndarray
    side: int
    positions: np.ndarray


@dataclass(frozen=True)
class Parent:
    """A relaxed perovskite with the seats of its spacers.

    steps (2, 3): in-plane vectors from one octahedron to the next; joined: whether translations of the cell connect
    next-nearest octahedra; axes (3, 3): rows along the first step, across it, and up to the next layer; heads: the
    atoms of a spacer that may stand in a pocket; depth: their distance from the plane of the metals, Angstrom;
    closest: shortest contact between molecules, see `closest_contacts`; layers: of octahedra in the cell;
    layer_of (atoms,): the layer of each atom, counted upwards from the lowest, 0.
    """

    atoms: Atoms
    seats: tuple[Seat, ...]
    steps: np.ndarray
    joined: bool
    axes: np.ndarray
    heads: np.ndarray
    depth: float
    closest: float
    layers: int
    layer_of: np.ndarray

    @classmethod
    def of(cls, atoms: Atoms, cell: str, cation: Cation, spacers: int, layers: int = 1) -> "Parent":
        """The seats in atoms as the builder made them.

        atoms: with the array `molecule`, whose last `spacers` molecules are the spacers; cell: name of the in-plane
        cell; layers: inorganic layers of the cell.
        """
        steps = STEPS[cell] @ atoms.cell.array[:2]
        up = np.cross(*steps) / np.linalg.norm(np.cross(*steps))
        up *= np.sign(up @ atoms.cell.array[2])
        first = steps[0] / np.linalg.norm(steps[0])
        axes = np.array([first, np.cross(up, first), up])
        molecule = atoms.arrays["molecule"]
        names = range(molecule.max() + 1 - spacers, molecule.max() + 1)
        depth = DEPTH * float(np.mean([TYPICAL[z] for z in atoms.numbers[halides_of(atoms)]]))
        heads = np.array(sorted({end.atom for ends in cation.ends for end in ends}))
        seats = tuple(_seat(atoms, np.flatnonzero(molecule == name), heads, steps, axes, depth) for name in names)
        layer_of = _layer_of(atoms, seats, axes[2], layers)
        closest = min(closest_contacts(atoms))
        return cls(atoms, seats, steps, cell != "2x2", axes, heads, depth, closest, layers, layer_of)

    def starting_at(self, first: int) -> "Parent":
        """The same crystal in a cell that starts with layer `first`; the layers below it are moved to the top.

        The gap at the top of the cell, which mutations change, is another one then.
        """
        shifts = -((self.layer_of - first) // self.layers)[:, None] * self.atoms.cell.array[2]
        atoms = self.atoms.copy()
        atoms.positions += shifts
        seats = tuple(replace(seat, middle=seat.middle + shifts[seat.atoms[0]]) for seat in self.seats)
        return replace(self, atoms=atoms, seats=seats, layer_of=(self.layer_of - first) % self.layers)


def enlarged(atoms: Atoms, cell: str) -> Atoms:
    """The same crystal in the in-plane cell LARGER[cell], its atoms and molecules in the order of the builder."""
    matrix = np.eye(3)
    matrix[:2, :2] = IN_PLANE[LARGER[cell]][0] @ STEPS[cell]
    supercell, molecule = make_supercell(atoms, matrix, wrap=False), np.tile(atoms.arrays["molecule"], 2)
    copy = np.repeat([0, 1], len(atoms))
    kind = np.where(np.isin(supercell.numbers, METALS), 0, np.where(molecule < 0, 1, 2))
    order = np.lexsort([copy, molecule, kind])
    out = supercell[order]
    out.set_array("molecule", np.where(molecule < 0, -1, 2 * molecule + copy)[order])
    return out


def closest_contacts(atoms: Atoms) -> tuple[float, float]:
    """Shortest contacts of molecules with each other and with the inorganic part, as shares of the van der Waals
    distance: within the layers of the cell, and to those of the next cell up or down."""
    molecule, sizes = atoms.arrays["molecule"], radii(atoms.numbers)
    first, second, length, shift = neighbour_list("ijdS", atoms, 2 * CONTACT * sizes.max())
    intramolecular = (molecule[first] == molecule[second]) & (shift == 0).all(axis=1)  # molecules are whole
    inorganic = (molecule[first] < 0) & (molecule[second] < 0)
    share, counted = length / (sizes[first] + sizes[second]), ~intramolecular & ~inorganic
    same_cell = shift[:, 2] == 0
    return tuple(float(share[counted & pairs].min(initial=np.inf)) for pairs in (same_cell, ~same_cell))


def _seat(
    atoms: Atoms, members: np.ndarray, heads: np.ndarray, steps: np.ndarray, axes: np.ndarray, depth: float
) -> Seat:
    """The seat of the molecule with these atoms: the pocket that one of its heads is nearest to."""
    shifts = np.stack(np.meshgrid(*([np.arange(-2, 3)] * 2), [-1, 0, 1], indexing="ij"), -1).reshape(-1, 3)
    metals = (atoms.positions[metals_of(atoms), None] + shifts @ atoms.cell.array).reshape(-1, 3)
    middles = (metals[:, None] + [(a * steps[0] + b * steps[1]) / 2 for a in (-1, 1) for b in (-1, 1)]).reshape(-1, 3)
    vectors = (atoms.positions[members[heads], None] - middles) @ axes.T
    misfit = np.abs(np.abs(vectors[..., 2]) - depth) + np.linalg.norm(vectors[..., :2], axis=-1)
    head, best = np.unravel_index(misfit.argmin(), misfit.shape)
    side = 1 if vectors[head, best, 2] > 0 else -1
    return Seat(members, middles[best], side, (atoms.positions[members] - middles[best]) @ axes.T)


def _layer_of(atoms: Atoms, seats: Sequence[Seat], up: np.ndarray, layers: int) -> np.ndarray:
    """The layer of each atom (atoms,): the one whose metals are nearest in height.

    Molecules count as a whole, spacers by their seat. Numbers below 0, or of `layers` and more, are in the cells below
    and above.
    """
    heights, molecule = atoms.positions @ up, atoms.arrays["molecule"]
    metals = np.sort(heights[metals_of(atoms)])
    for name in range(molecule.max() + 1):
        heights[molecule == name] = heights[molecule == name].mean()
    for seat in seats:
        heights[seat.atoms] = seat.middle @ up
    number = np.arange(len(metals)) * layers // len(metals)
    cells = np.array([-1, 0, 1])
    distance = np.abs(heights[:, None, None] - metals[:, None] - cells * (atoms.cell.array[2] @ up))
    nearest, cell = np.unravel_index(distance.reshape(len(atoms), -1).argmin(1), distance.shape[1:])
    return number[nearest] + layers * cells[cell]

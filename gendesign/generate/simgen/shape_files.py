"""Shapes from the user's files, in place: clouds, molecules, the insides of meshes, and pockets of a host."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
from ase import Atoms
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from gendesign.errors import UserError
from gendesign.fields import check_bounds, setting
from gendesign.generate.simgen.shape import SECTION, VOLUME
from gendesign.structure.clouds import (
    FINEST,
    MOST,
    grid_where,
    heavy_atoms,
    inside_mesh,
    read_cloud,
    read_mesh,
    spacing_for,
    thinned,
)
from gendesign.structure.macromolecules import Macromolecule, read_host

SAME = 0.8  # Angstrom within which an atom of the host counts as an atom of the ligand
LIKE = 0.7  # of the ligand's heavy atoms, from which on a molecule takes the ligand's place
WIDTH = 0.8  # Angstrom around the ligand's atoms that are this place
NEARBY = 8.0  # Angstrom from a pocket's points to the farthest atoms of the host that matter to what is in it


@dataclass(frozen=True)
class PointCloud:
    """The points of a file. Raises UserError for an unusable file."""

    path: str | None = setting(
        None,
        "points: .txt, .csv, .dat or .npy of three columns in Angstrom, or the atoms of a structure file",
        file=True,
    )
    skin: ClassVar[float] = 0.0
    _points: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_points", self._read())

    def _read(self) -> np.ndarray:
        return near_each_other(at_most(read_cloud(self.path)))

    def points(self, n: int) -> np.ndarray:
        """Points (points, 3) in Angstrom for a molecule of n heavy atoms."""
        return self._points


@dataclass(frozen=True)
class MoleculeShape:
    """The neighbourhood of a molecule's heavy atoms. Raises UserError for an unusable file."""

    path: str | None = setting(
        None, "molecule, the first structure of the file, whose heavy atoms are the shape", file=True
    )
    width: float = setting(
        0.8, "distance from these atoms up to which a point is in the shape", unit="Angstrom", above=0
    )
    skin: ClassVar[float] = 0.3
    _points: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_bounds(self, SECTION)
        object.__setattr__(self, "_points", self._read())

    @cached_property
    def n_heavy_atoms(self) -> int:
        """Of the molecule in the file."""
        return len(heavy_atoms(self.path))

    def _read(self) -> np.ndarray:
        return near_each_other(around(heavy_atoms(self.path).positions, self.width))

    def points(self, n: int) -> np.ndarray:
        """Points (points, 3) in Angstrom for a molecule of n heavy atoms."""
        return self._points


@dataclass(frozen=True)
class Mesh:
    """The inside of a closed mesh. Raises UserError for an unusable file."""

    path: str | None = setting(
        None, "closed mesh in Angstrom (STL, OBJ or PLY) inside which the heavy atoms belong", file=True
    )
    skin: ClassVar[float] = 0.4
    _points: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_points", self._read())

    def _read(self) -> np.ndarray:
        mesh = read_mesh(self.path)
        points = inside_mesh(mesh)
        if not len(points):
            size = " x ".join(f"{x:.3g}" for x in np.ptp(mesh.bounds, axis=0))
            raise UserError(
                f"{self.path}: a body of {size} Angstrom holds no point; scale it to the size of a molecule, "
                f"{VOLUME:g} Angstrom^3 per heavy atom"
            )
        return near_each_other(points)

    def points(self, n: int) -> np.ndarray:
        """Points (points, 3) in Angstrom for a molecule of n heavy atoms."""
        return self._points


@dataclass(frozen=True)
class Pocket:
    """Room for a guest in a host: grid points around a centre, as many as n atoms fill.

    The centre is one point, or every heavy atom of a ligand, from a file of its own or a residue of the host's. PDB and
    mmCIF files are read by the rules of structure/macromolecules.py. Water is left out, and so are atoms of the host
    that are the ligand's own. Raises UserError for unusable files and for a centre without room.
    """

    path: str | None = setting(None, "host, such as a protein in a PDB or mmCIF file", file=True)
    centre: Sequence[float] = setting((), "x,y,z in the middle of the pocket; or a ligand", unit="Angstrom")
    ligand: str | None = setting(None, "file of a molecule that lies in the pocket; or a centre", file=True)
    residue: str | None = setting(
        None, "residue of the host's file that is the ligand and is taken out: NAME, NAME:CHAIN or NAME:CHAIN:NUMBER"
    )
    radius: float = setting(
        6.0, "largest distance of a point from the centre, or from an atom of the ligand", unit="Angstrom", above=0
    )
    reach: float = setting(
        6.0, "largest distance of a point from the nearest heavy atom of the host", unit="Angstrom", above=0
    )
    contact: float = setting(
        3.2, "least distance of a point from the heavy atoms of the host", unit="Angstrom", above=0
    )
    skin: ClassVar[float] = 0.5
    _points: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_bounds(self, SECTION)
        if (len(self.centre) > 0) + (self.ligand is not None) + (self.residue is not None) != 1:
            raise UserError(
                f"{SECTION}: a pocket needs either centre=[x,y,z] or ligand=FILE or residue=NAME; give one of them"
            )
        object.__setattr__(self, "_points", self._read())

    def _centre(self) -> list[float]:
        try:
            x, y, z = map(float, self.centre)
        except (TypeError, ValueError) as error:
            words = ",".join(map(str, self.centre))
            raise UserError(f"{SECTION}.centre=[{words}]: give three numbers in Angstrom, [x,y,z]") from error
        return [x, y, z]

    @cached_property
    def _source(self) -> Macromolecule:
        """The host's file by the rules for macromolecules; of other formats all atoms."""
        return read_host(str(self.path), self.residue)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out of the host's file, or added."""
        return self._source.notes

    @cached_property
    def ligand_atoms(self) -> Atoms | None:
        """Heavy atoms of the ligand, None where a centre was given."""
        if self.ligand is not None:
            return heavy_atoms(self.ligand)
        taken = self._source.ligand
        return None if taken is None else taken[taken.numbers > 1]

    @cached_property
    def _centres(self) -> np.ndarray:
        return np.asarray([self._centre()]) if self.ligand_atoms is None else self.ligand_atoms.positions

    @cached_property
    def _all_of_host(self) -> Atoms:
        """The host with its hydrogens, without water and without the ligand."""
        atoms = self._source.atoms
        left_out = np.zeros(len(atoms), dtype=bool)
        heavy, hydrogen = np.flatnonzero(atoms.numbers > 1), np.flatnonzero(atoms.numbers == 1)
        if self.ligand is not None:
            left_out[heavy] |= cKDTree(self._centres).query(atoms.positions[heavy])[0] < SAME
        if len(hydrogen):
            left_out[hydrogen] |= left_out[heavy[cKDTree(atoms.positions[heavy]).query(atoms.positions[hydrogen])[1]]]
        if left_out[heavy].all():
            raise UserError(f"{self.path}: without water and the ligand it has no atoms; give the host of the pocket")
        return atoms[~left_out]

    def _read(self) -> np.ndarray:
        """The largest connected room; points are sorted by the length of the path from its middle (`_path_length`)."""
        atoms = self._all_of_host
        host, centres = cKDTree(atoms.positions[atoms.numbers > 1]), cKDTree(self._centres)

        def inside(x: np.ndarray) -> np.ndarray:
            far = host.query(x)[0]
            return (far >= self.contact) & (far <= self.reach) & (centres.query(x)[0] <= self.radius)

        low, high = self._centres.min(0) - self.radius, self._centres.max(0) + self.radius
        points = grid_where(inside, low, high, FINEST)
        if not len(points):
            raise UserError(
                f"{self.path}: no point within radius={self.radius} of the centre is within reach={self.reach} and at "
                f"least contact={self.contact} from the host; mend the centre, lower contact, or raise radius or reach"
            )
        points = _largest_room(points, FINEST)
        return points[np.argsort(_path_length(points, centres.query(points)[0], self._centres, FINEST), kind="stable")]

    @property
    def room(self) -> np.ndarray:
        """All grid points (points, 3) of the pocket, however many atoms are to lie in it."""
        return self._points

    @cached_property
    def host(self) -> Atoms:
        """Atoms of the host within NEARBY Angstrom of the pocket's points."""
        far = cKDTree(self._points).query(self._all_of_host.positions)[0]
        return self._all_of_host[far <= NEARBY]

    def points(self, n: int) -> np.ndarray:
        """Points (points, 3) in Angstrom for a molecule of n heavy atoms.

        A molecule of about the ligand's size gets the ligand's own place, a smaller one a part of the room.
        """
        if self.ligand_atoms is not None and n >= LIKE * len(self.ligand_atoms):
            return near_each_other(at_most(around(self.ligand_atoms.positions, WIDTH)))
        # the contact distance to the host already excludes the outer half of the molecule's volume
        room = self._points[: max(1, round(n * VOLUME / 2 / FINEST**3))]
        return near_each_other(at_most(room))


def around(atoms: np.ndarray, width: float) -> np.ndarray:
    """Grid points (points, 3) within `width` Angstrom of the positions `atoms` (atoms, 3)."""
    tree = cKDTree(atoms)
    # balls around bonded atoms overlap by about half
    spacing = min(spacing_for(len(atoms) * 2 / 3 * np.pi * width**3), width / 2)
    low, high = atoms.min(0) - width, atoms.max(0) + width
    return grid_where(lambda x: tree.query(x)[0] <= width, low, high, spacing)


def _largest_room(points: np.ndarray, spacing: float) -> np.ndarray:
    """The largest part of a grid's `points` (points, 3) whose points are neighbours along the axes."""
    cell = np.rint((points - points.min(0)) / spacing).astype(int)
    filled = np.zeros(cell.max(0) + 1, dtype=bool)
    filled[tuple(cell.T)] = True
    label = ndimage.label(filled)[0][tuple(cell.T)]
    return points[label == np.bincount(label).argmax()]


def _path_length(points: np.ndarray, off: np.ndarray, centres: np.ndarray, spacing: float) -> np.ndarray:
    """Length (points,) of the shortest path through a grid's `points` (points, 3) from the middle of the `centres`.

    Steps count more the farther they are `off` (points,) the centres, in Angstrom. A part of the room that ends at some
    length is one piece, which follows the ligand: points that are merely near to one of its atoms would lie apart.
    """
    tree = cKDTree(points)
    middle = centres[np.argmin(np.linalg.norm(centres - centres.mean(0), axis=1))]
    pairs = tree.query_pairs(1.8 * spacing, output_type="ndarray")  # with the diagonals of the grid's cubes
    length = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1) * (1 + off[pairs].mean(1) ** 2)
    graph = coo_matrix((length, (pairs[:, 0], pairs[:, 1])), shape=(len(points),) * 2).tocsr()
    return dijkstra(graph, directed=False, indices=int(tree.query(middle)[1]))


def at_most(points: np.ndarray, most: int = MOST) -> np.ndarray:
    """At most `most` of `points` (points, 3), spread evenly: the distance between those kept grows until they fit."""
    apart = 0.1
    while len(points) > most:
        points, apart = thinned(points, apart), apart * 1.25
    return points


def near_each_other(points: np.ndarray, bits: int = 10) -> np.ndarray:
    """`points` (points, 3) along a curve that fills space (Morton 1966), so that neighbours are close in the list."""
    extent = max(float(np.ptp(points, axis=0).max()), 1e-9)
    cell = ((points - points.min(0)) / extent * (2**bits - 1)).astype(np.int64)
    code = np.zeros(len(points), dtype=np.int64)
    for bit in range(bits):
        for axis in range(3):
            code |= ((cell[:, axis] >> bit) & 1) << (3 * bit + axis)
    return points[np.argsort(code, kind="stable")]

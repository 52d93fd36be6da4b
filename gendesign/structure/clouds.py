"""Points in space from files: heavy atoms of molecules, point clouds, and grids inside closed meshes."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from rdkit import Chem, rdBase
from scipy.spatial import cKDTree

from gendesign.errors import UserError
from gendesign.structure.files import SDF_SUFFIXES, read_structures
from gendesign.structure.formats import read_text

if TYPE_CHECKING:
    from trimesh import Trimesh

MESHES = (".stl", ".obj", ".ply")
PLAIN = (".txt", ".csv", ".dat", ".npy")
LAYOUT = "three columns of numbers, x y z in Angstrom"
FINEST, MOST = 0.5, 600  # spacing of grids in Angstrom, and the number of points above which they become coarser
FACES = 2_000_000  # pairs of a column and a face in one vectorised block, to bound the memory


def read_cloud(path: str | Path) -> np.ndarray:
    """Points (points, 3) in Angstrom from three columns of a .txt, .csv, .dat or .npy file, or the atoms of a
    structure.

    Only the first structure of a file is read. Raises UserError for a file without readable points.
    """
    path = _existing(path)
    if path.suffix.lower() not in PLAIN:
        return read_structures([path], hydrogens="ignore")[0].atoms.positions
    try:
        read = np.load if path.suffix.lower() == ".npy" else _text
        points = np.asarray(read(path), dtype=float)
    except Exception as error:  # NumPy raises errors of many types for malformed files
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path} cannot be read as points: {reason}; give {LAYOUT}") from error
    if points.size == 0:
        raise UserError(f"{path} holds no points; give {LAYOUT}")
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise UserError(f"{path} holds an array of shape {points.shape}, or numbers that are not finite; give {LAYOUT}")
    return points


def _text(path: Path) -> np.ndarray:
    lines = [line.split("#")[0].replace(",", " ").split() for line in read_text(path).splitlines()]
    return np.array([[float(word) for word in words] for words in lines if words])


def heavy_atoms(path: str | Path) -> Atoms:
    """Heavy atoms of the first structure of a file at their positions in the file.

    SDF is read without the requirements of a potential: a shape may be charged and needs no hydrogens. Raises UserError
    if the file has no heavy atom or cannot be read.
    """
    atoms = all_atoms(path)
    return atoms[atoms.numbers > 1]


def all_atoms(path: str | Path) -> Atoms:
    """The first structure of a file as `heavy_atoms` reads it, hydrogens included. Raises UserError."""
    path = _existing(path)
    is_sdf = path.suffix.lower() in SDF_SUFFIXES
    atoms = _first_of_sdf(path) if is_sdf else read_structures([path], hydrogens="ignore")[0].atoms
    if not (atoms.numbers > 1).any():
        raise UserError(f"{path}: its first structure holds no heavy atom; give a molecule with at least one")
    return atoms


def _first_of_sdf(path: Path) -> Atoms:
    try:
        with rdBase.BlockLogs():
            mol = next(iter(Chem.SDMolSupplier(str(path), sanitize=False, removeHs=False)), None)
    except OSError:
        mol = None
    if mol is None or not mol.GetNumConformers():
        raise UserError(f"{path}: its first record cannot be read as SDF; check that it is complete and ends in $$$$")
    return Atoms([atom.GetAtomicNum() for atom in mol.GetAtoms()], mol.GetConformer().GetPositions())


def read_mesh(path: str | Path) -> "Trimesh":
    """Read a closed surface from an STL, OBJ or PLY file. Raises UserError for an open or unreadable mesh."""
    import trimesh  # imported here because only meshes need it

    path = _existing(path)
    if path.suffix.lower() not in MESHES:
        raise UserError(f"{path} is no mesh of a known format; give one of {', '.join(MESHES)}")
    try:
        mesh = trimesh.load_mesh(path)
        faces = len(mesh.faces)
    except Exception as error:  # readers raise errors of many types for malformed files
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(f"{path} cannot be read as a mesh: {reason}; export it again as STL, OBJ or PLY") from error
    if not faces:
        raise UserError(f"{path} holds no faces; export the closed surface of a body")
    if not mesh.is_watertight:
        _, uses = np.unique(mesh.edges_sorted, axis=0, return_counts=True)
        raise UserError(
            f"{path} is an open mesh ({int((uses != 2).sum())} of its edges do not join two faces) and has no inside; "
            "close its holes, as with Blender's or MeshLab's repair, and export it again"
        )
    return mesh


def inside_mesh(mesh: "Trimesh", spacing: float | None = None) -> np.ndarray:
    """Points (points, 3) of a regular grid inside a closed mesh, possibly none. Deterministic.

    A point is inside where its winding number, the sum of the signed crossings above it, is not zero. `spacing` is in
    Angstrom; the default is `spacing_for` of the volume.
    """
    spacing = spacing_for(abs(mesh.volume)) if spacing is None else spacing
    low, high = mesh.bounds
    # A grid through round coordinates would meet vertices and edges, where crossings count twice or not at all.
    shift = spacing * np.array([0.41421356, 0.23606798, 0.32455532])
    x, y, z = (shift[k] + spacing * np.arange(np.floor(low[k] / spacing) - 1, high[k] / spacing + 1) for k in range(3))
    columns = np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)
    triangles = np.asarray(mesh.triangles)
    crossings = np.zeros((len(columns), len(z) + 1), dtype=int)
    size = max(1, FACES // len(triangles))
    for start in range(0, len(columns), size):
        column, height, sign = _crossings(columns[start : start + size], triangles)
        np.add.at(crossings, (start + column, np.searchsorted(z, height)), sign)
    # The winding number of a point is the sum of the signed crossings above it; overlapping bodies are handled too.
    winding = crossings[:, ::-1].cumsum(1)[:, ::-1][:, 1:]
    column, layer = np.nonzero(winding)
    return np.column_stack([columns[column], z[layer]])


def _crossings(columns: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Crossings of vertical lines (columns, 2) with triangles (faces, 3, 3): line, height and sign of each."""
    a, b, c = (triangles[:, k, :2] for k in range(3))
    area = _cross(b - a, c - a)
    flat = area == 0
    area = np.where(flat, 1.0, area)
    point = columns[:, None]
    weights = np.stack([_cross(c - b, point - b), _cross(a - c, point - c), _cross(b - a, point - a)], -1)
    weights /= area[:, None]
    line, face = np.nonzero((weights > 0).all(-1) & ~flat)
    height = (weights[line, face] * triangles[face, :, 2]).sum(-1)
    return line, height, np.sign(area[face]).astype(int)


def _cross(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]


def grid_where(
    inside: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray, spacing: float
) -> np.ndarray:
    """Points (points, 3) of a regular grid between the corners `low` and `high` for which `inside` returns True."""
    axes = [np.arange(np.floor(low[k] / spacing), np.ceil(high[k] / spacing) + 1) * spacing for k in range(3)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    return points[inside(points)]


def spacing_for(volume: float) -> float:
    """Spacing (Angstrom) of a grid with at most about MOST points in `volume` (Angstrom^3), at least FINEST."""
    return max(FINEST, (volume / MOST) ** (1 / 3))


def thinned(points: np.ndarray, apart: float) -> np.ndarray:
    """A subset of `points` (points, 3) in the same order, each at least `apart` from all points kept before it."""
    tree, free, kept = cKDTree(points), np.ones(len(points), dtype=bool), []
    for k in range(len(points)):
        if free[k]:
            kept.append(k)
            free[tree.query_ball_point(points[k], apart * (1 - 1e-9))] = False
    return points[kept]


def _existing(path: str | Path | None) -> Path:
    if path is None:
        raise UserError("no file is given for the shape; give its path")
    path = Path(str(path))
    if not path.is_file():
        kind = "is a folder" if path.is_dir() else "does not exist"
        raise UserError(f"{path} {kind}; give the path of a file with the shape")
    return path

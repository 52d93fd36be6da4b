"""Structures as JSON for the page, with the bonds, images and polyhedra to draw; and back to atoms."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from scipy.spatial import ConvexHull, QhullError

from gendesign.errors import UserError
from gendesign.run.unit_cell import IONS, NONMETALS, bonds_of
from gendesign.structure.bonds import perceive
from gendesign.structure.files import write_atomically

MOST_PERCEIVED = 120  # atoms of a molecule whose bond orders are searched for
MOST_POLYHEDRA = 2000  # atoms of a crystal with polyhedra
FEWEST_CORNERS = 4
WATER = ("HOH", "WAT", "DOD", "H2O")
Pose = Mapping[str, Sequence[float]]  # r: 9 numbers of a rotation, row by row; t: 3 numbers in Angstrom


def to_json(atoms: Atoms, name: str = "") -> dict[str, Any]:
    """What the page draws. Periodic structures have `ghosts`: images that are bonded to atoms of the cell."""
    content: dict[str, Any] = {
        "name": name or atoms.get_chemical_formula(),
        "numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.round(4).tolist(),
        "cell": atoms.cell.array.round(4).tolist() if atoms.pbc.any() else None,
        "pbc": atoms.pbc.tolist(),
    }
    if "residuenames" in atoms.arrays:
        content["residues"] = [str(residue).strip() for residue in atoms.arrays["residuenames"]]
    if not atoms.pbc.any():
        return content | {"bonds": _orders(atoms) or _lengths(atoms)}
    i, j, shift = bonds_of(atoms)
    outer = shift.any(axis=1)
    inner = ~outer & (i < j)
    across = np.flatnonzero(outer & (atoms.numbers[i] >= atoms.numbers[j]))
    places = atoms.positions[j[across]] + shift[across] @ atoms.cell.array
    return content | {
        "bonds": [[int(a), int(b), 1] for a, b in zip(i[inner], j[inner], strict=True)],
        "ghosts": [
            {
                "number": int(atoms.numbers[j[k]]),
                "position": place.round(4).tolist(),
                "atom": int(j[k]),
                "to": int(i[k]),
            }
            for k, place in zip(across, places, strict=True)
        ],
        "polyhedra": _polyhedra(atoms, i, j, shift),
    }


def _orders(atoms: Atoms) -> list[list[float]]:
    """Bonds with their orders, of a molecule that is not too large and whose bonds are clear."""
    if not 0 < len(atoms) <= MOST_PERCEIVED or not (atoms.numbers == 1).any():
        return []
    molecule = perceive(atoms, 200, zwitterions=True).mol
    if molecule is None:
        return []
    orders = [(bond, 1.5 if bond.GetIsAromatic() else bond.GetBondTypeAsDouble()) for bond in molecule.GetBonds()]
    return [[bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), order] for bond, order in orders]


def _lengths(atoms: Atoms) -> list[list[float]]:
    """Bonds by their lengths alone."""
    if len(atoms) < 2:
        return []
    i, j, _ = bonds_of(atoms)
    return [[int(a), int(b), 1] for a, b in zip(i, j, strict=True) if a < b]


def _polyhedra(atoms: Atoms, i: np.ndarray, j: np.ndarray, shift: np.ndarray) -> list[dict[str, Any]]:
    """Hulls of the nonmetals around each metal: its atom, corners (corners, 3) and triangles of their numbers."""
    if len(atoms) > MOST_POLYHEDRA:
        return []
    ends = atoms.positions[j] + shift @ atoms.cell.array
    drawn = []
    for atom in np.flatnonzero(~np.isin(atoms.numbers, [*NONMETALS, *IONS])):
        corners = ends[(i == atom) & np.isin(atoms.numbers[j], NONMETALS) & (atoms.numbers[j] != 1)]
        if len(corners) < FEWEST_CORNERS:
            continue
        try:
            triangles = ConvexHull(corners, qhull_options="QJ").simplices
        except (QhullError, ValueError):
            continue
        drawn.append({"atom": int(atom), "corners": corners.round(3).tolist(), "triangles": triangles.tolist()})
    return drawn


def to_atoms(content: Mapping[str, Any], pose: Pose | None = None) -> Atoms:
    """The atoms of `to_json`, turned and moved by a pose."""
    positions = np.asarray(content["positions"], float).reshape(-1, 3)
    atoms = Atoms(content["numbers"], positions)
    if content.get("cell"):
        atoms.set_cell(content["cell"])
        atoms.set_pbc(content["pbc"])
    elif pose:
        atoms.positions = positions @ np.asarray(pose["r"], float).reshape(3, 3).T + np.asarray(pose["t"], float)
    return atoms


def without_water(content: Mapping[str, Any], pose: Pose | None = None) -> Atoms:
    """The atoms of `to_json` that are not of a water molecule."""
    atoms = to_atoms(content, pose)
    residues = content.get("residues")
    if not residues:
        return atoms
    return atoms[[k for k, residue in enumerate(residues) if residue not in WATER]]


def component(content: Mapping[str, Any], atom: int) -> list[int]:
    """The atoms that bonds connect with one of them, itself included."""
    near: dict[int, list[int]] = {}
    for a, b, _ in content["bonds"]:
        near.setdefault(a, []).append(b)
        near.setdefault(b, []).append(a)
    found, waiting = {atom}, [atom]
    while waiting:
        new = [other for other in near.get(waiting.pop(), []) if other not in found]
        found.update(new)
        waiting += new
    return sorted(found)


class Store:
    """Structures in files of a folder, named by their content, which therefore never changes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, content: Mapping[str, Any]) -> str:
        """Keep a structure and return its name."""
        text = json.dumps(content)
        name = hashlib.sha256(text.encode()).hexdigest()[:24]
        path = self.folder / f"{name}.json"
        if not path.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text)
        return name

    def get(self, name: str) -> dict[str, Any]:
        """The structure of this name; raises UserError."""
        if not (name.isalnum() and (self.folder / f"{name}.json").is_file()):
            raise UserError(f"there is no structure '{name[:40]}' in this scene; reload the page")
        content: dict[str, Any] = json.loads((self.folder / f"{name}.json").read_text())
        return content

"""explorer.html: every structure of a run in 3D beside a map of its properties, drawn by chemiscope.

chemiscope (chemiscope.org, BSD-3-Clause) ships its JavaScript in its Python package; the page holds a copy of it, so
that one file opens without a network.
"""

import importlib.metadata
import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from ase import Atoms
from ase.data import vdw_radii
from ase.data.colors import jmol_colors

from gendesign.run.properties import CANDIDATE, Property, properties_of, typeset
from gendesign.run.sections import Section, by_candidate, sections
from gendesign.run.unit_cell import bonds_across_cells, folded, view
from gendesign.structure.types import Candidate, Verdict

PACKAGE = "chemiscope"
INSTALL = "pip install 'chemiscope>=1.1,<2'"
SCRIPT = "sphinx/static/chemiscope.min.js"  # in the package; its own headless viewer reads the same file
NOTICES = "static/chemiscope-widget.mjs.LICENSE.txt"  # of the libraries inside
TEMPLATE = Path(__file__).with_name("explorer.html.j2")
MOST_ATOMS = 400_000  # of one page, about 12 MB
MOST_COLOURED = 50_000  # atoms; with more the page has no values per atom
FEW, LARGE_POINTS, SMALL_POINTS = 300, 70, 40  # structures; sizes of points in the map, from 1 to 100
DECIMALS = 4  # of coordinates in Angstrom
BONDS = "bonds across cells"  # name of the shapes that complete a crystal
BALL, STICK = 0.219, 0.08  # van der Waals radii, as chemiscope draws atoms; Angstrom
BOND_COLOUR = "#8a8a8a"
# (across, up, colour) of the first map, by name; the first whose values differ are taken.
FIRST_MAPS = (
    ("density", "energy above best", "rank"),
    ("synthetic accessibility score", "strain energy, potential", "uncertainty of the energy"),
    ("volume change", "energy per atom", "density"),
)


@dataclass(frozen=True)
class Chemiscope:
    """The installed package: its version, its licence's name, the script and the texts of all licences."""

    version: str
    licence: str
    script: Path
    notices: str


def installed() -> Chemiscope | None:
    """The installed chemiscope, or None where it or its script is missing; does not import it."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations)))
    if not (folder / SCRIPT).is_file():
        return None
    package = importlib.metadata.distribution(PACKAGE)
    texts = [Path(str(package.locate_file(file))) for file in package.files or () if file.name == "LICENSE"]
    notices = [path.read_text("utf-8") for path in (*texts, folder / NOTICES) if path.is_file()]
    licence = package.metadata.get("License") or "BSD-3-Clause"
    return Chemiscope(package.version, licence, folder / SCRIPT, "\n\n".join(notices))


def explorable(placed: Sequence[Section]) -> tuple[list[Candidate], int]:
    """The candidates that the page shows, in the order of the report, and how many did not fit.

    Failed attempts are not shown.
    """
    finished = [c for section in placed for c in section.candidates if _is_drawable(c)]
    ends = np.cumsum([len(candidate.atoms) for candidate in finished])
    count = int((ends <= MOST_ATOMS).sum())
    return finished[:count], len(finished) - count


def explorer_page(
    summary: Mapping[str, Any], candidates: Sequence[Candidate], verdicts: Sequence[Verdict]
) -> str | None:
    """The page of the candidates so far; None without chemiscope and where no candidate has a structure."""
    library = installed()
    placed = sections(candidates, verdicts, list(summary.get("conditions", ())), list(summary.get("ranked_by", ())))
    shown, hidden = explorable(placed)
    if library is None or not shown:
        return None
    name = f"gendesign {summary['identity'].get('verb', '')}".strip()
    failed = sum(not _is_drawable(c) for section in placed for c in section.candidates)
    results = {c.index: section.heading for section in placed for c in section.candidates}
    properties = properties_of(shown, by_candidate(verdicts), results)
    notes = [
        f"{len(shown)} structure{'s' * (len(shown) > 1)}",
        f"{hidden} more did not fit on this page and are in candidates.extxyz" if hidden else "",
        f"not shown: {failed} unfinished or failed" if failed else "",
    ]
    content = dataset(name, shown, properties)
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return template.from_string(TEMPLATE.read_text("utf-8")).render(
        name=name,
        note="; ".join(filter(None, notes)),
        library=library,
        script=library.script.read_text("utf-8"),
        # "<" inside of a script element could end it
        dataset=json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
        candidates=json.dumps([candidate.index for candidate in shown]),
    )


def dataset(name: str, candidates: Sequence[Candidate], properties: Sequence[Property]) -> dict[str, Any]:
    """What chemiscope reads (chemiscope.create_input makes the same); None stands for numbers that are missing."""
    atomic = _atomic_properties(candidates)
    across, up, colour = _first_map(properties)
    structures = [_upright(candidate.atoms) for candidate in candidates]
    shapes = _shapes(structures)
    content: dict[str, Any] = {
        "meta": {"name": name},
        "structures": [_structure(atoms) for atoms in structures],
        **({"shapes": shapes} if shapes else {}),
        "properties": {
            one.name: {
                "target": "structure",
                "values": list(one.values),
                **({"units": typeset(one.unit)} if one.unit else {}),
            }
            for one in properties
        }
        | atomic,
        "settings": {
            "target": "structure",
            "map": {
                "x": {"property": across},
                "y": {"property": up},
                "color": {"property": colour},
                "palette": "viridis",
                "size": {"factor": LARGE_POINTS if len(candidates) <= FEW else SMALL_POINTS},
            },
            "structure": [
                {"bonds": True, "unitCell": bool(shapes), "axes": "abc" if shapes else "off", "shape": ",".join(shapes)}
            ],
        },
    }
    if atomic:
        content["environments"] = [
            {"structure": structure, "center": atom, "cutoff": 3.5}
            for structure, candidate in enumerate(candidates)
            for atom in range(len(candidate.atoms))
        ]
    return content


def _is_drawable(candidate: Candidate) -> bool:
    return candidate.failure is None and len(candidate.atoms) > 0 and bool(np.isfinite(candidate.atoms.positions).all())


def _upright(atoms: Atoms) -> Atoms:
    """A copy turned towards the reader; its handedness stays.

    A molecule shows its flattest side. The molecules of a crystal are whole and in its cell, which is seen as in the
    pictures of the report.
    """
    if not atoms.pbc.any():
        return Atoms(atoms.numbers, _flat(atoms.positions))
    atoms = folded(atoms)
    turn = view(atoms) * [[1.0], [-1.0], [1.0]]  # the second direction of a picture points down
    return Atoms(atoms.numbers, atoms.positions @ turn.T, cell=atoms.cell.array @ turn.T, pbc=atoms.pbc)


def _structure(atoms: Atoms) -> dict[str, Any]:
    """Symbols, coordinates and the cell of one structure."""
    x, y, z = atoms.positions.T.round(DECIMALS) + 0.0
    content = {"size": len(atoms), "names": list(atoms.symbols), "x": x.tolist(), "y": y.tolist(), "z": z.tolist()}
    if atoms.pbc.any() and atoms.cell.rank == 3:
        content["cell"] = _rows(atoms.cell.array.ravel())
    return content


def _shapes(structures: Sequence[Atoms]) -> dict[str, Any]:
    """Bonds to atoms of neighbouring cells, and those atoms, which complete octahedra; nothing without a crystal."""
    if not any(atoms.pbc.any() for atoms in structures):
        return {}
    sticks, balls = [], []
    for atoms in structures:
        images, starts, vectors = bonds_across_cells(atoms) if atoms.pbc.any() else (Atoms(), [], [])
        sticks.append({"vectors": _rows(vectors), "bases": _rows(starts)})
        colours = ["#" + "".join(f"{round(255 * part):02x}" for part in jmol_colors[z]) for z in images.numbers]
        radii = BALL * np.nan_to_num(vdw_radii[images.numbers], nan=1.5)
        balls.append({"centers": _rows(images.positions), "radii": _rows(radii), "colors": colours})
    shapes = [
        {
            "kind": "cylinders",
            "parameters": {"global": {"radii": STICK, "colors": BOND_COLOUR}, "structure": sticks},
        },
        {"kind": "spheres", "parameters": {"global": {}, "structure": balls}},
    ]
    return {BONDS: {"kind": "combined", "shapes": shapes}}


def _rows(values: Any) -> list[Any]:
    """An array as lists of rounded numbers."""
    rounded: list[Any] = (np.asarray(values, dtype=float).round(DECIMALS) + 0.0).tolist()
    return rounded


def _flat(positions: np.ndarray) -> np.ndarray:
    """Positions (atoms, 3) around their centre, turned to lie across x first, y second and z least."""
    centred = positions - positions.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=True)[2]
    axes *= np.where(axes[np.arange(3), np.abs(axes).argmax(axis=1)] < 0, -1.0, 1.0)[:, None]  # signs that do not vary
    axes[2] *= np.sign(np.linalg.det(axes))
    return centred @ axes.T


def _first_map(properties: Sequence[Property]) -> tuple[str, str, str]:
    """Names of the properties along the axes and in the colours of the first map."""
    varying = [one.name for one in properties if one.is_number and one.varies and one.name != CANDIDATE]
    for names in FIRST_MAPS:
        if set(names[:2]) <= set(varying):
            return names[0], names[1], names[2] if names[2] in varying else CANDIDATE
    across, up, colour, *_ = [*varying, CANDIDATE, "atoms", CANDIDATE]
    return across, up, colour


def _atomic_properties(candidates: Sequence[Candidate]) -> dict[str, dict[str, Any]]:
    """Values per atom: forces, and what else the run has kept; none where there are very many atoms."""
    if sum(len(candidate.atoms) for candidate in candidates) > MOST_COLOURED:
        return {}
    columns = [_columns(candidate.atoms) for candidate in candidates]
    names = dict.fromkeys(name for column in columns for name in column)
    if not names:
        return {}
    content: dict[str, dict[str, Any]] = {
        "atomic number": {"target": "atom", "values": [int(z) for c in candidates for z in c.atoms.numbers]}
    }
    for name, unit in names:
        values: list[float | None] = []
        for candidate, column in zip(candidates, columns, strict=True):
            values += column.get((name, unit), [None] * len(candidate.atoms))
        content[name] = {"target": "atom", "values": values, **({"units": typeset(unit)} if unit else {})}
    return content


def _columns(atoms: Atoms) -> dict[tuple[str, str], list[float | None]]:
    """Numbers per atom by (name, unit): the length of the force, and columns of real numbers."""
    arrays = {(key.replace("_", " "), ""): atoms.arrays[key] for key in atoms.arrays if key not in ("masses",)}
    numbers = {name: values for name, values in arrays.items() if values.ndim == 1 and values.dtype.kind == "f"}
    if atoms.calc is not None and "forces" in atoms.calc.results:
        numbers = {("force on the atom", "eV/Angstrom"): np.linalg.norm(atoms.calc.results["forces"], axis=1)} | numbers
    return {
        name: [float(f"{value:.5g}") if np.isfinite(value) else None for value in values]
        for name, values in numbers.items()
    }

"""Crystals of silicon, of silica and between them; strained, rattled, with defects, and as slabs.

Cells are those of experiments or of r2SCAN, in Angstrom; sources in `POLYMORPHS`. Every function is a pure function of
its random generator.
"""

from collections.abc import Callable

import numpy as np
from ase import Atoms
from ase.build import bulk, make_supercell, surface
from ase.spacegroup import crystal

LARGEST = 108  # atoms of a labelled cell
STRAIN, RATTLE = 0.15, (0.01, 0.03, 0.08, 0.15, 0.2)  # largest strain; displacements in Angstrom
DIAMOND = 5.44  # Angstrom
NARROWEST = 6.5  # Angstrom, of a slab along its surface


def _beta_tin() -> Atoms:
    places = [[0, 0, 0], [0, 0.5, 0.25], [0.5, 0.5, 0.5], [0.5, 0, 0.75]]
    return Atoms("Si4", scaled_positions=places, cell=[4.80, 4.80, 2.64], pbc=True)


def _lonsdaleite() -> Atoms:
    return crystal("Si", [(1 / 3, 2 / 3, 0.0625)], spacegroup=194, cellpar=[3.84, 3.84, 6.33, 90, 90, 120])


def _clathrate() -> Atoms:
    places = [(1 / 8, 1 / 8, 1 / 8), (0.2172, 0.2172, 0.2172), (0.1828, 0.1828, 0.3705)]
    return crystal(["Si"] * 3, places, spacegroup=227, setting=2, cellpar=[14.7] * 3 + [90] * 3, primitive_cell=True)


def _quartz() -> Atoms:
    return crystal(["Si", "O"], [(0.4697, 0, 2 / 3), (0.4135, 0.2669, 0.7858)], spacegroup=154,
                   cellpar=[4.913, 4.913, 5.405, 90, 90, 120])  # fmt: skip


def _beta_quartz() -> Atoms:
    return crystal(["Si", "O"], [(0.5, 0, 0), (0.2072, 0.4144, 0.5)], spacegroup=180,
                   cellpar=[4.997, 4.997, 5.457, 90, 90, 120])  # fmt: skip


def _cristobalite() -> Atoms:
    return crystal(["Si", "O"], [(0.3003, 0.3003, 0), (0.2392, 0.1044, 0.1787)], spacegroup=92,
                   cellpar=[4.971, 4.971, 6.928, 90, 90, 90])  # fmt: skip


def _beta_cristobalite() -> Atoms:
    return crystal(["Si", "O"], [(0, 0, 0), (1 / 8, 1 / 8, 1 / 8)], spacegroup=227, cellpar=[7.20] * 3 + [90] * 3,
                   primitive_cell=False)  # fmt: skip


def _tridymite() -> Atoms:
    return crystal(["Si", "O", "O"], [(1 / 3, 2 / 3, 0.062), (1 / 3, 2 / 3, 0.25), (0.5, 0, 0)], spacegroup=194,
                   cellpar=[5.052, 5.052, 8.27, 90, 90, 120])  # fmt: skip


def _coesite() -> Atoms:
    places = [(0.1403, 0.1083, 0.0723), (0.5068, 0.1580, 0.5408), (0, 0, 0), (0.5, 0.1164, 0.75),
              (0.2660, 0.1233, 0.9401), (0.3113, 0.1038, 0.3280), (0.0174, 0.2118, 0.4784)]  # fmt: skip
    return crystal(["Si"] * 2 + ["O"] * 5, places, spacegroup=15, cellpar=[7.136, 12.369, 7.174, 90, 120.34, 90])


def _stishovite() -> Atoms:
    return crystal(
        ["Si", "O"], [(0, 0, 0), (0.3061, 0.3061, 0)], spacegroup=136, cellpar=[4.18, 4.18, 2.667, 90, 90, 90]
    )


def _seifertite() -> Atoms:
    return crystal(["Si", "O"], [(0, 0.152, 0.25), (0.266, 0.381, 0.425)], spacegroup=60,
                   cellpar=[4.097, 5.046, 4.495, 90, 90, 90])  # fmt: skip


def _suboxide(share: float) -> Callable[[], Atoms]:
    """Diamond with oxygen in a share of its bonds, the cell widened as much as silica would need it."""

    def make() -> Atoms:
        atoms = bulk("Si", "diamond", a=DIAMOND, cubic=True) * (2, 1, 1)
        first, offsets = _bonds(atoms, 2.5)
        chosen = np.random.default_rng(round(100 * share)).permutation(len(first))[: round(share * len(first))]
        centres = atoms.positions[first[chosen]] + offsets[chosen] / 2
        oxygens = Atoms(f"O{len(chosen)}", centres)
        both = atoms + oxygens
        widened = (1 + share * ((7.2 / DIAMOND) ** 3 - 1)) ** (1 / 3)
        both.set_cell(atoms.cell * widened, scale_atoms=True)
        both.pbc = True
        return both

    return make


def _bonds(atoms: Atoms, length: float) -> tuple[np.ndarray, np.ndarray]:
    """Every bond once: its first atom, and the vector to the second."""
    from matscipy.neighbours import neighbour_list

    i, j, vector = neighbour_list("ijD", atoms, length)
    keep = (i < j) | ((i == j) & (vector[:, 0] > 0))
    return i[keep], vector[keep]


SILICON: dict[str, Callable[[], Atoms]] = {
    "diamond": lambda: bulk("Si", "diamond", a=DIAMOND, cubic=True),
    "lonsdaleite": _lonsdaleite,
    "beta-tin": _beta_tin,
    "sc": lambda: bulk("Si", "sc", a=2.53),
    "bcc": lambda: bulk("Si", "bcc", a=3.08, cubic=True),
    "fcc": lambda: bulk("Si", "fcc", a=3.85, cubic=True),
    "hcp": lambda: bulk("Si", "hcp", a=2.70, c=4.45),
    "simple hexagonal": lambda: Atoms("Si", cell=[[2.64, 0, 0], [-1.32, 2.64 * 0.75**0.5, 0], [0, 0, 2.48]], pbc=True),
    "bc8": lambda: crystal("Si", [(0.1003, 0.1003, 0.1003)], spacegroup=206, cellpar=[6.64] * 3 + [90] * 3),
    "clathrate": _clathrate,
}
SILICA: dict[str, Callable[[], Atoms]] = {
    "quartz": _quartz,
    "beta-quartz": _beta_quartz,
    "cristobalite": _cristobalite,
    "beta-cristobalite": _beta_cristobalite,
    "tridymite": _tridymite,
    "coesite": _coesite,
    "stishovite": _stishovite,
    "seifertite": _seifertite,
}
SUBOXIDES = {f"SiO{2 * share:g}": _suboxide(share) for share in (0.125, 0.25, 0.5, 0.75)}
POLYMORPHS = SILICON | SILICA | SUBOXIDES


def plain(atoms: Atoms) -> Atoms:
    """Numbers, positions, cell and periodicity alone."""
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)


def enlarged(atoms: Atoms, largest: int = LARGEST) -> Atoms:
    """The supercell of at most `largest` atoms that is closest to a cube."""
    times = np.ones(3, dtype=int)
    while True:
        lengths = atoms.cell.lengths() * times
        axis = int(np.argmin(lengths))
        more = times.copy()
        more[axis] += 1
        if len(atoms) * more.prod() > largest:
            return plain(make_supercell(atoms, np.diag(times)))
        times = more


def distorted(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """A copy with a random strain, most of it a change of volume, and random displacements."""
    out = atoms.copy()
    volume = rng.uniform(-STRAIN, STRAIN) / 3 if rng.random() < 0.7 else rng.uniform(-STRAIN, STRAIN)
    shear = rng.uniform(-0.06, 0.06, (3, 3)) * rng.random()
    out.set_cell(out.cell @ (np.eye(3) * (1 + volume) + (shear + shear.T) / 2), scale_atoms=True)
    return rattled(out, rng)


def rattled(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """A copy with random displacements of one of the widths RATTLE."""
    out = atoms.copy()
    out.positions += rng.normal(0, rng.choice(RATTLE), out.positions.shape)
    return out


def material(atoms: Atoms) -> str:
    """Silicon, silica or suboxide, by the ratio of oxygen to silicon."""
    counts = atoms.symbols.formula.count()
    ratio = counts.get("O", 0) / max(1, counts.get("Si", 0))
    return "silicon" if ratio == 0 else "silica" if ratio > 1.8 else "suboxide"


def defective(rng: np.random.Generator) -> Atoms:
    """Diamond, quartz or cristobalite with one or two vacancies, interstitials or misplaced atoms, rattled."""
    name = str(rng.choice(["diamond", "diamond", "quartz", "cristobalite"]))
    atoms = enlarged(POLYMORPHS[name](), 72)
    for _ in range(int(rng.integers(1, 3))):
        choice, symbol = rng.random(), str(rng.choice(["Si", "O"])) if name != "diamond" or rng.random() < 0.3 else "Si"
        if choice < 0.45:
            del atoms[int(rng.integers(len(atoms)))]
        elif choice < 0.9:
            atoms += Atoms(symbol, [_hole(atoms, rng)])
        else:
            atoms.symbols[int(rng.integers(len(atoms)))] = symbol
    return rattled(plain(atoms), rng)


def _hole(atoms: Atoms, rng: np.random.Generator) -> np.ndarray:
    """The most spacious of a few random points."""
    from ase.geometry import get_distances

    points = rng.random((20, 3)) @ atoms.cell.array
    _, distances = get_distances(points, atoms.positions, cell=atoms.cell, pbc=True)
    return points[int(np.argmax(distances.min(1)))]


def slab(rng: np.random.Generator) -> Atoms:
    """A surface of diamond, quartz, cristobalite or stishovite with vacuum, rattled; on diamond sometimes an O."""
    name = str(rng.choice(["diamond", "diamond", "diamond", "quartz", "cristobalite", "stishovite"]))
    faces = [(1, 0, 0), (1, 1, 1), (1, 1, 0)] if name == "diamond" else [(0, 0, 1), (1, 0, 0), (1, 1, 0)]
    face, vacuum = faces[int(rng.integers(3))], float(rng.uniform(3.5, 7))
    for layers in (6, 5, 4, 3, 2, 1):
        atoms = surface(POLYMORPHS[name](), face, layers, vacuum=vacuum, periodic=True)
        times = np.ceil(NARROWEST / atoms.cell.lengths()[:2]).astype(int)
        if len(atoms) * times.prod() <= LARGEST:
            break
    atoms = plain(atoms * (*times, 1))
    if name == "diamond" and rng.random() < 0.3:
        top = atoms.positions[np.argmax(atoms.positions[:, 2])]
        atoms += Atoms("O", [top + [0.4, 0.3, rng.uniform(1.3, 1.8)]])
    return rattled(atoms, rng)

"""Atoms, dimers, trimers and small clusters of silicon and oxygen, in boxes with vacuum.

The teacher knows crystals, so that the boxes are periodic; they are wide enough for no atom to see its image.
"""

import numpy as np
from ase import Atoms

VACUUM = 7.0  # Angstrom on each side; the cutoff of the teacher is 5
SHORTEST, LONGEST = 0.6, 5.5  # Angstrom, of dimers
CONTACT = {("O", "O"): 1.2, ("O", "Si"): 1.45, ("Si", "Si"): 2.1}  # least distances in clusters, Angstrom


def boxed(atoms: Atoms) -> Atoms:
    """In a periodic box with VACUUM."""
    out = atoms.copy()
    out.center(vacuum=VACUUM)
    out.pbc = True
    return out


def isolated() -> list[Atoms]:
    """The two atoms."""
    return [_named(boxed(Atoms(symbol)), "atom", f"atom-{symbol}") for symbol in ("Si", "O")]


def dimers() -> list[Atoms]:
    """Si-Si, Si-O and O-O at many distances, denser where they are short."""
    distances = SHORTEST * (LONGEST / SHORTEST) ** np.linspace(0, 1, 36)
    return [
        _named(boxed(Atoms(pair, [[0, 0, 0], [d, 0, 0]])), "dimer", f"dimer-{pair[0]}{pair[1]}-{k % 6}")
        for pair in (("Si", "Si"), ("Si", "O"), ("O", "O"))
        for k, d in enumerate(distances)
    ]


def cluster(rng: np.random.Generator, seed: int) -> Atoms:
    """A random cluster of 3 to 16 atoms: each new atom touches one that is there and overlaps none."""
    size = int(rng.integers(3, 17))
    oxygens = rng.uniform(0, 0.75) if rng.random() < 0.6 else 0.0
    atoms = Atoms("Si", [[0, 0, 0]])
    while len(atoms) < size:
        symbol = "O" if rng.random() < oxygens else "Si"
        other = int(rng.integers(len(atoms)))
        direction = rng.normal(size=3)
        length = contact(symbol, atoms.symbols[other]) * rng.uniform(1.0, 1.35)
        place = atoms.positions[other] + direction / np.linalg.norm(direction) * length
        least = np.array([contact(symbol, s) for s in atoms.symbols])
        if (np.linalg.norm(atoms.positions - place, axis=1) >= least * 0.95).all():
            atoms += Atoms(symbol, [place])
    return _named(boxed(atoms), "cluster", f"cluster-{seed}")


def contact(a: str, b: str) -> float:
    """The least distance of two elements in a cluster, Angstrom."""
    first, second = sorted((a, b))
    return CONTACT[first, second]


def _named(atoms: Atoms, kind: str, group: str) -> Atoms:
    atoms.info = {"kind": kind, "group": group}
    return atoms

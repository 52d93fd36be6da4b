"""Reference environments of the route by similarity: those of files, or of crystals whose angles are disordered."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from matscipy.neighbours import neighbour_list

from gendesign.errors import UserError
from gendesign.generate.amorphous.packing import ANIONS
from gendesign.generate.amorphous.starts import PROTOTYPES
from gendesign.randomness import Purpose, stream
from gendesign.structure.files import read_structures

AUTO = "auto"
REACH = 4.5  # Angstrom, within which pairs of the references are looked at
FRAMES, ATOMS = 4, 72  # disordered copies of each crystal, and atoms of each
BONDED = 1.25  # sum of covalent radii within which two atoms are bonded
EDGE, SOFTER = 1.1, 0.25  # two anions within EDGE of their shortest distance are held too, by weaker springs
ROUNDS = 200  # of the relaxation of the springs


def read_references(name: str, disorder: float, rattle: float, elements: Sequence[str]) -> list[Atoms]:
    """Reference structures of `elements`: those of a file, or disordered copies of crystals.

    auto: the crystals with all of these elements or, where there are none, those with some of them. Raises UserError
    for a name that is neither.
    """
    if name == AUTO:
        known = {key: set(make().get_chemical_symbols()) for key, make in PROTOTYPES.items()}
        whole = [key for key, has in known.items() if has == set(elements)]
        keys = whole or [key for key, has in known.items() if has <= set(elements)]
        return [atoms for key in keys for atoms in disordered(key, disorder, rattle)]
    if name in PROTOTYPES:
        return disordered(name, disorder, rattle)
    if not Path(name).is_file():
        raise UserError(f"generator.similarity.references={name}: give auto, one of {', '.join(PROTOTYPES)}, or a file")
    read = read_structures([name], hydrogens="ignore")
    usable = [candidate.atoms for candidate in read if candidate.failure is None]
    if not usable:
        raise UserError(f"generator.similarity.references={name}: no structure can be used: {read[0].failure}")
    return usable


def disordered(name: str, disorder: float, rattle: float) -> list[Atoms]:
    """Copies of a crystal whose atoms were displaced by `disorder` and moved until bonds had their lengths again.

    Then displaced by `rattle`; both are standard deviations in Angstrom. Angles stay disordered, as in a glass.
    """
    cell = PROTOTYPES[name]()
    repeats = max(1, round((ATOMS / len(cell)) ** (1 / 3)))
    place = sorted(PROTOTYPES).index(name)
    out = []
    for number in range(FRAMES):
        rng, atoms = stream(Purpose.TRIALS, 1, place, number), cell * (repeats, repeats, repeats)
        moved = with_bonds(atoms, atoms.positions + disorder * rng.standard_normal((len(atoms), 3)))
        atoms.positions = moved + rattle * rng.standard_normal((len(atoms), 3))
        out.append(atoms)
    return out


def with_bonds(crystal: Atoms, positions: np.ndarray) -> np.ndarray:
    """`positions` (atoms, 3) after the bonds of `crystal` pulled themselves to their lengths there."""
    i, j, shift, length, stiffness = _springs(crystal)
    x = positions.copy()
    strongest = float(np.bincount(i, stiffness, len(x)).max(initial=1e-9))
    for _ in range(ROUNDS):
        apart = x[j] + shift - x[i]
        r = np.maximum(np.linalg.norm(apart, axis=1), 1e-6)
        force = (stiffness * (r - length) / r)[:, None] * apart
        x += np.stack([np.bincount(i, force[:, k], len(x)) for k in range(3)], 1) / (2 * strongest)
    return x


def shortest_distances(structures: Sequence[Atoms]) -> dict[tuple[str, str], float]:
    """The shortest distance of every pair of elements within REACH, symbols in alphabetic order."""
    out: dict[tuple[str, str], float] = {}
    for atoms in structures:
        symbols = np.array(atoms.get_chemical_symbols())
        i, j, d = neighbour_list("ijd", atoms, REACH)
        for a in sorted(set(symbols)):
            for b in (b for b in sorted(set(symbols)) if b >= a):
                near = d[(symbols[i] == a) & (symbols[j] == b)]
                if len(near):
                    out[a, b] = min(out.get((a, b), np.inf), float(near.min()))
    return out


def _springs(crystal: Atoms) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Both ends, shifts, lengths and relative stiffness of the springs: bonds, and edges of polyhedra of anions."""
    i, j, cells, length = neighbour_list("ijSd", crystal, REACH)
    radii = covalent_radii[crystal.numbers]
    bonded = length < BONDED * (radii[i] + radii[j])
    anions = np.isin(crystal.get_chemical_symbols(), ANIONS)
    pairs = anions[i] & anions[j] & ~bonded
    edges = pairs & (length < EDGE * length[pairs].min(initial=np.inf)) & bool((~anions).any())
    stiffness = np.where(bonded, 1.0, np.where(edges, SOFTER, 0.0))
    kept = stiffness > 0
    return i[kept], j[kept], (cells @ crystal.cell.array)[kept], length[kept], stiffness[kept]

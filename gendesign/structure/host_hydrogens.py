"""Hydrogens of amino acids whose place follows from the heavy atoms.

X-ray diffraction seldom resolves hydrogens. Those on CH, CH2, CH3, NH and NH2 follow from the neighbours. Those that
turn (OH, SH, NH3+) or depend on the acidity of their surroundings (histidine, ends of chains, carboxylic acids) are not
added; their heavy atoms are marked in the array `hidden`, as are all atoms of residues that have no hydrogen and are no
amino acid.
"""

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from scipy.spatial import cKDTree

LENGTHS = {6: 1.09, 7: 1.01}  # Angstrom, of bonds to hydrogen
BOND = 1.2  # of the sum of covalent radii: nearer atoms are bonded
REACH = 2.4  # Angstrom, more than any bond between the atoms of a chain
TETRAHEDRAL = np.radians(109.5)
# Hydrogens of the atoms of each amino acid, without those of the backbone: N (1) and CA (1, glycine 2).
SIDE_CHAINS = {
    "ALA": "CB3", "ARG": "CB2 CG2 CD2 NE1 NH1:2 NH2:2", "ASN": "CB2 ND2:2", "ASP": "CB2", "CYS": "CB2",
    "GLN": "CB2 CG2 NE2:2", "GLU": "CB2 CG2", "GLY": "", "HIS": "CB2 CD2:1 CE1:1", "ILE": "CB1 CG1:2 CG2:3 CD1:3",
    "LEU": "CB2 CG1 CD1:3 CD2:3", "LYS": "CB2 CG2 CD2 CE2", "MET": "CB2 CG2 CE3", "MSE": "CB2 CG2 CE3",
    "PHE": "CB2 CD1:1 CD2:1 CE1:1 CE2:1 CZ1", "PRO": "CB2 CG2 CD2", "SER": "CB2", "THR": "CB1 CG2:3",
    "TRP": "CB2 CD1:1 NE1:1 CE3:1 CZ2:1 CZ3:1 CH2:1", "TYR": "CB2 CD1:1 CD2:1 CE1:1 CE2:1", "VAL": "CB1 CG1:3 CG2:3",
}  # fmt: skip
TURNING = {"OG", "OG1", "OH", "SG", "NZ", "ND1", "OXT"}  # of amino acids: may carry a hydrogen that is not added
ACIDIC = {("HIS", "NE2"), ("ASP", "OD1"), ("ASP", "OD2"), ("GLU", "OE1"), ("GLU", "OE2")}


def with_hydrogens(atoms: Atoms) -> Atoms:
    """`atoms` (with the arrays residuenames and atomtypes) with the missing hydrogens that the heavy atoms fix.

    An atom that has a hydrogen in the file gets no other. The array `hidden` marks heavy atoms that may carry
    hydrogens which are not there.
    """
    numbers, x = atoms.numbers, atoms.positions
    residues, names = atoms.arrays["residuenames"], atoms.arrays["atomtypes"]
    near = _neighbours(numbers, x)
    hidden = np.zeros(len(atoms), dtype=bool)
    parents, places = [], []
    bare = _without_hydrogens(atoms)
    for k in np.flatnonzero(numbers > 1).tolist():
        residue, name = str(residues[k]), str(names[k])
        has = any(numbers[j] == 1 for j in near[k])
        if residue not in SIDE_CHAINS:
            hidden[k] = bare[k]
            continue
        count = _count(residue, name, [j for j in near[k] if numbers[j] > 1], names)
        hidden[k] = not has and (name in TURNING or (residue, name) in ACIDIC or (name == "N" and count is None))
        if count and not has:
            for place in _places(x, near, k, count, numbers):
                parents.append(k)
                places.append(place)
    out = atoms.copy()
    out.set_array("hidden", hidden)
    if places:
        added = Atoms(f"H{len(places)}", np.array(places))
        for name in ("residuenames", "residuenumbers", "chains", "hetero"):
            if name in atoms.arrays:
                added.set_array(name, atoms.arrays[name][parents])
        added.set_array("atomtypes", np.array(["H"] * len(places)))
        added.set_array("hidden", np.zeros(len(places), dtype=bool))
        out += added
    return out


def _without_hydrogens(atoms: Atoms) -> np.ndarray:
    """Which atoms belong to residues without any hydrogen."""
    columns = [atoms.arrays[n] for n in ("chains", "residuenumbers", "residuenames") if n in atoms.arrays]
    labels = list(zip(*columns, strict=True))
    with_any = {label for label, z in zip(labels, atoms.numbers, strict=True) if z == 1}
    return np.array([label not in with_any for label in labels], dtype=bool)


def _neighbours(numbers: np.ndarray, x: np.ndarray) -> list[list[int]]:
    near: list[list[int]] = [[] for _ in numbers]
    pairs = cKDTree(x).query_pairs(REACH, output_type="ndarray")
    radii = covalent_radii[numbers]
    i, j = pairs.T
    bonded = np.linalg.norm(x[i] - x[j], axis=1) < BOND * (radii[i] + radii[j])
    bonded &= (numbers[i] > 1) | (numbers[j] > 1)
    for a, b in pairs[bonded].tolist():
        near[a].append(b)
        near[b].append(a)
    return near


def _count(residue: str, name: str, heavy: list[int], names: np.ndarray) -> int | None:
    """Hydrogens of an atom with its `heavy` neighbours; None where it depends on more than these."""
    if name == "N":  # the first of a chain has three, or two; one beside a gap as well
        inside = any(str(names[j]) == "C" for j in heavy)
        return (0 if residue == "PRO" else 1) if inside else None
    if name == "CA":
        return 2 if residue == "GLY" else 1
    for word in SIDE_CHAINS[residue].split():
        atom, _, count = word.partition(":") if ":" in word else (word[:-1], "", word[-1])
        if atom == name:
            return int(count)
    return 0


def _places(x: np.ndarray, near: list[list[int]], k: int, count: int, numbers: np.ndarray) -> list[np.ndarray]:
    """Positions of `count` hydrogens on atom k; none where it has an unexpected number of neighbours."""
    heavy = [j for j in near[k] if numbers[j] > 1]
    towards = [_unit(x[j] - x[k]) for j in heavy]
    length = LENGTHS[int(numbers[k])]
    if len(heavy) == 3 and count == 1:
        normal = _unit(np.cross(np.subtract(towards[1], towards[0]), np.subtract(towards[2], towards[0])))
        directions = [-normal * np.sign(normal @ sum(towards))]
    elif len(heavy) == 2 and count == 1:
        directions = [-_unit(towards[0] + towards[1])]
    elif len(heavy) == 2 and count == 2:
        back, normal = -_unit(towards[0] + towards[1]), _unit(np.cross(towards[0], towards[1]))
        directions = [back * np.cos(TETRAHEDRAL / 2) + side * normal * np.sin(TETRAHEDRAL / 2) for side in (1, -1)]
    elif len(heavy) == 1 and count in (2, 3):
        directions = _around(x, near, k, heavy[0], towards[0], count, numbers)
    else:
        return []  # atoms of the residue are missing
    return [x[k] + length * direction for direction in directions]


def _around(
    x: np.ndarray, near: list[list[int]], k: int, end: int, axis: np.ndarray, count: int, numbers: np.ndarray
) -> list[np.ndarray]:
    """Directions about the bond to the only neighbour: NH2 in the plane beyond it, CH3 staggered."""
    further = [j for j in near[end] if j != k and numbers[j] > 1]
    if not further:
        return []
    away = x[further[0]] - x[end]
    u = _unit(away - axis * (away @ axis))
    v = np.cross(axis, u)
    tilt = np.radians(120.0) if count == 2 else TETRAHEDRAL
    turns = np.radians([0.0, 180.0] if count == 2 else [60.0, 180.0, 300.0])
    return [np.cos(tilt) * axis + np.sin(tilt) * (np.cos(t) * u + np.sin(t) * v) for t in turns]


def _unit(v: np.ndarray) -> np.ndarray:
    return v / max(float(np.linalg.norm(v)), 1e-9)

"""What a hybrid perovskite is by its coordinates: the network of its octahedra, its cations, its hydrogen bonds."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii, vdw_radii
from ase.neighborlist import neighbor_list
from rdkit import Chem

from gendesign.structure.types import Candidate

METALS = tuple(atomic_numbers[symbol] for symbol in ("Pb", "Sn", "Ge"))
HALIDES = tuple(atomic_numbers[symbol] for symbol in ("Cl", "Br", "I"))
HOLDERS = tuple(atomic_numbers[symbol] for symbol in ("B", "C", "N", "O", "Si", "P", "S"))  # of halogens in molecules
# Metal-halide distances (Angstrom) of undistorted perovskites with lead; tin's are alike, germanium's shorter.
TYPICAL = {atomic_numbers[symbol]: length for symbol, length in (("Cl", 2.85), ("Br", 3.00), ("I", 3.20))}
REACH = 1.25  # of that distance still counts as a bond: lone pairs push one halide of an octahedron away
STRETCHED, FORMED = 1.35, 1.15  # of the sum of covalent radii: longer, a bond is broken; shorter, a new one is there
SHARED = 1.3  # the same for hydrogen between atoms of cations: a proton halfway belongs to both
STRAIGHT = 135.0  # degrees; less between the two free corners of an octahedron is no layer
SHORT = 0.92  # of the van der Waals distance, and
DIRECT = 120.0  # degrees at the hydrogen: a hydrogen bond


@dataclass(frozen=True)
class Network:
    """Bonds between metals and halides: metal and halide indices (bonds,), vectors (bonds, 3) from metal to halide."""

    metal: np.ndarray
    halide: np.ndarray
    vector: np.ndarray

    @property
    def length(self) -> np.ndarray:
        """Bond lengths (bonds,) in Angstrom."""
        return np.linalg.norm(self.vector, axis=1)


def energy_of(candidate: Candidate) -> float:
    """eV per formula unit of a relaxed candidate."""
    return float(candidate.info["energy"]) / int(candidate.info["formula_units"])


def metals_of(atoms: Atoms) -> np.ndarray:
    """Indices of the metals."""
    return np.flatnonzero(np.isin(atoms.numbers, METALS))


def halides_of(atoms: Atoms) -> np.ndarray:
    """Indices of the halides: halogens, but for those that a molecule holds by a bond and no metal has within reach."""
    return _inorganic(atoms)[0]


def network(atoms: Atoms) -> Network:
    """Metal-halide bonds with all periodic images."""
    return _inorganic(atoms)[1]


def _inorganic(atoms: Atoms) -> tuple[np.ndarray, Network]:
    """Indices of the halides, and their bonds to metals."""
    part = np.flatnonzero(np.isin(atoms.numbers, (*METALS, *HALIDES, *HOLDERS)))
    near, numbers = atoms[part], atoms.numbers[part]
    metal, halogen, holder = (np.isin(numbers, some) for some in (METALS, HALIDES, HOLDERS))
    longest = REACH * max((TYPICAL[z] for z in numbers if z in TYPICAL), default=0.0)
    first, second, vectors = neighbor_list("ijD", near, longest)
    length, radii = np.linalg.norm(vectors, axis=1), covalent_radii[numbers]
    limit = REACH * np.array([TYPICAL.get(int(z), 0.0) for z in numbers])[second]
    bound = metal[first] & halogen[second] & (length < limit)
    held = holder[first] & halogen[second] & (length < FORMED * (radii[first] + radii[second]))
    organic = np.setdiff1d(second[held], second[bound])
    halides = np.setdiff1d(np.flatnonzero(halogen), organic)
    return part[halides], Network(part[first[bound]], part[second[bound]], vectors[bound])


def network_fault(atoms: Atoms, thickness: int | None) -> str:
    """Why this is no corner-sharing perovskite of that many octahedra per layer (None: three dimensions), or nothing.

    Every metal needs six halides, two octahedra share one corner at most, and the corners that belong to one
    octahedron only must be those of such a layer: two opposite ones where it is one octahedron thick.
    """
    metals, (halides, bonds) = metals_of(atoms), _inorganic(atoms)
    six = np.array([(bonds.metal == m).sum() for m in metals])
    if (six != 6).any():
        worst = int(np.argmax(np.abs(six - 6)))
        return f"{atoms.symbols[metals[worst]]}{metals[worst]} has {six[worst]} halides within reach, not 6"
    shared = np.array([(bonds.halide == h).sum() for h in halides])
    if ((shared < 1) | (shared > 2)).any():
        worst = int(np.argmax(np.abs(shared - 1.5)))
        return f"{atoms.symbols[halides[worst]]}{halides[worst]} is bound to {shared[worst]} metals, not 1 or 2"
    free = set(halides[shared == 1].tolist())
    if _edges_shared(atoms, bonds):
        return "octahedra share an edge or a face, not corners only"
    ends = [[k for k in np.flatnonzero(bonds.metal == m) if int(bonds.halide[k]) in free] for m in metals]
    expected = sorted(_free_corners(thickness) * (len(metals) // (thickness or 1)))
    if sorted(len(corners) for corners in ends) != expected:
        return "the octahedra do not form the layer of the composition: wrong number of free corners"
    for metal, corners in zip(metals, ends, strict=True):
        if len(corners) == 2 and _angle(*bonds.vector[corners]) < STRAIGHT:
            return f"the free corners of the octahedron around {atoms.symbols[metal]}{metal} are not opposite"
    return ""


def _free_corners(thickness: int | None) -> list[int]:
    if thickness is None:
        return [0]
    return [2] if thickness == 1 else [1, 1] + [0] * (thickness - 2)


def _edges_shared(atoms: Atoms, bonds: Network) -> bool:
    """Whether two octahedra, images included, have more than one halide in common."""
    seen: set[tuple[int, ...]] = set()
    inverse = np.linalg.inv(atoms.cell.array)
    for halide in np.unique(bonds.halide):
        ends = np.flatnonzero(bonds.halide == halide)
        if len(ends) != 2:
            continue
        i, j = ends
        between = bonds.vector[i] - bonds.vector[j]  # from metal i to the image of metal j at this halide
        here, there = bonds.metal[i], bonds.metal[j]
        image = np.rint((between - atoms.positions[there] + atoms.positions[here]) @ inverse).astype(int)
        # Seen from either end it is the same pair of octahedra.
        pair = min((here, there, *image), (there, here, *-image))
        if pair in seen:
            return True
        seen.add(pair)
    return False


@cache
def molecule_of(smiles: str) -> tuple[np.ndarray, tuple[tuple[int, int], ...]]:
    """Atomic numbers and bonds of a SMILES, hydrogens appended."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
    return numbers, tuple((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in mol.GetBonds())


def cation_bonds(atoms: Atoms, cations: str) -> tuple[set[tuple[int, int]], np.ndarray]:
    """Bonds within the cations that `cations` ("2 C[NH3+] 4 CCCC[NH3+]") says to stand at the end of the atoms.

    Also a mask of the atoms of molecules: a bare ion has no covalent bonds to form.
    """
    words = cations.split()
    kinds = [(int(count), smiles) for count, smiles in zip(words[::2], words[1::2], strict=True)]
    start = len(atoms) - sum(count * len(molecule_of(smiles)[0]) for count, smiles in kinds)
    bonds: set[tuple[int, int]] = set()
    molecular = np.zeros(len(atoms), dtype=bool)
    for count, smiles in kinds:
        numbers, pairs = molecule_of(smiles)
        for _ in range(count):
            bonds |= {(start + min(pair), start + max(pair)) for pair in pairs}
            molecular[start : start + len(numbers)] = len(numbers) > 1
            start += len(numbers)
    return bonds, molecular


def cation_fault(atoms: Atoms, cations: str) -> str:
    """Why the cations are not those of the composition any more, or nothing: a broken bond, or one too many."""
    bonds, molecular = cation_bonds(atoms, cations)
    radii = covalent_radii[atoms.numbers]
    for i, j in sorted(bonds):
        if atoms.get_distance(i, j, mic=True) > STRETCHED * (radii[i] + radii[j]):
            return f"bond {atoms.symbols[i]}{i}-{atoms.symbols[j]}{j} of a cation is broken"
    inorganic = np.isin(atoms.numbers, (*METALS, *HALIDES))
    first, second, length, image = neighbor_list("ijdS", atoms, list(SHARED * radii))
    light = ((atoms.numbers == 1)[first] | (atoms.numbers == 1)[second]) & molecular[first] & molecular[second]
    close = length < np.where(light, SHARED, FORMED) * (radii[first] + radii[second])
    for i, j, shift in zip(first[close], second[close], image[close], strict=True):
        ions = not (molecular[i] and molecular[j]) and not (inorganic[i] or inorganic[j])
        if (molecular[i] or molecular[j]) and not ions and i <= j and ((i, j) not in bonds) and (i != j or shift.any()):
            return f"{atoms.symbols[i]}{i} and {atoms.symbols[j]}{j} came as close as a bond"
    return ""


@dataclass(frozen=True)
class Octahedra:
    """Means over a structure: tilt in degrees, (180 - M-X-M) / 2 at the shared corners; lengths, the bond-length
    distortion <((d - <d>) / <d>)^2>; angles, the variance in degrees^2 sum (theta - 90)^2 / 11 (Science 172, 567)."""

    tilt: float
    lengths: float
    angles: float


def octahedra(atoms: Atoms) -> Octahedra:
    """Tilt and distortions; the network must be without fault."""
    bonds = network(atoms)
    tilts = []
    for halide in np.unique(bonds.halide):
        ends = np.flatnonzero(bonds.halide == halide)
        if len(ends) == 2:
            tilts.append((180 - _angle(*bonds.vector[ends])) / 2)
    lengths, angles = [], []
    for metal in np.unique(bonds.metal):
        vectors = bonds.vector[bonds.metal == metal]
        d = np.linalg.norm(vectors, axis=1)
        lengths.append(((d / d.mean() - 1) ** 2).mean())
        angles_here = np.sort([_angle(vectors[i], vectors[j]) for i in range(len(vectors)) for j in range(i)])
        angles.append(((angles_here[:12] - 90) ** 2).sum() / 11)  # the three largest are those across
    return Octahedra(float(np.mean(tilts)), float(np.mean(lengths)), float(np.mean(angles)))


def hydrogen_bonds(atoms: Atoms) -> int:
    """Hydrogens of N-H...X, X a halide and no halogen of a molecule: H...X below 0.92 of the van der Waals distance,
    N-H...X above 120 degrees."""
    hydrogens = np.flatnonzero(atoms.numbers == 1)
    acceptors: dict[int, list[np.ndarray]] = {}
    first, second, vectors = neighbor_list("ijD", atoms, {("H", "N"): 1.25})
    donor = {int(i): v for i, j, v in zip(first, second, vectors, strict=True) if atoms.numbers[i] == 1}
    reach = {("H", symbol): SHORT * (vdw_radii[1] + vdw_radii[atomic_numbers[symbol]]) for symbol in ("Cl", "Br", "I")}
    first, second, vectors = neighbor_list("ijD", atoms, reach)
    to_halide = np.isin(second, halides_of(atoms))
    for i, vector in zip(first[to_halide], vectors[to_halide], strict=True):
        acceptors.setdefault(int(i), []).append(vector)
    return sum(
        any(_angle(donor[int(h)], vector) > DIRECT for vector in acceptors.get(int(h), []))
        for h in hydrogens
        if int(h) in donor
    )


def layer_spacing(atoms: Atoms, layers: int) -> float:
    """Angstrom from one layer to the next along the normal of the first two cell vectors."""
    normal = np.cross(atoms.cell[0], atoms.cell[1])
    return float(abs(np.linalg.det(atoms.cell.array)) / np.linalg.norm(normal) / layers)


def _angle(a: np.ndarray, b: np.ndarray) -> float:
    cosine = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))

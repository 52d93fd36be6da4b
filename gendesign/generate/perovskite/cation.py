"""Organic cations: from SMILES or a file to conformers with the ends that may sit in a pocket of the layer."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.formula import Formula
from rdkit import Chem, rdBase
from rdkit.Chem import AllChem, rdDetermineBonds
from rdkit.Chem.EnumerateStereoisomers import EnumerateStereoisomers, StereoEnumerationOptions

from gendesign.errors import UserError
from gendesign.generate.perovskite.abbreviations import nearest, smiles_of
from gendesign.randomness import Purpose, stream
from gendesign.structure.superposition import aligned_rmsd

CHARGES = (1, 2)
WINDOW = 6.0  # kcal/mol above the best conformer; good packing can cost a crystal that much
ALIKE = 0.3  # Angstrom between heavy atoms; conformers closer than that are one
TURNING = Chem.MolFromSmarts("[!#1]~[!#1;!$(*#*)]-;!@[!#1;!$(*#*)]~[!#1]")  # a chain of four, turned in the middle
MOL_SUFFIXES = {".sdf", ".sd", ".mol"}
ISOMERS = 16  # stereoisomers that are looked at
ORDERS = 24  # of the atoms of a file without bonds, in which these are sought
MOST_BONDS = 10_000  # arrangements of these that rdkit tries in each, as there may be far too many


@dataclass(frozen=True)
class End:
    """An end that goes into a pocket: the atom put there and the unit vector (3,) from it into the molecule.

    `other` is the atom at the far end, the second anchor of a cation that bridges two layers.
    """

    atom: int
    axis: np.ndarray
    other: int


@dataclass(frozen=True)
class Cation:
    """A cation of charge +1 or +2 in the atom order of its SMILES with hydrogens appended.

    numbers (atoms,); conformers: positions (atoms, 3) in Angstrom, centred; ends: for each conformer those that may
    sit in a pocket, none for a bare ion; bonds: pairs of atoms; chiral: its mirror image is another molecule; torsions:
    bonds that turn, each as its two atoms and those that move with the second.
    """

    smiles: str
    charge: int
    numbers: np.ndarray
    conformers: tuple[np.ndarray, ...]
    ends: tuple[tuple[End, ...], ...]
    bonds: tuple[tuple[int, int], ...]
    chiral: bool = False
    torsions: tuple[tuple[int, int, tuple[int, ...]], ...] = ()

    @property
    def heavy(self) -> int:
        """Number of atoms but hydrogen."""
        return int((self.numbers > 1).sum())

    @property
    def symbols(self) -> list[str]:
        """Chemical symbols of the atoms, hydrogens included."""
        return [chemical_symbols[z] for z in self.numbers]

    @property
    def formula(self) -> str:
        """Formula in Hill order."""
        return Formula.from_list(self.symbols).format("hill")


def read_cation(text: str, conformers: int = 20) -> Cation:
    """The cation that a SMILES, an abbreviation (MA, BA, PEA; see `abbreviations`) or a structure file describes.

    A SMILES gets at most `conformers` conformers (ETKDG, then MMFF94 or UFF); a file keeps its own, one from each of
    its structures. A SMILES without the hand of a chiral cation is the racemate. Raises UserError for what cannot be
    read, for charges other than +1 and +2, and for a SMILES that may be several isomers, such as cis and trans.
    """
    if not isinstance(text, str):
        raise UserError(f"cation={text}: give a SMILES such as CCCC[NH3+], an abbreviation such as BA, or a file")
    text = text.strip()
    if os.path.isfile(path := os.path.expanduser(text)):
        return _cation(*_from_file(Path(path)))
    if Path(text).suffix in {*MOL_SUFFIXES, ".xyz"} or text.startswith(("/", "./", "~")):
        raise UserError(f"cation={text}: no such file; give the path of a structure file or a SMILES like CCCC[NH3+]")
    mol = _from_smiles(smiles_of(text))
    return _cation(mol, _embedded(Chem.MolToSmiles(mol), conformers))


def _from_smiles(text: str) -> Chem.Mol:
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(text)
    if mol is None or not mol.GetNumAtoms():
        meant = f"did you mean {names}? " if (names := nearest(text)) else ""
        raise UserError(
            f"cation={text!r} is neither a SMILES nor a known abbreviation; {meant}write a SMILES with its charge, "
            "such as CCCC[NH3+]"
        )
    forms = isomers(_checked(mol, text))
    if len(forms) > 1:
        first, second = (Chem.MolToSmiles(one) for one in forms[:2])
        raise UserError(f"cation={text} may be several isomers, such as {first} and {second}; write one of them")
    return mol


def isomers(mol: Chem.Mol) -> list[Chem.Mol]:
    """The stereoisomers that a molecule leaves open, one of each pair of mirror images, its atoms in their order."""
    options = StereoEnumerationOptions(tryEmbedding=True, unique=True, maxIsomers=ISOMERS, rand=7)
    with rdBase.BlockLogs():
        forms = {Chem.MolToSmiles(one): one for one in EnumerateStereoisomers(mol, options=options)}
    kept: dict[str, Chem.Mol] = {}
    for smiles in sorted(forms):
        if _mirrored(forms[smiles]) not in kept:
            kept[smiles] = forms[smiles]
    return list(kept.values()) or [mol]


def _checked(mol: Chem.Mol, text: str) -> Chem.Mol:
    if len(Chem.GetMolFrags(mol)) > 1:
        raise UserError(
            f"cation={text}: several molecules; give the cation alone, its halide comes by generator.composition.halide"
        )
    if any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms()):
        raise UserError(f"cation={text} is a radical; give a closed-shell cation such as CCCC[NH3+]")
    charge = Chem.GetFormalCharge(mol)
    if charge not in CHARGES:
        raise UserError(
            f"cation={text} has charge {charge}; it must be 1 or 2: protonate one amine or two, as in CCCC[NH3+]"
        )
    return mol


@cache
def _embedded(smiles: str, most: int) -> tuple[np.ndarray, ...]:
    mol = Chem.AddHs(isomers(Chem.MolFromSmiles(smiles))[0])
    if mol.GetNumAtoms() == 1:
        return (np.zeros((1, 3)),)
    options = AllChem.ETKDGv3()
    options.randomSeed, options.pruneRmsThresh, options.numThreads = 7, ALIKE, 1
    numbers = list(AllChem.EmbedMultipleConfs(mol, 6 * most, options))
    if not numbers:
        options.useRandomCoords = True
        numbers = list(AllChem.EmbedMultipleConfs(mol, 6 * most, options))
    if not numbers:
        raise UserError(f"cation={smiles}: no three-dimensional structure was found; give a file with one")
    energies = _optimized(mol)
    heavy = np.array([atom.GetAtomicNum() > 1 for atom in mol.GetAtoms()])
    kept: list[np.ndarray] = []
    for i in np.argsort(energies, kind="stable"):
        positions = mol.GetConformer(numbers[i]).GetPositions()
        far = all(aligned_rmsd(positions[heavy], other[heavy]) > ALIKE for other in kept)
        if energies[i] < min(energies) + WINDOW and len(kept) < most and (far or not kept):
            kept.append(positions - positions[heavy].mean(axis=0))
    return tuple(kept)


def _optimized(mol: Chem.Mol) -> np.ndarray:
    """Optimize every conformer in place; energies in kcal/mol.

    Without electrostatics: in vacuum the charge would fold the chain back on itself, in a crystal halides screen it.
    """
    with rdBase.BlockLogs():
        properties = AllChem.MMFFGetMoleculeProperties(mol)
        energies = []
        for conformer in mol.GetConformers():
            number = conformer.GetId()
            if properties is not None:
                properties.SetMMFFEleTerm(False)
                field = AllChem.MMFFGetMoleculeForceField(mol, properties, confId=number)
            else:
                field = AllChem.UFFGetMoleculeForceField(mol, confId=number)
            field.Initialize()
            field.Minimize(maxIts=500)
            energies.append(field.CalcEnergy())
    return np.array(energies)


def _from_file(path: Path) -> tuple[Chem.Mol, list[np.ndarray]]:
    """Molecule without hydrogens, and the centred positions of each structure in the order of its SMILES with hydrogens
    appended."""
    molecules = _sdf_molecules(path) if path.suffix.lower() in MOL_SUFFIXES else _bonds_found(path)
    for mol in molecules:
        Chem.AssignStereochemistryFrom3D(mol)
    kinds = list(dict.fromkeys(Chem.MolToSmiles(Chem.RemoveHs(mol)) for mol in molecules))
    if len(kinds) > 1:
        raise UserError(f"cation={path} holds several molecules, {kinds[0]} and {kinds[1]}; give conformers of one")
    plain = _checked(Chem.MolFromSmiles(kinds[0]), str(path))
    full, positions = Chem.AddHs(plain), []
    heavy = [atom.GetAtomicNum() > 1 for atom in full.GetAtoms()]
    for mol in molecules:
        match = mol.GetSubstructMatch(full)
        if len(match) != mol.GetNumAtoms():
            raise UserError(f"cation={path}: its hydrogens do not fit its bonds; add all of them to the file")
        coordinates = mol.GetConformer().GetPositions()[list(match)]
        positions.append(coordinates - coordinates[heavy].mean(axis=0))
    return plain, positions


def _sdf_molecules(path: Path) -> list[Chem.Mol]:
    with rdBase.BlockLogs():
        molecules = list(Chem.SDMolSupplier(str(path), removeHs=False))
    usable = [mol is not None and mol.GetNumConformers() and mol.GetConformer().Is3D() for mol in molecules]
    if not usable or not all(usable):
        raise UserError(f"cation={path}: no molecule with three-dimensional coordinates; give one or a SMILES")
    return molecules


def _bonds_found(path: Path) -> list[Chem.Mol]:
    """The structures of a file without bonds."""
    try:
        frames = ase.io.read(path, ":")
    except Exception as error:  # readers raise whatever a malformed file makes them stumble over
        raise UserError(f"cation={path} cannot be read; give an xyz or SDF file, or a SMILES") from error
    return [_bonded(atoms, path) for atoms in frames]


def _bonded(atoms: Atoms, path: Path) -> Chem.Mol:
    """The molecule with bonds, by the charge that leaves no electron without a partner.

    What rdkit finds depends on the order of the atoms, of conjugated cations mostly: several are tried, until no more
    atoms are charged than must be. No carbon may be.
    """
    charge = CHARGES[0] if atoms.numbers.sum() % 2 else CHARGES[1]
    rng, best = stream(Purpose.ATOM_ORDER), None
    for order in [np.arange(len(atoms)), *(rng.permutation(len(atoms)) for _ in range(ORDERS - 1))]:
        mol = _with_bonds(atoms[order], charge)
        if mol is not None and (best is None or _charges(mol) < _charges(best)):
            best = mol
        if best is not None and _charges(best) == charge:
            break
    if best is None:
        raise UserError(
            f"cation={path}: its atoms make no cation of charge +1 or +2; check its hydrogens, or give an SDF file, "
            "which states the bonds, or a SMILES"
        )
    return best


def _with_bonds(atoms: Atoms, charge: int) -> Chem.Mol | None:
    """What rdkit makes of atoms in this order; None where they have no whole bonds, or a carbon bears the charge."""
    block = f"{len(atoms)}\n\n" + "\n".join(
        f"{s} {x:.6f} {y:.6f} {z:.6f}" for s, (x, y, z) in zip(atoms.symbols, atoms.positions, strict=True)
    )
    with rdBase.BlockLogs():
        mol = Chem.MolFromXYZBlock(block)
        try:
            if len(atoms) > 1:
                rdDetermineBonds.DetermineBonds(mol, charge=charge, maxIterations=MOST_BONDS)
            else:
                mol.GetAtomWithIdx(0).SetFormalCharge(charge)
            Chem.SanitizeMol(mol)
        except ValueError:
            return None
    wrong = any(a.GetNumRadicalElectrons() or (a.GetAtomicNum() == 6 and a.GetFormalCharge()) for a in mol.GetAtoms())
    return None if wrong else mol


def _charges(mol: Chem.Mol) -> int:
    """How many charges stand at its atoms, of either sign."""
    return sum(abs(atom.GetFormalCharge()) for atom in mol.GetAtoms())


def _cation(mol: Chem.Mol, conformers: Sequence[np.ndarray]) -> Cation:
    full = Chem.AddHs(Chem.MolFromSmiles(Chem.MolToSmiles(mol)))
    charged = {a.GetIdx() for a in full.GetAtoms() if a.GetAtomicNum() == 7 and _is_charged(a)}
    bonds = tuple((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in full.GetBonds())
    numbers = np.array([atom.GetAtomicNum() for atom in full.GetAtoms()])
    charge = Chem.GetFormalCharge(full)
    return Cation(
        Chem.MolToSmiles(mol),
        charge,
        numbers,
        tuple(conformers),
        tuple(find_ends(numbers, positions, bonds, charged, charge) for positions in conformers),
        bonds,
        _is_chiral(full),
        _torsions(full),
    )


def _torsions(mol: Chem.Mol) -> tuple[tuple[int, int, tuple[int, ...]], ...]:
    """Single bonds outside rings between atoms that have further heavy neighbours each."""
    torsions = []
    for i, j in sorted({chain[1:3] for chain in mol.GetSubstructMatches(TURNING)}):
        cut = Chem.FragmentOnBonds(mol, [mol.GetBondBetweenAtoms(i, j).GetIdx()], addDummies=False)
        (side,) = (part for part in Chem.GetMolFrags(cut) if j in part)
        torsions.append((i, j, side))
    return tuple(torsions)


def _is_charged(atom: Chem.Atom) -> bool:
    """Whether the positive charge is the molecule's, and not made up for by a neighbour as that of a nitro group."""
    return atom.GetFormalCharge() > 0 and all(other.GetFormalCharge() >= 0 for other in atom.GetNeighbors())


def _is_chiral(mol: Chem.Mol) -> bool:
    """Whether the mirror image is another molecule; that of a meso form is not."""
    return _mirrored(mol) != Chem.MolToSmiles(mol)


def _mirrored(mol: Chem.Mol) -> str:
    """The SMILES of its mirror image."""
    mirrored = Chem.Mol(mol)
    for atom in mirrored.GetAtoms():
        atom.InvertChirality()
    Chem.AssignStereochemistry(mirrored, cleanIt=True, force=True)
    return Chem.MolToSmiles(mirrored)


def find_ends(
    numbers: np.ndarray, positions: np.ndarray, bonds: Sequence[tuple[int, int]], charged: set[int], charge: int
) -> tuple[End, ...]:
    """The tethering ends of one conformer.

    +2: the two charged nitrogens farthest apart. +1: the extreme C or N along the longest axis of the heavy atoms
    where it is N or bonded to N, those of the charge first; for a nitrogen in the middle, that nitrogen itself.
    """
    if charge == 2:
        pairs = [(i, j) for i in sorted(charged) for j in sorted(charged) if i < j]
        if not pairs:
            return ()
        first, second = max(pairs, key=lambda pair: np.linalg.norm(positions[pair[0]] - positions[pair[1]]))
        axis = _unit(positions[second] - positions[first])
        return End(first, axis, second), End(second, -axis, first)
    heavy = np.flatnonzero(numbers > 1)
    nitrogens = set(np.flatnonzero(numbers == 7).tolist())
    if not nitrogens:
        return ()
    centre = positions[heavy].mean(axis=0)
    axis = np.linalg.svd(positions[heavy] - centre)[2][0] if len(heavy) > 1 else np.array([0.0, 0.0, 1.0])
    skeleton = [i for i in heavy if numbers[i] in (6, 7)]
    low, high = (int(pick(skeleton, key=lambda i: positions[i] @ axis)) for pick in (min, max))
    near = {i: {i, *(b for a, b in bonds if a == i), *(a for a, b in bonds if b == i)} for i in (low, high)}
    ends = [(i, sign * axis, other) for i, sign, other in ((low, 1.0, high), (high, -1.0, low)) if near[i] & nitrogens]
    ends = [end for end in ends if near[end[0]] & charged] or ends
    if not ends:
        middle = min(charged or nitrogens)
        return (End(middle, _unit(centre - positions[middle]), middle),)
    return tuple(End(*end) for end in ends)


def _unit(vector: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vector)
    return vector / length if length > 1e-6 else np.array([0.0, 0.0, 1.0])

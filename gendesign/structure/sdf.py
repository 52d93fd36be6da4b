"""Records of SDF and MOL files. Only coordinates are kept; bonds and stereochemistry are perceived from them later."""

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from rdkit import Chem, rdBase

from gendesign.structure.isotopes import HEAVY_HYDROGEN
from gendesign.structure.xyz import Frame

# Elements for which a record may imply hydrogens. RDKit would add them to bare metals as well.
ORGANIC = {5, 6, 7, 8, 9, 14, 15, 16, 17, 34, 35, 53}
FLAT = 1e-3  # Angstrom, largest extent of a planar structure along z
REAL_LENGTH = (0.75, 1.35)  # bond length relative to the sum of covalent radii; drawings use one length for all bonds


def read_sdf(text: str, name: str, hydrogens_needed: bool = True) -> list[Frame]:
    """Every record of an SDF text. An unusable record has a failure with the reason.

    `name` is the file in messages; `hydrogens_needed` rejects records that imply hydrogens without coordinates.
    """
    blocks = text.split("$$$$")
    if not blocks[-1].strip():
        blocks.pop()
    with rdBase.BlockLogs():
        return [_record(block, number, name, hydrogens_needed) for number, block in enumerate(blocks, start=1)]


def _record(block: str, number: int, name: str, hydrogens_needed: bool) -> Frame:
    mol = _parsed(block if number == 1 else block.removeprefix("\n"))
    if mol is None or not mol.GetNumConformers():
        return Atoms(), f"unreadable: record {number} of {name} cannot be read", ()
    if not mol.GetNumAtoms():
        return Atoms(), f"unreadable: record {number} of {name} has no atoms", ()
    atoms = Atoms([atom.GetAtomicNum() for atom in mol.GetAtoms()], mol.GetConformer().GetPositions())
    atoms.info.update(mol.GetPropsAsDict())
    atoms.info["charge"] = Chem.GetFormalCharge(mol)
    heavy = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetIsotope() and atom.GetAtomicNum()]
    if heavy:
        masses = atoms.get_masses()
        masses[heavy] = [_mass(mol.GetAtomWithIdx(i)) for i in heavy]
        atoms.set_masses(masses)
    notes = (f"read {len(heavy)} isotopes with their masses",) if heavy else ()
    return atoms, _incomplete(mol, hydrogens_needed), notes


def _parsed(block: str) -> Chem.Mol | None:
    supplier = Chem.SDMolSupplier()
    # Not sanitized: the coordinates of a molecule with invalid valences can still be used.
    supplier.SetData(block.rstrip("\n") + "\n\n$$$$\n", sanitize=False, removeHs=False)
    return next(iter(supplier), None)


def _mass(atom: Chem.Atom) -> float:
    exact = {2: HEAVY_HYDROGEN["D"], 3: HEAVY_HYDROGEN["T"]}
    if atom.GetAtomicNum() == 1 and atom.GetIsotope() in exact:
        return exact[atom.GetIsotope()]
    return Chem.GetPeriodicTable().GetMassForIsotope(atom.GetAtomicNum(), atom.GetIsotope()) or float(atom.GetIsotope())


def _incomplete(mol: Chem.Mol, hydrogens_needed: bool) -> str:
    implied = _implied_hydrogens(mol)
    if _is_drawing(mol, sum(implied.values())):
        return "flat drawing: give three-dimensional coordinates"
    if implied and hydrogens_needed:
        where = ", ".join(f"{mol.GetAtomWithIdx(i).GetSymbol()}{i + 1}" for i in list(implied)[:6])
        more = ", ..." if len(implied) > 6 else ""
        return (
            f"missing hydrogens: it implies {sum(implied.values())} hydrogens without coordinates (at {where}{more}); "
            "add them to the file, or set hydrogens=ignore for radicals"
        )
    return ""


def _implied_hydrogens(mol: Chem.Mol) -> dict[int, int]:
    """Number of hydrogens without coordinates by atom; empty for a file without bonds (geometry decides later)."""
    if not mol.GetNumBonds() and mol.GetNumAtoms() > 1:
        return {}
    mol.UpdatePropertyCache(strict=False)
    atoms = (atom for atom in mol.GetAtoms() if atom.GetAtomicNum() in ORGANIC and atom.GetNumImplicitHs())
    return {atom.GetIdx(): atom.GetNumImplicitHs() for atom in atoms}


def _is_drawing(mol: Chem.Mol, implied: int) -> bool:
    """Whether planar coordinates are a drawing: missing hydrogens, unphysical bond lengths, or planar sp3 atoms.

    The 2D or 3D tag of the file is ignored, because programs omit it or set it wrongly.
    """
    positions = mol.GetConformer().GetPositions()
    if np.ptp(positions[:, 2]) > FLAT or mol.GetNumAtoms() == 1:
        return False
    if implied and mol.GetNumAtoms() > 3:
        return True
    ends = np.array([(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds()], int).reshape(-1, 2)
    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
    lengths = np.linalg.norm(positions[ends[:, 0]] - positions[ends[:, 1]], axis=1)
    ratios = lengths / covalent_radii[numbers[ends]].sum(axis=1)
    tetrahedral = any(atom.GetDegree() >= 4 and atom.GetAtomicNum() in (6, 7, 14) for atom in mol.GetAtoms())
    return tetrahedral or bool(((ratios < REAL_LENGTH[0]) | (ratios > REAL_LENGTH[1])).any())

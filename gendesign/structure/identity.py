"""Canonical SMILES, which identify a molecule, and ring sizes."""

from functools import lru_cache

from rdkit import Chem, rdBase

from gendesign.errors import UserError


def smiles(mol: Chem.Mol, stereo: bool = False) -> str:
    """Canonical SMILES of a molecule with implicit hydrogens; `stereo` adds stereochemistry.

    The SMILES is parsed and written a second time, because the canonical form of a perceived molecule can differ from
    that of the same molecule read from SMILES.
    """
    with rdBase.BlockLogs():
        text = Chem.MolToSmiles(Chem.RemoveHs(mol), isomericSmiles=stereo)
        again = Chem.MolFromSmiles(text)
        return text if again is None else Chem.MolToSmiles(again, isomericSmiles=stereo)


@lru_cache(maxsize=1 << 17)  # a process that makes many runs asks again for the molecules that are known
def canonical_smiles(text: str, stereo: bool = False) -> str:
    """Canonical form of a SMILES, as from `smiles`. Raises UserError if RDKit cannot read it."""
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(text)
    if mol is None:
        raise UserError(f"'{text}' is not a SMILES that RDKit reads; give the SMILES of one molecule, such as CC(=O)O")
    return smiles(mol, stereo)


def ring_sizes(mol: Chem.Mol) -> tuple[int, ...]:
    """Ring sizes of the smallest set of smallest rings, ascending."""
    return tuple(sorted(len(ring) for ring in Chem.GetSSSR(mol)))

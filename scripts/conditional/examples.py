"""Make the files of docs/examples, the inputs of the examples in docs/guides/conditions.md.

python -m scripts.conditional.examples docs/examples
"""

import sys
from pathlib import Path

import numpy as np
import trimesh
from ase import Atoms
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from gendesign import load_potential, relax
from gendesign.structure.files import write_extxyz
from gendesign.structure.types import Candidate

ALIKE = """C1COCCN1 CN1CCOCC1 OCC1COCCN1 C1COCCN1C=O CC1COCCN1 O=C1COCCN1 C1CNCCN1 CN1CCNCC1 CC(=O)N1CCNCC1 OCCN1CCNCC1
C1CCNCC1 OC1CCNCC1 NC(=O)C1CCNCC1 CN1CCC(O)CC1 O=C1CCCCN1 OCC1CCCN1 OC(=O)C1CCCN1 NC(=O)C1CCCN1 O=C1CCCN1 CN1CCCC1"""
SCORE = '''"""A user-defined score: any function of the structure, and optionally of its molecule, that returns a
number."""

from rdkit.Chem import Descriptors


def polar_share(atoms, mol):
    """Topological polar surface divided by the molecular weight."""
    return Descriptors.TPSA(mol) / Descriptors.MolWt(mol)
'''


def molecule(smiles: str, seed: int = 1) -> Atoms:
    """A conformer at a minimum of the potential."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMolecule(mol, randomSeed=seed)
    rdForceFieldHelpers.MMFFOptimizeMolecule(mol)
    atoms = Atoms([a.GetSymbol() for a in mol.GetAtoms()], mol.GetConformer().GetPositions())
    return relax([atoms], load_potential("organic"))[0].atoms


def facing(atoms: Atoms, hydrogen: int, direction: np.ndarray, at: np.ndarray) -> Atoms:
    """The molecule rotated so that the bond to a hydrogen points along `direction`, with this hydrogen at `at`."""
    out = Atoms(atoms.numbers, atoms.positions)
    bearer = int(np.argmin(out.get_distances(hydrogen, np.flatnonzero(out.numbers > 1))))
    axis = out.positions[hydrogen] - out.positions[np.flatnonzero(out.numbers > 1)[bearer]]
    out.rotate(axis, direction)
    out.translate(at - out.positions[hydrogen])
    return out


def main(folder: str) -> None:
    """Write all files to `folder`."""
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    benzene, pyridine = molecule("c1ccccc1"), molecule("c1ccncc1")
    pair = [facing(benzene, 6, np.array([1.0, 0.2, 0.0]), np.zeros(3)),
            facing(pyridine, 6, np.array([-1.0, 0.3, 0.0]), np.array([4.6, 0.6, 0.0]))]  # fmt: skip
    write = {"pair": pair, "scaffold": [molecule("O=C1CCCN1Cc1ccccc1")], "guest": [benzene]}
    for name, frames in write.items():
        write_extxyz([Candidate(a, k) for k, a in enumerate(frames)], out / f"{name}.extxyz")
    (out / "alike.smi").write_text("\n".join(ALIKE.split()) + "\n")
    (out / "score.py").write_text(SCORE)
    body = trimesh.creation.icosphere(subdivisions=2, radius=1.0)
    body.apply_scale([4.5, 2.2, 2.2])
    body.export(out / "ellipsoid.stl")


if __name__ == "__main__":
    main(sys.argv[1])

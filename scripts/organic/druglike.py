"""The reference set `druglike`: molecules of MOSES, as conformers at minima of `organic`.

    python -m scripts.organic.druglike 400        # -> checkpoints/organic/druglike.extxyz
The molecules come in an order fixed by hashes, so that they are a random sample; one that resembles an earlier one is
left out. Those of MOSES's test split are not used. MOSES: MIT, Polykovskiy et al., Front. Pharmacol. 11, 565644 (2020).
"""

import sys
from collections import Counter
from itertools import batched
from pathlib import Path

from ase import Atoms
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator
from tqdm import tqdm

from gendesign.potential import load_potential
from gendesign.relaxation import Relaxation, relax
from gendesign.structure.bonds import perceive
from gendesign.structure.identity import smiles
from gendesign.train.label import write_frames
from scripts.organic.real import moses_molecule
from scripts.organic.structures import as_atoms
from scripts.organic.wheels import moses

OUT = Path("checkpoints/organic/druglike.extxyz")
SIZES = (14, 27)  # heavy atoms
ALIKE = 0.6  # Tanimoto similarity of Morgan fingerprints (radius 2) from which two molecules are alike
MINIMUM = Relaxation(max_steps=400, fmax=0.02)


def chosen(count: int) -> list[Atoms]:
    """Conformers by RDKit of `count` molecules, no two alike."""
    make = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    out, prints = [], []
    for index, text in enumerate(moses("train")):
        mol = Chem.MolFromSmiles(text)
        if not SIZES[0] <= mol.GetNumHeavyAtoms() <= SIZES[1]:
            continue
        fingerprint = make.GetFingerprint(mol)
        if prints and max(DataStructs.BulkTanimotoSimilarity(fingerprint, prints)) > ALIKE:
            continue
        embedded = moses_molecule("train", index)
        if embedded is None:
            continue
        atoms = as_atoms(embedded[1])
        atoms.info = {"smiles": smiles(Chem.RemoveHs(embedded[1]))}
        out.append(atoms)
        prints.append(fingerprint)
        if len(out) == count:
            return out
    raise SystemExit(f"MOSES holds only {len(out)} molecules that are not alike")


def main(count: int) -> None:
    """Write `count` molecules, less those that change their bonds in relaxation."""
    potential = load_potential("organic", device="cpu")
    table = []
    for batch in tqdm(list(batched(chosen(count), 20)), unit="batch"):
        for candidate, before in zip(relax(list(batch), potential, MINIMUM), batch, strict=True):
            atoms = candidate.atoms
            mol = perceive(Atoms(atoms.numbers, atoms.positions)).mol
            if candidate.failure is None and mol is not None and smiles(mol) == before.info["smiles"]:
                table.append(Atoms(atoms.numbers, atoms.positions.round(4), info=dict(before.info)))
    write_frames(OUT, table)
    elements = Counter(symbol for atoms in table for symbol in atoms.symbols)
    print(f"{len(table)} of {count} molecules kept; {dict(elements.most_common())}")


if __name__ == "__main__":
    main(int(sys.argv[1]))

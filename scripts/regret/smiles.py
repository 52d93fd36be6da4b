"""2,000 molecules of six to eight heavy atoms of QM9, from the wheel of qm9pack: smiles.py WHEEL FILE."""

import csv
import io
import random
import sys
import zipfile
from pathlib import Path

from rdkit import Chem, rdBase

COUNT, HEAVY, FIRST = 2000, (6, 7, 8), 22_000  # of the molecules with the lowest numbers
PART = "qm9pack/data/qm9_part1.csv"  # QM9 is ordered by size


def main(wheel: str, out: str) -> None:
    """Write a fixed random choice, one SMILES a line."""
    csv.field_size_limit(10**9)
    found = []
    with zipfile.ZipFile(wheel) as archive, archive.open(PART) as handle, rdBase.BlockLogs():
        for row in csv.DictReader(io.TextIOWrapper(handle)):
            mol = Chem.MolFromSmiles(row["SMILES"])
            if mol is not None and mol.GetNumHeavyAtoms() in HEAVY and "+" not in row["SMILES"]:
                found.append(row["SMILES"])
            if int(row["Index"]) > FIRST:
                break
    random.Random(0).shuffle(found)
    Path(out).write_text("\n".join(found[:COUNT]) + "\n")
    print(f"{min(COUNT, len(found))} of {len(found)} molecules")


if __name__ == "__main__":
    main(*sys.argv[1:])

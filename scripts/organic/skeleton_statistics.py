"""Measure the geometry around each kind of atom in relaxed molecules; simgen places hydrogens by this table.

python -m scripts.organic.skeleton_statistics     # reads training/train, writes the table beside simgen/skeleton.py
"""

import json
from collections import Counter, defaultdict
from pathlib import Path

import ase.io
import numpy as np
from rdkit import Chem, RDLogger
from rdkit.Chem import rdDetermineBonds

from gendesign.generate.simgen.skeleton import angle, height, kind

RDLogger.DisableLog("rdApp.*")
TABLE = Path(__file__).resolve().parents[2] / "gendesign/generate/simgen/skeleton_statistics.json"


def kekulized(atoms) -> Chem.Mol | None:
    """The molecule perceived from all atoms, without hydrogens and with explicit double bonds; None if broken."""
    text = f"{len(atoms)}\n\n" + "\n".join(
        f"{s} {x:.6f} {y:.6f} {z:.6f}" for s, (x, y, z) in zip(atoms.symbols, atoms.positions, strict=True)
    )
    mol = Chem.MolFromXYZBlock(text)
    try:
        rdDetermineBonds.DetermineBonds(mol, charge=0, maxIterations=1000)
    except (RuntimeError, ValueError):
        return None
    if len(Chem.GetMolFrags(mol)) > 1 or any(a.GetNumRadicalElectrons() for a in mol.GetAtoms()):
        return None
    mol = Chem.RemoveAllHs(mol)  # RemoveHs keeps the hydrogen of C=NH
    Chem.Kekulize(mol, clearAromaticFlags=True)
    return mol


def orders_of(mol: Chem.Mol) -> dict[tuple[int, int], int]:
    """Bond orders, with those of charge-separated bonds raised by one so that N+ counts as pentavalent."""
    orders = {}
    for bond in mol.GetBonds():
        charges = {bond.GetBeginAtom().GetFormalCharge(), bond.GetEndAtom().GetFormalCharge()}
        orders[bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()] = int(bond.GetBondTypeAsDouble()) + (charges == {1, -1})
    return orders


def main() -> None:
    """Write the table."""
    lengths, angles, heights, counts = defaultdict(list), defaultdict(list), defaultdict(list), defaultdict(Counter)
    molecules = 0
    for path in sorted(Path("training/train").glob("*.extxyz")):
        for atoms in ase.io.read(path, index=":") if path.stat().st_size else []:
            mol = kekulized(atoms) if atoms.info["kind"] == "relaxed" else None
            if mol is not None and mol.GetNumAtoms() > 1:
                molecules += 1
                measure(mol, orders_of(mol), lengths, angles, heights, counts)
    rows = {
        "molecules": molecules,
        "bond": summary(lengths),
        "angle": summary(angles),
        "height": summary(heights),
        "state": {key: dict(sorted(c.items())) for key, c in sorted(counts.items())},
    }
    TABLE.write_text(json.dumps(rows).replace("], ", "],\n ").replace("}, ", "},\n ") + "\n")
    print(molecules, {k: len(v) for k, v in rows.items() if k != "molecules"})


def measure(mol, orders, lengths, angles, heights, counts) -> None:
    """Add one molecule's bonds, angles, planarity and states to the samples."""
    x = mol.GetConformer().GetPositions()
    incident = {a: {k: o for ij, o in orders.items() if a in ij for k in ij if k != a} for a in range(len(x))}
    symbols = [a.GetSymbol() for a in mol.GetAtoms()]
    kinds = [kind(symbols[a], list(incident[a].values())) for a in range(len(x))]
    if {"S+3", "O3"} & set(kinds) or any(k == "O1" and len(incident[a]) > 1 for a, k in enumerate(kinds)):
        return  # simgen does not build ylides and carbon monoxide
    rings = [set(r) for r in mol.GetRingInfo().AtomRings() if len(r) < 8]
    for (i, j), order in orders.items():
        a, b = sorted((kinds[i], kinds[j]))
        lengths[f"{a} {b} {order}"].append(np.linalg.norm(x[i] - x[j]))
    for a, ends in incident.items():
        counts[f"{symbols[a]} {len(ends)}"][kinds[a]] += 1
        if len(ends) == 2:
            ring = min((len(r) for r in rings if {a, *ends} <= r), default=0)
            angles[f"{kinds[a]} {ring}"].append(angle(x[a], *x[list(ends)]))
        elif len(ends) == 3:
            heights[kinds[a]].append(height(x[a], x[list(ends)]))


def summary(samples: dict[str, list[float]], least: int = 4) -> dict[str, list[float]]:
    """Median, robust standard deviation (from the 10th and 90th percentiles) and count of each sample."""
    out = {}
    for key, values in sorted(samples.items()):
        if len(values) >= least:
            low, middle, high = np.percentile(values, [10, 50, 90])
            out[key] = [round(float(middle), 4), round(float(max(high - low, 1e-2) / 2.563), 4), len(values)]
    return out


if __name__ == "__main__":
    main()

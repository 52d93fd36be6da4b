"""Choose the reference molecules of the similarity kernel from the labelled minima.

    python -m scripts.organic.reference 360        # -> checkpoints/organic/reference.extxyz, training.smi
    python -m scripts.organic.reference trained    # -> training.smi only, after new labels
Molecules with reactive or exotic groups are excluded; MaxMin on Morgan fingerprints then picks a diverse set.
The file contains hydrogens and fluorine, which the kernel removes.
"""

import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator
from rdkit.SimDivFilters import rdSimDivPickers

from gendesign.structure.bonds import perceive
from gendesign.structure.identity import smiles
from gendesign.train.label import read_frames, write_frames

OUT = Path("checkpoints/organic")
# Excluded motifs: strained or reactive groups and heteroatom chains.
UNWANTED = [
    Chem.MolFromSmarts(s)
    for s in (
        "[#7,#8,#16;!a]~[#7,#8,#16;!a]~[#7,#8,#16;!a;!$(O=S);!$(O=[N+]);!$([O-])]",
        "[OX2][OX2]",
        "[OX2;!a][NX3;!a]",
        "[NX3;!a][NX3;!a]",
        "[#6]=[CX2]=*",
        "[#7,#8,#16]=[CX2]=[#7,#8,#16]",
        "N=O",
        "[N+]#[C-]",
        "[N-]=[N+]",
        "[N+]=[N-]",
        "[r3]=[r3]",
        "[R3]",
        "[SX2H]",
        "C=S",
        "[Cl,F][#7,#8,#16]",
        "[OX2H]C=C",
        "[OX2H][CX4][OX2H,NX3,SX2]",
        "[NX3;H2,H1;!a][CX4][OX2,NX3;!a]",
        "[OX2H,SX2H][#6]=[#7;!a]",
        "[NX2]=[CX3;H2,H1]",
        "[CX4]([Cl])[Cl,O,N]",
        "[SX4](F)",
        "[SX6]",
        "[N]=[N;!a]",
        "C#CO",
        "C#CN",
        "[NX3]C#N",
        "[r3]~[r3;R2]",
        "C(=O)[F,Cl]",
        "[OX2][CX2]#N",
        "N=C=O",
        "N=C=S",
        "[CX3H]=C=O",
    )
]


def minima() -> list[Atoms]:
    """The minima of the teacher among the labels."""
    frames = read_frames(sorted(Path("training/train").glob("shard-*.extxyz")))
    return [frame for frame in frames if frame.info["kind"] == "relaxed"]


def trained() -> set[str]:
    """SMILES with stereochemistry of every labelled molecule, including earlier labels that no longer exist."""
    out, seen = set((OUT / "training.smi").read_text().split()) if (OUT / "training.smi").is_file() else set(), set()
    kinds = {"train": "relaxed", "modes": "thermal", "wide": "path", "turned": "turned", "hot": None, "visited-*": None,
             "real-qm9": "path", "real-moses": "path", "real-rare": "path", "real-conjugated": "turned",
             "real-rotated": "turned"}  # fmt: skip
    for folder, kind in kinds.items():
        for frame in read_frames(sorted(Path("training").glob(f"{folder}/shard-*.extxyz"))):
            key = str(frame.info.get("molecule", ""))
            if kind is not None and (frame.info["kind"] != kind or (folder, key) in seen):
                continue
            perceived = perceive(Atoms(frame.numbers, frame.positions))
            if perceived.mol is not None:  # otherwise the next structure of the molecule is tried
                seen.add((folder, key))
                out.add(smiles(perceived.mol, stereo=True))
    return out


def write_trained() -> None:
    """Write training.smi."""
    molecules = trained()
    (OUT / "training.smi").write_text("".join(f"{text}\n" for text in sorted(molecules)))
    print(f"{len(molecules)} trained")


def main(count: int) -> None:
    """Write reference.extxyz with `count` molecules."""
    known: dict[str, tuple] = {}
    for frame in minima():
        perceived = perceive(frame)
        if perceived.mol is not None:
            known.setdefault(smiles(perceived.mol), (frame, Chem.RemoveHs(perceived.mol)))
    good = {
        key: row
        for key, row in known.items()
        if 5 <= row[1].GetNumHeavyAtoms() <= 14 and not any(row[1].HasSubstructMatch(p) for p in UNWANTED)
    }
    make = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
    prints = [make.GetFingerprint(row[1]) for row in good.values()]
    picker = rdSimDivPickers.MaxMinPicker()
    chosen = sorted(picker.LazyBitVectorPick(prints, len(prints), min(count, len(prints)), seed=7))
    table = [list(good.values())[k][0] for k in chosen]
    for frame, k in zip(table, chosen, strict=False):
        frame.info = {
            "smiles": list(good)[k],
            "energy": frame.get_potential_energy() if frame.calc else frame.info["energy"],
        }
        frame.calc = None
    OUT.mkdir(parents=True, exist_ok=True)
    write_frames(OUT / "reference.extxyz", table)
    similar = [
        max(DataStructs.BulkTanimotoSimilarity(prints[k], [prints[j] for j in chosen if j != k])) for k in chosen
    ]
    counts = np.bincount(np.concatenate([f.numbers for f in table]), minlength=18)
    print(
        f"{len(known)} minima, {len(good)} sensible, {len(table)} chosen; "
        f"nearest-neighbour Tanimoto {np.mean(similar):.2f}; "
        f"C N O F S Cl {counts[[6, 7, 8, 9, 16, 17]]}"
    )


if __name__ == "__main__":
    if sys.argv[1] != "trained":
        main(int(sys.argv[1]))
    write_trained()

"""Real molecules from two wheels of the package index: QM9 (qm9pack) and MOSES (molsets). Neither is installed.

    python -m scripts.organic.wheels        # downloads both to training/wheels and prints what they hold
QM9: 130,831 molecules of up to nine C N O F with B3LYP/6-31G(2df,p) geometries and harmonic frequencies
(Ramakrishnan et al., Sci. Data 1, 140022, 2014). MOSES: 1.6 million drug-like SMILES of 8 to 27 heavy atoms in a
training and a test part (Polykovskiy et al., Front. Pharmacol. 11, 565644, 2020).
"""

import csv
import gzip
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from ast import literal_eval
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from ase import Atoms

FOLDER = Path("training/wheels")
WHEELS = {"qm9pack": "1.0.3", "molsets": "0.3.1"}
KEPT = 30_000
COLUMNS = ("Elements", "XYZ_Ang", "Harmonic_Freq_cmi")
PARTS = ("qm9_part1.csv", "qm9_part2.csv", "qm9_part3.csv")


@dataclass(frozen=True)
class Qm9Molecule:
    """One molecule of QM9: `atoms` at the B3LYP minimum (Angstrom), harmonic `frequencies` (1/cm)."""

    index: int
    smiles: str
    atoms: Atoms
    frequencies: np.ndarray


def fetch(name: str) -> Path:
    """The wheel `name`, downloaded if it is not there yet."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    if not (files := list(FOLDER.glob(f"{name}-*.whl"))):
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", FOLDER, f"{name}=={WHEELS[name]}"]
        subprocess.run(command, check=True)
        files = list(FOLDER.glob(f"{name}-*.whl"))
    return files[0]


def _rows() -> Iterator[dict[str, str]]:
    csv.field_size_limit(10**7)
    with zipfile.ZipFile(fetch("qm9pack")) as wheel:
        for part in PARTS:
            with wheel.open(f"qm9pack/data/{part}") as handle:
                yield from csv.DictReader(io.TextIOWrapper(handle, "utf-8"))


@cache
def qm9() -> list[Qm9Molecule]:
    """The first KEPT molecules of QM9, in an order fixed by hashes."""
    path = FOLDER / "qm9.json"
    if not path.exists():
        order = sorted(_rows(), key=lambda row: shuffled(row["SMILES"]))[:KEPT]
        kept = [(int(row["Index"]), row["SMILES"], *(literal_eval(row[key]) for key in COLUMNS)) for row in order]
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(kept))
        partial.rename(path)
    return [
        Qm9Molecule(index, smiles, Atoms(symbols, np.array(positions, dtype=float)), np.array(frequencies, dtype=float))
        for index, smiles, symbols, positions, frequencies in json.loads(path.read_text())
    ]


@cache
def moses(part: str) -> list[str]:
    """SMILES of the `part` "train" or "test" of MOSES, in an order fixed by hashes."""
    with zipfile.ZipFile(fetch("molsets")) as wheel, wheel.open(f"moses/dataset/data/{part}.csv.gz") as packed:
        lines = gzip.decompress(packed.read()).decode().splitlines()[1:]
    return sorted((line.split(",")[0] for line in lines), key=shuffled)


def shuffled(text: str) -> str:
    """A key that sorts texts in an arbitrary but fixed order."""
    return hashlib.sha256(f"gendesign {text}".encode()).hexdigest()


if __name__ == "__main__":
    print(f"QM9: {len(qm9()):,} molecules kept; MOSES: {len(moses('train')):,} and {len(moses('test')):,}")

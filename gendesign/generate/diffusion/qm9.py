"""QM9 from the wheel `qm9pack` of the package index: 130,831 molecules of up to nine C N O F (B3LYP geometries).

Ramakrishnan et al., Sci. Data 1, 140022 (2014). The wheel is fetched by pip once and read as it is; its code is not
installed.
"""

import csv
import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers

from gendesign.errors import UserError
from gendesign.packages import engines_folder

NAME, VERSION = "qm9pack", "1.0.3"
PARTS = ("qm9_part1.csv", "qm9_part2.csv", "qm9_part3.csv")
BRACKETS = str.maketrans("[],'\"", "     ")


def wheel() -> Path:
    """The wheel, fetched if it is not there yet (104 MB); raises UserError where that fails."""
    folder = engines_folder() / NAME
    if found := sorted(folder.glob(f"{NAME}-*.whl")):
        return found[-1]
    folder.mkdir(parents=True, exist_ok=True)
    print(f"gendesign: fetching QM9 ({NAME} {VERSION}, 104 MB) into {folder}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), f"{NAME}=={VERSION}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode or not (found := sorted(folder.glob(f"{NAME}-*.whl"))):
        raise UserError(
            f"data=qm9: pip could not download {NAME}=={VERSION} to {folder}; put the wheel there, or give files of "
            "molecules instead"
        )
    return found[-1]


def _rows(path: Path) -> Iterator[dict[str, str]]:
    csv.field_size_limit(10**7)
    with zipfile.ZipFile(path) as archive:
        for part in PARTS:
            with archive.open(f"{NAME}/data/{part}") as handle:
                yield from csv.DictReader(io.TextIOWrapper(handle, "utf-8"))


def read() -> dict[str, np.ndarray]:
    """Arrays of all molecules: numbers (atoms,), positions (atoms, 3) in Angstrom, counts and smiles (molecules,).

    The first call reads the wheel, which takes a minute, and keeps qm9.npz beside it.
    """
    path = wheel().parent / "qm9.npz"
    if not path.exists():
        numbers, positions, counts, smiles = [], [], [], []
        for row in _rows(wheel()):
            symbols = row["Elements"].translate(BRACKETS).split()
            numbers.append(np.array([atomic_numbers[s] for s in symbols], np.uint8))
            positions.append(np.array(row["XYZ_Ang"].translate(BRACKETS).split(), np.float32).reshape(-1, 3))
            counts.append(len(symbols))
            smiles.append(row["SMILES"])
        partial = path.with_name("qm9.partial.npz")
        np.savez(
            partial, numbers=np.concatenate(numbers), positions=np.concatenate(positions),
            counts=np.array(counts, np.int32), smiles=np.array("\n".join(smiles)),
        )  # fmt: skip
        os.replace(partial, path)
    with np.load(path) as saved:
        arrays = dict(saved)
    arrays["smiles"] = np.array(str(arrays["smiles"]).split("\n"))
    return arrays

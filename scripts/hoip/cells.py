"""Relax crystals by the rough teacher: its own lattices, beside which those of `hoip` are to be seen.

    python scripts/hoip/cells.py FILE ...      # structures with info `material` (BA2PbI4, PEA2PbI4, CsPbI3 ...)
Writes scripts/hoip/teacher_cells.extxyz, which perovskites.teacher_cells takes; those that are in it stay.
Needs what the rough teacher needs, see README.md.
"""

import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import ase.io  # noqa: E402
import numpy as np  # noqa: E402
from ase import Atoms, units  # noqa: E402
from ase.filters import FrechetCellFilter  # noqa: E402
from ase.optimize import FIRE  # noqa: E402
from teachers import ROUGH, Rough  # noqa: E402

OUT = Path(__file__).with_name("teacher_cells.extxyz")
FMAX, STEPS = 0.02, 400


def relaxed(atoms: Atoms) -> Atoms:
    """The teacher's minimum near `atoms`, cell and all, with what is left of forces and stress."""
    work = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
    work.calc = Rough()
    FIRE(FrechetCellFilter(work), logfile=None, maxstep=0.15).run(fmax=FMAX, steps=STEPS)
    out = Atoms(work.numbers, work.positions, cell=work.cell, pbc=True)
    out.info = {
        "material": atoms.info["material"],
        "layers": int(atoms.info.get("layers", 1)),
        "teacher": f"{ROUGH} + D3(BJ)",
        "energy": float(work.get_potential_energy()),
        "fmax": float(np.linalg.norm(work.get_forces(), axis=1).max()),
        "stress_max": float(np.abs(work.get_stress()).max() / units.GPa),
    }
    return out


def main(*files: str) -> None:
    """Relax every structure of `files` whose material the output lacks."""
    done = {atoms.info["material"]: atoms for atoms in (ase.io.read(OUT, ":") if OUT.is_file() else [])}
    for file in files:
        for atoms in ase.io.read(file, ":"):
            if atoms.info["material"] not in done:
                done[atoms.info["material"]] = relaxed(atoms)
                ase.io.write(OUT, list(done.values()), format="extxyz")
                print({k: v for k, v in done[atoms.info["material"]].info.items()}, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

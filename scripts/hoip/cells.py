"""Relax crystals by the density-functional teacher: its own lattices, beside which those of `hoip` are to be seen.

    python -m scripts.hoip.cells FILE ...      # structures with info `material` (BA2PbI4, PEA2PbI4, CsPbI3 ...)
Writes scripts/hoip/teacher_cells.extxyz, which perovskites.teacher_cells takes; those that are in it stay.
POTENTIAL (hoip) makes the steps between two calls of the teacher; `tuned` is what finetune.py made, nearer to the
teacher and slower. An unconverged crystal (info fmax, stress_max) is continued when it is given again; the best one,
by these two, is kept. Needs CP2K, see README.md.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import ase.io
import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.singlepoint import SinglePointCalculator
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE

from gendesign.potential import load_potential
from gendesign.train.label import write_frames
from scripts.hoip.label import TUNED_WEIGHTS
from scripts.hoip.teachers import Universal, cp2k

OUT = Path(__file__).with_name("teacher_cells.extxyz")
# eV/Angstrom and GPa: what a minimum of the teacher may have left. Its grid moves the forces of nitrogen by 0.1: led by
# the tuned potential, (BA)2PbI4 went from 0.28 to 0.11, 0.08 and 0.06 and then stayed between 0.08 and 0.11.
FMAX, STRESS = 0.1, 0.1
CALLS, STEPS = 8, 300  # of the teacher, and of the potential between two of them
FARTHEST = 0.05  # change of the volume between two calls


class Corrected(Calculator):
    """The potential, its forces and stress moved by what the teacher's differ from them at one geometry.

    Its minimum is where the teacher's would be if both were equally stiff: a Newton step with the potential's Hessian.
    There is no energy to these forces but to first order, so it is for optimizers that follow forces.
    """

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, potential: Calculator, forces: np.ndarray, stress: np.ndarray) -> None:
        super().__init__()
        self.potential, self.moved = potential, (forces, stress)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.potential.calculate(self.atoms, ["energy", "forces", "stress"], all_changes)
        found = self.potential.results
        self.results = {
            "energy": found["energy"],
            "forces": found["forces"] + self.moved[0],
            "stress": found["stress"] + self.moved[1],
        }


def left(atoms: Atoms) -> float:
    """The force and stress left in a crystal, relative to what a minimum may have: below 1 it is one."""
    return max(atoms.info["fmax"] / FMAX, atoms.info["stress_max"] / STRESS)


def relaxed(atoms: Atoms, potential: Calculator) -> Iterator[Atoms]:
    """On the way to the teacher's minimum near `atoms`, cell and all: each call's crystal with what is left in it."""
    work = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
    for call in range(1, CALLS + 1):
        asked = call == 1 and "teacher" in atoms.info and atoms.calc is not None  # already, before the file was written
        taught = {"teacher": atoms.info["teacher"], **atoms.calc.results} if asked else cp2k(work)
        fmax = float(np.linalg.norm(taught["forces"], axis=1).max())
        stress = float(np.abs(taught["stress"]).max() / units.GPa)
        print(f"{atoms.info['material']}, call {call}: {fmax:.3f} eV/Angstrom, {stress:.3f} GPa", flush=True)
        out = Atoms(work.numbers, work.positions, cell=work.cell, pbc=True)
        out.info = {
            "material": atoms.info["material"],
            "layers": int(atoms.info.get("layers", 1)),
            "teacher": str(taught["teacher"]),
            "fmax": fmax,
            "stress_max": stress,
            "calls": call,
        }
        out.calc = SinglePointCalculator(out, **{key: taught[key] for key in ("energy", "forces", "stress")})
        yield out
        if left(out) < 1 or call == CALLS:
            return
        potential.calculate(work, ["energy", "forces", "stress"], all_changes)
        own = potential.results
        work.calc = Corrected(potential, taught["forces"] - own["forces"], taught["stress"] - own["stress"])
        before = work.get_volume()
        for _ in FIRE(FrechetCellFilter(work), logfile=None, maxstep=0.1).irun(fmax=0.003, steps=STEPS):
            if abs(work.get_volume() / before - 1) > FARTHEST:  # where the teacher should be asked again
                break


def main(*files: str) -> None:
    """Relax every structure of `files` whose material the output lacks or has unconverged."""
    name = os.environ.get("POTENTIAL", "hoip")
    potential = Universal(TUNED_WEIGHTS) if name == "tuned" else load_potential(name, dtype="float64").as_ase()
    done = {atoms.info["material"]: atoms for atoms in (ase.io.read(OUT, ":") if OUT.is_file() else [])}
    for file in files:
        for atoms in ase.io.read(file, ":"):
            material = atoms.info["material"]
            if material in done and left(done[material]) < 1:
                continue
            for one in relaxed(done.get(material, atoms), potential):
                if material not in done or left(one) < left(done[material]):
                    done[material] = one
                    write_frames(OUT, list(done.values()))


if __name__ == "__main__":
    main(*sys.argv[1:])

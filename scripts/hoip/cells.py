"""Relax crystals by the density-functional teacher, for comparison with the lattices of `hoip`.

    python -m scripts.hoip.cells FILE ...      # structures with info `material` (BA2PbI4, PEA2PbI4, CsPbI3 ...)
Adds the crystals to scripts/hoip/teacher_cells.extxyz, the input of perovskites.teacher_cells. The environment variable
POTENTIAL (default hoip) selects the potential for the steps between two calls of the teacher; `tuned` is the result of
finetune.py, which is closer to the teacher and slower. An unconverged crystal (info fmax, stress_max) is continued; the
best one by these two values is kept. Needs CP2K, see README.md.
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
# eV/Angstrom and GPa: convergence of a minimum of the teacher. Its grid changes the forces on nitrogen by 0.1: with the
# tuned potential, (BA)2PbI4 went from 0.28 to 0.11, 0.08 and 0.06 and then stayed between 0.08 and 0.11.
FMAX, STRESS = 0.1, 0.1
CALLS, STEPS = 8, 300  # largest number of calls of the teacher, and of steps of the potential between two of them
FARTHEST = 0.05  # largest relative change of the volume between two calls


class Corrected(Calculator):
    """A potential whose forces and stress are shifted by the difference from the teacher at one geometry.

    Its minimum is that of the teacher if both have the same Hessian: a Newton step with the Hessian of the potential.
    The energy is consistent with the forces to first order only, so that only optimizers based on forces can be used.
    """

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, potential: Calculator, forces: np.ndarray, stress: np.ndarray) -> None:
        super().__init__()
        self.potential, self.shifts = potential, (forces, stress)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.potential.calculate(self.atoms, ["energy", "forces", "stress"], all_changes)
        uncorrected = self.potential.results
        self.results = {
            "energy": uncorrected["energy"],
            "forces": uncorrected["forces"] + self.shifts[0],
            "stress": uncorrected["stress"] + self.shifts[1],
        }


def residual(atoms: Atoms) -> float:
    """The largest force and stress of a crystal relative to their convergence limits; below 1 it is converged."""
    return max(atoms.info["fmax"] / FMAX, atoms.info["stress_max"] / STRESS)


def relaxed(atoms: Atoms, potential: Calculator) -> Iterator[Atoms]:
    """Relax atoms and cell to the teacher's minimum near `atoms`; yields the crystal of each call of the teacher."""
    work = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
    for call in range(1, CALLS + 1):
        known = call == 1 and "teacher" in atoms.info and atoms.calc is not None  # the file holds the first result
        taught = {"teacher": atoms.info["teacher"], **atoms.calc.results} if known else cp2k(work)
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
        if residual(out) < 1 or call == CALLS:
            return
        potential.calculate(work, ["energy", "forces", "stress"], all_changes)
        results = potential.results
        work.calc = Corrected(potential, taught["forces"] - results["forces"], taught["stress"] - results["stress"])
        before = work.get_volume()
        for _ in FIRE(FrechetCellFilter(work), logfile=None, maxstep=0.1).irun(fmax=0.003, steps=STEPS):
            if abs(work.get_volume() / before - 1) > FARTHEST:  # the correction is no longer valid
                break


def main(*files: str) -> None:
    """Relax every structure of `files` whose material is missing in the output or not converged."""
    name = os.environ.get("POTENTIAL", "hoip")
    potential = Universal(TUNED_WEIGHTS) if name == "tuned" else load_potential(name, dtype="float64").as_ase()
    done = {atoms.info["material"]: atoms for atoms in (ase.io.read(OUT, ":") if OUT.is_file() else [])}
    for file in files:
        for atoms in ase.io.read(file, ":"):
            material = atoms.info["material"]
            if material in done and residual(done[material]) < 1:
                continue
            for crystal in relaxed(done.get(material, atoms), potential):
                if material not in done or residual(crystal) < residual(done[material]):
                    done[material] = crystal
                    write_frames(OUT, list(done.values()))


if __name__ == "__main__":
    main(*sys.argv[1:])

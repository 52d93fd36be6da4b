"""Energies, forces and speed of a folder with pair.in, by LAMMPS."""

import math
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import make_supercell
from ase.calculators.lammps import Prism
from ase.io.lammpsdata import write_lammps_data

from gendesign.errors import UserError
from gendesign.lammps.locate import executable
from gendesign.lammps.pair import pair_commands, pair_elements

HEAD = ("units metal", "atom_style atomic", "boundary p p p", "box tilt large")
ENERGY = re.compile(r"^ENERGY (\S+)", re.MULTILINE)
LOOP = re.compile(r"Loop time of (\S+) on \d+ procs for (\d+) steps with (\d+) atoms")
USED = re.compile(r"([\d.]+)% CPU use")
TIMED_ATOMS, TIMED_STEPS = 500, 100
LONGEST = 200  # characters of an error of LAMMPS


def run_script(script: str, folder: Path) -> str:
    """What LAMMPS prints for an input script in `folder`; raises UserError with its error in one line."""
    program, environment = executable()
    words = [str(program), "-log", "none", "-nocite"]
    done = subprocess.run(words, input=script, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if "ERROR" in line] or done.stderr.splitlines()[-1:]
        error = " ".join((lines or [f"status {done.returncode}"])[0].split())[:LONGEST]
        raise UserError(f"LAMMPS failed in {folder}: {error}")
    return done.stdout


def write_data(atoms: Atoms, path: Path, species: Sequence[str]) -> Prism:
    """A data file of a periodic structure whose types are `species`; the rotation to LAMMPS's axes.

    Raises UserError for elements that are not among them.
    """
    if lacking := sorted(set(atoms.get_chemical_symbols()) - set(species)):
        raise UserError(
            f"{atoms.get_chemical_formula()} has {', '.join(lacking)}; the potential has {' '.join(species)}"
        )
    prism = Prism(atoms.cell.array, pbc=True)
    with open(path, "w") as file:
        write_lammps_data(file, atoms, specorder=list(species), masses=True, prismobj=prism)
    return prism


def evaluate(folder: Path, frames: Sequence[Atoms]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Energies (frames,) in eV and forces [(atoms, 3)] in eV/Angstrom of periodic structures by the potential there."""
    with tempfile.TemporaryDirectory() as name:
        place, prisms, script = Path(name), [], []
        species, commands = pair_elements(folder), pair_commands(folder)
        for k, atoms in enumerate(frames):
            prisms.append(write_data(atoms, place / f"{k}.data", species))
            script += ["clear", *HEAD, f"read_data {k}.data", *commands, "run 0 post no", 'print "ENERGY $(pe:%.14g)"',
                       f"write_dump all custom {k}.dump id fx fy fz modify sort id format float %.12g"]  # fmt: skip
        text = run_script("\n".join(script) + "\n", place)
        energies = np.array([float(word) for word in ENERGY.findall(text)])
        forces = [
            prism.vector_to_ase(np.loadtxt(place / f"{k}.dump", skiprows=9, ndmin=2)[:, 1:])
            for k, prism in enumerate(prisms)
        ]
    return energies, forces


def seconds_per_atom(folder: Path, atoms: Atoms, steps: int = TIMED_STEPS) -> tuple[float, int]:
    """CPU seconds per atom and step of dynamics at 300 K on one core, and the number of atoms it was measured with."""
    large = enlarged(atoms, TIMED_ATOMS)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        write_data(large, place / "start.data", pair_elements(folder))
        script = [*HEAD, "read_data start.data", *pair_commands(folder),
                  "velocity all create 300 1 dist gaussian", "fix move all nve", "timestep 0.0005", "thermo 1000000",
                  f"run {steps}"]  # fmt: skip
        text = run_script("\n".join(script) + "\n", place)
    loop, used = LOOP.search(text), USED.search(text)
    if loop is None or used is None:
        raise RuntimeError("LAMMPS printed no time of its loop")
    return float(loop[1]) * float(used[1]) / 100 / (int(loop[2]) * int(loop[3])), len(large)


def enlarged(atoms: Atoms, size: int) -> Atoms:
    """The structure repeated to about `size` atoms or more, its shortest edges first."""
    times = np.ones(3, dtype=int)
    while len(atoms) * math.prod(times) < size:
        times[int(np.argmin(atoms.cell.lengths() * times))] += 1
    plain = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
    return make_supercell(plain, np.diag(times))

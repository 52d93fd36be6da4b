"""CP2K as teacher of crystals: PBE-D3(BJ) in Gaussian and plane waves (Debian packages cp2k and cp2k-data)."""

import math
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from gendesign.errors import UserError
from gendesign.fields import setting
from gendesign.structure.perovskite import METALS
from gendesign.train.teacher import Attempt, Teacher

ELECTRONS = {"H": 1, "C": 4, "N": 5, "O": 6, "Cl": 7, "Br": 7, "I": 7, "Sn": 4, "Pb": 4, "Cs": 9}
ABOUT = "CP2K(PBE-D3(BJ), DZVP-MOLOPT-SR-GTH, {cutoff:.0f} Ry, k {density:g}/Angstrom, Fermi {smearing:g} eV)"
PROGRAM = "cp2k.psmp"
CARBON, CAESIUM = 6, 55
LONG = 11.0  # Angstrom; along a longer third axis, the stacking of layers, bands are flat and one k-point suffices

INPUT = """&GLOBAL
 PROJECT label
 RUN_TYPE ENERGY_FORCE
 PRINT_LEVEL LOW
&END
&FORCE_EVAL
 METHOD QS
 STRESS_TENSOR ANALYTICAL
 &DFT
  BASIS_SET_FILE_NAME BASIS_MOLOPT
  POTENTIAL_FILE_NAME GTH_POTENTIALS
  {spin}
  &QS
   EPS_DEFAULT {eps}
  &END
  &MGRID
   CUTOFF {cutoff}
   REL_CUTOFF 40
  &END
  {kpoints}
  &SCF
   SCF_GUESS ATOMIC
   EPS_SCF {converged}
   MAX_SCF {steps}
   ADDED_MOS {added}
   &DIAGONALIZATION
    ALGORITHM STANDARD
   &END
   &MIXING
    METHOD BROYDEN_MIXING
    ALPHA {alpha}
    NBUFFER 8
   &END
   &SMEAR ON
    METHOD FERMI_DIRAC
    ELECTRONIC_TEMPERATURE [K] {kelvin:.2f}
    {moment}
   &END
  &END
  &XC
   &XC_FUNCTIONAL PBE
   &END
   &VDW_POTENTIAL
    POTENTIAL_TYPE PAIR_POTENTIAL
    &PAIR_POTENTIAL
     TYPE DFTD3(BJ)
     PARAMETER_FILE_NAME dftd3.dat
     REFERENCE_FUNCTIONAL PBE
    &END
   &END
  &END
 &END
 &SUBSYS
  &CELL
{cell}
  &END
  &COORD
{positions}
  &END
{kinds}
 &END
 &PRINT
  &FORCES ON
  &END
  &STRESS_TENSOR ON
  &END
 &END
&END
"""
KIND = "  &KIND {0}\n   ELEMENT {0}\n   BASIS_SET DZVP-MOLOPT-SR-GTH\n   POTENTIAL GTH-PBE-q{1}\n  &END"


class Failed(CalculationFailed):
    """CP2K failed; the message is the reason."""


def kpoints(atoms: Atoms, density: float) -> tuple[int, int, int]:
    """Monkhorst-Pack points per axis for `density` points per 1/Angstrom of a reciprocal vector.

    There is one point along a third axis longer than LONG in organic crystals, whose layers are separated.
    """
    reciprocal = 2 * math.pi * np.linalg.norm(np.linalg.inv(atoms.cell.array), axis=0)
    counts = [max(1, math.ceil(density * length - 1e-9)) for length in reciprocal]
    apart = 2 * math.pi / reciprocal[2] > LONG and organic(atoms)
    return counts[0], counts[1], 1 if apart else counts[2]


def usual_density(atoms: Atoms) -> float:
    """Density of k-points of a label, in points per 1/Angstrom.

    It is 4 with metals, 6 for caesium perovskites, whose bands are flat along no axis, and 2 for salts, whose bands are
    flat along all axes.
    """
    if not np.isin(atoms.numbers, METALS).any():
        return 2.0
    return 6.0 if (atoms.numbers == CAESIUM).any() and not organic(atoms) else 4.0


def organic(atoms: Atoms) -> bool:
    """Whether there are molecules among the atoms."""
    return bool((atoms.numbers == CARBON).any())


def cp2k(
    atoms: Atoms,
    *,
    cutoff: float = 400.0,
    density: float | None = None,
    smearing: float = 0.05,
    eps: float = 1e-8,
    converged: float = 1e-5,
    unpaired: int = 0,
    command: str = PROGRAM,
) -> dict[str, np.ndarray | float | str | int]:
    """Energy (eV), forces (eV/Angstrom), stress (6,) (eV/Angstrom^3, positive under tension) of periodic atoms.

    The result also has `entropy` (eV), which is -TS of the electrons, and `scf_steps`.

    cutoff: of the density grid, Ry. density: of k-points, see `kpoints`; None for `usual_density`. smearing: eV. eps,
    converged: CP2K's EPS_DEFAULT and EPS_SCF. unpaired: number of unpaired electrons. Raises Failed if the SCF does not
    converge after a second attempt with slower mixing.
    """
    reasons = []
    if density is None:
        density = usual_density(atoms)
    for alpha, steps in ((0.4, 50), (0.1, 120)):
        try:
            return _once(atoms, cutoff, density, smearing, eps, converged, unpaired, alpha, steps, command)
        except Failed as error:
            reasons.append(str(error))
    raise Failed(reasons[-1])


def _once(atoms, cutoff, density, smearing, eps, converged, unpaired, alpha, steps, command):
    symbols = atoms.get_chemical_symbols()
    counts = kpoints(atoms, density)
    mesh = "" if counts == (1, 1, 1) else (
        f"&KPOINTS\n   SCHEME MONKHORST-PACK {counts[0]} {counts[1]} {counts[2]}\n   FULL_GRID F\n   SYMMETRY F\n  &END"
    )  # fmt: skip
    electrons = sum(ELECTRONS[symbol] for symbol in symbols)
    text = INPUT.format(
        eps=eps,
        cutoff=cutoff,
        kpoints=mesh,
        converged=converged,
        steps=steps,
        alpha=alpha,
        added=max(4, electrons // 8),
        kelvin=smearing / units.kB,
        spin=f"UKS\n  MULTIPLICITY {unpaired + 1}" if unpaired else "",
        moment=f"FIXED_MAGNETIC_MOMENT {unpaired}" if unpaired else "",
        cell="\n".join(
            f"   {n} {v[0]:.9f} {v[1]:.9f} {v[2]:.9f}" for n, v in zip("ABC", atoms.cell.array, strict=True)
        ),
        positions="\n".join(
            f"   {s} {x[0]:.9f} {x[1]:.9f} {x[2]:.9f}" for s, x in zip(symbols, atoms.positions, strict=True)
        ),
        kinds="\n".join(KIND.format(s, ELECTRONS[s]) for s in sorted(set(symbols))),
    )
    with TemporaryDirectory(prefix="cp2k-") as folder:
        (Path(folder) / "label.inp").write_text(text)
        subprocess.run(
            [*shlex.split(command), "-i", "label.inp", "-o", "label.out"],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        written = Path(folder) / "label.out"
        output = written.read_text(errors="replace") if written.exists() else ""
    return {**parsed(output, len(atoms)), "teacher": ABOUT.format(cutoff=cutoff, density=density, smearing=smearing)}


def parsed(output: str, n: int) -> dict[str, np.ndarray | float | int]:
    """Results from the output of CP2K for `n` atoms, in eV and Angstrom. Raises Failed without complete results."""
    if "SCF run converged" not in output:
        last = [line.strip(" *") for line in output.splitlines() if line.strip(" *")]
        reason = "no convergence" if "SCF run NOT converged" in output else " ".join(last[-4:])[-160:]
        raise Failed(reason or "no output")
    energy = re.search(r"ENERGY\| Total FORCE_EVAL.*?(-?\d+\.\d+)\s*$", output, re.MULTILINE)
    forces = re.findall(r"^\s+\d+\s+\d+\s+[A-Z][a-z]?((?:\s+-?\d+\.\d+){3})\s*$", output, re.MULTILINE)
    entropy = re.search(r"Electronic entropic energy:\s+(-?\d+\.\d+)", output)
    stress = re.search(r"STRESS\|\s+x\s+y\s+z\s*\n((?:\s*STRESS\|\s+[xyz].*\n){3})", output)
    if energy is None or len(forces) != n or stress is None:
        raise Failed(f"output without {'energy' if energy is None else 'forces' if len(forces) != n else 'stress'}")
    # CP2K prints the pressure tensor in GPa
    tensor = -np.array([[float(x) for x in line.split()[2:5]] for line in stress[1].splitlines()]) * units.GPa
    return {
        "energy": float(energy[1]) * units.Hartree,
        "forces": np.array([row.split() for row in forces], dtype=float) * units.Hartree / units.Bohr,
        "stress": full_3x3_to_voigt_6_stress(tensor),
        "entropy": float(entropy[1]) * units.Hartree if entropy else 0.0,
        "scf_steps": len(re.findall(r"^\s+\d+ \S+Diag", output, re.MULTILINE)),
    }


@dataclass(frozen=True, kw_only=True)
class Cp2k(Teacher):
    """PBE-D3(BJ) by CP2K, with stress, for crystals of the elements in ELECTRONS."""

    molecules: ClassVar[bool] = False
    most_per_shard: ClassVar[int | None] = 1
    cutoff: float = setting(400.0, "cutoff of the density grid", unit="Ry", above=0)
    kpoints_density: float | None = setting(
        None, "k-points per 1/Angstrom along each reciprocal vector; null: 4, 6 for caesium and 2 for salts", above=0
    )
    smearing: float = setting(0.05, "width of the Fermi-Dirac occupations", unit="eV", above=0)
    command: str = setting(PROGRAM, "how to start CP2K, such as mpirun -np 4 cp2k.psmp", identity=False)

    @cached_property
    def title(self) -> str:
        return "CP2K"

    def elements(self) -> frozenset[str]:
        return frozenset(ELECTRONS)

    def check(self, symbols: frozenset[str]) -> None:
        """Raise UserError unless CP2K is there and knows the elements."""
        if shutil.which(word := shlex.split(self.command)[0]) is None:
            raise UserError(
                f"teacher=cp2k: there is no program {word}; install it (Debian: apt install cp2k cp2k-data) or say how "
                "to start it with teacher.command"
            )
        super().check(symbols)

    def attempts(self, atoms: Atoms, scratch: Path | None) -> Iterator[Attempt]:
        yield _Cp2kCalculator(self), {}


class _Cp2kCalculator(Calculator):
    """One single point."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "stress"]

    def __init__(self, teacher: Cp2k):
        super().__init__()
        self.teacher = teacher

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """Energy, forces and stress of `atoms` by CP2K."""
        super().calculate(atoms, properties, system_changes)
        how = dict(cutoff=self.teacher.cutoff, density=self.teacher.kpoints_density, smearing=self.teacher.smearing)
        answer = cp2k(self.atoms, **how, command=self.teacher.command)
        self.results = {key: answer[key] for key in ("energy", "forces", "stress")}

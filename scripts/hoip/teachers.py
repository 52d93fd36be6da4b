"""The teachers of `hoip`: PBE-D3(BJ) by CP2K, and universal potentials with D3(BJ) for large numbers of labels.

CP2K: Debian packages cp2k and cp2k-data. The universal potential: PyPI packages sevenn (MIT licence, weights in the
package, trained on PBE of Materials Project trajectories) and dftd3. sevenn needs another version of e3nn than mace:
install it in a separate environment or folder (pip install --target, PYTHONPATH).
"""

import math
import os
import re
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from gendesign.structure.perovskite import METALS

ELECTRONS = {"H": 1, "C": 4, "N": 5, "O": 6, "Cl": 7, "Br": 7, "I": 7, "Sn": 4, "Pb": 4, "Cs": 9}
ABOUT = "CP2K(PBE-D3(BJ), DZVP-MOLOPT-SR-GTH, {cutoff:.0f} Ry, k {density:g}/Angstrom, Fermi {smearing:g} eV)"
CARBON, CAESIUM = 6, 55
METALLIC = -0.01  # eV; a crystal with a lower -TS of the electrons is metallic: PBE transfers charge between its ions
LONG = 11.0  # Angstrom; along a longer third axis, the stacking of layers, bands are flat and one k-point suffices
ROUGH = "7net-mf-0"  # three times as fast as 7net-l3i5
TUNED = "7net-l3i5"  # closer to CP2K, before and after tuning

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


class Failed(Exception):
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
            return _once(atoms, cutoff, density, smearing, eps, converged, unpaired, alpha, steps)
        except Failed as error:
            reasons.append(str(error))
    raise Failed(reasons[-1])


def _once(atoms, cutoff, density, smearing, eps, converged, unpaired, alpha, steps):
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
            ["cp2k.psmp", "-i", "label.inp", "-o", "label.out"],
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


def dispersion(atoms: Atoms) -> dict[str, np.ndarray | float]:
    """D3(BJ) for PBE with two-body terms as in CP2K: energy, forces and stress in eV and Angstrom."""
    from dftd3.interface import DispersionModel, RationalDampingParam

    lengths = (atoms.positions / units.Bohr, atoms.cell.array / units.Bohr)
    model = DispersionModel(atoms.numbers, *lengths, atoms.pbc)
    model.set_realspace_cutoff(disp2=40.0, disp3=1.0, cn=25.0)
    result = model.get_dispersion(RationalDampingParam(method="pbe", atm=False), grad=True)
    return {
        "energy": float(result["energy"]) * units.Hartree,
        "forces": -result["gradient"] * units.Hartree / units.Bohr,
        "stress": full_3x3_to_voigt_6_stress(result["virial"]) * units.Hartree / atoms.get_volume(),
    }


class Universal(Calculator):
    """A universal potential with dispersion, as published or tuned to labels by CP2K (finetune.py)."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, tuned: Path | None = None):
        super().__init__()
        self.inner, self.elements = universal(ROUGH) if tuned is None else tuned_universal(tuned)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.inner.calculate(self.atoms, ["energy", "forces", "stress"], all_changes)
        shifts = {"energy": sum(self.elements.get(int(z), 0.0) for z in self.atoms.numbers)}
        self.results = {
            name: self.inner.results[name] + value + shifts.get(name, 0.0)
            for name, value in dispersion(self.atoms).items()
        }


@cache
def universal(name: str):
    """(SevenNet's calculator of a bundled potential, energies of the elements, which are empty)."""
    import torch
    from sevenn.calculator import SevenNetCalculator

    torch.set_num_threads(1)
    return SevenNetCalculator(name, modal="PBE" if "mf" in name else None, device="cpu"), {}


@cache
def tuned_universal(path: Path):
    """(calculator of TUNED with the weights of finetune.py, energies of the elements that align it with CP2K)."""
    import torch

    calculator, _ = universal(TUNED)
    kept = torch.load(path, weights_only=True, map_location="cpu")
    calculator.model.load_state_dict(kept["weights"])
    return calculator, kept["elements"]

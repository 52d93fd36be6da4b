"""Elastic constants from stresses of strained cells with relaxed atoms."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.optimize import FIRE
from ase.units import GPa

MOST_STEPS = 500
VOIGT = ("xx", "yy", "zz", "yz", "xz", "xy")


@dataclass(frozen=True)
class Elastic:
    """Stiffness (6, 6) in GPa in Voigt order xx yy zz yz xz xy, symmetrised. asymmetry: largest difference of the two
    halves before that, GPa."""

    stiffness: np.ndarray
    asymmetry: float

    @property
    def bulk(self) -> tuple[float, float, float]:
        """Bulk modulus in GPa by Voigt, Reuss and Hill."""
        c, s = self.stiffness, np.linalg.inv(self.stiffness)
        voigt, reuss = float(c[:3, :3].sum() / 9), float(1 / s[:3, :3].sum())
        return voigt, reuss, (voigt + reuss) / 2

    @property
    def shear(self) -> tuple[float, float, float]:
        """Shear modulus in GPa by Voigt, Reuss and Hill."""
        c, s = self.stiffness, np.linalg.inv(self.stiffness)

        def parts(m: np.ndarray) -> tuple[float, float, float]:
            return np.trace(m[:3, :3]), m[0, 1] + m[0, 2] + m[1, 2], np.trace(m[3:, 3:])

        (a, b, d), (e, f, g) = parts(c), parts(s)
        voigt, reuss = float((a - b + 3 * d) / 15), float(15 / (4 * e - 4 * f + 3 * g))
        return voigt, reuss, (voigt + reuss) / 2

    @property
    def young(self) -> float:
        """Young's modulus in GPa of the isotropic average (Hill)."""
        bulk, shear = self.bulk[2], self.shear[2]
        return 9 * bulk * shear / (3 * bulk + shear)

    @property
    def poisson(self) -> float:
        """Poisson's ratio of the isotropic average (Hill)."""
        bulk, shear = self.bulk[2], self.shear[2]
        return (3 * bulk - 2 * shear) / (2 * (3 * bulk + shear))


def elastic_constants(
    atoms: Atoms,
    calculator: Calculator,
    strain: float = 0.005,
    fmax: float = 0.01,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Elastic:
    """Central differences of the stress over +-`strain` in six directions; atoms relaxed to `fmax` (eV/Angstrom).

    Shear strains are engineering strains: `strain` is twice the off-diagonal element.
    """
    start = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
    start.calc = calculator
    FIRE(start, logfile=None).run(fmax=fmax, steps=MOST_STEPS)
    stiffness = np.empty((6, 6))
    for component in range(6):
        stress = []
        for sign in (1, -1):
            strained = start.copy()
            strained.set_cell(start.cell.array @ (np.eye(3) + voigt_matrix(component, sign * strain)), scale_atoms=True)
            strained.calc = calculator
            FIRE(strained, logfile=None).run(fmax=fmax, steps=MOST_STEPS)
            stress.append(strained.get_stress() / GPa)
            report(2 * component + (sign < 0) + 1, 12)
        stiffness[:, component] = (stress[0] - stress[1]) / (2 * strain)
    asymmetry = float(np.abs(stiffness - stiffness.T).max())
    return Elastic((stiffness + stiffness.T) / 2, asymmetry)


def voigt_matrix(component: int, size: float) -> np.ndarray:
    """The symmetric strain (3, 3) of one Voigt component; engineering strain for shear."""
    strain = np.zeros((3, 3))
    row, column = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))[component]
    strain[row, column] = strain[column, row] = size if row == column else size / 2
    return strain

"""The teacher: energies and forces of GFN2-xTB as labels."""

import math
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, SCFError
from ase.data import ground_state_magnetic_moments
from tblite.exceptions import TBLiteRuntimeError, TBLiteValueError

from gendesign.potential.reference import gfn2_calculator, lowest_multiplicity

FAILURES = (CalculationFailed, SCFError, TBLiteRuntimeError, TBLiteValueError)


def gfn2(multiplicity: int = 1) -> Calculator:
    """GFN2-xTB for a structure whose multiplicity 2S + 1 is known; see `gfn2_calculator`."""
    return gfn2_calculator(Atoms(), multiplicity)


def gfn2_label(atoms: Atoms, open_shell: bool = False) -> Atoms | None:
    """A copy of `atoms` with the teacher's energy (eV) and forces (eV/Angstrom) in info["energy"], arrays["forces"].

    With `open_shell` the lower of the two lowest multiplicities of the right parity is taken (unfinished molecules
    are often triplets or quartets). None when the teacher does not converge or its answer is not finite.
    """
    low = lowest_multiplicity(atoms)
    if len(atoms) == 1:  # an isolated atom obeys Hund's rule
        low = 1 + int(ground_state_magnetic_moments[atoms.numbers[0]])
    best = None
    for multiplicity in (low, low + 2) if open_shell and len(atoms) > 1 else (low,):
        work = Atoms(atoms.numbers, atoms.positions)
        work.calc = gfn2(multiplicity)
        try:
            energy, forces = work.get_potential_energy(), work.get_forces()
        except FAILURES:
            continue
        if math.isfinite(energy) and np.isfinite(forces).all() and (best is None or energy < best[0]):
            best = energy, forces, multiplicity
    if best is None:
        return None
    out = Atoms(atoms.numbers, atoms.positions, info=dict(atoms.info))
    out.info.update(energy=float(best[0]), multiplicity=best[2])
    out.arrays["forces"] = np.asarray(best[1])
    return out


def label_all(structures: Sequence[Atoms], open_shell: bool = False, max_force: float = math.inf) -> list[Atoms]:
    """`gfn2_label` of every structure; one without a label comes back bare, with the reason in info["failure"].

    A label with a force beyond `max_force` (eV/Angstrom) counts as none: it belongs to a wreck, not to a structure.
    """
    out = []
    for atoms in structures:
        answer = gfn2_label(atoms, open_shell)
        largest = 0.0 if answer is None else float(np.linalg.norm(answer.arrays["forces"], axis=1).max())
        if answer is None or largest > max_force:
            reason = "GFN2-xTB found no energy" if answer is None else f"force of {largest:.0f} eV/Angstrom"
            answer = Atoms(atoms.numbers, atoms.positions, info={**atoms.info, "failure": reason})
        out.append(answer)
    return out


__all__ = ["FAILURES", "gfn2", "gfn2_label", "label_all", "lowest_multiplicity"]

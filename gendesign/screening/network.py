"""What the screening of amorphous models takes from the analysis: defects, angles, energies above the crystal."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from gendesign.analysis.choices import cutoffs_of, ideal_of
from gendesign.analysis.coordination import coordination, defect_mask
from gendesign.analysis.distributions import bond_angles
from gendesign.analysis.energetics import diamond, energy_above, quartz, relaxed
from gendesign.analysis.neighbours import bonds
from gendesign.analysis.settings import Analysis
from gendesign.errors import UserError
from gendesign.potential.domain import CRYSTALS
from gendesign.potential.protocol import Capability
from gendesign.screening.method import ScreeningContext
from gendesign.structure.types import Candidate, Verdict

ENDINGS = ("_defects", "_coordination", "_angle", "_angle_deviation")
SHARE = "fraction of atoms"
ZEROS = {"diamond": diamond, "quartz": quartz}  # crystals whose energy is zero


def verdicts(
    candidate: Candidate, cutoffs: Sequence[str], ideal: Sequence[str], max_defects: float | None
) -> list[Verdict]:
    """`cutoffs`, `defects`, and of each element and triplet the checks that end as ENDINGS say.

    Models that are not periodic, or too small for a cutoff, get `cutoffs` with the reason alone.
    """
    atoms, index = candidate.atoms, candidate.index
    if not all(atoms.pbc):
        return []
    try:
        lengths, origin = cutoffs_of(atoms, Analysis(cutoffs=tuple(cutoffs)))
        found = bonds(atoms, lengths)
    except UserError as error:
        return [Verdict(index, "cutoffs", None, reason=str(error))]
    elements = coordination(atoms, found, ideal_of(ideal))
    share = float((defect_mask(atoms, found, elements) != 0).mean())
    words = ", ".join(f"{a}-{b} {length:.3g} Angstrom" for (a, b), length in lengths.items())
    out = [Verdict(index, "cutoffs", None, f"{words} ({origin})"), Verdict(index, "defects", None, share, SHARE)]
    for one in elements:
        out.append(Verdict(index, f"{one.element}_defects", None, one.defects, SHARE))
        out.append(Verdict(index, f"{one.element}_coordination", None, one.total))
    for angle in bond_angles(atoms, found):
        name = angle.name.replace(" ", "_")
        out.append(Verdict(index, f"{name}_angle", None, angle.mean, "degrees"))
        out.append(Verdict(index, f"{name}_angle_deviation", None, angle.deviation, "degrees"))
    if max_defects is not None:
        reason = "" if share <= max_defects else f"{100 * share:.1f} % of the atoms are defects, at {words}"
        out.append(Verdict(index, "few_defects", not reason, reason=reason))
    return out


def energies_above(models: Sequence[Candidate], context: ScreeningContext) -> dict[int, float]:
    """Energy in eV/atom above diamond, quartz or their mixture, by index; empty where the potential has no crystals."""
    potential, symbols = context.potential, {symbol for model in models for symbol in model.atoms.symbols}
    domain = potential.domain
    if not symbols <= {"Si", "O"} or "Si" not in symbols or not symbols <= set(potential.elements):
        return {}
    if Capability.STRESS not in potential.supports or (domain is not None and CRYSTALS not in domain.kinds):
        return {}
    crystals = []
    for name in ZEROS if "O" in symbols else ("diamond",):
        energy = _crystal_energy(name, context)
        if energy is None:
            return {}
        atoms = ZEROS[name]()
        atoms.calc = SinglePointCalculator(atoms, energy=energy * len(atoms))
        crystals.append(atoms)
    out = {}
    for model in models:
        plain = Atoms(model.atoms.numbers, model.atoms.positions, cell=model.atoms.cell, pbc=True)
        try:
            value = energy_above(plain, float(potential.energies([plain])[0]), crystals)
        except UserError:  # more oxygen than quartz
            continue
        if np.isfinite(value):
            out[model.index] = value
    return out


def _crystal_energy(name: str, context: ScreeningContext) -> float | None:
    """Energy of a relaxed crystal in eV/atom, once a run; None if it does not relax."""

    def compute() -> float | None:
        try:
            crystal = relaxed(ZEROS[name](), context.potential.as_ase())
        except UserError:
            return None
        return float(crystal.get_potential_energy()) / len(crystal)

    return compute() if context.folder is None else context.once(f"{name}, eV/atom", compute)

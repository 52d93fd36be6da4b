"""Strain: how far a finished molecule is from the nearest minimum of a method that did not make it."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import batched
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import CalculationFailed, SCFError
from ase.optimize import LBFGS

from gendesign.errors import UserError
from gendesign.screening.workers import Failure, late
from gendesign.structure.bonds import connectivity
from gendesign.structure.superposition import aligned_rmsd
from gendesign.structure.types import Candidate

if TYPE_CHECKING:  # torch takes seconds to import
    from gendesign.potential.protocol import PotentialLike

KCAL_PER_MOL = units.kcal / units.mol  # in eV
NOT_MEASURED = "not measured: "  # begins the reason of a check that could not be made
STRAIN_METHODS = ("potential", "gfn2", "pm6")  # of the default
JUDGES = ("ani1ccx",)  # potentials with weights of their own, which are installed separately
ALL_STRAIN_METHODS = STRAIN_METHODS + JUDGES
MAX_STEP = 0.15  # Angstrom
BATCH = 64  # molecules evaluated at once
LARGE = 64  # atoms; larger molecules relax one at a time, so that none uses the time of others


@dataclass(frozen=True)
class Strain:
    """Energy drop (kcal/mol) and heavy-atom RMSD (Angstrom) of a relaxation; `reason` says what went wrong, if so."""

    energy: float | None
    rmsd: float | None
    reason: str = ""


def reference_strain(atoms: Atoms, method: str, fmax: float = 0.02, max_steps: int = 200) -> Strain:
    """Relax a neutral molecule under `gfn2` (GFN2-xTB) or `pm6` to `fmax` (eV/Angstrom) and measure what changed.

    A relaxation that does not converge, or changes the bond graph, has its numbers and a reason.
    """
    from gendesign.potential.reference import gfn2_calculator, pm6_calculator

    work = Atoms(atoms.numbers, atoms.positions)
    work.calc = {"gfn2": gfn2_calculator, "pm6": pm6_calculator}[method](work)
    try:
        start = work.get_potential_energy()
        converged = LBFGS(work, logfile=None, maxstep=MAX_STEP).run(fmax=fmax, steps=max_steps)
        end = work.get_potential_energy()
    except (CalculationFailed, SCFError) as error:
        return Strain(None, None, f"{method} failed: {' '.join(str(error).split())[:120]}")
    return measure(atoms, work, start, end, bool(converged), max_steps)


def potential_strain(
    candidates: Sequence[Candidate],
    potential: "PotentialLike",
    fmax: float,
    max_steps: int,
    time_limit: float = math.inf,
) -> list[Strain]:
    """`reference_strain` under the potential, small candidates together; they must be valid molecules.

    time_limit: seconds for each candidate; candidates that relax together share their time.
    """
    from gendesign.screening.time_limit import OutOfTimeError, TimedPotential

    small = [i for i, c in enumerate(candidates) if len(c.atoms) <= LARGE]
    groups = [small, *([i] for i in range(len(candidates)) if len(candidates[i].atoms) > LARGE)]
    by_position: dict[int, Strain] = {}
    for group in filter(None, groups):
        members = [candidates[i] for i in group]
        try:
            timed = TimedPotential(potential, time.monotonic() + time_limit * len(group))
            strains = _strains_together(members, timed, fmax, max_steps)
        except OutOfTimeError:
            strains = [unmeasured(late(time_limit))] * len(group)
        by_position |= dict(zip(group, strains, strict=True))
    return [by_position[i] for i in range(len(candidates))]


@cache
def load_judge(name: str) -> "PotentialLike":
    """The potential of JUDGES that judges strain, with float64. Raises UserError where it is not installed."""
    from gendesign.potential.zoo import load_potential

    try:
        return load_potential(name, dtype="float64")
    except UserError as error:
        raise UserError(f"strain_methods holds {name}, which cannot be loaded: {error}") from None


def judge_strain(
    candidates: Sequence[Candidate], name: str, fmax: float, max_steps: int, time_limit: float = math.inf
) -> list[Strain]:
    """`potential_strain` under one of JUDGES; molecules with elements that it does not know are not measured."""
    judge = load_judge(name)
    known = [i for i, candidate in enumerate(candidates) if set(candidate.atoms.symbols) <= set(judge.elements)]
    strains = potential_strain([candidates[i] for i in known], judge, fmax, max_steps, time_limit)
    by_position = dict(zip(known, strains, strict=True))
    skipped = Strain(None, None, f"{NOT_MEASURED}of elements unknown to {name}, which knows {' '.join(judge.elements)}")
    return [by_position.get(i, skipped) for i in range(len(candidates))]


def unmeasured(failure: Failure) -> Strain:
    """No strain, because time ran out or the process failed."""
    return Strain(None, None, NOT_MEASURED + failure.reason if failure.timed_out else failure.reason)


def _strains_together(
    candidates: Sequence[Candidate], potential: "PotentialLike", fmax: float, max_steps: int
) -> list[Strain]:
    from gendesign.relaxation import Relaxation, relax

    known = [c for c in candidates if set(c.atoms.symbols) <= set(potential.elements)]
    by_id: dict[int, Strain] = {}
    if known:
        plain = [Candidate(Atoms(c.atoms.numbers, c.atoms.positions), i) for i, c in enumerate(known)]
        start: list[float] = []
        for part in batched(plain, BATCH):
            start += potential.evaluate([c.atoms for c in part]).energy.tolist()
        ends = relax(plain, potential, Relaxation(fmax=fmax, max_steps=max_steps))
        for candidate, before, energy, after in zip(known, plain, start, ends, strict=True):
            if after.failure is not None:
                by_id[id(candidate)] = Strain(None, None, f"relaxation failed: {after.failure}")
            else:
                end, converged = float(after.info["energy"]), bool(after.info["converged"])
                by_id[id(candidate)] = measure(before.atoms, after.atoms, energy, end, converged, max_steps)
    missing = Strain(None, None, f"elements unknown to the potential, which knows {' '.join(potential.elements)}")
    return [by_id.get(id(candidate), missing) for candidate in candidates]


def measure(before: Atoms, after: Atoms, start: float, end: float, converged: bool, max_steps: int) -> Strain:
    """The strain between two geometries of one molecule with energies `start` and `end` (eV)."""
    if not (np.isfinite([start, end]).all() and np.isfinite(after.positions).all()):
        return Strain(None, None, "energy or positions are not finite")
    heavy = before.numbers > 1
    rmsd = aligned_rmsd(before.positions[heavy], after.positions[heavy])
    energy = float(start - end) / KCAL_PER_MOL
    if connectivity(before) != connectivity(after):
        return Strain(energy, rmsd, "the bond graph changed")
    return Strain(energy, rmsd, "" if converged else f"not converged in {max_steps} steps")

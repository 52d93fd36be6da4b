"""Successive halving: all starts are relaxed a little, the best go on (Jamieson and Talwalkar, AISTATS 2016)."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from gendesign.errors import UserError
from gendesign.potential import Potential
from gendesign.processes import SERIAL, Spread
from gendesign.relaxation import Relaxation, relax
from gendesign.structure.crystals import RELAXED, UNRELAXED, Alike, duplicates
from gendesign.structure.perovskite import cation_fault, energy_of, network_fault
from gendesign.structure.step_cache import NO_CACHE, StepCache
from gendesign.structure.types import Candidate


@dataclass(frozen=True)
class Halving:
    """How the starts of one call are thinned out.

    rungs: how often they are relaxed and compared, 0 for not at all; steps: optimizer steps on each rung; keep: share
    that goes on after each; pressure (GPa) pushes loose starts together; max_atoms as in relaxation; cell: whether it
    moves as atoms do.
    """

    rungs: int = 2
    steps: int = 20
    keep: float = 0.35
    pressure: float = 1.0
    max_atoms: int = 320
    cell: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.rungs <= 20:
            raise UserError(f"generator.rungs={self.rungs}: give 0 (no halving) to 20")
        if self.steps < 1:
            raise UserError(f"generator.steps={self.steps}: give 1 or more optimizer steps for each rung")
        if not 0 < self.keep <= 1:
            raise UserError(f"generator.keep={self.keep}: give the share that goes on, above 0 and up to 1")
        if not 0 <= self.pressure <= 20:
            raise UserError(f"generator.pressure={self.pressure}: give 0 to 20 GPa")
        self.relaxation  # noqa: B018  a wrong max_atoms is said now

    @property
    def relaxation(self) -> Relaxation:
        """One rung. Starts are not meant to converge on it."""
        pressure = self.pressure if self.cell else 0.0
        return Relaxation("precon_lbfgs", 0.05, self.steps, self.cell, pressure=pressure, max_atoms=self.max_atoms)


def halve(
    candidates: Sequence[Candidate], potential: Potential, settings: Halving, cache: StepCache = NO_CACHE
) -> Iterator[list[Candidate]]:
    """After each rung the candidates in their order: the best relaxed so far, others with why they ended as failure.

    Compared by energy per formula unit, which tells more of where they will end than the enthalpy under pressure, or as
    much (measured: docs/perovskites.md). Ended are broken networks and cations, copies of a better one, and the upper
    part at the end of each rung.
    """
    current = list(candidates)
    for rung in range(1, settings.rungs + 1):
        step = f"rung {rung}"
        own = (current, potential, settings.relaxation, step, settings.keep, UNRELAXED, cache.spread)
        current = cache.get_or_make(step, partial(compare, *own))
        yield current


def compare(
    candidates: Sequence[Candidate],
    potential: Potential,
    relaxation: Relaxation,
    stage: str,
    keep: float,
    alike: Alike = UNRELAXED,
    spread: Spread = SERIAL,
) -> list[Candidate]:
    """The candidates relaxed a little, thinned out to the share `keep`, in their order; `stage` is for the reasons,
    `alike` says which are copies."""
    current = [checked(c, stage) for c in relax(candidates, potential, relaxation, spread=spread)]
    current = without_copies(current, stage, alike)
    alive = lowest(current)
    best = energy_of(alive[0]) if alive else 0.0
    ending = {candidate.index for candidate in alive[math.ceil(keep * len(alive)) :]}
    return [stopped(candidate, best, stage) if candidate.index in ending else candidate for candidate in current]


def lowest(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that have not ended, from the lowest up."""
    return sorted((c for c in candidates if c.failure is None), key=lambda c: (energy_of(c), c.index))


def checked(candidate: Candidate, stage: str) -> Candidate:
    """With a failure where it is broken."""
    if candidate.failure is not None:
        return candidate
    atoms, info = candidate.atoms, candidate.info
    fault = network_fault(atoms, depth_of(info["thickness"])) or cation_fault(atoms, info["cations"])
    if fault:
        return candidate.after(f"broken at {stage}", failure=f"broken at {stage}: {fault}")
    return candidate.after(stage)


def depth_of(thickness: int | str) -> int | None:
    """Octahedra per layer as candidates state it; None for three dimensions."""
    return None if thickness == "3d" else int(thickness)


def without_copies(candidates: Sequence[Candidate], stage: str, alike: Alike = RELAXED) -> list[Candidate]:
    """With a failure for each that is a copy of a lower one."""
    alive = [candidate for candidate in candidates if candidate.failure is None]
    first = duplicates(
        [candidate.atoms for candidate in alive],
        [energy_of(candidate) for candidate in alive],
        [candidate.info["formula_units"] for candidate in alive],
        alike,
    )
    copies = {c.index: alive[k].index for c, k in zip(alive, first, strict=True) if k is not None}
    return [
        candidate.after(f"merged at {stage}", failure=f"merged at {stage}: same as {copies[candidate.index]}")
        if candidate.index in copies
        else candidate
        for candidate in candidates
    ]


def stopped(candidate: Candidate, best: float, stage: str) -> Candidate:
    """With the failure that its energy is too far above the best."""
    above = energy_of(candidate) - best
    reason = f"stopped at {stage}: energy {above:.3f} eV per formula unit above the best"
    return candidate.after(f"stopped at {stage}", failure=reason)

"""Successive halving: all starts are relaxed a little, the best continue (Jamieson and Talwalkar, AISTATS 2016)."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from gendesign.generate.perovskite.settings import Halving
from gendesign.potential.protocol import PotentialLike
from gendesign.processes import SERIAL, Spread
from gendesign.relaxation import Relaxation, relax
from gendesign.structure.crystals import RELAXED, UNRELAXED, Alike, duplicates
from gendesign.structure.generator import ALONE, ShardContext
from gendesign.structure.perovskite import cation_fault, energy_of, network_fault
from gendesign.structure.types import Candidate


def one_round(settings: Halving, cell: bool = True) -> Relaxation:
    """The relaxation of one round, which starts are not meant to converge in; cell: whether it changes the cell."""
    pressure = settings.pressure if cell else 0.0
    return Relaxation("precon_lbfgs", 0.05, settings.steps, cell, pressure=pressure, max_atoms=settings.max_atoms)


def halve(
    candidates: Sequence[Candidate],
    potential: PotentialLike,
    settings: Halving,
    context: ShardContext = ALONE,
    *,
    cell: bool = True,
) -> Iterator[list[Candidate]]:
    """The candidates in their order after each round: the lowest continue, the others have a failure with the reason.

    Energies per formula unit are compared. They predict the final order better than the enthalpy under pressure does,
    or as well (measured: docs/notebook/perovskite-rounds.md). A candidate ends when its network or a cation is broken,
    when it is a copy of a lower one, or when it is not among the share `settings.keep`. cell: whether rounds change the
    cell.
    """
    current, relaxation = list(candidates), one_round(settings, cell)
    for number in range(1, settings.rounds + 1):
        stage = f"round {number}"
        report = partial(context.phase, f"halving {number} of {settings.rounds}")
        comparison = partial(
            compare, current, potential, relaxation, stage, settings.keep, UNRELAXED, context.spread, report
        )
        current = context.get_or_make(stage, comparison)
        yield current


def compare(
    candidates: Sequence[Candidate],
    potential: PotentialLike,
    relaxation: Relaxation,
    stage: str,
    keep: float,
    alike: Alike = UNRELAXED,
    spread: Spread = SERIAL,
    report: Callable[[int, int], None] | None = None,
) -> list[Candidate]:
    """The candidates in their order, relaxed; those beyond the lowest share `keep` have a failure.

    stage: what the failures name; alike: how near two crystals are copies of each other; report: called with how many
    candidates are relaxed, of how many.
    """
    current = [checked(c, stage) for c in relax(candidates, potential, relaxation, report, spread)]
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

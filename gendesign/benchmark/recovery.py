"""Whether a search found a reference crystal again: matched, lower, or missed (arXiv 2403.06955 has no such test)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from omegaconf import DictConfig
from pymatgen.core import Structure

from gendesign.benchmark.record import SHARE, Row
from gendesign.benchmark.search import Found, Material
from gendesign.errors import UserError
from gendesign.structure.crystals import ENERGY, heavy_structure, matcher
from gendesign.structure.files import read_structures
from gendesign.structure.perovskite import energy_of, metals_of
from gendesign.structure.types import Candidate

SHIPPED = Path(__file__).parent / "cases" / "perovskites.extxyz"
MAKER = "python -m scripts.hoip.references potential=NAME"
LONGER = 5  # times as many starts stand behind a reference
MATCHED, LOWER, MISSED, UNKNOWN = "matched", "lower", "missed", "not judged"
TIE = "tied"  # another crystal that is as low as the reference: told, and not counted
TIED = 0.0005  # eV per formula unit, two steps of single precision at such energies: crystals no further apart tie
UNCONFIRMED = "lower, no teacher asked"  # not enough: a potential may err in favour of what it has not seen


@dataclass(frozen=True)
class Recovery:
    """rank: of the lowest candidate that is the reference, or what ties with it where the outcome is a tie, 1 the
    lowest of all; distance: root mean square between their heavy atoms, Angstrom; match_energy: of that one above the
    lowest reference; energy: of the lowest of all above it, `taught`: the same by the teacher; eV per formula unit."""

    outcome: str
    rank: int | None = None
    distance: float | None = None
    match_energy: float | None = None
    energy: float | None = None
    taught: float | None = None


def judge(
    structures: Sequence[Atoms],
    energies: Sequence[float],
    references: Sequence[Atoms],
    reference_energy: float,
    k: int,
    taught: Callable[[], float | None] | None = None,
) -> Recovery:
    """What became of the reference, given unique intact structures from the lowest up; energies in eV per formula unit.

    The reference is the first of `references`, others tie with it. Matched when one of the first `k` is the reference
    (heavy atoms, volumes not scaled), tied when one is another of them. Else lower when the first one is another
    crystal and lies below the reference by more than what still counts as a copy; `taught` then tells the same
    difference by a teacher, which must be below zero too (unconfirmed where there is none). Everything else is missed.
    """
    if not structures:
        return Recovery(MISSED)
    own, match = [heavy_structure(one) for one in structures], matcher()
    above = [float(energy - reference_energy) for energy in energies]

    def found_as(outcome: str, known: Structure, most: int | None) -> Recovery | None:
        place = next((i for i, one in enumerate(own[:most]) if match.fit(known, one)), None)
        if place is None:
            return None
        return Recovery(outcome, place + 1, _distance(known, own[place]), above[place], above[0])

    first, *others = map(heavy_structure, references)
    for outcome, known in [(MATCHED, first), *((TIE, other) for other in others)]:
        if found := found_as(outcome, known, k):
            return found
    found = found_as(MISSED, first, None) or Recovery(MISSED, energy=above[0])
    if found.energy >= -ENERGY:
        return found
    if taught is None:
        return replace(found, outcome=UNCONFIRMED)
    apart = taught()
    return replace(found, outcome=LOWER if apart is not None and apart < 0 else MISSED, taught=apart)


def _distance(first: Structure, second: Structure) -> float | None:
    """Root mean square distance in Angstrom; pymatgen gives it in units of the cube root of the volume per atom."""
    found = matcher().get_rms_dist(first, second)
    length = np.cbrt(np.mean([s.volume / len(s) for s in (first, second)]))
    return None if found is None else float(found[0] * length)


def read_references(file: str | None) -> dict[str, tuple[Candidate, ...]]:
    """References by "CATION METAL HALIDE" from a file, None for the shipped one, those that tie together; raises
    UserError."""
    path = SHIPPED if file is None else Path(file).expanduser()
    if not path.is_file():
        raise UserError(f"perovskites.references={path} does not exist; make it: {MAKER}")
    found: dict[str, tuple[Candidate, ...]] = {}
    for candidate in read_structures([path]):
        if "composition" not in candidate.info or not len(metals_of(candidate.atoms)):
            raise UserError(
                f"perovskites.references={path}, structure {candidate.index + 1} does not state its composition, or is "
                f"no perovskite; make the file: {MAKER}"
            )
        text = str(candidate.info["composition"])
        found[text] = (*found.get(text, ()), candidate)
    return found


def seeds_of(config: DictConfig) -> list[int]:
    """Of the searches for each composition."""
    return list(range(config.seed, config.seed + config.perovskites.searches))


def references_for(
    material: Material, known: dict[str, tuple[Candidate, ...]], config: DictConfig
) -> tuple[Candidate, ...]:
    """The references of a material; raises UserError where there is none, or a search would not be independent."""
    if material.text not in known:
        raise UserError(
            f"perovskites.compositions: no reference is known of {material.text}, only of "
            f"{', '.join(known) or 'none'}; make one: {MAKER}"
        )
    found = known[material.text]
    starts, seeds = found[0].info.get("starts"), str(found[0].info.get("seeds", "")).split()
    if starts is not None and starts < LONGER * config.perovskites.starts:
        raise UserError(
            f"perovskites.starts={config.perovskites.starts}: the reference of {material.text} is the best of {starts} "
            f"starts and must be that of {LONGER} times as many; give at most {int(starts) // LONGER}"
        )
    if used := [seed for seed in seeds_of(config) if str(seed) in seeds]:
        raise UserError(
            f"seed={config.seed}, perovskites.searches={config.perovskites.searches}: seed {used[0]} was used for the "
            f"reference of {material.text}; leave out {', '.join(seeds)}"
        )
    return tuple(replace(one, index=index, history=(), failure=None) for index, one in enumerate(found))


def recovery_rows(name: str, recovery: Recovery, found: Found, k: int) -> list[Row]:
    """The rows of one search; the outcome is the unit of a one."""
    n, unit = found.starts, "eV per formula unit"
    measured = recovery.outcome != UNKNOWN
    return [
        Row(f"{name}: outcome, best {k}", 1 if measured else None, recovery.outcome, 1),
        Row(f"{name}: rank of the match", recovery.rank, "", len(found.ranked)),
        Row(f"{name}: RMS distance of the match", recovery.distance, "Angstrom", 1 if recovery.rank else 0),
        Row(f"{name}: match above the reference", recovery.match_energy, unit, 1 if recovery.rank else 0),
        Row(f"{name}: best above the reference", recovery.energy, unit, 1),
        Row(f"{name}: the same, teacher", recovery.taught, unit, 0 if recovery.taught is None else 1),
        Row(f"{name}: starts", n, "starts", n),
        Row(f"{name}: starts that failed or broke", found.failures, "starts", n),
        Row(f"{name}: unique intact structures", len(found.ranked), "structures", n),
        Row(f"{name}: model calls", found.calls, "calls", n),
        Row(f"{name}: structure evaluations", found.evaluations, "structures", n),
        Row(f"{name}: time", found.minutes, "minutes", n),
    ]


def share_rows(recoveries: Mapping[str, Sequence[Recovery]]) -> list[Row]:
    """Shares over all searches asked for, then over those of each composition; what could not be judged, what only ties
    with the reference and what is lower by the potential alone count against the target."""
    every = [one for some in recoveries.values() for one in some]

    def row(name: str, some: Sequence[Recovery], outcomes: Sequence[str], target: str | None = None) -> Row:
        share = sum(one.outcome in outcomes for one in some) / len(some) if some else None
        return Row(name, share, SHARE, len(some), target)

    # the matching of heavy atoms is generous; copies within a search must agree in energy as well
    close = [one if abs(one.match_energy or 0.0) < ENERGY else Recovery(MISSED) for one in every]
    return [
        row("recovered: matched or lower", every, (MATCHED, LOWER), ">= 0.8"),
        *(row(f"recovered: {outcome}", every, [outcome]) for outcome in (MATCHED, TIE, LOWER, UNCONFIRMED, MISSED)),
        row(f"recovered: matched, energies within {ENERGY:g} eV per formula unit", close, [MATCHED]),
        *(row(f"{name}: matched or lower", some, (MATCHED, LOWER)) for name, some in recoveries.items()),
    ]


def judged(found: Found, reference: Found, k: int, taught: Callable[[Atoms, Atoms], Any] | None) -> Recovery:
    """`judge` of a search against the reference as this potential relaxed it; taught(best, reference): see `judge`.

    References are those that tie under this potential as well, in the order of the file. One that broke, or that is not
    relaxed to the end, could make a search look better than it is: not judged where there is no other.
    """
    known = reference.settled
    if known is None:
        return Recovery(UNKNOWN)
    tied = [c for c in reference.ranked if c.info["converged"] and energy_of(c) <= energy_of(known) + TIED]
    tied.sort(key=lambda candidate: candidate.index)
    ask = None if taught is None or found.best is None else lambda: taught(found.best.atoms, known.atoms)
    structures, energies = [c.atoms for c in found.ranked], [energy_of(c) for c in found.ranked]
    return judge(structures, energies, [c.atoms for c in tied], energy_of(known), k, ask)

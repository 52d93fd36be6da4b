"""Recovery of reference crystals by searches: matched, lower or missed (arXiv 2403.06955 has no such test)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from omegaconf import DictConfig
from pymatgen.core import Structure

from gendesign.benchmark.record import SHARE, Row
from gendesign.benchmark.search import Material, SearchResult
from gendesign.errors import UserError
from gendesign.structure.crystals import ENERGY, heavy_structure, matcher
from gendesign.structure.files import read_structures
from gendesign.structure.perovskite import energy_of, metals_of
from gendesign.structure.types import Candidate

SHIPPED = Path(__file__).parent / "cases" / "perovskites.extxyz"
MAKER = "python -m scripts.hoip.references potential=NAME"
LONGER = 5  # a reference is the best of so many times as many starts as a search
MATCHED, LOWER, MISSED, UNKNOWN = "matched", "lower", "missed", "not judged"
TIE = "tied"  # another crystal with the energy of the reference: reported, but not counted as recovered
TIED = 0.0005  # eV per formula unit, two units of single precision at these energies: a smaller difference is a tie
UNCONFIRMED = "lower, no teacher asked"  # not counted: the potential may underestimate energies of unseen crystals


@dataclass(frozen=True)
class Recovery:
    """The outcome of a search for a reference crystal. Energies are in eV per formula unit.

    rank: rank (from 1) of the lowest candidate that matches the reference, or the tied crystal for a tie.
    distance: root mean square distance (Angstrom) of its heavy atoms. match_energy: its energy above the reference.
    energy: energy of the best candidate above the reference. taught: the same by the teacher.
    """

    outcome: str
    rank: int | None = None
    distance: float | None = None
    match_energy: float | None = None
    energy: float | None = None
    taught: float | None = None


def compare(
    structures: Sequence[Atoms],
    energies: Sequence[float],
    references: Sequence[Atoms],
    reference_energy: float,
    k: int,
    taught: Callable[[], float | None] | None = None,
) -> Recovery:
    """Compare unique intact structures, in ascending order of energy, with the references.

    structures, energies: candidates and their energies (eV per formula unit). references: the reference first, then
    crystals that tie with it. reference_energy: eV per formula unit. k: number of best candidates that may match.
    taught: returns the energy of the best candidate above the reference by a teacher, or None on failure.

    The outcome is MATCHED if one of the first `k` candidates is the reference (heavy atoms, volumes not scaled), and
    TIE if one is a tied crystal. Otherwise it is LOWER if the best candidate is below the reference by more than the
    tolerance of copies and the teacher confirms it; without a teacher it is UNCONFIRMED. All else is MISSED.
    """
    if not structures:
        return Recovery(MISSED)
    candidates, match = [heavy_structure(atoms) for atoms in structures], matcher()
    above = [float(energy - reference_energy) for energy in energies]

    def first_match(outcome: str, known: Structure, most: int | None) -> Recovery | None:
        index = next((i for i, candidate in enumerate(candidates[:most]) if match.fit(known, candidate)), None)
        if index is None:
            return None
        return Recovery(outcome, index + 1, _distance(known, candidates[index]), above[index], above[0])

    first, *others = map(heavy_structure, references)
    for outcome, known in [(MATCHED, first), *((TIE, other) for other in others)]:
        if recovery := first_match(outcome, known, k):
            return recovery
    recovery = first_match(MISSED, first, None) or Recovery(MISSED, energy=above[0])
    if recovery.energy >= -ENERGY:
        return recovery
    if taught is None:
        return replace(recovery, outcome=UNCONFIRMED)
    difference = taught()
    confirmed = difference is not None and difference < 0
    return replace(recovery, outcome=LOWER if confirmed else MISSED, taught=difference)


def _distance(first: Structure, second: Structure) -> float | None:
    """Root mean square distance in Angstrom. pymatgen returns it in units of the cube root of the volume per atom."""
    distances = matcher().get_rms_dist(first, second)
    length = np.cbrt(np.mean([s.volume / len(s) for s in (first, second)]))
    return None if distances is None else float(distances[0] * length)


def read_references(file: str | None) -> dict[str, tuple[Candidate, ...]]:
    """Reference crystals by "CATION METAL HALIDE" from a file (None: the bundled one); tied crystals share a key.

    Raises UserError for a file that is missing or holds anything else.
    """
    path = SHIPPED if file is None else Path(file).expanduser()
    if not path.is_file():
        raise UserError(f"perovskites.references={path} does not exist; make it: {MAKER}")
    references: dict[str, tuple[Candidate, ...]] = {}
    for candidate in read_structures([path]):
        if "composition" not in candidate.info or not len(metals_of(candidate.atoms)):
            raise UserError(
                f"perovskites.references={path}, structure {candidate.index + 1} does not state its composition, or is "
                f"no perovskite; make the file: {MAKER}"
            )
        text = str(candidate.info["composition"])
        references[text] = (*references.get(text, ()), candidate)
    return references


def seeds_of(config: DictConfig) -> list[int]:
    """Seeds of the searches for each composition."""
    return list(range(config.seed, config.seed + config.perovskites.searches))


def references_for(
    material: Material, known: dict[str, tuple[Candidate, ...]], config: DictConfig
) -> tuple[Candidate, ...]:
    """The references of a material. Raises UserError without one, or if a search would not be independent of it."""
    if material.text not in known:
        raise UserError(
            f"perovskites.compositions: no reference is known of {material.text}, only of "
            f"{', '.join(known) or 'none'}; make one: {MAKER}"
        )
    references = known[material.text]
    info = references[0].info
    starts, seeds = info.get("starts"), str(info.get("seeds", "")).split()
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
    return tuple(replace(crystal, index=index, history=(), failure=None) for index, crystal in enumerate(references))


def recovery_rows(name: str, recovery: Recovery, search: SearchResult, k: int) -> list[Row]:
    """The rows of one search. The outcome is written as the unit of a row with the value 1."""
    n, unit = search.starts, "eV per formula unit"
    measured = recovery.outcome != UNKNOWN
    return [
        Row(f"{name}: outcome, best {k}", 1 if measured else None, recovery.outcome, 1),
        Row(f"{name}: rank of the match", recovery.rank, "", len(search.ranked)),
        Row(f"{name}: RMS distance of the match", recovery.distance, "Angstrom", 1 if recovery.rank else 0),
        Row(f"{name}: match above the reference", recovery.match_energy, unit, 1 if recovery.rank else 0),
        Row(f"{name}: best above the reference", recovery.energy, unit, 1),
        Row(f"{name}: the same, teacher", recovery.taught, unit, 0 if recovery.taught is None else 1),
        Row(f"{name}: starts", n, "starts", n),
        Row(f"{name}: starts that failed or broke", search.failures, "starts", n),
        Row(f"{name}: unique intact structures", len(search.ranked), "structures", n),
        Row(f"{name}: model calls", search.calls, "calls", n),
        Row(f"{name}: structure evaluations", search.evaluations, "structures", n),
        Row(f"{name}: time", search.minutes, "minutes", n),
    ]


def share_rows(recoveries: Mapping[str, Sequence[Recovery]]) -> list[Row]:
    """Fractions of the outcomes over all searches, then over the searches of each composition.

    Ties, unconfirmed lower crystals and searches that could not be compared do not count as recovered.
    """
    every = [recovery for group in recoveries.values() for recovery in group]

    def row(name: str, group: Sequence[Recovery], outcomes: Sequence[str], target: str | None = None) -> Row:
        share = sum(recovery.outcome in outcomes for recovery in group) / len(group) if group else None
        return Row(name, share, SHARE, len(group), target)

    # The matching of heavy atoms is tolerant; a stricter row also requires the energies to agree.
    close = [recovery if abs(recovery.match_energy or 0.0) < ENERGY else Recovery(MISSED) for recovery in every]
    return [
        row("recovered: matched or lower", every, (MATCHED, LOWER), ">= 0.8"),
        *(row(f"recovered: {outcome}", every, [outcome]) for outcome in (MATCHED, TIE, LOWER, UNCONFIRMED, MISSED)),
        row(f"recovered: matched, energies within {ENERGY:g} eV per formula unit", close, [MATCHED]),
        *(row(f"{name}: matched or lower", group, (MATCHED, LOWER)) for name, group in recoveries.items()),
    ]


def outcome_of(
    search: SearchResult, reference: SearchResult, k: int, taught: Callable[[Atoms, Atoms], Any] | None
) -> Recovery:
    """Compare a search with the references relaxed by the same potential; taught(best, reference) as in `compare`.

    The references are the crystals that tie under this potential as well, in the order of the file. A reference that
    broke or did not converge could make a search look better than it is; without another one the outcome is UNKNOWN.
    """
    known = reference.best_converged
    if known is None:
        return Recovery(UNKNOWN)
    tied = [c for c in reference.ranked if c.info["converged"] and energy_of(c) <= energy_of(known) + TIED]
    tied.sort(key=lambda candidate: candidate.index)
    difference = None if taught is None or search.best is None else lambda: taught(search.best.atoms, known.atoms)
    structures, energies = [c.atoms for c in search.ranked], [energy_of(c) for c in search.ranked]
    return compare(structures, energies, [c.atoms for c in tied], energy_of(known), k, difference)

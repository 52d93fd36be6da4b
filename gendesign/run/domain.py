"""Structures outside the domain of the potential: refused, warned of, or ignored, as `outside_domain` says."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from omegaconf import DictConfig

from gendesign.errors import UserError
from gendesign.potential.advice import concerns, sentence
from gendesign.potential.domain import SOLIDS, outside
from gendesign.potential.protocol import PotentialLike
from gendesign.structure.generator import Generator
from gendesign.structure.types import Candidate

REFUSE, WARN, IGNORE = "refuse", "warn", "ignore"

OUTSIDE = "outside the domain of potential"  # how reasons begin


@dataclass(frozen=True)
class Judged:
    """Candidates of files, with a failure for those that the potential's card excludes, and the warnings of a run."""

    candidates: list[Candidate]
    warnings: list[str]


def judge_files(candidates: Sequence[Candidate], potential: PotentialLike, config: DictConfig) -> Judged:
    """Compare structures with the domain of the potential.

    Raises UserError where its card excludes all of them; where it excludes some these become failures.
    """
    mode, cell = _mode(config), _relaxes_cells(config)
    if mode == IGNORE:
        return Judged(list(candidates), [])
    usable = [number for number, candidate in enumerate(candidates) if candidate.failure is None]
    departures = concerns([candidates[number].atoms for number in usable], potential, cell=cell)
    departures.sort(key=lambda pair: not pair[0].excluded)
    excluded = [number for departure, _ in departures if departure.excluded for number in departure.structures]
    if mode == REFUSE and excluded and len(excluded) == len(usable):
        departure, text = departures[0]
        raise UserError(f"{text}; {_remedy(departure.what)}")
    judged, warnings = list(candidates), []
    for departure, text in departures:
        refused = departure.excluded and mode == REFUSE
        for number in departure.structures if refused else ():
            position = usable[number]
            reason = f"{OUTSIDE} {potential.name}: {departure.what}"
            judged[position] = judged[position].after("compared with the potential's domain", failure=reason)
        warnings.append(f"{text}; they are left out ({_remedy(departure.what)})" if refused else text)
    return Judged(judged, warnings)


def judge_generator(generator: Generator, potential: PotentialLike, config: DictConfig) -> list[str]:
    """Warnings before a generator begins; raises UserError for what the potential's card excludes."""
    mode, kind = _mode(config), generator.kind
    if mode == IGNORE or potential.domain is None:
        return []
    symbols = generator.required_elements
    # a generator checks by itself that the potential knows its elements
    departure = outside(potential.domain, kind, symbols or potential.domain.contains, cell=_relaxes_cells(config))
    if departure is None:
        return []
    what, excluded = departure
    text = sentence(potential, f"generator {generator.name} makes {what}", excluded, kind, generator.possible_elements)
    if excluded and mode == REFUSE:
        raise UserError(f"{text}; {_remedy(what)}")
    return [text]


def left_out(candidate: Candidate) -> bool:
    """Whether a structure has failed because the potential was not made for it."""
    return (candidate.failure or "").startswith(OUTSIDE)


def say(warnings: Sequence[str]) -> None:
    """One line each on the terminal."""
    for line in warnings:
        print(f"gendesign: warning: {line}", file=sys.stderr)


def _mode(config: DictConfig) -> str:
    return str(config.get("outside_domain", REFUSE))


def _relaxes_cells(config: DictConfig) -> bool:
    return bool((config.get("relaxation") or {}).get("cell"))


def _remedy(what: str) -> str:
    hold_cells = "relaxation.cell=false holds the cells; " if what in SOLIDS.values() else ""
    return f"{hold_cells}outside_domain=warn uses it anyway"

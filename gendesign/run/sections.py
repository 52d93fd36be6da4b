"""Which candidates of a run stand together on the page, under which heading, and why those failed that did."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gendesign.run.table import VALID
from gendesign.screening.perovskite import BROKEN, COPY, STOPPED
from gendesign.structure.types import Candidate, Verdict

RANK, UNIQUE, NETWORK = "rank", "unique", "network"  # checks; the last one is made of perovskites alone
MOST_REASONS = 5  # kinds of reasons that a section counts


@dataclass(frozen=True)
class Section:
    """A heading, a line below it, and the candidates in the order of the page.

    kept: it is shown without any candidate too; expected: its candidates are none of the results, but nothing is wrong.
    """

    heading: str
    note: str
    candidates: tuple[Candidate, ...]
    kept: bool = False
    expected: bool = False


def by_candidate(verdicts: Sequence[Verdict]) -> dict[int, dict[str, Verdict]]:
    """Verdicts by candidate and check."""
    found: dict[int, dict[str, Verdict]] = {}
    for verdict in verdicts:
        found.setdefault(verdict.candidate, {})[verdict.check] = verdict
    return found


def sections(
    candidates: Sequence[Candidate], verdicts: Sequence[Verdict], conditions: Sequence[str] = ()
) -> list[Section]:
    """Every candidate in one section; the good ones first, and sections that would be empty left out.

    Candidates stand in the order of their numbers, ranked ones in that of their ranks, and valid molecules that meet
    all `conditions` (names of checks) before those that miss one.
    """
    of = by_candidate(verdicts)
    if any(RANK in checks or NETWORK in checks for checks in of.values()) or any(_ended(c) for c in candidates):
        found = _ranked(candidates, of)
    elif any(VALID in checks and checks[VALID].passed is not None for checks in of.values()):
        found = _judged(candidates, of, conditions)
    else:
        found = _unjudged(candidates)
    return [section for section in found if section.candidates or section.kept]


def _ended(candidate: Candidate) -> bool:
    return (candidate.failure or "").startswith((STOPPED, COPY, BROKEN))


def _ranked(candidates: Sequence[Candidate], of: Mapping[int, dict[str, Verdict]]) -> list[Section]:
    """Of a search: ranked crystals, copies, what the search did not go on with, and what broke."""
    ranked = [c for c in candidates if RANK in of.get(c.index, {})]
    ranked.sort(key=lambda c: of[c.index][RANK].value)
    copies = [c for c in candidates if _passed(of, c, UNIQUE) is False]
    stopped = [c for c in candidates if (c.failure or "").startswith(STOPPED)]
    merged = [c for c in candidates if (c.failure or "").startswith(COPY)]
    placed = {c.index for c in (*ranked, *copies, *stopped, *merged)}
    rest = [c for c in candidates if c.index not in placed]
    intact = [c for c in rest if c.failure is None and _passed(of, c, VALID) is not False]
    broken = [c for c in rest if c not in intact]
    left = sorted((*stopped, *merged), key=lambda c: c.index)
    counts = [
        f"{len(stopped)} stopped early, because others were lower in energy" if stopped else "",
        f"{len(merged)} merged with a copy" if merged else "",
    ]
    return [
        Section("Ranked structures", "the lowest energy first", tuple(ranked), kept=True),
        Section("Copies of ranked structures", "relaxed to a structure that is ranked above", tuple(copies)),
        Section("Structures without an energy to rank", "", tuple(intact)),
        Section("Not continued by the search", "; ".join(filter(None, counts)), tuple(left), expected=True),
        Section("Broken", reason_counts([reason(c, of) for c in broken]), tuple(broken)),
    ]


def _judged(
    candidates: Sequence[Candidate], of: Mapping[int, dict[str, Verdict]], conditions: Sequence[str]
) -> list[Section]:
    """Of molecules: valid ones, copies, invalid ones, failed attempts."""
    failed = [c for c in candidates if c.failure is not None]
    whole = [c for c in candidates if c.failure is None]
    invalid = [c for c in whole if _passed(of, c, VALID) is False]
    unknown = [c for c in whole if _passed(of, c, VALID) is None]
    valid = [c for c in whole if _passed(of, c, VALID)]
    copies = [c for c in valid if _passed(of, c, UNIQUE) is False]
    first = [c for c in valid if _passed(of, c, UNIQUE) is not False]
    first.sort(key=lambda c: sum(_passed(of, c, check) is False for check in conditions))
    met = sum(all(_passed(of, c, check) is not False for check in conditions) for c in first)
    # where every attempt failed, nobody knows what it would have been
    noun = "molecules" if any(len(c.atoms) and not any(c.atoms.pbc) for c in candidates) else "structures"
    note = f"{met} of them meet every condition, and come first" if conditions and first else ""
    return [
        Section(f"Valid {noun}", note, tuple(first), kept=True),
        Section(f"Copies of valid {noun}", "the same as one above", tuple(copies)),
        Section("Structures that are not judged as molecules", "they are periodic", tuple(unknown)),
        Section(f"Invalid {noun}", reason_counts([reason(c, of) for c in invalid]), tuple(invalid)),
        Section("Failed attempts", reason_counts([reason(c, of) for c in failed]), tuple(failed)),
    ]


def _unjudged(candidates: Sequence[Candidate]) -> list[Section]:
    """Of a relaxation: crystals, molecules, failures."""
    failed = [c for c in candidates if c.failure is not None]
    whole = [c for c in candidates if c.failure is None]
    crystals = [c for c in whole if any(c.atoms.pbc)]
    molecules = [c for c in whole if not any(c.atoms.pbc)]
    return [
        Section("Crystals", "", tuple(crystals)),
        Section("Molecules", "", tuple(molecules), kept=not crystals),
        Section("Failed", reason_counts([c.failure or "" for c in failed]), tuple(failed)),
    ]


def _passed(of: Mapping[int, dict[str, Verdict]], candidate: Candidate, check: str) -> bool | None:
    verdict = of.get(candidate.index, {}).get(check)
    return None if verdict is None else verdict.passed


def reason(candidate: Candidate, of: Mapping[int, dict[str, Verdict]]) -> str:
    """Why a candidate is not valid: its failure, or what the check of validity says."""
    verdict = of.get(candidate.index, {}).get(VALID)
    return candidate.failure or (verdict.reason if verdict is not None else "")


def reason_counts(reasons: Sequence[str]) -> str:
    """Kinds of reasons with their counts, the most frequent first; reasons that differ in numbers are of one kind."""
    kinds: dict[str, list[str]] = {}
    for text in reasons:
        if text:
            kinds.setdefault(re.sub(r"[A-Z][a-z]?\d+|\d+(\.\d+)?", "", text), []).append(text)
    order = sorted(kinds.values(), key=lambda texts: -len(texts))
    parts = [
        f"{len(texts)}: {texts[0]}" + (", and the like" if len(set(texts)) > 1 else "")
        for texts in order[:MOST_REASONS]
    ]
    more = sum(map(len, order[MOST_REASONS:]))
    return "; ".join([*parts, *([f"{more} for other reasons"] if more else [])])

"""Sections of the report: candidates grouped by their result, with headings and counts of the reasons of failures."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gendesign.run.properties import check_name
from gendesign.run.table import VALID
from gendesign.screening.perovskite import BROKEN, COPY, STOPPED
from gendesign.structure.types import Candidate, Verdict

RANK, UNIQUE, NETWORK = "rank", "unique", "network"  # checks; the last one is made of perovskites alone
MOST_REASONS = 5  # kinds of reasons that a section counts


@dataclass(frozen=True)
class Section:
    """A heading, a note below it, and the candidates in the order of the page.

    always_shown: also shown without candidates; expected: the candidates are no results, but nothing is wrong.
    """

    heading: str
    note: str
    candidates: tuple[Candidate, ...]
    always_shown: bool = False
    expected: bool = False


def by_candidate(verdicts: Sequence[Verdict]) -> dict[int, dict[str, Verdict]]:
    """Verdicts by candidate and check."""
    checks: dict[int, dict[str, Verdict]] = {}
    for verdict in verdicts:
        checks.setdefault(verdict.candidate, {})[verdict.check] = verdict
    return checks


def sections(
    candidates: Sequence[Candidate],
    verdicts: Sequence[Verdict],
    conditions: Sequence[str] = (),
    ranked_by: Sequence[str] = (),
) -> list[Section]:
    """Every candidate in one section; results come first, and empty sections are left out.

    Candidates are ordered by number, ranked ones by rank. Valid molecules that meet all `conditions` (names of checks)
    come before those that miss one. With `ranked_by`, names of checks, the candidates are in order of rank already.
    """
    if ranked_by:
        note = f"by {', '.join(map(check_name, ranked_by))}; the best first"
        return [Section("Ranked candidates", note, tuple(candidates), always_shown=True)]
    checks = by_candidate(verdicts)
    if any(RANK in row or NETWORK in row for row in checks.values()) or any(map(_ended_early, candidates)):
        grouped = _search(candidates, checks)
    elif any(VALID in row and row[VALID].passed is not None for row in checks.values()):
        grouped = _molecules(candidates, checks, conditions)
    else:
        grouped = _relaxed(candidates)
    return [section for section in grouped if section.candidates or section.always_shown]


def _ended_early(candidate: Candidate) -> bool:
    return (candidate.failure or "").startswith((STOPPED, COPY, BROKEN))


def _search(candidates: Sequence[Candidate], checks: Mapping[int, dict[str, Verdict]]) -> list[Section]:
    """Sections of a search: ranked crystals, copies, candidates that were not continued, broken ones."""
    ranked = [c for c in candidates if RANK in checks.get(c.index, {})]
    ranked.sort(key=lambda c: float(checks[c.index][RANK].value or 0))
    copies = [c for c in candidates if _passed(checks, c, UNIQUE) is False]
    stopped = [c for c in candidates if (c.failure or "").startswith(STOPPED)]
    merged = [c for c in candidates if (c.failure or "").startswith(COPY)]
    placed = {c.index for c in (*ranked, *copies, *stopped, *merged)}
    rest = [c for c in candidates if c.index not in placed]
    intact = [c for c in rest if c.failure is None and _passed(checks, c, VALID) is not False]
    broken = [c for c in rest if c not in intact]
    ended = sorted((*stopped, *merged), key=lambda c: c.index)
    counts = [
        f"{len(stopped)} stopped early, because others were lower in energy" if stopped else "",
        f"{len(merged)} merged with a copy" if merged else "",
    ]
    return [
        Section("Ranked structures", "the lowest energy first", tuple(ranked), always_shown=True),
        Section("Copies of ranked structures", "relaxed to a structure that is ranked above", tuple(copies)),
        Section("Structures without an energy to rank", "", tuple(intact)),
        Section("Not continued by the search", "; ".join(filter(None, counts)), tuple(ended), expected=True),
        Section("Broken", reason_counts([reason(c, checks) for c in broken]), tuple(broken)),
    ]


def _molecules(
    candidates: Sequence[Candidate], checks: Mapping[int, dict[str, Verdict]], conditions: Sequence[str]
) -> list[Section]:
    """Sections of molecules: valid ones, copies, invalid ones, failed attempts."""
    failed = [c for c in candidates if c.failure is not None]
    whole = [c for c in candidates if c.failure is None]
    invalid = [c for c in whole if _passed(checks, c, VALID) is False]
    unknown = [c for c in whole if _passed(checks, c, VALID) is None]
    valid = [c for c in whole if _passed(checks, c, VALID)]
    copies = [c for c in valid if _passed(checks, c, UNIQUE) is False]
    first = [c for c in valid if _passed(checks, c, UNIQUE) is not False]
    first.sort(key=lambda c: sum(_passed(checks, c, check) is False for check in conditions))
    met = sum(all(_passed(checks, c, check) is not False for check in conditions) for c in first)
    # Without any structure it is unknown whether molecules were meant.
    noun = "molecules" if any(len(c.atoms) and not any(c.atoms.pbc) for c in candidates) else "structures"
    note = f"{met} of them meet every condition, and come first" if conditions and first else ""
    return [
        Section(f"Valid {noun}", note, tuple(first), always_shown=True),
        Section(f"Copies of valid {noun}", "the same as one above", tuple(copies)),
        Section("Structures that are not judged as molecules", "they are periodic", tuple(unknown)),
        Section(f"Invalid {noun}", reason_counts([reason(c, checks) for c in invalid]), tuple(invalid)),
        Section("Failed attempts", reason_counts([reason(c, checks) for c in failed]), tuple(failed)),
    ]


def _relaxed(candidates: Sequence[Candidate]) -> list[Section]:
    """Sections of a relaxation: crystals, molecules, failures."""
    failed = [c for c in candidates if c.failure is not None]
    whole = [c for c in candidates if c.failure is None]
    crystals = [c for c in whole if any(c.atoms.pbc)]
    molecules = [c for c in whole if not any(c.atoms.pbc)]
    return [
        Section("Crystals", "", tuple(crystals)),
        Section("Molecules", "", tuple(molecules), always_shown=not crystals),
        Section("Failed", reason_counts([c.failure or "" for c in failed]), tuple(failed)),
    ]


def _passed(checks: Mapping[int, dict[str, Verdict]], candidate: Candidate, check: str) -> bool | None:
    verdict = checks.get(candidate.index, {}).get(check)
    return None if verdict is None else verdict.passed


def reason(candidate: Candidate, checks: Mapping[int, dict[str, Verdict]]) -> str:
    """Why a candidate is not valid: its failure, or what the check of validity says."""
    verdict = checks.get(candidate.index, {}).get(VALID)
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

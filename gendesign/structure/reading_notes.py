"""Messages about structures read from files: failures, repairs and assumptions, one line per kind."""

import sys
from collections import Counter
from collections.abc import Sequence

from gendesign.errors import UserError
from gendesign.structure.files import SOURCE, source_of
from gendesign.structure.types import Candidate

SHOWN = 5  # structures that a line names


def failure_kind(failure: str) -> str:
    """The kind of a failure that reads "kind: details", such as "charged"."""
    return failure.split(":")[0]


def refuse_unusable(candidates: Sequence[Candidate], *, strict: bool) -> None:
    """Raise UserError if no candidate can be used or, with `strict`, if any cannot be used."""
    failed = [candidate for candidate in candidates if candidate.failure]
    if not failed or not (strict or len(failed) == len(candidates)):
        return
    if len({failure_kind(str(candidate.failure)) for candidate in failed}) == 1:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise UserError(f"{place_and_reason(failed[0])}{more}")
    raise UserError(f"{_failures(candidates)}; give structures that can be used")


def reading_notes(candidates: Sequence[Candidate]) -> list[str]:
    """Lines for the terminal about unusable structures, and about repairs and assumptions."""
    lines = [_failures(candidates)] if any(candidate.failure for candidate in candidates) else []
    noted: dict[str, list[int]] = {}
    for place, candidate in enumerate(candidates):
        if not candidate.failure and (source := source_of(candidate)):
            last = len(candidate.history) - 1 - candidate.history[::-1].index(source)
            for note in candidate.history[last + 1 :]:
                noted.setdefault(note, []).append(place)
    return lines + [f"{_structures(candidates, places)}: {note}" for note, places in noted.items()]


def print_reading_notes(candidates: Sequence[Candidate]) -> None:
    """Write `reading_notes` to standard error."""
    for line in reading_notes(candidates):
        print(f"gendesign: {line}", file=sys.stderr, flush=True)


def place(candidate: Candidate) -> str:
    """The number of the structure in words, with its file if known."""
    source = source_of(candidate)
    return f"structure {candidate.index + 1}" + (f" ({source})" if source else "")


def place_and_reason(candidate: Candidate) -> str:
    """The number of the structure in words, and why it cannot be used."""
    return f"{place(candidate)} cannot be used: {candidate.failure}"


def _failures(candidates: Sequence[Candidate]) -> str:
    kinds: dict[str, list[int]] = {}
    for place, candidate in enumerate(candidates):
        if candidate.failure:
            kinds.setdefault(failure_kind(candidate.failure), []).append(place)
    total = sum(map(len, kinds.values()))
    if total == 1:
        (only,) = kinds.values()
        return f"1 of {len(candidates)}: {place_and_reason(candidates[only[0]])}"
    parts = [f"{len(places)} {kind} ({_structures(candidates, places)})" for kind, places in kinds.items()]
    return f"{total} of {len(candidates)} structures cannot be used: {', '.join(parts)}"


def _structures(candidates: Sequence[Candidate], places: Sequence[int]) -> str:
    """Numbers of structures such as 'structures 4, 9', counted within their file; with files if there are several."""
    sources = [source_of(candidate).removeprefix(SOURCE) for candidate in candidates]
    seen: Counter[str] = Counter()
    numbers = []
    for source in sources:
        seen[source] += 1
        numbers.append(seen[source])
    several = len(seen) > 1
    names = [f"{numbers[i]} of {sources[i]}" if several else str(numbers[i]) for i in places[:SHOWN]]
    more = f" and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
    return f"structure{'s' if len(places) > 1 else ''} {', '.join(names)}{more}"

"""Chemical formulas and ranges of counts."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from ase.data import atomic_numbers
from ase.formula import Formula

from gendesign.errors import UserError


def parse_formula(text: str) -> dict[str, int]:
    """Counts of the elements of a formula: 'C7H8N2O2' -> {'C': 7, 'H': 8, 'N': 2, 'O': 2}.

    Groups such as Ca(OH)2 are allowed. Raises UserError for an empty text, unknown elements and invalid formulas.
    """
    if not re.fullmatch(r"\s*[A-Za-z0-9()]+\s*", text):
        raise UserError(_refusal(text))
    try:
        counts = Formula(text.strip()).count()
    except (ValueError, RecursionError) as error:
        raise UserError(_refusal(text)) from error
    known = all(symbol in atomic_numbers and symbol != "X" for symbol in counts)
    if not counts or not known or any(count < 1 for count in counts.values()):
        raise UserError(_refusal(text))
    return dict(counts)


def _refusal(text: str) -> str:
    return f"{text!r} is not a chemical formula; write elements and counts, for example C7H8N2O2"


def hill_formula(composition: Mapping[str, int] | Iterable[str]) -> str:
    """Formula in Hill order (C, H, then alphabetic) from counts or from a sequence of symbols; "" without atoms."""
    counts = Counter(composition)
    return Formula.from_dict({symbol: count for symbol, count in counts.items() if count}).format("hill")


def parse_range(value: str | int, name: str = "range") -> tuple[int, int]:
    """Bounds of a count of at least 1: '5-12' -> (5, 12), '9' or 9 -> (9, 9).

    Raises UserError, whose message names the value `name`.
    """
    match = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", str(value))
    if match is None or isinstance(value, bool):
        raise UserError(f"{name}={value!r} is not a count; write a number such as 9 or a range such as 5-12")
    low = int(match[1])
    high = int(match[2] or low)
    if low < 1:
        raise UserError(f"{name}={value} starts below 1; counts begin at 1, for example 5-12")
    if high < low:
        raise UserError(f"{name}={value} runs backwards; write the smaller number first, {high}-{low}")
    return low, high

"""From the text behind `key=` to a value of the type of the key's default, or to one line that refuses it."""

import re
import unicodedata
from typing import Any

from gendesign.errors import SettingsError

INTEGER = re.compile(r"[+-]?[0-9]+")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
INFINITE = re.compile(r"[+-]?\.?inf(inity)?", re.IGNORECASE)
LARGEST, SEED = 10**9, 2**63 - 1  # the largest whole number, and the largest seed, of 64 bits with a sign
HUGE = 1e12  # beyond every length, energy, time and count that means anything here
SIGNED = frozenset("floor high low strength target pressure".split())  # the last word of keys that may be negative
SHARES = frozenset("keep replay_share shape_least swap_share symmetry test_share tilted valid_share".split())
# What keys (their last word) take that are null by default: a number, a whole number, a matrix, or a text, which stays
# one where it looks like a number.
NUMBERS = frozenset(
    "atom_deviation cutoff energy_deviation length margin radius shape_least size target tube window".split()
)
COUNTS, MATRICES = frozenset({"workers"}), frozenset({"covariance"})
TEXTS = frozenset(
    "agent command counts dispersion elements energy energy_unit force_unit forces formula fragments function "
    "functional head host hull importance init ligand memory path pseudopotentials references shape_target "
    "space_group stress stress_unit teacher_cells trajectory uncertainty virial".split()
)
LISTED = frozenset("covariance normal point points".split())  # coordinates
# Lists that are empty by default and take numbers; the others take texts.
NUMBER_LISTS = {"attachments": 0, "centre": 0.0, "known_cell": 0.0, "reference_weights": 0.0}
OPEN_SIDES = ("low", "high")  # limits that may be infinite


def value_of(key: str, text: str, default: Any) -> Any:
    """`text` as the type of `default`; text stays literal, so that C#N and CCCC[NH3+] need no second quoting.

    Quotes around all of it, which Hydra's own grammar asks for, make no difference to texts; quoted numbers are texts
    where both are allowed. Raises SettingsError.
    """
    if bad := [letter for letter in text if unicodedata.category(letter) in ("Cc", "Cs")]:
        raise SettingsError(f"{key}={text!r}: the character {bad[0]!r} is not allowed in settings; leave it out")
    if text == "null":
        return None
    if not text.strip():
        nothing = "[] for none" if isinstance(default, list) else "null for none" if default is None else "a value"
        raise SettingsError(f"{key}=: the value is missing; give {nothing}, or leave {key} out")
    if isinstance(default, list):
        return _items(key, text, default)
    if quoted := re.fullmatch(r"(['\"])(.*)\1", text):
        text, default = quoted[2], "" if default is None else default
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise SettingsError(f"{key}={text}: allowed are true and false")
        return text.lower() == "true"
    if isinstance(default, int | float):
        return _number(key, text, type(default), default)
    if text == "???":  # which OmegaConf takes for a value that is missing
        raise SettingsError(f"{key}=???: this stands for a missing value; give one")
    return text if default is not None else _of_null(key, text)


def literal(value: Any) -> Any:
    """A value as OmegaConf must be given it to return it unchanged: ${ begins no interpolation."""
    if isinstance(value, list):
        return [literal(item) for item in value]
    if not isinstance(value, str) or "${" not in value:
        return value
    # backslashes before ${ and at the end are escapes in a text that holds ${, and no others are
    return re.sub(r"(\\*)\$\{", lambda found: 2 * found[1] + r"\${", value)


def split_outside(text: str) -> list[str]:
    """Parts of a text between the commas that stand in no brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _of_null(key: str, text: str) -> Any:
    """The value of a key that is null by default."""
    word = key.rpartition(".")[2]
    if word in COUNTS:
        return _number(key, text, int, 4)
    if word in NUMBERS:
        return _number(key, text, float, 1.5)
    if word in MATRICES:
        return _matrix(key, text)
    if word not in TEXTS and NUMBER.fullmatch(text):
        return _number(key, text, int if INTEGER.fullmatch(text) else float, 1)
    return text


def _matrix(key: str, text: str) -> list[list[float]]:
    rows = re.fullmatch(r"\s*\[\s*(\[[^][]*\]\s*(?:,\s*\[[^][]*\]\s*)*)\]\s*", text)
    if rows is None:
        raise SettingsError(f"{key}={text}: a matrix is needed, such as [[1,0,0],[0,1,0],[0,0,2]]")
    return [[_number(key, item, float, 1.0) for item in row.split(",")] for row in re.findall(r"\[([^][]*)\]", rows[1])]


def _number(key: str, text: str, kind: type, example: float) -> float | int:
    text, word = text.strip(), key.rpartition(".")[2]
    if kind is int:
        if not INTEGER.fullmatch(text):
            raise SettingsError(f"{key}={text}: a whole number is needed, such as {example}")
        most = SEED if word == "seed" else LARGEST
        if len(text) > 20 or abs(int(text)) > most:
            raise SettingsError(f"{key}={text[:30]}: this number is too large; give at most {most}")
        return _within(key, int(text))
    if INFINITE.fullmatch(text) and word in OPEN_SIDES:
        return float(text.replace(".", ""))
    if not NUMBER.fullmatch(text):
        finite = "a finite number" if re.fullmatch(r"[+-]?\.?(inf(inity)?|nan)", text.lower()) else "a number"
        raise SettingsError(f"{key}={text}: {finite} is needed, such as {example}")
    if abs(float(text)) > HUGE:
        raise SettingsError(f"{key}={text[:30]}: this number is too large; give at most {HUGE:g}")
    return _within(key, float(text))


def _within(key: str, number: float) -> float:
    """The number itself, if it is not negative where that means nothing, nor a share beyond 1."""
    word = key.rpartition(".")[2]
    if number < 0 and key not in ("n", "seed", "shard_size") and word not in SIGNED | NUMBER_LISTS.keys() | LISTED:
        raise SettingsError(f"{key}={number}: this must not be negative; give 0 or more")
    if word in SHARES and not 0 <= number <= 1:
        raise SettingsError(f"{key}={number}: a share from 0 to 1 is needed")
    return number


def _items(key: str, text: str, default: list[Any]) -> list[Any]:
    first = default[0] if default else NUMBER_LISTS.get(key.rpartition(".")[2], "")
    if not _closed(text):
        raise SettingsError(f"{key}={text}: a bracket is not closed; write a list as [A,B]")
    items = [_unquoted(item.strip()) for item in split_outside(_unwrapped(text.strip()))]
    return [value_of(key, item, first) for item in items if item]


def _unquoted(item: str) -> str:
    found = re.fullmatch(r"(['\"])(.*)\1", item)
    return found[2] if found else item


def _closed(text: str) -> bool:
    """Whether every square or round bracket is closed, by one of its kind."""
    waiting = []
    for letter in text:
        if letter in "([":
            waiting.append({"(": ")", "[": "]"}[letter])
        elif letter in ")]" and (not waiting or waiting.pop() != letter):
            return False
    return not waiting


def _unwrapped(text: str) -> str:
    """Without the brackets around the whole of it: [a,b] is a,b, but [#7]-[#7] stays."""
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "[") - (letter == "]")
        if depth == 0:
            return text[1:-1] if letter == "]" and place == len(text) - 1 and text[0] == "[" else text
    return text

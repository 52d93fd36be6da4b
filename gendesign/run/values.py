"""From the text behind `key=` to a value of the type that its field declares, or to one line that refuses it."""

import re
import unicodedata
from dataclasses import replace
from typing import Any

from gendesign.errors import SettingsError
from gendesign.run.schema import LIST, REQUIRED, Field

INTEGER = re.compile(r"[+-]?[0-9]+")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
INFINITE = re.compile(r"[+-]?\.?inf(inity)?", re.IGNORECASE)
LARGEST = 10**9  # the largest whole number where a field has no bound of its own
HUGE = 1e12  # beyond every length, energy, time and count that means anything here
EXAMPLES = {"int": 4, "float": 1.5}


def value_of(key: str, text: str, field: Field) -> Any:
    """`text` as a value of `field`; text stays literal, so that C#N and CCCC[NH3+] need no second quoting.

    Quotes around all of it, which Hydra's own grammar asks for, make no difference to texts; quoted numbers are texts
    where both are allowed. Raises SettingsError.
    """
    if bad := [letter for letter in text if unicodedata.category(letter) in ("Cc", "Cs")]:
        raise SettingsError(f"{key}={text!r}: the character {bad[0]!r} is not allowed in settings; leave it out")
    if text == "null":
        if not field.nullable:
            raise SettingsError(f"{key}=null: this key needs a value; give one, or leave {key} out")
        return None
    if not text.strip():
        nothing = "[] for none" if field.items else "null for none" if field.nullable else "a value"
        raise SettingsError(f"{key}=: the value is missing; give {nothing}, or leave {key} out")
    bracketed = text.strip().startswith("[")
    if field.items and (not field.scalars or bracketed or field.items == ("text",)):
        return _items(key, text, field)
    return _single(key, text, field)


def literal(value: Any) -> Any:
    """A value as OmegaConf must be given it to return it unchanged: ${ begins no interpolation."""
    if isinstance(value, list):
        return [literal(item) for item in value]
    if not isinstance(value, str) or "${" not in value:
        return value
    # backslashes before ${ and at the end are escapes in a text that holds ${, and no others are
    return re.sub(r"(\\*)\$\{", lambda match: 2 * match[1] + r"\${", value)


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


def _single(key: str, text: str, field: Field) -> Any:
    """A value that is no list."""
    if quoted := re.fullmatch(r"(['\"])(.*)\1", text):
        text = quoted[2]
    numeric = next((kind for kind in ("float", "int") if kind in field.scalars), "")
    if numeric and ("text" not in field.scalars or (field.about.allowed and not quoted and _is_number(text))):
        return _number(key, text, numeric, field)
    if field.scalars == ("bool",):
        if text.lower() not in ("true", "false"):
            raise SettingsError(f"{key}={text}: allowed are true and false")
        return text.lower() == "true"
    if text == "???":  # which OmegaConf takes for a value that is missing
        raise SettingsError(f"{key}=???: this stands for a missing value; give one")
    if not field.about.fits(text):
        if numeric:
            raise SettingsError(f"{key}={text}: {_wanted(numeric, field)}")
        raise SettingsError(f"{key}={text}: allowed are {', '.join(field.about.allowed)}")
    return text


def _number(key: str, text: str, kind: str, field: Field) -> float | int:
    text, about = text.strip(), field.about
    if kind == "int":
        if not INTEGER.fullmatch(text):
            raise SettingsError(f"{key}={text}: {_wanted(kind, field, example=True)}")
        most = int(about.most) if about.most is not None else LARGEST
        if len(text) > 20 or abs(int(text)) > max(most, LARGEST):
            raise SettingsError(f"{key}={text[:30]}: this number is too large; give at most {most}")
        return _within(key, int(text), kind, field)
    if INFINITE.fullmatch(text) and about.infinite:
        return _within(key, float(text.replace(".", "")), kind, field)
    if not NUMBER.fullmatch(text):
        unbounded = re.fullmatch(r"[+-]?\.?(inf(inity)?|nan)", text.lower())
        raise SettingsError(f"{key}={text}: {_wanted(kind, field, 'a finite number' if unbounded else '', True)}")
    if abs(float(text)) > HUGE:
        raise SettingsError(f"{key}={text[:30]}: this number is too large; give at most {HUGE:g}")
    return _within(key, float(text), kind, field)


def _within(key: str, number: float, kind: str, field: Field) -> float:
    if not field.about.holds(number):
        raise SettingsError(f"{key}={number}: {_wanted(kind, field)}")
    return number


def _wanted(kind: str, field: Field, noun: str = "", example: bool = False) -> str:
    """What to give instead: "give auto, or a whole number of 0 or more", or "a number is needed, such as 1.5"."""
    about = replace(field.about, most=None) if (field.about.most or 0) > LARGEST else field.about
    if not example or (field.words and about.bounded):
        words = f"{' or '.join(field.words)}, or " if field.words else ""
        return f"give {words}{about.wanted(kind == 'int')}"
    shown = field.default if _typical(field.default, kind) else EXAMPLES[kind]
    return f"{noun or ('a whole number' if kind == 'int' else 'a number')} is needed, such as {shown}"


def _typical(default: Any, kind: str) -> bool:
    kinds = int if kind == "int" else (int, float)
    return default is not REQUIRED and isinstance(default, kinds) and not isinstance(default, bool)


def _is_number(text: str) -> bool:
    return bool(NUMBER.fullmatch(text.strip()))


def _items(key: str, text: str, field: Field) -> list[Any]:
    inner = tuple(dict.fromkeys(field.items))
    if all(kind.startswith(LIST) for kind in inner):
        return _matrix(key, text, replace(field, takes=tuple(kind.removeprefix(LIST)[:-1] for kind in inner)))
    item_field = replace(field, takes=inner, default=_first(field.default))
    if not _closed(text):
        raise SettingsError(f"{key}={text}: a bracket is not closed; write a list as [A,B]")
    items = [_unquoted(item.strip()) for item in split_outside(_unwrapped(text.strip()))]
    return [value_of(key, item, item_field) for item in items if item]


def _first(default: Any) -> Any:
    return default[0] if isinstance(default, list) and default else REQUIRED


def _matrix(key: str, text: str, item: Field) -> list[list[Any]]:
    rows = re.fullmatch(r"\s*\[\s*(\[[^][]*\]\s*(?:,\s*\[[^][]*\]\s*)*)\]\s*", text)
    if rows is None:
        raise SettingsError(f"{key}={text}: a matrix is needed, such as [[1,0,0],[0,1,0],[0,0,2]]")
    return [[_single(key, part, item) for part in row.split(",")] for row in re.findall(r"\[([^][]*)\]", rows[1])]


def _unquoted(item: str) -> str:
    match = re.fullmatch(r"(['\"])(.*)\1", item)
    return match[2] if match else item


def _closed(text: str) -> bool:
    """Whether every square or round bracket is closed, by one of its kind."""
    waiting: list[str] = []
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

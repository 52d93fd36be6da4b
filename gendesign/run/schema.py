"""What every key takes: type, default, unit, bounds, allowed words and help, read from one shipped file.

schema.json is made from the classes that conf/ and run/verbs.py name (run/declared.py). The command line reads that
file alone, so that it answers without importing torch. After a change of any setting:

    python -m gendesign.run.schema
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from gendesign.fields import Setting

PATH = Path(__file__).with_name("schema.json")
TARGET = "_target_"
LIST = "list["
REQUIRED: Any = object()  # in place of a default
Fields = Mapping[str, "Field"]


@dataclass(frozen=True)
class Field:
    """One key of a section of settings.

    takes: what its value may be, of bool, int, float, text, null, list[...] of the first four, and list[list[...]];
    nothing for an object that a section of its own describes. default: REQUIRED where a value must be given.
    section: the class whose fields are the keys of the section that this field is; optional: such a section is there
    only where the settings have it.
    """

    about: Setting
    takes: tuple[str, ...] = ()
    default: Any = REQUIRED
    section: str = ""
    optional: bool = False

    @property
    def nullable(self) -> bool:
        """Whether null may be given."""
        return "null" in self.takes

    @property
    def scalars(self) -> tuple[str, ...]:
        """What a single value may be, of bool, int, float and text."""
        return tuple(kind for kind in self.takes if kind != "null" and not kind.startswith(LIST))

    @property
    def items(self) -> tuple[str, ...]:
        """What the items of a list may be; nothing where no list may be given."""
        return tuple(kind.removeprefix(LIST)[:-1] for kind in self.takes if kind.startswith(LIST))

    @property
    def plain(self) -> bool:
        """Whether a value can be typed at all."""
        return bool(self.scalars or self.items)

    @property
    def words(self) -> tuple[str, ...]:
        """The words that may be given in place of a number, null included."""
        return (*(self.about.allowed if "text" in self.takes else ()), *(("null",) if self.nullable else ()))


@cache
def schema() -> dict[str, dict[str, Field]]:
    """The fields by class and name, as shipped."""
    classes = json.loads(PATH.read_text())
    return {target: {key: _read(row) for key, row in rows.items()} for target, rows in classes.items()}


def fields_of(target: str) -> Fields:
    """The fields of the class with this dotted name, none for an unknown one."""
    return schema().get(target, {})


def to_json(classes: Mapping[str, Fields]) -> str:
    """The text of schema.json, a line for each field."""
    blocks = []
    for target in sorted(classes):
        rows = [f"  {json.dumps(key)}: {json.dumps(_write(field))}" for key, field in classes[target].items()]
        blocks.append(f"{json.dumps(target)}: {{\n" + ",\n".join(rows) + "\n}")
    return "{\n" + ",\n".join(blocks) + "\n}\n"


def _write(field: Field) -> dict[str, Any]:
    """A field without what it does not say."""
    row: dict[str, Any] = {"takes": " | ".join(field.takes)} if field.takes else {}
    if field.default is not REQUIRED:
        row["default"] = field.default
    row |= {"section": field.section} if field.section else {}
    row |= {"optional": True} if field.optional else {}
    unsaid = asdict(Setting(""))
    return row | {key: value for key, value in asdict(field.about).items() if value != unsaid[key]}


def _read(row: dict[str, Any]) -> Field:
    about = {field.name: row[field.name] for field in fields(Setting) if field.name in row}
    about["allowed"] = tuple(about.get("allowed", ()))
    takes = tuple(row["takes"].split(" | ")) if "takes" in row else ()
    setting = Setting(**{"help": "", **about})
    return Field(setting, takes, row.get("default", REQUIRED), row.get("section", ""), row.get("optional", False))


if __name__ == "__main__":
    from gendesign.run.declared import write_schema

    write_schema()

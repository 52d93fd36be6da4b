"""The scene: one JSON document on disk, changed key by key, with undo and redo."""

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gendesign.errors import UserError
from gendesign.structure.files import write_atomically

MOST_STEPS = 200  # that can be undone
LARGEST = 8 << 20  # bytes of the document with its history
MOST_POINTS = 20_000  # of all strokes
IDENTITY = [1, 0, 0, 0, 1, 0, 0, 0, 1]
ROLES = ("shown", "fragment", "host", "reference")
SHAPES = ("circle", "heart", "line", "shell", "torus", "gaussian", "anisotropic")
PRIORS = ("none", "drawn", "file", "pocket", *SHAPES)
EMPTY: dict[str, Any] = {
    "structures": [],
    "strokes": [],
    "plane": {"origin": [0, 0, 0], "normal": [0, 0, 1]},
    "prior": {"kind": "none"},
    "settings": {},
    "kept": [],
    "shown": None,
}


class Conflict(Exception):
    """Another tab has changed the same part of the scene."""


class Scene:
    """The scene in `scene.json` of a folder; `changed` is called after every change."""

    def __init__(self, folder: Path, changed: Callable[[], None] = lambda: None) -> None:
        self.path, self.changed = folder / "scene.json", changed
        self.revision, self.content = 0, json.loads(json.dumps(EMPTY))
        self.undone: list[dict[str, Any]] = []
        self.done: list[dict[str, Any]] = []
        self._changed_at: dict[str, int] = {}
        if self.path.is_file():
            self._read()

    def _read(self) -> None:
        try:
            kept = json.loads(self.path.read_text())
            self.revision, self.content = int(kept["revision"]), EMPTY | kept["scene"]
            self.done, self.undone = kept["done"], kept["undone"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self.path} cannot be read ({error}); move it away to begin a new scene") from None

    def state(self) -> dict[str, Any]:
        """The document for the page."""
        return {
            "revision": self.revision,
            "scene": self.content,
            "undo": self.done[-1]["label"] if self.done else None,
            "redo": self.undone[-1]["label"] if self.undone else None,
        }

    def change(self, changes: Mapping[str, Any], label: str = "", base: int | None = None) -> None:
        """Replace the values of some keys. Without a label the change cannot be undone, as what is shown.

        base: the revision that the page knew; Conflict is raised where another tab has changed one of the keys since.
        Raises UserError for impossible values.
        """
        if base is not None and any(self._changed_at.get(key, 0) > base for key in changes):
            raise Conflict
        checked = {key: _checked(key, value) for key, value in changes.items()}
        if label:
            before = {key: self.content[key] for key in checked}
            self.done = [*self.done, {"label": label[:80], "before": before, "after": checked}][-MOST_STEPS:]
            self.undone = []
        self._set(checked)

    def undo(self) -> None:
        """Take the last change back; nothing where there is none."""
        if self.done:
            step = self.done.pop()
            self.undone.append(step)
            self._set(step["before"])

    def redo(self) -> None:
        """Make the change again that was taken back last."""
        if self.undone:
            step = self.undone.pop()
            self.done.append(step)
            self._set(step["after"])

    def _set(self, values: Mapping[str, Any]) -> None:
        self.content = {**self.content, **values}
        self.revision += 1
        self._changed_at |= dict.fromkeys(values, self.revision)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while len(text := self._text()) > LARGEST and len(self.done) > 1:
            self.done = self.done[len(self.done) // 2 :]  # the older half can no longer be undone
        write_atomically(self.path, text)
        self.changed()

    def _text(self) -> str:
        return json.dumps({"revision": self.revision, "scene": self.content, "done": self.done, "undone": self.undone})


def new_structure(file: str, name: str, role: str = "shown") -> dict[str, Any]:
    """An entry of `structures` in its own place."""
    return {
        "file": file, "name": name[:80], "role": role, "visible": True, "pose": {"r": IDENTITY, "t": [0, 0, 0]},
        "fixed": [], "attachments": [],
    }  # fmt: skip


def _checked(key: str, value: Any) -> Any:
    """A value as it may stand in the scene; raises UserError."""
    check = _CHECKS.get(key)
    try:
        if check is None or not check(value):
            raise ValueError
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UserError(f"the scene takes no such '{key[:40]}'; reload the page") from None
    return value


def numbers(values: Any, count: int) -> bool:
    """Whether these are so many finite numbers."""
    return len(values) == count and all(isinstance(x, int | float) and math.isfinite(x) for x in values)


def _whole(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(x, int) and x >= 0 for x in values)


def _structures(value: Any) -> bool:
    return len(value) <= 500 and all(
        re.fullmatch(r"[0-9a-f]{24}", row["file"])
        and isinstance(row["name"], str)
        and row["role"] in ROLES
        and isinstance(row["visible"], bool)
        and numbers(row["pose"]["r"], 9)
        and numbers(row["pose"]["t"], 3)
        and _whole(row["fixed"])
        and _whole(row["attachments"])
        for row in value
    )


def _strokes(value: Any) -> bool:
    return sum(len(stroke["points"]) for stroke in value) <= MOST_POINTS and all(
        stroke["type"] in ("curve", "brush")
        and isinstance(stroke.get("closed", False), bool)
        and 0 < float(stroke.get("radius", 1)) <= 20
        and 0 < float(stroke.get("density", 1)) <= 100
        and all(numbers(point, 3) and max(map(abs, point)) < 1e4 for point in stroke["points"])
        for stroke in value
    )


def _prior(value: Any) -> bool:
    return value["kind"] in PRIORS and all(isinstance(text, str | int | type(None)) for text in value.values())


def _settings(value: Any) -> bool:
    return all(
        re.fullmatch(r"[a-z_]+", name)
        and all(isinstance(text, str) and len(text) < 2000 and "=" not in key for key, text in rows.items())
        for name, rows in value.items()
    )


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "structures": _structures,
    "strokes": _strokes,
    "plane": lambda value: numbers(value["origin"], 3) and numbers(value["normal"], 3) and any(value["normal"]),
    "prior": _prior,
    "settings": _settings,
    "kept": lambda value: all(isinstance(name, str) and isinstance(index, int) for name, index in value),
    "shown": lambda value: value is None or (isinstance(value[0], str) and isinstance(value[1], int)),
}

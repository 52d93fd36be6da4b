"""Damaged structure files end in candidates or in one line, never in another exception."""

import random
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gendesign.errors import UserError
from gendesign.structure.files import read_structures
from gendesign.structure.label_files import read_labelled
from gendesign.structure.reading_notes import reading_notes

TROUBLES = Path(__file__).resolve().parents[1] / "data" / "troubles"

LARGEST = 12_000  # bytes; larger files are cut, so that the test stays fast
NAMES = sorted(path.name for path in TROUBLES.iterdir() if path.stat().st_size)
NUMBERS = [b"nan", b"inf", b"-1e300", b"1e400", b"99999999999999999999", b"-1", b"0", b"1.2.3", b"********"]
Damage = Callable[[bytes, random.Random], bytes]


def truncated(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(1, len(content))]


def beheaded(content: bytes, draw: random.Random) -> bytes:
    return content[draw.randrange(1, len(content)) :]


def line_deleted(content: bytes, draw: random.Random) -> bytes:
    lines = content.split(b"\n")
    del lines[draw.randrange(len(lines))]
    return b"\n".join(lines)


def line_doubled(content: bytes, draw: random.Random) -> bytes:
    lines = content.split(b"\n")
    at = draw.randrange(len(lines))
    return b"\n".join([*lines[: at + 1], *lines[at:]])


def lines_swapped(content: bytes, draw: random.Random) -> bytes:
    lines = content.split(b"\n")
    i, j = draw.randrange(len(lines)), draw.randrange(len(lines))
    lines[i], lines[j] = lines[j], lines[i]
    return b"\n".join(lines)


def characters_flipped(content: bytes, draw: random.Random) -> bytes:
    out = bytearray(content)
    for _ in range(draw.randrange(1, 6)):
        out[draw.randrange(len(out))] = draw.randrange(256)
    return bytes(out)


def columns_swapped(content: bytes, draw: random.Random) -> bytes:
    """Two words of one line change places; the words of all lines below it as well, every second time."""
    lines = content.split(b"\n")
    start = draw.randrange(len(lines))
    end = len(lines) if draw.random() < 0.5 else start + 1
    i, j = draw.randrange(6), draw.randrange(6)
    for at in range(start, end):
        words = lines[at].split()
        if max(i, j) < len(words):
            words[i], words[j] = words[j], words[i]
            lines[at] = b" ".join(words)
    return b"\n".join(lines)


def number_replaced(content: bytes, draw: random.Random) -> bytes:
    numbers = list(re.finditer(rb"-?\d+(\.\d+)?", content))
    if not numbers:
        return content + draw.choice(NUMBERS)
    found = draw.choice(numbers)
    return content[: found.start()] + draw.choice(NUMBERS) + content[found.end() :]


def encoded_otherwise(content: bytes, draw: random.Random) -> bytes:
    return content.decode("utf-8", errors="replace").encode(draw.choice(["utf-16", "utf-16-le", "utf-8-sig", "utf-32"]))


DAMAGES = (truncated, beheaded, line_deleted, line_doubled, lines_swapped, characters_flipped, columns_swapped,
           number_replaced, encoded_otherwise)  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damaged_files_give_candidates_or_one_line(tmp_path, damage):
    for number, name in enumerate(NAMES):
        draw = random.Random(f"{damage.__name__} {name}")
        whole = (TROUBLES / name).read_bytes()[:LARGEST]
        path = tmp_path / name
        path.write_bytes(damage(whole, draw))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _read(path, number % 2 == 0)


def _read(path, repair: bool) -> None:
    """Read the file as `relax` does, or as `train` does, and check what comes of it."""
    try:
        if repair:
            candidates = read_structures([path], strict=False)
        else:
            candidates = [record.candidate for record in read_labelled([path], aloud=False)]
    except UserError as error:
        assert str(error).isprintable() and path.name in str(error)
        return
    assert candidates
    for candidate in candidates:
        assert candidate.failure or (len(candidate.atoms) and np.isfinite(candidate.atoms.positions).all())
    assert all(line.isprintable() for line in reading_notes(candidates))

"""Division of structures into trained and held out, so that no molecule is in both."""

import hashlib
import math
from collections.abc import Sequence

from ase import Atoms

from gendesign.errors import UserError
from gendesign.structure.formula import hill_formula
from gendesign.structure.labels import is_isolated

BY = ("molecule", "composition", "frame")


def split(
    frames: Sequence[Atoms], share: float, by: str = "molecule", key: str = "test_share", cutoff: float = 6.0
) -> tuple[list, list]:
    """(train, held out): `share` of the molecules, compositions or frames; isolated atoms are always trained on.

    An atom is isolated when it has no neighbour within `cutoff` (Angstrom), periodic images included.

    A molecule is what info["molecule"] names, or else the composition. The choice is by a hash of the names (of the
    structure itself for frames), so that it depends on the data alone. Raises UserError if nothing can be held out.
    """
    if by not in BY:
        raise UserError(f"split={by}: allowed are {', '.join(BY)}")
    if not 0 <= share < 1:
        raise UserError(f"{key}={share}: give a share of 0 or more and less than 1")
    names = [None if is_isolated(frame, cutoff) else _name(frame, by) for frame in frames]
    ordered = sorted(
        {name for name in names if name is not None},
        key=lambda name: hashlib.sha256(name.encode()).hexdigest(),
    )
    if share and len(ordered) < 2:
        raise UserError(
            f"{key}={share}: the files hold {len(ordered)} {by}, too few to hold one out; "
            f"give more, or split=frame to test on other geometries of the same molecules, or {key}=0"
        )
    held = set(ordered[: min(math.ceil(share * len(ordered)), len(ordered) - 1)])
    parts: tuple[list, list] = ([], [])
    for name, frame in zip(names, frames, strict=True):
        parts[name in held].append(frame)
    return parts


def leaks(train: Sequence[Atoms], test: Sequence[Atoms], by: str, cutoff: float = 6.0) -> list[str]:
    """Names of the molecules, compositions or (identical) frames that are in both."""
    sides = ({_name(f, by) for f in frames if not is_isolated(f, cutoff)} for frames in (train, test))
    return sorted(set.intersection(*sides))


def _name(frame: Atoms, by: str) -> str:
    composition = hill_formula(frame.get_chemical_symbols())
    if by == "frame":
        content = frame.numbers.tobytes() + frame.positions.round(6).tobytes() + frame.cell.array.round(6).tobytes()
        return f"{composition} {hashlib.sha256(content).hexdigest()[:16]}"
    return str(frame.info.get("molecule") or composition) if by == "molecule" else composition

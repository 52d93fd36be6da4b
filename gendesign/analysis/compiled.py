"""Loops compiled by numba where it is installed; without it the same functions run as plain Python on small models."""

import importlib.util
from collections.abc import Callable
from typing import Any

from gendesign.errors import UserError

HAS_NUMBA = importlib.util.find_spec("numba") is not None
MOST_PLAIN = 5_000  # nodes of a network that plain Python searches within a minute


def compiled[F: Callable[..., Any]](function: F) -> F:
    """The function compiled on its first call, or the function itself without numba."""
    if not HAS_NUMBA:
        return function
    import numba

    out: F = numba.njit(cache=True, nogil=True)(function)
    return out


def check_compiled(nodes: int, what: str) -> None:
    """Raise UserError where a search of so many nodes needs numba, which is missing."""
    if not HAS_NUMBA and nodes > MOST_PLAIN:
        raise UserError(
            f"{what} of {nodes} nodes need numba, without which {MOST_PLAIN} are allowed; "
            "run pip install 'gendesign[amorphous]'"
        )

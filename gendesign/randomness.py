"""What random numbers are drawn for: every purpose has a stream of its own, so that no two draws share numbers.

The number of a purpose is part of the key of its stream and is never given to another one.
"""

from enum import IntEnum, unique

import numpy as np


@unique
class Purpose(IntEnum):
    """A use of random numbers. New ones go to the end of their hundred."""

    # perovskites: 100
    START = 100  # the random start of a search
    SYMMETRY = 101  # whether a start obeys a layer group
    KNOWN_CELL_START = 102  # the random start of a search in a known cell
    MUTATION = 103  # a mutant
    ENLARGEMENT = 104  # the displacements in a cell twice as large
    SALT = 105  # the random start of a salt among the precursors
    COMPETING_PHASE = 106  # the random start of a competing phase
    ATOM_ORDER = 107  # orders of the atoms of a cation without bonds


def stream(purpose: Purpose, *key: int) -> np.random.Generator:
    """Random numbers that depend on the purpose and on `key` alone, such as (seed, candidate)."""
    return np.random.default_rng([int(purpose), len(key), *key])

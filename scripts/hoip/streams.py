"""Numbers of the structures of the recipe: named streams and their random numbers.

A structure is `NAME K` on a command line, such as `wide 12`. Its number, in names of shards and in the info `stream` of
labels, is the start of the stream plus K.
"""

from enum import IntEnum, unique

import numpy as np

STREAMS = {
    "small": range(0, 20_000),  # smallest cells first, all classes mixed
    "wide": range(20_000, 60_000),  # cycles through BROAD and FRESH (cations.py)
    "salts": range(60_000, 100_000),  # salts and pairs: cycles through SMALL with alternating families
    "visited": range(100_000, 200_000),  # relaxed by the checkpoint
    "searches": range(200_000, 300_000),  # crystals of searches, two of each
    "extra": range(300_000, 400_000),  # cations of extra_cations.py
    "disagreements": range(500_000, 600_000),  # the selection of disagreements.py
}


@unique
class Draw(IntEnum):
    """The purpose of random numbers of a structure or a shard."""

    STRUCTURE = 31
    ROUGH_RELAXATION = 32
    LABELLED_GEOMETRY = 33
    VISITED = 34
    SEARCH = 35
    SHAKEN = 36
    RELAXATION_PATH = 37


def stream(draw: Draw, k: int) -> np.random.Generator:
    """Random numbers of structure, search or shard k for one purpose."""
    return np.random.default_rng([k, draw])


def numbers_of(name: str, first: str, last: str) -> range:
    """The numbers of structures FIRST to LAST - 1 of a stream. Raises ValueError with a one-line message."""
    words = " ".join((name, first, last))
    if name not in STREAMS or not (first.isdecimal() and last.isdecimal()):
        raise ValueError(
            f"{words}: give a stream ({', '.join(STREAMS)}) with the first and the end, such as wide 0 304"
        )
    start = STREAMS[name].start
    if not int(first) < int(last) <= len(STREAMS[name]):
        raise ValueError(f"{words}: the end is above the first and at most {len(STREAMS[name])}")
    return range(start + int(first), start + int(last))

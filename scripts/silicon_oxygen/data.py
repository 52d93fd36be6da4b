"""The labels under training/silox as data sets; a tenth of the trajectories and variants is frozen as test set."""

import hashlib
from collections.abc import Sequence

import numpy as np
from ase import Atoms

from gendesign.structure.labels import labels_of
from gendesign.train.label import read_frames
from scripts.silicon_oxygen.label import LABELS

TEST_SHARE = 0.10
ALWAYS_TRAINED = ("atom", "dimer", "equation")  # few and systematic: the ends of curves would be extrapolated
COPIES = {"dimer": 3, "cluster": 2, "own": 2}  # rare kinds that are important for short distances and for fragments


def frames() -> list[Atoms]:
    """All structures with labels."""
    paths = sorted(LABELS.glob("*/shard-*.extxyz"))
    return [frame for frame in read_frames(paths) if "failure" not in frame.info]


def in_test(frame: Atoms) -> bool:
    """Whether a structure is held out, by a hash of its trajectory or variant, never frame by frame."""
    if frame.info["kind"].split()[-1] in ALWAYS_TRAINED:
        return False
    return int(hashlib.sha256(frame.info["group"].encode()).hexdigest()[:8], 16) / 2**32 < TEST_SHARE


def divided() -> tuple[list[Atoms], list[Atoms]]:
    """(structures to train on, with copies of rare kinds; held-out structures)."""
    everything = frames()
    train = [frame for frame in everything if not in_test(frame)]
    copied = [frame for frame in train for _ in range(COPIES.get(frame.info["kind"].split()[-1], 1))]
    return copied, [frame for frame in everything if in_test(frame)]


def isolated_atoms(structures: Sequence[Atoms]) -> dict[int, float]:
    """Energy (eV) of every isolated atom, by atomic number."""
    return dict(sorted((int(f.numbers[0]), labels_of(f)[0]) for f in structures if f.info["kind"] == "atom"))


def average_neighbours(structures: Sequence[Atoms], cutoff: float, most: int = 200) -> float:
    """Neighbours of an atom within `cutoff` (Angstrom), averaged over a sample."""
    from matscipy.neighbours import neighbour_list

    sample = structures[:: max(1, len(structures) // most)]
    pairs = sum(len(neighbour_list("i", frame, cutoff)) for frame in sample)
    return float(np.round(pairs / sum(map(len, sample)), 2))

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

    # molecules by similarity: 200
    SIZE = 200  # number of heavy atoms
    REFERENCE = 201  # reference molecule whose composition and unsaturation are aimed at
    ROUNDING = 202  # rounding of its composition to whole atoms
    ELEMENT_ORDER = 203  # which atom starts as which element
    FAMILY_KEY = 204  # key of a family; counter: family
    SLOT_KEY = 205  # key of an atom that all particles of a family share; counter: slot
    ATOM_KEY = 206  # key of an atom; counters: particle, slot
    PRIOR_SHAPE = 207  # covariance of the Gaussian prior
    SHAPE_OFFSET = 208  # offset of the starting atoms along the points of a shape
    START_POSITIONS = 209  # starting positions about the prior
    CHURN = 210  # noise of the integrator; counter: step
    SURVIVOR = 211  # particle that survives a swap; counter: step
    MUTATED_SITES = 212  # atoms whose elements change; counter: step
    MUTANT_ELEMENTS = 213  # their new elements; counter: step
    EXCHANGED_SITES = 214  # atoms that exchange their elements; counters: step, round
    CHOICE = 215  # choice among the proposals of a molecule, and of every sweep


def stream(purpose: Purpose, *key: int) -> np.random.Generator:
    """Random numbers that depend on the purpose and on `key` alone, such as (seed, candidate)."""
    return np.random.default_rng([int(purpose), len(key), *key])

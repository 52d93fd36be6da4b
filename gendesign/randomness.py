"""Random streams by purpose: every use of random numbers has its own stream, so that no two uses share numbers.

The number of a purpose is part of the key of its stream and is never reused.
"""

from enum import IntEnum, unique

import numpy as np


@unique
class Purpose(IntEnum):
    """A use of random numbers. New entries are added at the end of their hundred."""

    # perovskites: 100
    START = 100  # the random start of a search
    SYMMETRY = 101  # whether a start obeys a layer group
    KNOWN_CELL_START = 102  # the random start of a search in a known cell
    MUTATION = 103  # a mutant
    ENLARGEMENT = 104  # the displacements in a cell twice as large
    SALT = 105  # the random start of a salt among the precursors
    COMPETING_PHASE = 106  # the random start of a competing phase
    ATOM_ORDER = 107  # orders of the atoms of a cation without bonds

    # agents and the training of potentials: 300
    POLICY_WEIGHTS = 300  # initial weights of a policy
    AGENT_TRAINING = 301  # actions, minibatches and demonstrations of a training
    AGENT_ENVIRONMENT = 302  # bags that an environment draws in training
    AGENT_EVALUATION = 303  # bags in the evaluation of an agent
    AGENT_CANDIDATE = 304  # actions by which a candidate is built
    AGENT_BENCHMARK = 306  # actions, symmetry operations and samples in the benchmark of agents
    AGENT_BENCHMARK_ENVIRONMENT = 307  # bags in the benchmark of agents
    LEBEDEV_TEST = 308  # poles at which quadrature rules are tested
    TASK_TEST = 309  # bags by which the settings of a task are tested
    FIT_WEIGHTS = 310  # initial weights of a potential
    FIT_ORDER = 311  # order of the training data, by epoch
    FIT_REPLAY_ORDER = 312  # order of old data, by epoch

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
    PARTS = 216  # building blocks of a molecule
    SHAPE_JITTER = 217  # displacements of the shape of a reference

    # the diffusion model: 600
    DIFFUSION_WEIGHTS = 600  # initial weights
    DIFFUSION_ORDER = 601  # order of the training molecules, by epoch
    DIFFUSION_NOISE = 602  # noise levels and noise of a training step; counter: step
    DIFFUSION_SIZE = 603  # numbers of heavy and of all atoms of a molecule
    DIFFUSION_START = 604  # positions and element vectors at the largest noise level
    DIFFUSION_CHURN = 605  # noise of the sampler; counter: step
    DIFFUSION_KNOWN = 606  # noise on atoms and elements that are known; counter: step
    DIFFUSION_TRY = 607  # key of a further try of a molecule; counter: try

    # dynamics and amorphous models: 400
    MD_ATOM = 400  # key of an atom in dynamics; counter: its place
    MD_VELOCITY = 401  # initial velocities; counter: step
    MD_THERMOSTAT = 402  # noise of Langevin dynamics; counter: step
    MD_BAROSTAT = 403  # noise of the volume; counter: step
    PACKING = 404  # random packing of an amorphous model
    LAMMPS_SEED = 405  # velocities in LAMMPS
    TRIALS = 407  # displacements of a crystal that is melted
    VOIDS = 408  # centres of the voids of an aerogel

    # distilled potentials: 500
    DISTILLATION = 500  # strain and displacements of a copy; counter: original and copy
    DISTILLATION_TEST = 501  # structures that are held out


def stream(purpose: Purpose, *key: int) -> np.random.Generator:
    """A random generator that depends only on the purpose and on `key`, such as (seed, candidate)."""
    return np.random.default_rng([int(purpose), len(key), *key])


def seed_of(purpose: Purpose, *key: int) -> int:
    """A seed (63 bits) for random generators of other libraries, such as torch.Generator, by purpose and `key`."""
    return int(stream(purpose, *key).integers(2**63))

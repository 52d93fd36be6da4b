"""Tiny untrained MACE potentials and small molecules."""

import functools
import os
import signal

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule

from gendesign.potential import Potential, mace

ENERGIES = {1: -13.5, 6: -1029.5, 7: -1485.25, 8: -2042.0}  # exact in binary
CHEMICAL_POTENTIALS = {"H": -13.0, "C": -1029.0, "N": -1485.0, "O": -2042.0}


def settings(**changes) -> dict:
    shape = dict(cutoff=4.0, channels=8, max_ell=1, correlation=2, n_bessel=4, radial_mlp=(8,), readout=4)
    return mace.new_mace(atomic_energies=ENERGIES, **{**shape, **changes})


@functools.cache
def potential(max_l: int = 0, dtype: str = "float64") -> Potential:
    torch.manual_seed(1)
    net = mace.from_plain(settings(max_l=max_l), getattr(torch, dtype)).requires_grad_(False)
    return Potential(net, "tiny", "0", "MIT", "none", chemical_potentials=CHEMICAL_POTENTIALS)


def rattled(name: str, seed: int = 0, width: float = 0.1) -> Atoms:
    atoms = molecule(name)
    atoms.positions += np.random.default_rng(seed).normal(0, width, atoms.positions.shape)
    return atoms


def kill_at(symbol, frames):
    """Give the frames back, or end the process where one holds this element."""
    if any(symbol in frame.symbols for frame in frames):
        os.kill(os.getpid(), signal.SIGKILL)
    return frames


def references(folder) -> str:
    """A file of six small molecules to resemble."""
    import ase.io

    path = folder / "reference.extxyz"
    ase.io.write(path, [molecule(name) for name in ("CH3CH2OH", "CH3CONH2", "CH3NO2", "C2H6", "CH3CH2NH2", "C6H6")])
    return str(path)


def simgen(known: str, **changes):
    """A similarity generator of three to four heavy atoms that takes a second."""
    from gendesign.generate.simgen import SimGen
    from gendesign.generate.simgen.finish import Finish

    few = Finish(finalists=1, rough_steps=1, sweeps=1)
    usual = dict(n_heavy_atoms="3-4", reference=known, steps=25, particles=4, families=2, swap_every=2, finishing=few)
    return SimGen(potential(), **{**usual, **changes})

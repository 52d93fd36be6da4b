"""Small diffusion models with random weights, and clouds of atoms."""

import ase.io
import numpy as np
import torch
from ase import Atoms
from ase.build import molecule

from gendesign.generate.diffusion.model import Clouds, EnergyModel, Statistics
from gendesign.generate.diffusion.network import NetworkSettings
from gendesign.structure.graph import all_pairs

STATISTICS = Statistics(("H", "C", "N", "O", "F"), (0.5, 0.35, 0.05, 0.08, 0.02), 1.4, 18.0, 0.3, 0.35,
                        ((1, 5, 2), (2, 8, 1), (3, 9, 4)))  # fmt: skip


def model(seed: int = 0, random: bool = True, dtype: torch.dtype = torch.float64, **settings) -> EnergyModel:
    """A model of a few weights; `random`: also in the last layer, which is zero otherwise."""
    torch.manual_seed(seed)
    small = dict(channels=6, width=8, n_radial=5, layers=2)
    made = EnergyModel(NetworkSettings(**{**small, **settings}), STATISTICS)
    if random:
        for readout in made.network.read:
            torch.nn.init.normal_(readout[2].weight)
    return made.to(dtype)


def clouds(sizes=(5, 9, 2), width: float = 1.4, seed: int = 1, dtype: torch.dtype = torch.float64) -> Clouds:
    """Gaussian clouds of atoms with random element vectors."""
    generator = torch.Generator().manual_seed(seed)
    system = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    positions = width * torch.randn(len(system), 3, generator=generator, dtype=dtype)
    vectors = torch.randn(len(system), 5, generator=generator, dtype=dtype)
    return Clouds(positions, vectors, system, all_pairs(system, len(sizes)), len(sizes))


def molecules(n: int = 120, seed: int = 0) -> list[Atoms]:
    """Displaced copies of small closed-shell molecules of ASE, of which each is named."""
    names = ("CH4", "NH3", "H2O", "CH3OH", "CH3CH2OH", "C2H6", "C2H4", "CH3CN", "CH3CH2NH2", "H2CO", "CF4", "C6H6",
             "CH3COOH", "HCOOH", "C3H8", "CH3OCH3", "C4H4O", "CH3CHO")  # fmt: skip
    rng = np.random.default_rng(seed)
    out = []
    for k in range(n):
        atoms = molecule(names[k % len(names)])
        atoms.positions += rng.normal(0, 0.02, atoms.positions.shape)
        atoms.info["molecule"] = names[k % len(names)]
        out.append(atoms)
    return out


def file_of(folder, structures) -> str:
    """An extended XYZ file of the structures."""
    path = folder / "molecules.extxyz"
    ase.io.write(path, structures)
    return str(path)

"""ANI-1ccx with the spread of its eight networks, from the folder of the engine `ani1ccx`."""

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from ase import Atoms, units

CHUNK = 64  # structures of similar size a call


class Ani:
    """The eight networks of ANI-1ccx (torchani 2.0), all in float64."""

    def __init__(self, folder: str | Path | None = None) -> None:
        sys.path.append(str(folder or os.environ["ANI_FOLDER"]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import torchani

            self.model = torchani.models.ANI1ccx(periodic_table_index=True).double()

    def evaluate(self, frames: Sequence[Atoms]) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
        """Energies (frames,) in eV, forces (atoms, 3) of each, and standard deviations (frames,) of the energies."""
        order = sorted(range(len(frames)), key=lambda k: len(frames[k]))
        energies, spreads = np.zeros(len(frames)), np.zeros(len(frames))
        forces: list[np.ndarray] = [np.zeros(0)] * len(frames)
        for first in range(0, len(order), CHUNK):
            chosen = order[first : first + CHUNK]
            answer = self._chunk([frames[k] for k in chosen])
            for row, k in enumerate(chosen):
                energies[k], spreads[k] = answer[0][row], answer[2][row]
                forces[k] = answer[1][row][: len(frames[k])]
        return energies, forces, spreads

    def _chunk(self, frames: Sequence[Atoms]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        width = max(map(len, frames))
        species = torch.full((len(frames), width), -1)
        positions = torch.zeros((len(frames), width, 3), dtype=torch.float64)
        for k, frame in enumerate(frames):
            species[k, : len(frame)] = torch.tensor(frame.numbers)
            positions[k, : len(frame)] = torch.tensor(frame.positions)
        positions.requires_grad_()
        features = self.model.aev_computer(self.model.species_converter((species, positions)))
        each = torch.stack([network(features).energies for network in self.model.neural_networks])
        energy = self.model.energy_shifter((features.species, each.mean(0))).energies
        (gradient,) = torch.autograd.grad(energy.sum(), positions)
        spread = each.detach().std(0)
        return tuple(units.Hartree * x.detach().numpy() for x in (energy, -gradient, spread))  # type: ignore[return-value]

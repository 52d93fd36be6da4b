"""A stand-in for a potential of hybrid perovskites: pair terms that hold octahedra and molecules together.

Morse wells between metals and halides, springs along the bonds that molecules show, and a shallow Morse well at the van
der Waals distance between all pairs. It knows no angles and no charges; searches and relaxations run on it in
milliseconds and find layered crystals of sensible size.
"""

from collections.abc import Iterable, Sequence

import torch
from ase import Atoms
from ase.data import covalent_radii, vdw_radii

from gendesign.potential.base import PotentialBase
from gendesign.potential.protocol import Capability
from gendesign.structure.graph import Batch, neighbours
from gendesign.structure.types import Prediction

CUTOFF = 6.5
METALS, HALIDES = (50, 82), {17: 2.80, 35: 2.95, 53: 3.15}
HEAVY = torch.tensor([*METALS, *HALIDES])
WEAK, STRONG, SPRING = 0.02, 0.8, 15.0  # eV, eV, eV/Angstrom^2


class Ionic(PotentialBase):
    """Pair terms of ions and molecules; it counts the structures it evaluates."""

    name, weights_hash, cutoff = "ionic", "0", CUTOFF
    device, dtype = torch.device("cpu"), torch.float64
    supports = frozenset({Capability.STRESS, Capability.ATOM_ENERGIES})

    def __init__(self, elements: Iterable[str] = ("H", "C", "N", "Cl", "Br", "I", "Sn", "Pb", "Cs")) -> None:
        self.elements = tuple(elements)
        self.calls = 0

    def evaluate(self, structures: Sequence[Atoms] | Batch, *, stress: bool = False) -> Prediction:
        batch = self.batch(structures)
        self.calls += batch.n_systems
        edges = neighbours(batch, CUTOFF)
        i, j = edges.index
        vectors = (batch.positions[j] - batch.positions[i] + edges.shift).requires_grad_(True)
        with torch.enable_grad():
            pair = 0.5 * pair_energy(batch.numbers[i], batch.numbers[j], vectors.norm(dim=1))
            (slope,) = torch.autograd.grad(pair.sum(), vectors)
        forces = torch.zeros_like(batch.positions).index_add(0, j, -slope).index_add(0, i, slope)
        atom = pair.new_zeros(len(batch.numbers)).index_add(0, i, pair.detach())
        energy = atom.new_zeros(batch.n_systems).index_add(0, batch.system, atom)
        tension = None
        if stress:
            virial = (vectors.detach()[:, :, None] * slope[:, None]).flatten(1)
            total = virial.new_zeros(batch.n_systems, 9).index_add(0, batch.system[i], virial).view(-1, 3, 3)
            tension = (total + total.mT) / (2 * torch.linalg.det(batch.cell).abs()[:, None, None])
        return Prediction(energy, forces, atom, tension)


def pair_energy(first: torch.Tensor, second: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
    """Energies (pairs,) in eV, smoothly zero at the cutoff."""
    covalent, vdw = (torch.tensor(table)[first] + torch.tensor(table)[second] for table in (covalent_radii, vdw_radii))
    metal, other = torch.minimum(first, second), torch.maximum(first, second)
    length = torch.zeros_like(r)
    for m in METALS:
        for x, d in HALIDES.items():
            length[(metal == min(m, x)) & (other == max(m, x))] = d
    ionic = length > 0
    light = (other < 9) & (r < 1.3 * covalent)  # along bonds of molecules
    morse = torch.where(ionic, STRONG, WEAK), torch.where(ionic, length, vdw), torch.where(ionic, 1.6, 1.2)
    energy = morse[0] * ((1 - torch.exp(-morse[2] * (r - morse[1]))) ** 2 - 1)
    alike = torch.isin(first, HEAVY) & torch.isin(second, HEAVY) & ~ionic  # ions of one charge keep apart
    energy = torch.where(alike, 0.3 * torch.exp(2.5 * (3.8 - r)), energy)
    energy = torch.where(light, SPRING * (r - covalent) ** 2 - 4.0, energy)
    return energy * torch.where(r < CUTOFF, (1 - (r / CUTOFF) ** 6) ** 2, 0.0)

"""Relaxation beside a host: a wall keeps molecules off its fixed atoms, whose forces the potential knows nothing of.

The wall is harmonic, E = stiffness/2 (L - d)^2 for every pair nearer than L, which is MARGIN of the sum of van der
Waals radii above the distance at which the pair overlaps (structure/contacts.py). Where hydrogen bonds have an energy,
every donor and acceptor of molecule and host attract each other by -energy * exp(-(d - ideal)^2 / (2 WIDTH^2)). The
optimizer follows the forces of potential and host; the energies that are stored are the potential's own, the host's
stands beside them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from gendesign.potential.base import PotentialWrapper
from gendesign.potential.protocol import PotentialLike
from gendesign.relaxation.batched import relax
from gendesign.relaxation.settings import Relaxation
from gendesign.structure.contacts import Host, polar_hydrogens
from gendesign.structure.graph import Batch
from gendesign.structure.hydrogen_bonds import TO_HEAVY, TO_HYDROGEN, PolarSites
from gendesign.structure.types import Candidate, Prediction

MARGIN = 0.10  # of the sum of van der Waals radii
STIFFNESS = 10.0  # eV/Angstrom^2; a third of a C-C bond's, so that molecules bend before they are pressed together
REACH = 5.0  # Angstrom, more than any of those distances
WIDTH = 0.4  # Angstrom: how far from the ideal distance a hydrogen bond attracts most


@dataclass(frozen=True, eq=False)
class Wall:
    """The repulsion of a host's atoms, and the attraction of its hydrogen bonds where it has a `bond_energy`."""

    host: Host
    stiffness: float = STIFFNESS

    def __call__(self, numbers: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Energy of every atom (atoms,) in eV and forces (atoms, 3) in eV/Angstrom of ONE molecule."""
        near = self.host.near(positions, REACH)
        apart = positions[:, None] - near.positions[None]
        distance = np.linalg.norm(apart, axis=-1)
        least = near.allowed(numbers, polar_hydrogens(numbers, positions), MARGIN)
        inside = np.maximum(least - distance, 0.0)
        energy = self.stiffness / 2 * (inside**2).sum(1)
        forces = (self.stiffness * (inside / np.maximum(distance, 1e-6))[..., None] * apart).sum(1)
        if near.bond_energy and len(near):
            guest, pocket = PolarSites.of(numbers, positions), PolarSites.of(near.numbers, near.positions, near.bare)
            for mine, own, ideal in (
                (guest.donors[:, 1], pocket.acceptors, TO_HYDROGEN),
                (guest.acceptors, pocket.donors[:, 1], TO_HYDROGEN),
                (guest.acceptors, pocket.hidden, TO_HEAVY),
            ):
                off = distance[np.ix_(mine, own)] - ideal
                depth = near.bond_energy * np.exp(-(off**2) / (2 * WIDTH**2))
                energy[mine] -= depth.sum(1)
                slope = depth * off / WIDTH**2 / np.maximum(off + ideal, 1e-6)
                forces[mine] -= (slope[..., None] * apart[np.ix_(mine, own)]).sum(1)
        return energy, forces


class WalledPotential(PotentialWrapper):
    """A potential with the energies and forces of a host added."""

    def __init__(self, potential: PotentialLike, wall: Wall) -> None:
        super().__init__(potential)
        self.wall = wall

    def evaluate(self, structures: Sequence[Atoms] | Batch, *, stress: bool = False) -> Prediction:
        """Potential and wall together; per-atom energies and stress are the potential's own."""
        batch = self.batch(structures)
        prediction = self.potential.evaluate(batch, stress=stress)
        # NumPy in double precision: the same sums in the same order on every device and with every number of threads
        numbers, system = batch.numbers.cpu().numpy(), batch.system.cpu().numpy()
        positions = batch.positions.detach().cpu().double().numpy()
        energies, forces = np.zeros(batch.n_systems), np.zeros_like(positions)
        for k in range(batch.n_systems):
            members = system == k
            if np.isfinite(positions[members]).all():  # the optimizer itself drops structures that exploded
                energy, forces[members] = self.wall(numbers[members], positions[members])
                energies[k] = energy.sum()
        return replace(
            prediction,
            energy=prediction.energy + torch.as_tensor(energies).to(prediction.energy),
            forces=prediction.forces + torch.as_tensor(forces).to(prediction.forces),
        )


def relax_beside(
    host: Host | None,
    structures: Sequence[Candidate] | Sequence[Atoms],
    potential: PotentialLike,
    settings: Relaxation | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Candidate]:
    """`relax`, kept off `host` by its wall; without a host the same.

    `energy` and the calculator's energy and forces are the potential's own; `host_energy` (eV) is the host's, which is
    zero where no atom touches it, and negative where hydrogen bonds have an energy. `fmax` and `converged` are of both
    together: they say whether the structure came to rest, and where the host acts, the potential's own forces are not
    zero.
    """
    if host is None:
        return relax(structures, potential, settings, progress)
    wall = Wall(host)
    done = relax(structures, WalledPotential(potential, wall), settings, progress)
    return [_parted(candidate, wall) for candidate in done]


def _parted(candidate: Candidate, wall: Wall) -> Candidate:
    """A relaxed candidate with the wall's share taken out of its energy and forces."""
    if candidate.failure is not None or not isinstance(candidate.atoms.calc, SinglePointCalculator):
        return candidate
    atoms = candidate.atoms.copy()
    energy, forces = wall(np.asarray(atoms.numbers), np.asarray(atoms.positions, float))
    results = dict(candidate.atoms.calc.results)
    without_wall = float(results["energy"]) - float(energy.sum())
    atoms.calc = SinglePointCalculator(
        atoms, **results | {"energy": without_wall, "forces": results["forces"] - forces}
    )
    note = "kept off the host" if (energy > 0).any() else "beside the host"
    return candidate.after(note, atoms=atoms, energy=without_wall, host_energy=float(energy.sum()))

"""The pull of a host's donors and acceptors of hydrogen bonds on the N and O of a molecule that is being sampled."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from gendesign.generate.simgen.assembly import Layout
from gendesign.generate.simgen.state import Swarm
from gendesign.structure.contacts import Host
from gendesign.structure.hydrogen_bonds import TO_HEAVY, TO_HYDROGEN, PolarSites

WIDTH = 0.8  # Angstrom: how far from the ideal distance the pull is strongest
BELOW = 1.0  # Angstrom of noise below which it acts


@dataclass(frozen=True)
class PolarPull:
    """Minus the gradient of -strength * sum over atoms of the best exp(-(d - ideal)^2 / (2 WIDTH^2)).

    sites (sites, 3) in Angstrom with the `ideal` distances (sites,) of a partner; donating (sites,): the host gives the
    hydrogen there. accepts, donates (molecules, slots): which atoms of assembled molecules can be partners of such a
    site; None where that is not known, and all N and O can.
    """

    sites: Tensor
    ideal: Tensor
    donating: Tensor
    strength: float
    accepts: Tensor | None = None
    donates: Tensor | None = None

    @classmethod
    def of(cls, host: Host, strength: float) -> "PolarPull":
        """Of all hydrogens on N and O of `host`, its hidden donors, and its acceptors."""
        polar = PolarSites.of(host.numbers, host.positions, host.bare)
        groups = ((polar.donors[:, 1], TO_HYDROGEN, True), (polar.hidden, TO_HEAVY, True),
                  (polar.acceptors, TO_HEAVY, False))  # fmt: skip
        sites = np.concatenate([host.positions[index] for index, _, _ in groups])
        ideal = np.concatenate([np.full(len(index), distance) for index, distance, _ in groups])
        donating = np.concatenate([np.full(len(index), gives) for index, _, gives in groups])
        return cls(
            torch.as_tensor(sites), torch.as_tensor(ideal), torch.as_tensor(donating, dtype=torch.bool), strength
        )

    def of_layout(self, layout: Layout | None) -> "PolarPull":
        """For assembled molecules: in blocks an atom with an open place donates, one without accepts; single O does
        both, single N donates."""
        if layout is None:
            return self
        oxygen = layout.numbers == 8
        polar = oxygen | (layout.numbers == 7)
        open_place = torch.where(layout.rigid, layout.open > 0, True)
        accepts = polar & (oxygen | ~open_place)
        return replace(self, accepts=accepts, donates=polar & open_place)

    def __call__(self, swarm: Swarm, sigma: float) -> Tensor:
        """The pull (atoms, 3) at the noise level `sigma` in Angstrom."""
        if sigma > BELOW or not len(self.sites):
            return torch.zeros_like(swarm.positions)
        x, sites = swarm.positions, self.sites.to(swarm.positions)
        apart = x[:, None] - sites[None]
        distance = apart.norm(dim=-1).clamp_min(1e-6)
        off = distance - self.ideal.to(x)
        depth = torch.exp(-(off**2) / (2 * WIDTH**2)) * self._partners(swarm)
        best = depth.argmax(1, keepdim=True)
        pick = (depth * off / WIDTH**2 / distance).gather(1, best)
        toward = apart.gather(1, best[..., None].expand(-1, 1, 3))[:, 0]
        return -self.strength * pick * toward

    def _partners(self, swarm: Swarm) -> Tensor:
        """Which atoms are complementary to which sites (atoms, sites)."""
        polar = (swarm.numbers == 7) | (swarm.numbers == 8)
        if self.accepts is None or self.donates is None:
            return polar[:, None] & torch.ones_like(self.donating)[None]
        molecule = swarm.molecule // (swarm.n_molecules // len(self.accepts))
        accepts, donates = self.accepts[molecule, swarm.slot], self.donates[molecule, swarm.slot]
        return torch.where(self.donating.to(accepts.device)[None], accepts[:, None], donates[:, None])

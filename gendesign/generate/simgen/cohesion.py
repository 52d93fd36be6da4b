"""A pull between the pieces of a particle that has come apart, so that it becomes one molecule."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gendesign.fields import check_bounds, setting
from gendesign.generate.simgen.state import Swarm


@dataclass(frozen=True)
class Cohesion:
    """Each piece moves as a whole towards the nearest atom that is not in it. Above `below` nothing is joined yet."""

    strength: float = setting(
        3.0, "pull between pieces of a molecule that has come apart; 0 for none", unit="1/Angstrom", least=0
    )
    bond: float = setting(1.85, "longest distance at which atoms count as joined", unit="Angstrom", above=0)
    below: float = setting(0.5, "noise level below which it acts", unit="Angstrom", least=0)

    def __post_init__(self) -> None:
        check_bounds(self, "generator.cohesion")

    def __call__(self, swarm: Swarm, sigma: float) -> Tensor:
        """The pull (atoms, 3) between pieces of a molecule at the noise level `sigma` in Angstrom."""
        if sigma > self.below or self.strength == 0:
            return torch.zeros_like(swarm.positions)
        x, present = swarm.padded(swarm.positions), swarm.padded(torch.ones_like(swarm.slot))
        both = present[:, :, None] * present[:, None, :]
        distance = torch.cdist(x, x).masked_fill(both == 0, torch.inf)
        return self.between(x, distance, distance < self.bond)[swarm.system, swarm.slot]

    def between(self, x: Tensor, distance: Tensor, bonded: Tensor) -> Tensor:
        """The pull (systems, atoms, 3) at positions x, between pieces that hold together by `bonded` pairs.

        distance (systems, atoms, atoms): infinite between atoms that must not be joined.
        """
        joined = bonded.to(x.dtype)
        for _ in range(max(1, (x.shape[1] - 1).bit_length())):  # squaring doubles the length of the paths that count
            joined = (joined @ joined > 0).to(x.dtype)
        apart = distance.masked_fill(joined > 0, torch.inf)
        gap, partner = apart.min(-1)
        # the smallest gap of the whole piece: over all atoms joined to this one
        of_piece = torch.where(joined > 0, gap[:, None, :], torch.inf)
        smallest, atom = of_piece.min(-1)
        end = torch.gather(partner, 1, atom)
        pull = _take(x, end) - _take(x, atom)
        pull = self.strength * pull / pull.norm(dim=-1, keepdim=True).clamp_min(1e-6)
        return torch.where(torch.isfinite(smallest)[..., None], pull, 0.0)


def _take(x: Tensor, index: Tensor) -> Tensor:
    return torch.gather(x, 1, index[..., None].expand(-1, -1, 3))

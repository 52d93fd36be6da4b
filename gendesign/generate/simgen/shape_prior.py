"""The prior that gives molecules a shape, and the wall that keeps them off the atoms of a host."""

from dataclasses import dataclass, field

import numpy as np
import torch
from ase import Atoms
from ase.data import vdw_radii
from torch import Tensor

from gendesign.fields import check_bounds, setting
from gendesign.generate.simgen.shape import Shape
from gendesign.generate.simgen.state import Swarm
from gendesign.randomness import Purpose
from gendesign.structure.contacts import Host
from gendesign.structure.counter_random import normal, uniform

PAIRS = 4_000_000  # distances between a swarm and a host that are held at once
SETTLING = 4  # rounds in which the starting atoms share the points among them
BLUR = 0.25  # of the distance between neighbours at the start: more would mix them up
POLAR, POLAR_HYDROGEN = 0.90, 0.65  # of the sum of van der Waals radii
UNKNOWN = 1.7  # Angstrom, the radius of elements that have none in the table: carbon's


@dataclass(frozen=True)
class ShapePrior:
    """Atoms keep to the points of a shape, and share them evenly.

    Every atom is pulled towards the points near it, weighted by softmax(-beta distance), unless it is within the
    shape's skin; and, `cover` times as much, towards the middle of those points that are nearer to it than to other
    atoms of its molecule.
    """

    shape: Shape
    beta: float = setting(5.0, "how sharply an atom is pulled to the nearest of the points", unit="1/Angstrom", least=0)
    strength: float = setting(10.0, "pull towards the shape per Angstrom; less leaves more to the bonds", least=0)
    cover: float = setting(
        2.0, "pull that spreads the atoms evenly over the shape, relative to strength; 0 for none", least=0
    )
    hold: float = setting(0.1, "noise level below which the pull fades", unit="Angstrom", least=0)
    _tables: dict[int, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_bounds(self, "generator.prior")

    def _table(self, n: int) -> Tensor:
        if n not in self._tables:
            self._tables[n] = torch.as_tensor(np.ascontiguousarray(self.shape.points(n)), dtype=torch.float64)
        return self._tables[n]

    def _points(self, swarm: Swarm) -> tuple[Tensor, Tensor]:
        """Points of each molecule (molecules, points, 3), padded, and which of them are real (molecules, points)."""
        kinds, kind = swarm.sizes.unique(return_inverse=True)
        tables = [self._table(n).to(swarm.positions) for n in kinds.tolist()]
        points = torch.nn.utils.rnn.pad_sequence(tables, batch_first=True)
        counts = torch.tensor([len(table) for table in tables], device=points.device)
        real = torch.arange(points.shape[1], device=points.device)[None] < counts[:, None]
        return points[kind], real[kind]

    def sample(self, swarm: Swarm, scale: float = 0.5) -> Tensor:
        """Starting positions (atoms, 3), spread evenly over the points and blurred by at most `scale` Angstrom.

        The particles of a molecule share theirs.
        """
        points, real = self._points(swarm)
        count = real.sum(1)
        # systematic sampling: one random number a molecule, and atoms at equal steps along the list of points
        shift = uniform(swarm.molecule_key, Purpose.SHAPE_OFFSET, 1)
        slot = torch.arange(swarm.largest, device=shift.device)[None]
        chosen = ((slot + shift) / swarm.sizes[:, None] * count[:, None]).long()
        x = torch.gather(points, 1, chosen.clamp(max=points.shape[1] - 1)[..., None].expand(-1, -1, 3))
        present = slot < swarm.sizes[:, None]
        for _ in range(SETTLING):
            x = x + _towards_shares(x, present, points, real, 20.0)
        neighbour = torch.cdist(x, x).masked_fill(~(present[:, :, None] & present[:, None, :]), torch.inf)
        neighbour.diagonal(dim1=1, dim2=2).fill_(torch.inf)
        blur = (BLUR * neighbour.amin(-1)).clamp(min=0.1 * scale, max=scale)
        return swarm.of_slots(x + blur[..., None] * normal(swarm.slot_keys, Purpose.START_POSITIONS, 3))

    def __call__(self, swarm: Swarm, sigma: float) -> Tensor:
        """The score (atoms, 3) at the noise level `sigma` in Angstrom."""
        points, real = (t.repeat_interleave(swarm.n_particles, 0) for t in self._points(swarm))
        x, present = swarm.padded(swarm.positions), swarm.padded(torch.ones_like(swarm.slot)) > 0
        pull = _towards_points(x, points, real, self.beta, self.shape.skin)
        pull = pull + self.cover * _towards_shares(x, present, points, real, self.beta)
        return self.strength * self.fade(sigma) * pull[swarm.system, swarm.slot]

    def fade(self, sigma: float) -> float:
        """Share of its strength that the prior has at this noise level; below `hold` it vanishes and bonds decide."""
        return float(np.tanh((sigma / self.hold) ** 2)) if self.hold > 0 else 1.0


def _towards_points(x: Tensor, points: Tensor, real: Tensor, beta: float, skin: float) -> Tensor:
    """From atoms (systems, atoms, 3) to the points near them, less the `skin` (Angstrom) within which nothing pulls."""
    distance = torch.cdist(x, points).masked_fill(~real[:, None], torch.inf)
    step = torch.softmax(-beta * distance, -1) @ points - x
    outside = (1 - skin / distance.amin(-1).clamp_min(1e-6)).clamp_min(0.0)
    return outside[..., None] * step


def _towards_shares(x: Tensor, present: Tensor, points: Tensor, real: Tensor, beta: float) -> Tensor:
    """From atoms (systems, atoms, 3) to the middle of their shares of the points, less where the share is small.

    A point is shared by softmax(-beta distance) over the atoms. With all of the shares equal this is a step of Lloyd's
    (1982), at whose end the atoms cover the shape evenly.
    """
    distance = torch.cdist(x, points).masked_fill(~present[..., None], torch.inf)
    share = torch.softmax(-beta * distance, 1) * real[:, None]
    owned = share.sum(-1, keepdim=True)
    fair = (real.sum(1) / present.sum(1))[:, None, None]
    return torch.where(present[..., None], (share @ points - owned * x) / torch.maximum(owned, fair), 0.0)


@dataclass(frozen=True)
class HostRepulsion:
    """A harmonic wall around fixed atoms, `positions` (hosts, 3) in Angstrom of atomic `numbers` (hosts,).

    An atom of the swarm is pushed by `strength` times what is missing to `share` of the sum of van der Waals radii
    (carbon and carbon: 3.2 Angstrom), and by at most `most` (Angstrom per Angstrom of noise). Pairs that may be joined
    by a hydrogen bond come nearer: N and O to N and O of the host to POLAR of the sum (2.8 Angstrom), and to its
    hydrogens on N and O, the mask `polar` (hosts,), to POLAR_HYDROGEN of it (1.8 Angstrom).
    """

    positions: Tensor
    numbers: Tensor
    polar: Tensor
    share: float = 0.95
    strength: float = 10.0
    most: float = 10.0

    @classmethod
    def of(cls, host: Atoms | Host, **settings: float) -> "HostRepulsion":
        """The wall around atoms; choose those nearby first, as `Pocket.host` does."""
        host = host if isinstance(host, Host) else Host.of(host)
        return cls(
            torch.as_tensor(host.positions), torch.as_tensor(host.numbers), torch.as_tensor(host.polar), **settings
        )

    def __call__(self, swarm: Swarm, sigma: float) -> Tensor:
        """The repulsion (atoms, 3) by the host at the noise level `sigma` in Angstrom."""
        radii = torch.as_tensor(np.where(np.isfinite(vdw_radii), vdw_radii, UNKNOWN)).to(swarm.positions)
        host, numbers = self.positions.to(swarm.positions), self.numbers.to(swarm.numbers)
        atom_radii, host_radii = radii[swarm.numbers], radii[numbers]
        heteroatom, of_host = _is_polar(swarm.numbers), _is_polar(numbers)
        polar = self.polar.to(numbers.device)
        push = torch.zeros_like(swarm.positions)
        rows = max(1, PAIRS // max(1, len(host)))
        for start in range(0, len(push), rows):
            part = slice(start, start + rows)
            distance = torch.cdist(swarm.positions[part], host).clamp_min(1e-6)
            share = torch.full_like(distance, self.share)
            share = torch.where(heteroatom[part, None] & of_host, min(POLAR, self.share), share)
            share = torch.where(heteroatom[part, None] & polar, min(POLAR_HYDROGEN, self.share), share)
            missing = (share * (atom_radii[part, None] + host_radii[None]) - distance).clamp_min(0.0) / distance
            # sum over hosts of missing * (atom - host) / distance
            push[part] = missing.sum(1, keepdim=True) * swarm.positions[part] - missing @ host
        length = self.strength * push.norm(dim=-1, keepdim=True)
        return self.strength * push * (self.most / length.clamp_min(1e-9)).clamp(max=1.0)


def _is_polar(numbers: Tensor) -> Tensor:
    return (numbers == 7) | (numbers == 8)

"""The prior that gives each attempt the shape of a reference molecule of about its size, another one each time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from gendesign.fields import check_bounds, setting
from gendesign.generate.simgen.shape_files import near_each_other
from gendesign.generate.simgen.shape_prior import ShapePrior
from gendesign.generate.simgen.state import Swarm
from gendesign.randomness import Purpose
from gendesign.structure.counter_random import normal, uniform

NEAR_IN_SIZE = 2  # heavy atoms by which a reference may differ from the molecule that takes its shape
FEWEST = 20  # references to draw from, also where few have the right size
AROUND = 0.5  # Angstrom from a reference's atoms to the points that stand for them
# the corners of a cube and its middle: the neighbourhood of an atom
OFFSETS = np.array([[i, j, k] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)] + [[0, 0, 0]]) / np.sqrt(3)


@dataclass(frozen=True)
class ReferenceShapes:
    """Shapes of the references: the neighbourhoods of the heavy atoms of one conformer, moved a little.

    The parameters are those of `ShapePrior`; `jitter` is the standard deviation by which each atom's neighbourhood is
    moved, so that no molecule is copied.
    """

    strength: float = setting(5.0, "pull towards the shape per Angstrom; less leaves more to the bonds", least=0)
    cover: float = setting(1.0, "pull that spreads the atoms evenly over the shape, relative to strength", least=0)
    hold: float = setting(0.2, "noise level below which the pull fades", unit="Angstrom", least=0)
    jitter: float = setting(0.3, "random displacement of each point of the shape", unit="Angstrom", least=0)

    def __post_init__(self) -> None:
        check_bounds(self, "generator.prior")

    def of(self, skeletons: Sequence[np.ndarray]) -> "ShapeMixture":
        """The mixture of the shapes of `skeletons`, positions (atoms, 3) of heavy atoms in Angstrom."""
        return ShapeMixture(self, [x - x.mean(0) for x in skeletons])


@dataclass(frozen=True)
class ShapeMixture:
    """Priors of which a molecule draws one, by the `skeletons` of references."""

    settings: ReferenceShapes
    skeletons: Sequence[np.ndarray]

    def drawn(self, molecule_key: Tensor, sizes: Tensor) -> "DrawnShapes":
        """The prior of molecules with these random keys (molecules,) and `sizes` (molecules,)."""
        lengths = np.array([len(x) for x in self.skeletons])
        u = uniform(molecule_key, Purpose.PRIOR_SHAPE, 1)[:, 0].cpu().numpy()
        clouds = []
        for k, (n, v) in enumerate(zip(sizes.tolist(), u, strict=True)):
            near = np.flatnonzero(np.abs(lengths - n) <= NEAR_IN_SIZE)
            if len(near) < FEWEST:
                near = np.argsort(np.abs(lengths - n), kind="stable")[:FEWEST]
            x = self.skeletons[int(near[int(v * len(near))])]
            noise = normal(molecule_key[k : k + 1], Purpose.SHAPE_JITTER, 3 * len(x))[0].cpu().numpy().reshape(-1, 3)
            x = x * (n / len(x)) ** (1 / 3) + self.settings.jitter * noise
            clouds.append(near_each_other((x[:, None] + AROUND * OFFSETS).reshape(-1, 3)))
        points = torch.nn.utils.rnn.pad_sequence([torch.as_tensor(c.copy()) for c in clouds], batch_first=True)
        real = torch.zeros(points.shape[:2], dtype=torch.bool)
        for k, cloud in enumerate(clouds):
            real[k, : len(cloud)] = True
        device = molecule_key.device
        s = self.settings
        return DrawnShapes(_Skin(), 5.0, s.strength, s.cover, s.hold, clouds=points.to(device), real=real.to(device))


@dataclass(frozen=True)
class _Skin:
    skin: ClassVar[float] = 0.3

    def points(self, n: int) -> np.ndarray:
        return np.zeros((0, 3))  # each molecule has a cloud of its own


@dataclass(frozen=True)
class DrawnShapes(ShapePrior):
    """A prior with a shape of its own for every molecule: clouds (molecules, points, 3), `real` (molecules, points)."""

    clouds: Tensor = field(default_factory=lambda: torch.zeros(0, 0, 3))
    real: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.bool))

    def _points(self, swarm: Swarm) -> tuple[Tensor, Tensor]:
        return self.clouds.to(swarm.positions), self.real

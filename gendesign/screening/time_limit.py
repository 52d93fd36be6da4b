"""A potential that stops at a deadline."""

import time
from collections.abc import Sequence

from ase import Atoms

from gendesign.potential.base import PotentialWrapper
from gendesign.potential.protocol import PotentialLike
from gendesign.structure.graph import Batch
from gendesign.structure.types import Prediction


class OutOfTimeError(Exception):
    """The deadline of a `TimedPotential` has passed."""


class TimedPotential(PotentialWrapper):
    """A potential whose evaluations raise OutOfTimeError after `deadline` (time.monotonic)."""

    def __init__(self, potential: PotentialLike, deadline: float) -> None:
        super().__init__(potential)
        self.deadline = deadline

    def evaluate(self, structures: Sequence[Atoms] | Batch, *, stress: bool = False) -> Prediction:
        """See PotentialLike.evaluate."""
        if time.monotonic() > self.deadline:
            raise OutOfTimeError
        return super().evaluate(structures, stress=stress)

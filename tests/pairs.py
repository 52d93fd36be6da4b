"""Classical potentials of a few lines, batched and differentiable, with stress."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from matscipy.calculators.manybody import Manybody
from matscipy.calculators.manybody.explicit_forms import StillingerWeber
from matscipy.calculators.manybody.explicit_forms.stillinger_weber import Stillinger_Weber_PRB_31_5262_Si

from gendesign.potential.base import PotentialBase
from gendesign.potential.engines.custom import AsePotential
from gendesign.potential.protocol import Capability
from gendesign.structure.graph import neighbours
from gendesign.structure.types import Prediction


class Argon(PotentialBase):
    """Lennard-Jones, cut and shifted at 2.5 sigma; ASE has the same form (smooth=False)."""

    name, elements, cutoff = "argon", ("Ar", "Si", "O"), 8.5
    device, dtype, supports = torch.device("cpu"), torch.float64, frozenset({Capability.STRESS})
    sigma, epsilon = 3.4, 0.0104

    def evaluate(self, structures, *, stress=False):
        batch = self.batch(structures)
        edges = neighbours(batch, self.cutoff)
        i, j = edges.index
        r = batch.positions[j] + edges.shift - batch.positions[i]
        inverse = (self.sigma**2 / r.square().sum(1)) ** 3
        rest = (self.sigma / self.cutoff) ** 6
        pair = 2 * self.epsilon * ((inverse**2 - inverse) - (rest**2 - rest))
        pull = (24 * self.epsilon * (inverse - 2 * inverse**2) / r.square().sum(1))[:, None] * r  # dE/dr of a pair
        energy = torch.zeros(batch.n_systems, dtype=self.dtype).index_add_(0, batch.system[i], pair)
        forces = torch.zeros_like(batch.positions).index_add_(0, i, pull)
        tension = None
        if stress:
            outer = 0.5 * r[:, :, None] * pull[:, None, :]
            tension = torch.zeros(batch.n_systems, 3, 3, dtype=self.dtype).index_add_(0, batch.system[i], outer)
            tension = tension / torch.linalg.det(batch.cell).abs()[:, None, None]
        return Prediction(energy, forces, stress=tension)


class Silicon(AsePotential):
    """Stillinger-Weber silicon by matscipy."""

    def __init__(self) -> None:
        np.seterr(all="ignore")
        super().__init__(Manybody(**StillingerWeber(Stillinger_Weber_PRB_31_5262_Si)), torch.float64)
        self.name, self.elements, self.cutoff = "silicon", ("Si",), 3.77


def argon_crystal(n: int = 3, a: float = 5.27) -> Atoms:
    from ase.build import bulk

    return bulk("Ar", "fcc", a=a, cubic=True) * (n, n, n)


def silicon() -> Silicon:
    """The potential of `potential=pairs:silicon`."""
    return Silicon()


CALL = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("tested", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
getattr(module, sys.argv[2])(*sys.argv[3:])
"""


def was_killed(file: str, function: str, *arguments: str) -> bool:
    """Whether SIGKILL ended a function of a test file, called in a new process: a fork would inherit locks."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    words = [sys.executable, "-c", CALL, file, function, *arguments]
    ended = subprocess.run(words, env={**os.environ, "PYTHONPATH": path}, cwd=Path(__file__).parents[1], check=False)
    return ended.returncode == -signal.SIGKILL

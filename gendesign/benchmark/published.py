"""Starts in the published cell of a crystal, whose coordinates are not in this package: a search with the cell held."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from ase import Atoms

from gendesign.benchmark.lattices import Lattice
from gendesign.benchmark.search import Search
from gendesign.generate.perovskite.generator import Perovskite
from gendesign.generate.perovskite.halving import compare
from gendesign.relaxation import Relaxation
from gendesign.run.stages import Stages
from gendesign.structure.memory import FORGETFUL, Memory
from gendesign.structure.types import Candidate

RUNGS, KEEP = 2, 0.25  # of 96 starts six are left


@dataclass(frozen=True)
class InCell:
    """The starts of `search` (one layer, two metals) put into `lattice` and thinned out there: only atoms move.

    Starts are compared by energy after the steps of each rung; what is left is for the relaxation, of the cell too.
    """

    search: Perovskite
    lattice: Lattice
    name: str = "perovskite"
    remembers: ClassVar[bool] = True

    def generate(self, indices: Sequence[int], *, seed: int, memory: Memory = FORGETFUL) -> Iterator[Candidate]:
        """A candidate for every index, those that lose with the reason as failure."""
        held = Relaxation("precon_lbfgs", 0.05, self.search.steps, max_atoms=self.search.max_atoms)
        found = [self._start(index, seed) for index in indices]
        for rung in range(1, RUNGS + 1):
            step = f"rung {rung}"
            found = memory.once(step, partial(compare, found, self.search.potential, held, step, KEEP))
        yield from found

    def _start(self, index: int, seed: int) -> Candidate:
        start = self.search.start(index, seed=seed)
        if start.failure is not None:
            return start
        return start.after("put into the published cell", into_cell(start.atoms, self.lattice))


@dataclass(frozen=True)
class Published(Search):
    """The search in the published cell; `settings` as of the search of the same material in the cell of two metals."""

    lattice: Lattice | None = None

    def identity(self, weights: str) -> dict[str, Any]:
        """That of the search, and the cell."""
        return {**super().identity(weights), "lattice": {"cell": asdict(self.lattice), "keep": KEEP, "rungs": RUNGS}}

    def stages(self, potential: Any) -> tuple[Stages, int]:
        """Its starts in the cell, then the usual relaxation and ranking."""
        stages, n = super().stages(potential)
        return replace(stages, generator=InCell(stages.generator, self.lattice)), n


def in_published_cell(search: Search, lattice: Lattice, starts: int) -> Published:
    """The companion of `search` with so many starts in the published cell, in a folder beside its own."""
    settings = search.settings.copy()
    settings.n = settings.shard_size = starts
    return Published(settings, search.path.with_name(f"{search.path.name}-published"), lattice=lattice)


def into_cell(atoms: Atoms, lattice: Lattice) -> Atoms:
    """A start of one layer and two metals in a rectangular plane of that lattice, layers that far apart.

    Heights above the layer's middle and the sideways step from layer to layer (as shares of the plane's vectors) stay;
    molecules, told by the array `molecule`, move as wholes.
    """
    old = atoms.cell.array
    plane = np.diag([lattice.longer, lattice.shorter])
    middle = atoms.positions.copy()
    names = atoms.arrays["molecule"]
    for name in set(names.tolist()) - {-1}:
        middle[names == name] = atoms.positions[names == name].mean(axis=0)
    to_new = np.linalg.inv(old[:2, :2]) @ plane
    out = atoms.copy()
    out.positions[:, :2] += middle[:, :2] @ to_new - middle[:, :2]
    cell = np.zeros((3, 3))
    cell[:2, :2], cell[2] = plane, [*(old[2, :2] @ to_new), lattice.spacing]
    out.set_cell(cell)
    return out

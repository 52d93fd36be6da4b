"""Perovskite: structure search for hybrid halide perovskites: random starts, halved, then children of the best."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
from ase import Atoms

from gendesign.errors import UserError
from gendesign.generate.perovskite.breeding import Breeding, breed
from gendesign.generate.perovskite.build import Draws, build_start, check_recipe
from gendesign.generate.perovskite.composition import Composition, compose
from gendesign.generate.perovskite.halving import Halving, halve
from gendesign.generate.perovskite.precursors import precursors_energy
from gendesign.generate.perovskite.prototype import KnownCell, build_in_cell, check_known
from gendesign.generate.perovskite.rivals import rivals_energy
from gendesign.potential import Potential
from gendesign.potential.domain import CRYSTALS
from gendesign.processes import SERIAL, Failure, Spread
from gendesign.structure.step_cache import NO_CACHE, StepCache
from gendesign.structure.types import Candidate


@dataclass(frozen=True)
class Perovskite:
    """Generator of relaxed candidates for one composition (Karimitari et al., JACS 146, 27392, 2024).

    cation: SMILES, MA, FA, Cs or a structure file; metal: Pb or Sn; halide: Cl, Br, I or a mixture such as I3Br;
    thickness: octahedra per layer, or 3d; a_site: cation in the cages of thicker layers; conformers: most that are
    tried of the cation. cell, layers, tilt, tilted, distortion, orientations, cap, padding, contact, compact, redraws,
    symmetry: see Draws (cell is its cells; symmetry plays no part for thickness=3d). rungs, steps,
    keep, pressure, max_atoms: see Halving. offspring: see Breeding (children are of layered perovskites; offspring
    plays no part for thickness=3d). known_cell, space_group: see KnownCell; with both all starts are made in that cell,
    which is held, and cell, layers, padding, compact, orientations, symmetry, pressure and offspring play no part.
    Raises UserError for settings that make no sense, elements that the potential lacks and cations that fit no pocket.
    """

    potential: Potential
    cation: str
    metal: str = "Pb"
    halide: str = "I"
    thickness: str | int = "1"
    a_site: str = "MA"
    conformers: int = 20
    cell: str | Sequence[str] = ("sqrt2",)
    layers: int = 1
    tilt: float = 15.0
    tilted: float = 0.7
    distortion: float = 0.05
    orientations: str = "both"
    cap: float = 45.0
    padding: float = 1.5
    contact: float = 0.7
    compact: int = 3
    redraws: int = 100
    symmetry: float = 0.5
    rungs: int = 2
    steps: int = 20
    keep: float = 0.35
    pressure: float = 1.0
    max_atoms: int = 320
    offspring: float = 0.5
    known_cell: Sequence[float] | None = None
    space_group: str | None = None
    name: str = "perovskite"
    caches_steps: ClassVar[bool] = True
    kind: ClassVar[str] = CRYSTALS

    def __post_init__(self) -> None:
        self.halving, self.breeding  # noqa: B018  what is wrong is said before anything runs
        self.potential.require_elements(self.composition.elements)
        if self.known is None:
            check_recipe(self.composition, self.draws, seed=0)
        else:
            check_known(self.composition, self.known, self.draws, seed=0)

    @cached_property
    def composition(self) -> Composition:
        """What is searched."""
        return compose(self.cation, self.metal, self.halide, self.thickness, self.a_site, self.conformers)

    @cached_property
    def draws(self) -> Draws:
        """What is drawn for every start."""
        cells = (self.cell,) if isinstance(self.cell, str | int) else tuple(self.cell)
        own = {field.name: getattr(self, field.name) for field in fields(Draws) if field.name != "cells"}
        return Draws(cells=cells, **own | {"symmetry": 0.0 if self.composition.thickness is None else self.symmetry})

    @cached_property
    def known(self) -> KnownCell | None:
        """The cell that starts are made in, where one is known."""
        cell = [] if self.known_cell is None else np.ravel(self.known_cell).tolist()
        if bool(cell) != bool(self.space_group):
            raise UserError(
                f"generator.known_cell=[{','.join(map(str, cell))}], generator.space_group={self.space_group}: give "
                "both or none"
            )
        return KnownCell(tuple(cell), str(self.space_group)) if cell else None

    @cached_property
    def halving(self) -> Halving:
        """How starts are thinned out."""
        own = {field.name: getattr(self, field.name) for field in fields(Halving) if field.name != "cell"}
        return Halving(**own, cell=self.known is None)

    @cached_property
    def breeding(self) -> Breeding:
        """How starts are followed by children of the best."""
        share = 0.0 if self.composition.thickness is None or self.known else self.offspring
        return Breeding(share, self.draws.cells, self.cap)

    def start(self, index: int, *, seed: int) -> Candidate:
        """Start `index` as it is built, before any relaxation; with a failure where no room was found."""
        if self.known is None:
            start = build_start(self.composition, self.draws, seed, index)
        else:
            start = build_in_cell(self.composition, self.known, self.draws, seed, index)
        info = dict(start.atoms.info)
        start.atoms.info = {}
        return Candidate(start.atoms, index, self.name, seed, history=("built",), failure=start.failure, info=info)

    def built(self, indices: Sequence[int], seed: int, spread: Spread) -> list[Candidate]:
        """All starts of these numbers; see `start`."""
        own = spread.resident(self)
        if own is self:
            return [self.start(index, seed=seed) for index in indices]
        answers = spread.map([(_start, (own, index, seed)) for index in indices])
        return [
            Candidate(Atoms(), index, self.name, seed, failure=answer.reason) if isinstance(answer, Failure) else answer
            for index, answer in zip(indices, answers, strict=True)
        ]

    def precursors(self, starts: int, spread: Spread = SERIAL) -> float | None:
        """Energy (eV per formula unit) of what the composition can fall apart into; see precursors_energy."""
        return precursors_energy(self.composition, self.potential, starts, spread)

    def rivals(self, starts: int, spread: Spread = SERIAL) -> float | None:
        """Energy (eV per formula unit) of the best arrangement in chains or units; see rivals_energy."""
        return rivals_energy(self.composition, self.potential, starts, spread)

    @property
    def comparisons(self) -> Mapping[str, Callable[[int, Spread], float | None]]:
        """What the screening compares with, by its settings: energies (eV per formula unit) from a number of starts,
        made by a spread."""
        return {"decomposition": self.precursors, "rivals": self.rivals}

    def generate(self, indices: Sequence[int], *, seed: int, cache: StepCache = NO_CACHE) -> Iterator[Candidate]:
        """A candidate for every index; those of one call compete, and those that lose carry the reason as failure.

        They come as they end. What `cache` holds of an earlier call, interrupted, is not made again.
        """
        starts = self.breeding.starts(len(indices))
        left = cache.get_or_make("starts", lambda: self.built(indices[:starts], seed, cache.spread))
        yield from (candidate for candidate in left if candidate.failure is not None)
        for found in halve(left, self.potential, self.halving, cache):
            before = {candidate.index for candidate in left if candidate.failure is None}
            yield from (c for c in found if c.failure is not None and c.index in before)
            left = found
        left = [candidate for candidate in left if candidate.failure is None]
        if starts == len(indices):
            yield from left
        else:
            own = (self.composition, self.breeding, self.halving, seed, cache)
            for candidate in breed(left, indices[starts:], self.potential, *own):
                yield replace(candidate, generator=self.name)


def _start(generator: Perovskite, index: int, seed: int) -> Candidate:
    return generator.start(index, seed=seed)

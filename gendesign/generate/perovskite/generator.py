"""Perovskite: structure search for hybrid halide perovskites: random starts, halved, then mutants of the lowest."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar

from ase import Atoms

from gendesign.generate.perovskite.build import build_start, check_recipe
from gendesign.generate.perovskite.competing_phases import competing_phases_energy
from gendesign.generate.perovskite.compound import Compound, compose
from gendesign.generate.perovskite.evolution import evolve
from gendesign.generate.perovskite.halving import halve, one_round
from gendesign.generate.perovskite.known_cell import KnownCell, build_in_cell, check_known
from gendesign.generate.perovskite.precursors import precursors_energy
from gendesign.generate.perovskite.settings import Composition, Evolution, Halving, RandomStarts
from gendesign.potential.domain import CRYSTALS
from gendesign.potential.protocol import PotentialLike
from gendesign.processes import SERIAL, Failure, Spread
from gendesign.structure.generator import ALONE, Generator, ShardContext
from gendesign.structure.types import Candidate


@dataclass(frozen=True)
class Perovskite(Generator):
    """Generator of relaxed candidates for one composition (Karimitari et al., JACS 146, 27392, 2024).

        search = Perovskite(load_potential("hoip"), Composition("BA"), start=RandomStarts(cells=("1",)))
        candidates = list(search.generate(range(64), seed=0))

    halving=None and evolution=None leave that step out. Raises UserError for settings that make no sense, elements that
    the potential lacks and cations that fit no pocket.
    """

    potential: PotentialLike
    composition: Composition
    start: RandomStarts = field(default_factory=RandomStarts)
    halving: Halving | None = field(default_factory=Halving)
    evolution: Evolution | None = field(default_factory=Evolution)
    name: str = "perovskite"
    competes: ClassVar[bool] = True
    kind: ClassVar[str] = CRYSTALS

    def __post_init__(self) -> None:
        one_round(self.rounds)  # refuses wrong settings of the relaxation now
        self.potential.require_elements(self.compound.elements)
        if self.known is None:
            check_recipe(self.compound, self.start, seed=0)
        else:
            check_known(self.compound, self.known, self.start, seed=0)

    @cached_property
    def compound(self) -> Compound:
        """What is searched."""
        return compose(self.composition)

    @cached_property
    def known(self) -> KnownCell | None:
        """The cell that starts are made in, where one is known."""
        start = self.start
        return KnownCell(start.known_cell, str(start.space_group)) if start.known_cell else None

    @property
    def rounds(self) -> Halving:
        """How starts are thinned out; no rounds where halving is left out."""
        return self.halving or Halving(rounds=0)

    def random_starts(self, candidates: int) -> int:
        """How many of so many candidates are random starts; the others are mutants."""
        evolves = self.evolution and self.compound.thickness is not None and self.known is None
        return self.evolution.starts(candidates) if evolves else candidates

    def build_start(self, index: int, *, seed: int) -> Candidate:
        """Start `index` before any relaxation; with a failure where no room was found."""
        if self.known is None:
            start = build_start(self.compound, self.start, seed, index)
        else:
            start = build_in_cell(self.compound, self.known, self.start, seed, index)
        info = dict(start.atoms.info)
        start.atoms.info = {}
        return Candidate(start.atoms, index, self.name, seed, history=("built",), failure=start.failure, info=info)

    def build_starts(self, indices: Sequence[int], seed: int, context: ShardContext) -> list[Candidate]:
        """The starts of these numbers; see `build_start`."""
        resident, count = context.spread.resident(self), len(indices)
        context.phase("starts", 0, count)
        if resident is self:
            starts = []
            for index in indices:
                starts.append(self.build_start(index, seed=seed))
                context.phase("starts", len(starts), count)
            return starts
        answers = context.spread.map([(_build_start, (resident, index, seed)) for index in indices])
        return [
            Candidate(Atoms(), index, self.name, seed, failure=answer.reason) if isinstance(answer, Failure) else answer
            for index, answer in zip(indices, answers, strict=True)
        ]

    def precursors(self, starts: int, spread: Spread = SERIAL) -> float | None:
        """Energy (eV per formula unit) of what the compound can decompose into; see precursors_energy."""
        return precursors_energy(self.compound, self.potential, starts, spread)

    def competing_phases(self, starts: int, spread: Spread = SERIAL) -> float | None:
        """Energy (eV per formula unit) of the lowest phase of chains or units; see competing_phases_energy."""
        return competing_phases_energy(self.compound, self.potential, starts, spread)

    @property
    def comparisons(self) -> Mapping[str, Callable[[int, Spread], float | None]]:
        """What the screening compares with, by its settings.

        Each gives an energy (eV per formula unit) from a number of starts and what spreads them over workers.
        """
        return {"decomposition": self.precursors, "competing_phases": self.competing_phases}

    @property
    def required_elements(self) -> Sequence[str]:
        """Symbols of the compound."""
        return sorted(self.compound.elements)

    def generate_in_run(self, indices: Sequence[int], *, seed: int, context: ShardContext) -> Iterator[Candidate]:
        """`generate` with the kept steps, the workers and the progress of the run."""
        return self.generate(indices, seed=seed, context=context)

    def generate(self, indices: Sequence[int], *, seed: int, context: ShardContext = ALONE) -> Iterator[Candidate]:
        """A candidate for every index; those of one call compete, and the failure of each loser says why it lost.

        They come as they end. What `context` holds of an interrupted call is not made again.
        """
        count = self.random_starts(len(indices))
        current = context.get_or_make("starts", lambda: self.build_starts(indices[:count], seed, context))
        yield from (candidate for candidate in current if candidate.failure is not None)
        for compared in halve(current, self.potential, self.rounds, context, cell=self.known is None):
            alive = {candidate.index for candidate in current if candidate.failure is None}
            yield from (c for c in compared if c.failure is not None and c.index in alive)
            current = compared
        survivors = [candidate for candidate in current if candidate.failure is None]
        if count == len(indices):
            yield from survivors
            return
        search = (self.compound, self.start, self.rounds, seed, context)
        for candidate in evolve(survivors, indices[count:], self.potential, *search):
            yield replace(candidate, generator=self.name)


def _build_start(generator: Perovskite, index: int, seed: int) -> Candidate:
    return generator.build_start(index, seed=seed)

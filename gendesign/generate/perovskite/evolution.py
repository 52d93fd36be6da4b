"""An evolutionary search that follows random starts: mutants of the lowest crystals, of which the lowest stay."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ase import Atoms

from gendesign.generate.perovskite.build import cations_text
from gendesign.generate.perovskite.compound import Compound
from gendesign.generate.perovskite.halving import checked, compare, lowest, one_round, stopped, without_copies
from gendesign.generate.perovskite.mutations import draw_mutant
from gendesign.generate.perovskite.seats import LARGER, Parent, enlarged
from gendesign.generate.perovskite.settings import Halving, RandomStarts
from gendesign.potential.protocol import PotentialLike
from gendesign.randomness import Purpose, stream
from gendesign.relaxation import Relaxation, relax
from gendesign.structure.crystals import RELAXED, UNRELAXED
from gendesign.structure.generator import ALONE, ShardContext
from gendesign.structure.perovskite import energy_of
from gendesign.structure.types import Candidate

JITTER = 0.1  # Angstrom, standard deviation of displacements that make the octahedra of larger cells differ
SETTLING = 5  # times as many steps as a round of halving, without pressure: near the minimum, so that parents compare
INHERITED = ("metal", "halide", "thickness", "cell", "layers", "formula_units", "tilt", "cations")
REDRAWS = 50  # mutants drawn until one has room
PARENTS = 12  # crystals, the lowest so far, that are mutated
GENERATION = 16  # mutants made before the parents are chosen again


def evolve(
    starts: Sequence[Candidate],
    indices: Sequence[int],
    potential: PotentialLike,
    compound: Compound,
    settings: RandomStarts,
    halving: Halving,
    seed: int,
    context: ShardContext = ALONE,
) -> Iterator[Candidate]:
    """The starts that halving kept, relaxed further without pressure, then a mutant for every index.

    They come as they are made, in their order. A mutant stays if it is among the PARENTS lowest crystals of its time;
    the failure of each other one says why it ended. `parent` and the info `orientations` of a mutant say where it comes
    from. Mutant `index` depends on (seed, index) and on all that came before it. settings: how the starts were drawn;
    mutants share their cells and the largest angle of cations.
    """
    search = _Generations(potential, compound, settings, halving, seed, context)
    population = context.get_or_make("settling", partial(search.settled, starts))
    yield from population
    generations = [indices[begin : begin + GENERATION] for begin in range(0, len(indices), GENERATION)]
    for number, members in enumerate(generations, 1):
        population = [candidate for candidate in population if candidate.failure is None]
        stage, phase = f"generation {number}", f"evolution {number} of {len(generations)}"
        step = partial(search.generation, population, members, stage, phase)
        older, population = population, context.get_or_make(stage, step)
        yield from population[len(older) :]


@dataclass(frozen=True)
class _Generations:
    """What the generations of one call have in common."""

    potential: PotentialLike
    compound: Compound
    settings: RandomStarts
    halving: Halving
    seed: int
    context: ShardContext

    @property
    def settling(self) -> Relaxation:
        """The relaxation that brings crystals near their minimum."""
        return replace(one_round(self.halving), max_steps=SETTLING * self.halving.steps, pressure=0.0)

    def settled(self, starts: Sequence[Candidate]) -> list[Candidate]:
        """The starts relaxed without pressure, copies and broken ones with a failure."""
        report = partial(self.context.phase, "evolution, parents")
        return compare(starts, self.potential, self.settling, "settling", 1.0, RELAXED, self.context.spread, report)

    def generation(
        self, population: Sequence[Candidate], indices: Sequence[int], stage: str, phase: str
    ) -> list[Candidate]:
        """The population and after it its mutants, relaxed; those not among the lowest of both say why they ended.

        stage: what failures name; phase: what the progress of the run names.
        """
        report = partial(self.context.phase, phase)
        mutants = self.mutants(lowest(population)[:PARENTS], indices)
        keep, spread = self.halving.keep if self.halving.rounds else 1.0, self.context.spread
        mutants = compare(mutants, self.potential, one_round(self.halving), stage, keep, UNRELAXED, spread, report)
        mutants = [checked(one, stage) for one in relax(mutants, self.potential, self.settling, report, spread)]
        everyone = without_copies([*population, *mutants], stage)
        ranked = lowest(everyone)
        kept = {candidate.index for candidate in ranked[:PARENTS]}
        best = energy_of(ranked[0]) if ranked else 0.0
        survivors = [
            one if one.failure is not None or one.index in kept else stopped(one, best, stage)
            for one in everyone[len(population) :]
        ]
        return [*everyone[: len(population)], *survivors]

    def mutants(self, parents: Sequence[Candidate], indices: Sequence[int]) -> list[Candidate]:
        """A mutant for every index, before any relaxation."""
        cation, spacers = self.compound.cation, self.compound.spacers
        pool = [one for parent in parents for one in (parent, self.enlarged(parent)) if one]
        seated = [
            Parent.of(p.atoms, p.info["cell"], cation, spacers * p.info["formula_units"], p.info["layers"])
            for p in pool
        ]
        return [self.mutant(pool, seated, index) for index in indices]

    def enlarged(self, parent: Candidate) -> Candidate | None:
        """The parent in a cell twice as large, its octahedra no longer alike; None where that cell is not asked for."""
        cell = LARGER.get(parent.info["cell"])
        if cell not in self.settings.cells:
            return None
        atoms, units = enlarged(parent.atoms, parent.info["cell"]), 2 * parent.info["formula_units"]
        inorganic = atoms.arrays["molecule"] < 0
        rng = stream(Purpose.ENLARGEMENT, self.seed, parent.index)
        atoms.positions[inorganic] += rng.normal(0, JITTER, (inorganic.sum(), 3))
        changed = {"cell": cell, "formula_units": units, "cations": cations_text(self.compound, units)}
        return replace(parent, atoms=atoms, info={**parent.info, **changed})

    def mutant(self, parents: Sequence[Candidate], seated: Sequence[Parent], index: int) -> Candidate:
        """Mutant `index` of one of the parents, whose seats are `seated`; with a failure where none has room."""
        empty = Candidate(Atoms(), index, seed=self.seed)
        if not parents:
            return replace(empty, failure="no mutant: none of the starts is left to mutate")
        rng = stream(Purpose.MUTATION, self.seed, index)
        for _ in range(REDRAWS):
            mutant = draw_mutant(rng, seated, self.compound.cation, self.settings.cation_angle)
            if mutant is not None:
                parent = parents[mutant.parent]
                origin = {"orientations": f"{mutant.operator} of {parent.index}"}
                info = {key: parent.info[key] for key in INHERITED} | origin
                return replace(empty, atoms=mutant.atoms, parent=parent.index, history=("mutated",), info=info)
        return replace(empty, failure=f"no mutant that is new and has room in {REDRAWS} draws")

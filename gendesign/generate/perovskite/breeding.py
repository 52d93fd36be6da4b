"""An evolutionary search from what is left of random starts: children of the best, of which the best stay."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from ase import Atoms

from gendesign.errors import UserError
from gendesign.generate.perovskite.build import cations_text
from gendesign.generate.perovskite.cation import Cation
from gendesign.generate.perovskite.composition import Composition
from gendesign.generate.perovskite.halving import Halving, checked, compare, lowest, stopped, without_copies
from gendesign.generate.perovskite.offspring import LARGER, Parent, doubled, draw_child
from gendesign.potential import Potential
from gendesign.processes import Spread
from gendesign.relaxation import Relaxation, relax
from gendesign.structure.crystals import RELAXED, UNRELAXED
from gendesign.structure.perovskite import energy_of
from gendesign.structure.step_cache import NO_CACHE, StepCache
from gendesign.structure.types import Candidate

BRED, DOUBLED = 6, 7  # the random streams of children, and of parents in larger cells
UNLIKE = 0.1  # Angstrom, standard deviation of what moves the octahedra of these
SETTLING = 5  # times as many steps, without pressure, as a rung has: near the minimum, so that parents compare
INHERITED = ("metal", "halide", "thickness", "cell", "layers", "formula_units", "tilt", "cations")
REDRAWS = 50  # children drawn until one has room
PARENTS = 12  # crystals, the lowest so far, that may have children
GENERATION = 16  # children made before the parents are chosen again


@dataclass(frozen=True)
class Breeding:
    """How the starts of one call are followed by children of the best.

    offspring: their share of the candidates of a call; cells, cap: as in Draws, of in-plane cells and redrawn cations.
    """

    offspring: float = 0.5
    cells: tuple[str, ...] = ("sqrt2",)
    cap: float = 45.0

    def __post_init__(self) -> None:
        if not 0 <= self.offspring < 1:
            raise UserError(f"generator.offspring={self.offspring}: give a share from 0 (none) to below 1")

    def starts(self, candidates: int) -> int:
        """How many of so many candidates are random starts; the others are children."""
        return candidates - int(self.offspring * candidates)


def breed(
    found: Sequence[Candidate],
    indices: Sequence[int],
    potential: Potential,
    composition: Composition,
    settings: Breeding,
    halving: Halving,
    seed: int,
    cache: StepCache = NO_CACHE,
) -> Iterator[Candidate]:
    """What halving left of the starts, relaxed further without pressure, then a child for every index.

    They come as they are made, in their order. Of the children those are left that were among the PARENTS lowest when
    they came, all others say as failure why they ended. `parent` and the info `orientations` of a child say where it
    comes from; child `index` depends on (seed, index) and on all that came before it.
    """
    settling = replace(halving.relaxation, max_steps=SETTLING * halving.steps, pressure=0.0)
    own = (found, potential, settling, "settling", 1.0, RELAXED, cache.spread)
    known = cache.get_or_make("settling", partial(compare, *own))
    yield from known
    for number, begin in enumerate(range(0, len(indices), GENERATION), 1):
        stage, few = f"generation {number}", indices[begin : begin + GENERATION]
        known = [candidate for candidate in known if candidate.failure is None]

        def grown(known=known, few=few, stage=stage) -> list[Candidate]:
            made = _children(lowest(known)[:PARENTS], few, composition, settings, seed)
            return _joined(known, made, potential, halving, settling, stage, cache.spread)

        older, known = known, cache.get_or_make(stage, grown)
        yield from known[len(older) :]


def _joined(
    known: Sequence[Candidate],
    made: Sequence[Candidate],
    potential: Potential,
    halving: Halving,
    settling: Relaxation,
    stage: str,
    spread: Spread,
) -> list[Candidate]:
    """The known ones, then the children made, relaxed; all but those among the lowest of both say why they ended."""
    keep = halving.keep if halving.rungs else 1.0
    made = compare(made, potential, halving.relaxation, stage, keep, UNRELAXED, spread)
    made = [checked(candidate, stage) for candidate in relax(made, potential, settling, spread=spread)]
    both = without_copies([*known, *made], stage)
    ranked = lowest(both)
    kept = {candidate.index for candidate in ranked[:PARENTS]}
    best = energy_of(ranked[0]) if ranked else 0.0
    new = [c if c.failure is not None or c.index in kept else stopped(c, best, stage) for c in both[len(known) :]]
    return [*both[: len(known)], *new]


def _children(
    parents: Sequence[Candidate], indices: Sequence[int], composition: Composition, settings: Breeding, seed: int
) -> list[Candidate]:
    cation, spacers = composition.cation, composition.spacers
    pool = [own for parent in parents for own in (parent, _twice(parent, composition, settings, seed)) if own]
    seated = [
        Parent.of(p.atoms, p.info["cell"], cation, spacers * p.info["formula_units"], p.info["layers"]) for p in pool
    ]
    return [_child(pool, seated, index, cation, settings.cap, seed) for index in indices]


def _twice(parent: Candidate, composition: Composition, settings: Breeding, seed: int) -> Candidate | None:
    """The parent in a cell twice as large, its octahedra no longer alike; None where that cell is not asked for."""
    cell = LARGER.get(parent.info["cell"])
    if cell not in settings.cells:
        return None
    atoms, units = doubled(parent.atoms, parent.info["cell"]), 2 * parent.info["formula_units"]
    inorganic = atoms.arrays["molecule"] < 0
    steps = np.random.default_rng([seed, parent.index, DOUBLED]).normal(0, UNLIKE, (inorganic.sum(), 3))
    atoms.positions[inorganic] += steps
    changed = {"cell": cell, "formula_units": units, "cations": cations_text(composition, units)}
    return replace(parent, atoms=atoms, info={**parent.info, **changed})


def _child(
    parents: Sequence[Candidate], seated: Sequence[Parent], index: int, cation: Cation, cap: float, seed: int
) -> Candidate:
    barren = Candidate(Atoms(), index, seed=seed)
    if not parents:
        return replace(barren, failure="no child: none of the starts is left to have one")
    rng = np.random.default_rng([seed, index, BRED])
    for _ in range(REDRAWS):
        drawn = draw_child(rng, seated, cation, cap)
        if drawn is not None:
            atoms, place, operator = drawn
            parent = parents[place]
            info = {key: parent.info[key] for key in INHERITED} | {"orientations": f"{operator} of {parent.index}"}
            return replace(barren, atoms=atoms, parent=parent.index, history=("bred",), info=info)
    return replace(barren, failure=f"no child that is new and has room in {REDRAWS} draws")

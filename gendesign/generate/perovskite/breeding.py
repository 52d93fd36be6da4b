"""An evolutionary search from what is left of random starts: children of the best, of which the best stay."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms

from gendesign.generate.perovskite.composition import Composition
from gendesign.generate.perovskite.halving import Halving, compare, stopped, without_copies
from gendesign.generate.perovskite.offspring import Parent, draw_child
from gendesign.potential import Potential
from gendesign.structure.types import Candidate, UserError

BRED = 6  # the random stream of children
SETTLING = 3  # times as many steps, without pressure, as a rung has: near the minimum, so that parents compare
INHERITED = ("metal", "halide", "thickness", "cell", "layers", "formula_units", "tilt", "cations")
REDRAWS = 50  # children drawn until one has room


@dataclass(frozen=True)
class Breeding:
    """How the starts of one call are followed by children of the best.

    offspring: their share of the candidates of a call; parents: how many crystals, the lowest, may have children;
    generation: children made before the parents are chosen again.
    """

    offspring: float = 0.5
    parents: int = 12
    generation: int = 16

    def __post_init__(self) -> None:
        if not 0 <= self.offspring < 1:
            raise UserError(f"generator.offspring={self.offspring}: give a share from 0 (none) to below 1")
        for key in ("parents", "generation"):
            if getattr(self, key) < 1:
                raise UserError(f"generator.{key}={getattr(self, key)}: give a whole number of 1 or more")

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
) -> Iterator[Candidate]:
    """What halving left of the starts, relaxed further without pressure, then a child for every index.

    They come as they are made, in their order. Of the children those are left that were among the `parents` lowest when
    they came, all others say as failure why they ended. `parent` and the info `orientations` of a child say where it
    comes from; child `index` depends on (seed, index) and on all that came before it.
    """
    settling = replace(halving.relaxation, max_steps=SETTLING * halving.steps, pressure=0.0)
    known = compare(found, potential, settling, "settling", 1.0)
    yield from known
    for number, begin in enumerate(range(0, len(indices), settings.generation), 1):
        stage, few = f"generation {number}", indices[begin : begin + settings.generation]
        known = [candidate for candidate in known if candidate.failure is None]
        made = _children(_lowest(known, settings.parents), few, composition, seed)
        made = compare(made, potential, halving.relaxation, stage, halving.keep)
        made = compare(made, potential, settling, stage, 1.0)
        both = without_copies([*known, *made], stage)
        kept = {candidate.index for candidate in _lowest(both, settings.parents)}
        best = min((candidate.info["enthalpy"] for candidate in both if candidate.failure is None), default=0.0)
        made = [c if c.failure is not None or c.index in kept else stopped(c, best, stage) for c in both[len(known) :]]
        yield from made
        known = [*both[: len(known)], *made]


def _children(
    parents: Sequence[Candidate], indices: Sequence[int], composition: Composition, seed: int
) -> list[Candidate]:
    seated = [
        Parent.of(parent.atoms, parent.info["cell"], composition.spacers * parent.info["formula_units"])
        for parent in parents
    ]
    return [_child(parents, seated, index, composition, seed) for index in indices]


def _child(
    parents: Sequence[Candidate], seated: Sequence[Parent], index: int, composition: Composition, seed: int
) -> Candidate:
    barren = Candidate(Atoms(), index, seed=seed)
    if not parents:
        return replace(barren, failure="no child: none of the starts is left to have one")
    rng = np.random.default_rng([seed, index, BRED])
    for _ in range(REDRAWS):
        drawn = draw_child(rng, seated, composition.cation.charge, composition.cation.chiral)
        if drawn is not None:
            atoms, place, operator = drawn
            parent = parents[place]
            info = {key: parent.info[key] for key in INHERITED} | {"orientations": f"{operator} of {parent.index}"}
            return replace(barren, atoms=atoms, parent=parent.index, history=("bred",), info=info)
    return replace(barren, failure=f"no child without contacts in {REDRAWS} draws")


def _lowest(candidates: Sequence[Candidate], most: int) -> list[Candidate]:
    alive = [candidate for candidate in candidates if candidate.failure is None]
    return sorted(alive, key=lambda c: (c.info["enthalpy"], c.index))[:most]

"""What a generator of structures is, what it may offer to a run, and what a run lends it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

from gendesign.processes import SERIAL, Spread
from gendesign.structure.step_cache import StepCache

if TYPE_CHECKING:  # rdkit and scipy take a second to import, and only some generators have conditions or a host
    from ase import Atoms

    from gendesign.structure.conditions import Condition
    from gendesign.structure.contacts import Host
    from gendesign.structure.types import Candidate


class PhaseReport(Protocol):
    """Called when a part of a long step begins or advances; see `ShardContext.phase`."""

    def __call__(self, name: str, done: int = 0, total: int = 0) -> None: ...


def no_report(name: str, done: int = 0, total: int = 0) -> None:
    """A `PhaseReport` that nobody reads."""


@dataclass(frozen=True)
class ShardContext:
    """What a run lends a generator while it makes one shard.

    cache: steps that are kept across interruptions; spread: does independent parts of a step, in worker processes
    where there are any; phase: `phase(name, done, total)` names the part of the work that goes on, such as "halving",
    for the progress bar; with total=0 no count is shown.
    """

    cache: StepCache = field(default_factory=StepCache)
    spread: Spread = SERIAL
    phase: PhaseReport = no_report

    def get_or_make(self, step: str, make: Callable[[], Iterable[Candidate]]) -> list[Candidate]:
        """What `make` returns, or returned before an interruption, to the last bit. Steps may contain others."""
        return self.cache.get_or_make(step, make)


ALONE = ShardContext()  # outside of runs: nothing is kept, spread or shown


class Generator(ABC):
    """Proposes candidates. Inherit it, set `name`, and implement `generate`; everything else has a default.

    The random stream of candidate i depends on (seed, i) alone, so that any shard can be made anywhere and a run can be
    continued exactly. A generator is pickled or forked into worker processes: keep it free of open files and threads.

    name: what candidates and summary.json call it.
    kind: "molecules" or "crystals", which is compared with the domain of the potential before a run.
    competes: candidates of one shard compete with each other, as in a structure search. Shards are then made one after
        the other, and the workers do parts of one shard (ShardContext.spread).

    >>> from dataclasses import dataclass, field
    >>> from ase.build import molecule
    >>> from gendesign.structure.types import Candidate
    >>> @dataclass(frozen=True)
    ... class Water(Generator):
    ...     name: str = "water"
    ...
    ...     def generate(self, indices, *, seed):
    ...         for index in indices:
    ...             yield Candidate(molecule("H2O"), index, self.name, seed)
    >>> [candidate.index for candidate in Water().generate(range(2), seed=0)]
    [0, 1]
    """

    name: str
    kind: ClassVar[str] = "molecules"
    competes: ClassVar[bool] = False

    @abstractmethod
    def generate(self, indices: Sequence[int], *, seed: int) -> Iterator[Candidate]:
        """A candidate for every index, in any order; an attempt without a usable structure carries its `failure`."""

    def generate_in_run(self, indices: Sequence[int], *, seed: int, context: ShardContext) -> Iterator[Candidate]:
        """`generate` with what a run lends. Override it where `context` is of use; the candidates are the same."""
        return self.generate(indices, seed=seed)

    def prepare(self) -> None:  # noqa: B027  nothing to prepare is the usual case
        """Compute what all calls share; called once, before worker processes inherit the generator."""

    @property
    def environment(self) -> Host | None:
        """Atoms that stay fixed around every candidate; the run relaxes beside them."""
        return None

    @property
    def requested(self) -> Sequence[Condition]:
        """Conditions that were requested, as checks that a run adds to its screening and its table."""
        return ()

    @property
    def required_elements(self) -> Sequence[str]:
        """Symbols of elements that every candidate holds; empty where that is open."""
        return ()

    @property
    def own_references(self) -> Sequence[Atoms] | None:
        """Molecules of the user's that candidates resemble, which do not count as novel; None for the bundled ones."""
        return None

    @property
    def comparisons(self) -> Mapping[str, Callable[[int, Spread], float | None]]:
        """Energies of other structures (eV per formula unit) that a screening compares candidates with.

        Keys are settings of the screening, whose values say how many random starts such a structure is searched with:
        `comparisons[key](starts, spread)`, None where the search ends without a structure.
        """
        return {}

"""The interface of generators of structures and the context in which a run calls them."""

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
    """A callback that reports the progress of a part of a long step; see `ShardContext.phase`."""

    def __call__(self, name: str, done: int = 0, total: int = 0) -> None:
        """Report that `done` of `total` units of the part `name` are finished; total=0 shows no count."""


def no_report(name: str, done: int = 0, total: int = 0) -> None:
    """A `PhaseReport` that does nothing."""


@dataclass(frozen=True)
class ShardContext:
    """What a generator can use while it makes one shard in a run.

    cache: stores finished steps, so that an interrupted run repeats only one. spread: runs independent tasks, in worker
    processes if there are any. phase: `phase(name, done, total)` reports the current part of the work, such as
    "halving", to the progress bar.
    """

    cache: StepCache = field(default_factory=StepCache)
    spread: Spread = SERIAL
    phase: PhaseReport = no_report

    def get_or_make(self, step: str, make: Callable[[], Iterable[Candidate]]) -> list[Candidate]:
        """The candidates from `make`, or bitwise the same from the cache of an interrupted run. Steps may be nested."""
        return self.cache.get_or_make(step, make)


ALONE = ShardContext()  # outside a run: no cache, no worker processes, no progress bar


class Generator(ABC):
    """Base class of generators. Inherit it, set `name` and implement `generate`; everything else has a default.

    The random stream of candidate i must depend only on (seed, i). Shards can then be made anywhere and a run can be
    continued exactly. Worker processes receive a generator by pickling or forking: it must not hold open files or
    threads.

    name: the name in candidates and in summary.json.
    kind: "molecules" or "crystals"; a run compares it with the domain of the potential.
    competes: whether the candidates of one shard compete with each other, as in a structure search. Shards are then
        made one after the other, and the workers run the tasks of one shard (ShardContext.spread).

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
        """Yield one candidate for every index, in any order. A failed attempt is a candidate with its `failure`."""

    def generate_in_run(self, indices: Sequence[int], *, seed: int, context: ShardContext) -> Iterator[Candidate]:
        """`generate` with the context of a run. An override that uses `context` must return the same candidates."""
        return self.generate(indices, seed=seed)

    def prepare(self) -> None:  # noqa: B027  nothing to prepare is the usual case
        """Compute data shared by all calls. Called once, before worker processes inherit the generator."""

    @property
    def holds_cell(self) -> str:
        """Why the cells of the candidates cannot be relaxed, such as "the start has fixed atoms"; "" where they can."""
        return ""

    @property
    def environment(self) -> Host | None:
        """Fixed atoms around every candidate, present in the relaxation; None without any."""
        return None

    @property
    def notes(self) -> Sequence[str]:
        """What was left out of the generator's files, or added to them; a run says it before it begins."""
        return ()

    @property
    def requested(self) -> Sequence[Condition]:
        """Requested conditions. A run adds them to its screening and its table."""
        return ()

    @property
    def required_elements(self) -> Sequence[str]:
        """Symbols of the elements that every candidate contains; empty if not known in advance."""
        return ()

    @property
    def possible_elements(self) -> Sequence[str]:
        """Symbols of the elements that candidates may contain; empty if not known in advance."""
        return self.required_elements

    @property
    def own_references(self) -> Sequence[Atoms] | None:
        """Reference molecules of the user, which do not count as novel; None for the bundled ones."""
        return None

    @property
    def comparisons(self) -> Mapping[str, Callable[[int, Spread], float | None]]:
        """Energies (eV per formula unit) of competing structures with which a screening compares the candidates.

        A key is a setting of the screening, whose value is the number of random starts of the search for the competing
        structure. `comparisons[key](starts, spread)` returns its energy, or None if the search finds no structure.
        """
        return {}

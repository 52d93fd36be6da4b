"""Another machine-learned potential as teacher."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ase import Atoms

from gendesign.train.teacher import Attempt, Teacher

if TYPE_CHECKING:  # mace takes seconds to import, and the other teachers do not need it
    from gendesign.potential import Potential


@dataclass(frozen=True, kw_only=True)
class Learned(Teacher):
    """Any potential that `load_potential` loads, once per process."""

    means: ClassVar[tuple[str, ...]] = ("device", "trust_pickle")
    potential: str = "mace-mp-medium-0b3"
    device: str = "auto"
    dtype: str = "float64"
    trust_pickle: bool = False
    head: str | None = None

    @cached_property
    def title(self) -> str:
        return self.loaded.name

    @cached_property
    def about(self) -> str:
        head = "" if self.head is None else f", head={self.head}"
        return f"{self.title}(dtype={self.dtype}{head}, weights={self.loaded.weights_hash[:16]})"

    @property
    def loaded(self) -> "Potential":
        """The potential; the first call downloads or reads it."""
        return _load(self)

    def check(self, symbols: frozenset[str]) -> None:
        self.loaded.require_elements(symbols)

    def concerns(self, structures: Sequence[Atoms]) -> list[str]:
        from gendesign.potential.advice import concerns

        return [said for _, said in concerns(structures, self.loaded)]

    def workers(self, cores: int) -> int:
        return cores if self.loaded.device.type == "cpu" else 1

    def attempts(self, atoms: Atoms, scratch: Path | None) -> Iterator[Attempt]:
        yield self.loaded.as_ase(), {}


@cache
def _load(teacher: Learned) -> "Potential":
    from gendesign.potential import load_potential

    return load_potential(
        teacher.potential,
        device=None if teacher.device == "auto" else teacher.device,
        dtype=teacher.dtype,
        trust_pickle=teacher.trust_pickle,
        head=teacher.head,
    )

"""Another machine-learned potential as teacher."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ase import Atoms

from gendesign.fields import setting
from gendesign.train.teacher import Attempt, Teacher

if TYPE_CHECKING:  # mace takes seconds to import, and the other teachers do not need it
    from gendesign.potential import PotentialLike


@dataclass(frozen=True, kw_only=True)
class Learned(Teacher):
    """Any potential that `load_potential` loads, once per process."""

    potential: str = setting(
        "mace-mp-medium-0b3",
        "bundled or named model (organic, mace-off-small, ani1ccx, ...), path of a MACE checkpoint, or module:function",
    )
    device: str = setting(
        "auto",
        "where the model runs; auto: a GPU if there is one",
        allowed=("auto", "cpu", "cuda", "cuda:N"),
        identity=False,
    )
    dtype: str = setting("float64", "floating-point numbers of the model", allowed=("float32", "float64"))
    trust_pickle: bool = setting(
        False, "true allows unpickling a checkpoint file, which runs code from it", identity=False
    )
    head: str | None = setting(None, "output head of a multi-head model")

    @cached_property
    def title(self) -> str:
        return self.loaded.name

    @cached_property
    def about(self) -> str:
        head = "" if self.head is None else f", head={self.head}"
        return f"{self.title}(dtype={self.dtype}{head}, weights={self.loaded.weights_hash[:16]})"

    @property
    def loaded(self) -> "PotentialLike":
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
def _load(teacher: Learned) -> "PotentialLike":
    from gendesign.potential import load_potential

    return load_potential(
        teacher.potential,
        device=None if teacher.device == "auto" else teacher.device,
        dtype=teacher.dtype,
        trust_pickle=teacher.trust_pickle,
        head=teacher.head,
    )

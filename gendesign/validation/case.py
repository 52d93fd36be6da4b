"""What the tests of one potential draw on: how much to test, the structures, the references, and what several share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import ase.io
from ase import Atoms

from gendesign.errors import UserError
from gendesign.potential.protocol import PotentialLike
from gendesign.structure.labels import has_label
from gendesign.validation import molecules
from gendesign.validation.methods import Answer, Batched, Method
from gendesign.validation.settings import ValidationSettings

MOST_ELEMENTS = 10  # a potential of more is asked about the pairs of the structures' elements only


@dataclass(frozen=True)
class Case:
    """The potential, the structures and the references that the tests draw on; what several need is made once.

    `frames` are structures as read, labelled or not; `references` are for molecules and for crystals. `keep` is a
    folder for what is slow to make, or None.
    """

    potential: PotentialLike
    frames: Sequence[Atoms]
    settings: ValidationSettings
    molecular: Method | None = None
    periodic: Method | None = None
    keep: Path | None = None
    method: Batched = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "method", Batched(self.potential))
        self.potential.require_elements({symbol for frame in self.frames for symbol in frame.symbols})
        if any(frame.pbc.any() and not frame.pbc.all() for frame in self.frames):
            raise UserError("a structure is periodic in 1 or 2 of 3 directions; give molecules or crystals")

    @cached_property
    def crystals(self) -> list[Atoms]:
        """The first crystal of every composition."""
        structures: dict[str, Atoms] = {}
        for frame in self.frames:
            if frame.pbc.all():
                structures.setdefault(frame.get_chemical_formula(), frame)
        return list(structures.values())[: self.settings.crystals]

    @cached_property
    def given(self) -> list[Atoms]:
        """Molecules as they came, or those of the package when no structure was given at all."""
        if not self.frames:
            return molecules.default_molecules(self.potential.elements)[: self.settings.molecules]
        return molecules.choose([frame for frame in self.frames if not frame.pbc.any()], self.settings.molecules)

    @cached_property
    def minima(self) -> list[Atoms]:
        """Molecules at the reference's minima, or without a reference at the potential's."""
        return self._kept("minima", lambda: molecules.minima_of(self.given, self.molecular or self.method))

    @cached_property
    def labelled(self) -> list[Atoms]:
        """The labelled structures among those given, or else structures displaced from minima and labelled."""
        have = [frame for frame in self.frames if has_label(frame)]
        if have:
            return have
        return self._kept("displaced", self._displaced)

    def _displaced(self) -> list[Atoms]:
        seed, structures = self.settings.seed, []
        if self.molecular is not None and self.given:
            structures += molecules.displaced(self.minima, self.molecular, seed)
        if self.periodic is not None:
            structures += molecules.displaced(self.crystals, self.periodic, seed)
        return structures

    @cached_property
    def answers(self) -> list[Answer | None]:
        """What the potential says of `labelled`; stresses too where a label holds one."""
        structures: list[Answer | None] = [None] * len(self.labelled)
        for pbc in (False, True):
            own = [k for k, frame in enumerate(self.labelled) if frame.pbc.all() == pbc]
            answers = self.method.evaluate([self.labelled[k] for k in own], stress=pbc) if own else []
            for k, answer in zip(own, answers, strict=True):
                structures[k] = answer
        return structures

    @cached_property
    def elements(self) -> list[str]:
        """Elements whose pairs are tested."""
        known = list(self.potential.elements)
        seen = {symbol for frame in self.frames or self.given for symbol in frame.symbols}
        return known if len(known) <= MOST_ELEMENTS else [symbol for symbol in known if symbol in seen]

    def _kept(self, name: str, make: Callable[[], list[Atoms]]) -> list[Atoms]:
        if self.keep is None:
            return make()
        file = self.keep / f"{name}.traj"
        if not file.is_file():
            partial = file.with_name(f".{name}.partial.traj")
            ase.io.write(partial, make(), format="traj")
            partial.replace(file)
        return ase.io.read(file, index=":", format="traj") if file.stat().st_size else []

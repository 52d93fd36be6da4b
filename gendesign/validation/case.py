"""The input of the tests of one potential: settings, structures, reference methods, and shared intermediate results."""

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

MOST_ELEMENTS = 10  # above this number only the elements of the structures are tested in pairs


@dataclass(frozen=True)
class Case:
    """The potential, the structures and the reference methods of the tests. Shared intermediate results are made once.

    frames: structures as read, labelled or not. molecular, periodic: reference methods for molecules and crystals, or
    None. keep: folder in which slow intermediate results are stored, or None. Raises UserError for elements that the
    potential does not know and for structures that are periodic in 1 or 2 directions.
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
        """The first crystal of every composition, at most `settings.crystals`."""
        structures: dict[str, Atoms] = {}
        for frame in self.frames:
            if frame.pbc.all():
                structures.setdefault(frame.get_chemical_formula(), frame)
        return list(structures.values())[: self.settings.crystals]

    @cached_property
    def initial_molecules(self) -> list[Atoms]:
        """Molecules among the frames, or those of the package if there are no frames."""
        if not self.frames:
            return molecules.default_molecules(self.potential.elements)[: self.settings.molecules]
        return molecules.choose([frame for frame in self.frames if not frame.pbc.any()], self.settings.molecules)

    @cached_property
    def minima(self) -> list[Atoms]:
        """Molecules at minima of the reference, or of the potential without a reference."""
        return self._kept("minima", lambda: molecules.minima_of(self.initial_molecules, self.molecular or self.method))

    @cached_property
    def labelled(self) -> list[Atoms]:
        """The labelled frames, or structures displaced from minima and labelled by the reference if there are none."""
        labelled = [frame for frame in self.frames if has_label(frame)]
        if labelled:
            return labelled
        return self._kept("displaced", self._displaced)

    def _displaced(self) -> list[Atoms]:
        seed, structures = self.settings.seed, []
        if self.molecular is not None and self.initial_molecules:
            structures += molecules.displaced(self.minima, self.molecular, seed)
        if self.periodic is not None:
            structures += molecules.displaced(self.crystals, self.periodic, seed)
        return structures

    @cached_property
    def answers(self) -> list[Answer | None]:
        """Predictions of the potential for `labelled`, with stresses for crystals."""
        predictions: list[Answer | None] = [None] * len(self.labelled)
        for pbc in (False, True):
            indices = [k for k, frame in enumerate(self.labelled) if frame.pbc.all() == pbc]
            answers = self.method.evaluate([self.labelled[k] for k in indices], stress=pbc) if indices else []
            for k, answer in zip(indices, answers, strict=True):
                predictions[k] = answer
        return predictions

    @cached_property
    def elements(self) -> list[str]:
        """Elements whose pairs are tested: all that the potential knows, or those of the structures if too many."""
        known = list(self.potential.elements)
        seen = {symbol for frame in self.frames or self.initial_molecules for symbol in frame.symbols}
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

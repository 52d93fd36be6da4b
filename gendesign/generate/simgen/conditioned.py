"""What the generators of molecules share: the conditions of their problem, as a run asks for them."""

from collections.abc import Sequence
from functools import cached_property

from ase import Atoms

from gendesign.generate.simgen import requested
from gendesign.generate.simgen.problem import Problem
from gendesign.generate.simgen.shape_files import Pocket
from gendesign.structure.conditions import Condition
from gendesign.structure.contacts import Host
from gendesign.structure.generator import Generator
from gendesign.structure.macromolecules import read_host


class Conditioned(Generator):
    """A generator of molecules with a `problem`, which states what is asked for, and perhaps a `host`."""

    problem: Problem
    host: str | Atoms | None

    @cached_property
    def requested(self) -> tuple[Condition, ...]:
        """What was asked for, as checks of the finished candidates."""
        return requested.conditions(self.problem)

    @property
    def possible_elements(self) -> Sequence[str]:
        """Hydrogen and the elements of the heavy atoms."""
        return ("H", *self.problem.elements)

    @property
    def environment(self) -> Host | None:
        """The host that molecules must not overlap while they are sampled, finished and, by the run, relaxed."""
        return self.problem.host

    @property
    def notes(self) -> Sequence[str]:
        """Which atoms of the files of a host and a pocket count."""
        shape = self.problem.shape
        read = [(shape.path, shape.notes)] if isinstance(shape, Pocket) else []
        if isinstance(self.host, str):
            read.append((self.host, read_host(self.host).notes))
        return [f"{path}: {'; '.join(notes)}" for path, notes in read if notes]

"""From the name of a method to what evaluates and relaxes with it."""

from dataclasses import dataclass

from gendesign.potential.reference import gfn2_calculator, pm6_calculator
from gendesign.potential.zoo import load_potential
from gendesign.validation.methods import Batched, Method, OneByOne

CALCULATORS = {"gfn2": gfn2_calculator, "pm6": pm6_calculator}
TOGETHER = 600  # atoms evaluated at once


@dataclass(frozen=True)
class Judged:
    """A method: `single` relaxes with held angles, structure by structure; `many` does many structures at once.

    elements: symbols it knows, None for all of H C N O.
    """

    name: str
    single: Method
    many: Method
    elements: tuple[str, ...] | None = None

    def knows(self, symbols: set[str]) -> bool:
        """Whether it knows all elements."""
        return self.elements is None or symbols <= set(self.elements)


def method(name: str) -> Judged:
    """The method `gfn2`, `pm6`, or the potential of that name or in that folder, with float64."""
    if name in CALCULATORS:
        one = OneByOne(CALCULATORS[name], name)
        return Judged(name, one, one)
    potential = load_potential(name, device="cpu", dtype="float64")
    one = OneByOne(lambda atoms: potential.as_ase(), potential.name)
    return Judged(potential.name, one, Batched(potential, TOGETHER), tuple(potential.elements))

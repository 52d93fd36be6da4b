"""Classical potentials as teachers: fast, to test the workflow from structures to a fitted potential."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ase import Atoms

from gendesign.errors import UserError
from gendesign.fields import setting
from gendesign.train.teacher import Attempt, Teacher

EMPTY = 20.0  # Angstrom around a molecule where a calculator wants a cell; beyond the reach of these potentials


@dataclass(frozen=True, kw_only=True)
class Emt(Teacher):
    """Effective medium theory (Jacobsen 1996) for seven metals, through ASE."""

    @cached_property
    def title(self) -> str:
        return "EMT"

    def elements(self) -> frozenset[str]:
        from ase.calculators.emt import parameters

        return frozenset(parameters) - set("HCNO")  # ASE's numbers for these are for fun, as it says itself

    def attempts(self, atoms: Atoms, scratch: Path | None) -> Iterator[Attempt]:
        from ase.calculators.emt import EMT

        yield EMT(), {}


@dataclass(frozen=True, kw_only=True)
class LennardJones(Teacher):
    """4 epsilon ((sigma/r)^12 - (sigma/r)^6) between all atoms, smoothly zero at the cutoff; through ASE."""

    epsilon: float = setting(0.0104, "depth of the well between any two atoms (argon's)", unit="eV", above=0)
    sigma: float = setting(3.4, "distance at which the energy is zero (argon's)", unit="Angstrom", above=0)
    cutoff: float = setting(8.5, "distance beyond which there is no force", unit="Angstrom", above=0)

    @cached_property
    def title(self) -> str:
        return "Lennard-Jones"

    def attempts(self, atoms: Atoms, scratch: Path | None) -> Iterator[Attempt]:
        from ase.calculators.lj import LennardJones as Calculator

        yield Calculator(epsilon=self.epsilon, sigma=self.sigma, rc=self.cutoff, smooth=True), {}


@dataclass(frozen=True, kw_only=True)
class ManyBody(Teacher):
    """Stillinger-Weber or Tersoff with one of the published parameter sets that matscipy carries."""

    form: str = setting("Tersoff", "form of the potential", allowed=("Tersoff", "Stillinger-Weber"))
    parameters: str = setting("Tersoff_PRB_39_5566_Si_C", "published parameter set, as matscipy names it")

    def __post_init__(self) -> None:
        super().__post_init__()
        known = self._sets()
        if self.parameters not in known:
            raise UserError(f"teacher.parameters={self.parameters}: give one of {', '.join(sorted(known))}")

    @cached_property
    def title(self) -> str:
        return self.form

    def elements(self) -> frozenset[str]:
        symbols = self._sets()[self.parameters]["el"]
        return frozenset([symbols] if isinstance(symbols, str) else symbols)

    def prepare(self, atoms: Atoms) -> Atoms:
        return boxed(atoms, EMPTY)

    def attempts(self, atoms: Atoms, scratch: Path | None) -> Iterator[Attempt]:
        from matscipy.calculators.manybody import Manybody
        from matscipy.calculators.manybody.explicit_forms import StillingerWeber, TersoffBrenner

        warnings.filterwarnings("ignore", "'where' used without 'out'")  # matscipy overwrites what numpy warns of
        form = TersoffBrenner if self.form == "Tersoff" else StillingerWeber
        yield Manybody(**form(self._sets()[self.parameters])), {}

    def _sets(self) -> dict[str, dict]:
        from matscipy.calculators.manybody.explicit_forms import stillinger_weber, tersoff_brenner

        module = tersoff_brenner if self.form == "Tersoff" else stillinger_weber
        return {name: value for name, value in vars(module).items() if isinstance(value, dict) and "__ref__" in value}


def boxed(atoms: Atoms, vacuum: float) -> Atoms:
    """`atoms` with `vacuum` (Angstrom) on both sides in every direction that is not periodic."""
    out, open_axes = atoms.copy(), [axis for axis in range(3) if not atoms.pbc[axis]]
    if open_axes:
        out.center(vacuum=vacuum, axis=open_axes)
    return out

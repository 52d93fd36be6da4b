"""A compound with its cations, metal, halides and thickness, balanced in charge."""

from collections import Counter
from dataclasses import dataclass

from ase.formula import Formula

from gendesign.errors import UserError
from gendesign.generate.perovskite.cation import Cation, read_cation
from gendesign.generate.perovskite.settings import Composition
from gendesign.structure.formula import parse_formula

HALIDES = ("Cl", "Br", "I")
# Metal-halide distances in Angstrom that starts are built with: those of Pb from arXiv 2403.06955, slightly wider than
# in crystals so that cations find room; cubic CsSnX3 is 0.03 Angstrom shorter than CsPbX3.
BOND = {"Pb": {"I": 3.20, "Br": 3.00, "Cl": 2.85}, "Sn": {"I": 3.17, "Br": 2.97, "Cl": 2.82}}
CAGE = 4  # most heavy atoms of a cation that a cage of ABX3 holds; guanidinium is the largest one known
STACKED = {"1": 1, "sqrt2": 2, "2x2": 2}  # octahedra along the third axis of a 3D cell
DEEPEST = 6  # thicker slabs are hardly told from the 3D perovskite and take hundreds of atoms


@dataclass(frozen=True)
class Compound:
    """A'_m A_(n-1) M_n X_(3n+1) of thickness n with m = 2 (Ruddlesden-Popper) or 1 (Dion-Jacobson), or ABX3.

    cation: A', or A of ABX3, where `thickness` is None. halides: numbers in the ratio of the mixture.
    """

    cation: Cation
    metal: str
    halides: tuple[tuple[str, int], ...]
    thickness: int | None = 1
    a_site: Cation | None = None

    @property
    def spacers(self) -> int:
        """Cations A' (or A of ABX3) per formula unit."""
        return 1 if self.thickness is None else 2 // self.cation.charge

    @property
    def metals(self) -> int:
        """Metals per formula unit."""
        return self.thickness or 1

    @property
    def sites(self) -> int:
        """Halides per formula unit."""
        return 3 if self.thickness is None else 3 * self.thickness + 1

    @property
    def caged(self) -> int:
        """Cations on the A site of a slab, per formula unit."""
        return self.metals - 1

    @property
    def bond(self) -> float:
        """Metal-halide distance of the starts in Angstrom, the mean over a mixture."""
        total = sum(count for _, count in self.halides)
        return sum(BOND[self.metal][symbol] * count for symbol, count in self.halides) / total

    @property
    def elements(self) -> set[str]:
        """Symbols of all elements."""
        caged = self.a_site.symbols if self.a_site is not None else []
        return {self.metal, *(symbol for symbol, _ in self.halides), *self.cation.symbols, *caged}

    def halide_counts(self, units: int) -> dict[str, int]:
        """How many of each halide a cell of `units` formula units holds; UserError where that is no whole number."""
        total = sum(count for _, count in self.halides)
        sites = self.sites * units
        if any(sites * count % total for _, count in self.halides):
            mixture = "".join(f"{symbol}{count if count > 1 else ''}" for symbol, count in self.halides)
            raise UserError(
                f"generator.composition.halide={mixture}: the {sites} halides of a cell cannot be divided so; give "
                f"numbers that add up to a divisor of {sites}, larger generator.start.cells, or "
                f"generator.start.layers={total}"
            )
        return {symbol: sites * count // total for symbol, count in self.halides}

    def formula(self, units: int = 1) -> str:
        """Formula of `units` formula units, organic part first; UserError where a mixture gives no whole numbers."""
        counts = Counter(self.cation.symbols * self.spacers * units)
        if self.a_site is not None:
            counts.update(self.a_site.symbols * self.caged * units)
        counts.update({self.metal: self.metals * units, **self.halide_counts(units)})
        return Formula.from_dict(dict(counts)).format("hill")


def compose(composition: Composition) -> Compound:
    """The compound of these settings; raises UserError for what is unknown or not neutral."""
    halides = _halides(composition.halide)
    depth = _thickness(composition.thickness)
    cation = read_cation(composition.cation, composition.conformers)
    if depth is None:
        _refuse_in_cage(cation, composition.cation, "give generator.composition.thickness=1 for a layered one")
        return Compound(cation, composition.metal, halides, None)
    if not all(cation.ends):
        raise UserError(
            f"generator.composition.cation={composition.cation} has no nitrogen that binds to a layer; give an "
            "ammonium such as CCCC[NH3+], or generator.composition.thickness=3d for a small ion"
        )
    caged = None
    if depth > 1:
        caged = read_cation(composition.a_site, 1)
        _refuse_in_cage(caged, composition.a_site, "give generator.composition.a_site as MA, FA or Cs")
    return Compound(cation, composition.metal, halides, depth, caged)


def _halides(text: str) -> tuple[tuple[str, int], ...]:
    try:
        counts = parse_formula(text)
    except UserError:
        counts = {}
    if not counts or not set(counts) <= set(HALIDES):
        raise UserError(
            f"generator.composition.halide={text}: allowed are Cl, Br, I and mixtures such as I3Br; give one of them"
        )
    return tuple(counts.items())


def _thickness(value: str | int) -> int | None:
    text = str(value).strip().lower()
    if text == "3d":
        return None
    if not text.isdigit() or not 1 <= int(text) <= DEEPEST:
        raise UserError(
            f"generator.composition.thickness={value}: give the octahedra per slab, 1 to {DEEPEST}, or 3d for ABX3"
        )
    return int(text)


def _refuse_in_cage(ion: Cation, text: str, remedy: str) -> None:
    if ion.charge != 1:
        raise UserError(f"cation {text} has charge {ion.charge:+d}, and ABX3 is neutral with +1 on A only; {remedy}")
    if ion.heavy > CAGE:
        raise UserError(f"cation {text} has {ion.heavy} heavy atoms, and a cage of ABX3 holds {CAGE} at most; {remedy}")

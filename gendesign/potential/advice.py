"""Sentences about structures outside a potential's domain, and which potential fits them better."""

from collections.abc import Iterable, Sequence

from ase import Atoms

from gendesign.potential.bundled import DOWNLOADED, fitting
from gendesign.potential.domain import Departure, departures, kind_of
from gendesign.potential.protocol import PotentialLike


def advise(symbols: Iterable[str], kind: str, *, but: str = "") -> str:
    """What to use in place of the potential named `but`, in words."""
    name = fitting(symbols, kind)
    if name is None or name == but:
        return "give a potential that was fitted to such structures"
    return f"potential={name} fits{' (downloaded once)' if name in DOWNLOADED else ''}"


def sentence(potential: PotentialLike, what: str, excluded: bool, kind: str, symbols: Iterable[str]) -> str:
    """One line: what the potential was made for, what was given, which potential fits."""
    verdict = "its card excludes that" if excluded else "its energies and forces may mean nothing there"
    instead = advise(symbols, kind, but=potential.name)
    about = "other structures" if potential.domain is None else potential.domain.about
    return f"potential {potential.name} was made for {about}; {what}: {verdict}; {instead}"


def concerns(
    structures: Sequence[Atoms], potential: PotentialLike, *, cell: bool = False
) -> list[tuple[Departure, str]]:
    """How `structures` lie outside the domain of `potential`, each group with its `sentence`; see `departures`."""
    concerned = []
    for departure in departures(structures, potential.domain, potential.cutoff, cell=cell):
        outside = [structures[number] for number in departure.structures]
        symbols = {symbol for atoms in outside for symbol in atoms.get_chemical_symbols()}
        count = f"given are {departure.what} ({len(outside)} of {len(structures)} structures)"
        kind = kind_of(outside[0], potential.cutoff)
        concerned.append((departure, sentence(potential, count, departure.excluded, kind, symbols)))
    return concerned

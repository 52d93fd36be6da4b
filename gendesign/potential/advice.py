"""Sentences about structures outside a potential's domain, and which potential fits them better."""

from collections.abc import Iterable, Sequence
from functools import cache

import yaml
from ase import Atoms
from ase.data import chemical_symbols

from gendesign.potential.domain import CRYSTALS, MOLECULES, Departure, Domain, departures, kind_of
from gendesign.potential.potential import Potential
from gendesign.potential.zoo import bundled, checkpoints_folder

MACE_OFF, MACE_MP = "mace-off-small", "mace-mp-medium-mpa-0"
DOWNLOADED = {
    MACE_OFF: (MOLECULES, frozenset("H C N O F P S Cl Br I".split())),
    MACE_MP: (CRYSTALS, frozenset(chemical_symbols[1:84] + chemical_symbols[89:95])),  # H to Bi, Ac to Pu
}


@cache
def _bundled() -> dict[str, tuple[Domain, frozenset[str]]]:
    """Domain and elements of the bundled potentials, read without their weights."""
    found = {}
    for name in bundled():
        config = yaml.safe_load((checkpoints_folder() / name / "config.yaml").read_text())
        symbols = frozenset(chemical_symbols[z] for z in config["architecture"]["atomic_numbers"])
        if "domain" in config:
            found[name] = Domain.from_config(config["domain"]), symbols
    return found


def fitting(symbols: Iterable[str], kind: str) -> str | None:
    """The `potential=` that fits these elements and this kind: a bundled one, else one to download, or None."""
    wanted = set(symbols)
    for name, (domain, known) in _bundled().items():
        if kind in domain.kinds and wanted <= known and (not domain.contains or wanted & set(domain.contains)):
            return name
    return next((name for name, (own, known) in DOWNLOADED.items() if own == kind and wanted <= known), None)


def knowing(symbols: Iterable[str]) -> str | None:
    """The `potential=` that knows these elements, in molecules or else in crystals; None where there is none."""
    wanted = set(symbols)
    return fitting(wanted, MOLECULES) or fitting(wanted, CRYSTALS)


def advise(symbols: Iterable[str], kind: str, *, but: str = "") -> str:
    """What to use in place of the potential named `but`, in words."""
    name = fitting(symbols, kind)
    if name is None or name == but:
        return "give a potential that was fitted to such structures"
    return f"potential={name} fits{' (downloaded once)' if name in DOWNLOADED else ''}"


def sentence(potential: Potential, what: str, excluded: bool, kind: str, symbols: Iterable[str]) -> str:
    """One line: what the potential was made for, what was given, which potential fits."""
    verdict = "its card excludes that" if excluded else "its energies and forces may mean nothing there"
    instead = advise(symbols, kind, but=potential.name)
    return f"potential {potential.name} was made for {potential.domain.about}; {what}: {verdict}; {instead}"


def concerns(structures: Sequence[Atoms], potential: Potential, *, cell: bool = False) -> list[tuple[Departure, str]]:
    """How `structures` lie outside the domain of `potential`, each group with its `sentence`; see `departures`."""
    found = []
    for departure in departures(structures, potential.domain, potential.cutoff, cell=cell):
        outside = [structures[number] for number in departure.structures]
        symbols = {symbol for atoms in outside for symbol in atoms.get_chemical_symbols()}
        count = f"given are {departure.what} ({len(outside)} of {len(structures)} structures)"
        kind = kind_of(outside[0], potential.cutoff)
        found.append((departure, sentence(potential, count, departure.excluded, kind, symbols)))
    return found

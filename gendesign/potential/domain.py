"""What a potential was made for, and which structures lie outside that."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list

MOLECULES, CRYSTALS, AMORPHOUS = "molecules", "crystals", "amorphous"
CELLS = "cells"  # relaxing the cells of crystals
RELAXED_CELLS = "crystals whose cells are relaxed"
RELAXED_AMORPHOUS = "amorphous solids whose cells are relaxed"
KINDS, EXCLUDABLE = (MOLECULES, CRYSTALS, AMORPHOUS), (MOLECULES, CRYSTALS, AMORPHOUS, CELLS)
SOLIDS = {CRYSTALS: RELAXED_CELLS, AMORPHOUS: RELAXED_AMORPHOUS}


@dataclass(frozen=True)
class Domain:
    """The structures that a potential was fitted to, as its config.yaml states them in the section `domain`.

    kinds: some of molecules (in vacuum), crystals and amorphous (solids and melts). about: the same in words. excluded:
    what its card says that it must not be used for: molecules, crystals, amorphous, or cells (relaxing the cells of
    solids). contains: elements of which every structure must have one; none for no such condition. charges: neutral, or
    what else.
    """

    kinds: tuple[str, ...]
    about: str
    excluded: tuple[str, ...] = ()
    contains: tuple[str, ...] = ()
    charges: str = "neutral"

    @classmethod
    def from_config(cls, section: Any) -> "Domain":
        """The domain that a config.yaml states; ValueError for an unreadable one."""
        known = {"kinds", "about", "excluded", "contains", "charges"}
        if not isinstance(section, Mapping) or not {"kinds", "about"} <= section.keys() <= known:
            raise ValueError("domain needs kinds and about, and may have excluded, contains and charges")
        for key, allowed in (("kinds", KINDS), ("excluded", EXCLUDABLE)):
            values = section.get(key, [])
            if not isinstance(values, list) or not set(map(str, values)) <= set(allowed):
                raise ValueError(f"domain.{key} must be a list of {', '.join(allowed)}")
        if not section["kinds"]:
            raise ValueError(f"domain.kinds must name one of {', '.join(KINDS)}")
        values = {key: tuple(map(str, v)) if isinstance(v, list) else str(v) for key, v in section.items()}
        return cls(**values)

    def to_config(self) -> dict[str, Any]:
        """The section `domain` of a config.yaml."""
        lists = {"kinds": self.kinds, "excluded": self.excluded, "contains": self.contains}
        stated = {key: list(values) for key, values in lists.items() if values}
        return {"about": self.about, **stated, "charges": self.charges}


@dataclass(frozen=True)
class Departure:
    """Structures that lie outside a domain in the same way: what they are, their numbers, whether that is excluded."""

    what: str
    excluded: bool
    structures: tuple[int, ...]


def kind_of(atoms: Atoms, cutoff: float) -> str:
    """Molecules or crystals: whether neighbours within `cutoff` (Angstrom) lead from an atom to one of its own images.

    Molecules in a box with enough vacuum have no image within the cutoff, so that a potential sees them as molecules,
    also where they are cut by a face of the box.
    """
    if not atoms.pbc.any() or not len(atoms):
        return MOLECULES
    if not np.isfinite(atoms.positions).all() or atoms.cell.rank < atoms.pbc.sum():
        return CRYSTALS  # refused elsewhere, in words
    first, second, shift = neighbor_list("ijS", atoms, cutoff)
    if (first == second).any():
        return CRYSTALS
    starts = np.searchsorted(first, np.arange(len(atoms) + 1))  # neighbor_list sorts by the first atom
    image: dict[int, np.ndarray] = {}
    for root in range(len(atoms)):
        if root in image:
            continue
        image[root], waiting = np.zeros(3, int), [root]
        while waiting:
            atom = waiting.pop()
            for pair in range(starts[atom], starts[atom + 1]):
                other, cell = int(second[pair]), image[atom] + shift[pair]
                if other not in image:
                    image[other] = cell
                    waiting.append(other)
                elif (image[other] != cell).any():
                    return CRYSTALS
    return MOLECULES


def outside(domain: Domain, kind: str, symbols: Iterable[str], *, cell: bool) -> tuple[str, bool] | None:
    """(what it is, whether that is excluded) of a structure of this kind and these elements, None within the domain.

    `cell`: whether the cells of crystals are relaxed.
    """
    # the coordinates of a file do not tell an amorphous solid from a crystal
    known = kind in domain.kinds or (kind == CRYSTALS and AMORPHOUS in domain.kinds)
    if not known:
        relaxed = cell and kind in SOLIDS
        said = SOLIDS[kind] if relaxed else "amorphous solids" if kind == AMORPHOUS else kind
        return said, kind in domain.excluded or (relaxed and CELLS in domain.excluded)
    if domain.contains and not set(symbols) & set(domain.contains):
        return f"{kind} without any of {', '.join(domain.contains)}", False
    return None


def departures(
    structures: Sequence[Atoms], domain: Domain | None, cutoff: float, *, cell: bool = False
) -> list[Departure]:
    """How `structures` lie outside `domain`, grouped; nothing for a domain that is not stated.

    `cell`: whether the cells of crystals are relaxed. Empty structures belong to every domain.
    """
    groups: dict[tuple[str, bool], list[int]] = {}
    if domain is None:
        return []
    for number, atoms in enumerate(structures):
        relaxed = cell and bool(atoms.pbc.all())
        symbols = atoms.get_chemical_symbols()
        if symbols and (departure := outside(domain, kind_of(atoms, cutoff), symbols, cell=relaxed)):
            groups.setdefault(departure, []).append(number)
    return [Departure(*departure, tuple(numbers)) for departure, numbers in groups.items()]


def drawn(structures: Sequence[Atoms], cutoff: float) -> Domain:
    """The domain of a potential that is fitted to `structures`: their kinds in words, counted.

    Relaxing cells is excluded where no crystal was among them. Isolated atoms tell nothing.
    """
    sized = [(len(atoms), kind_of(atoms, cutoff)) for atoms in structures]
    counts = Counter(kind for size, kind in sized if size > 1 or kind == CRYSTALS)
    kinds = tuple(kind for kind in KINDS if counts[kind]) or (MOLECULES,)
    symbols = sorted({symbol for atoms in structures for symbol in atoms.get_chemical_symbols()})
    parts = [f"{counts[kind]} {kind[:-1] if counts[kind] == 1 else kind}" for kind in kinds]
    about = f"structures like the {' and '.join(parts)} of {' '.join(symbols)} that it was fitted to"
    return Domain(kinds, about, excluded=() if CRYSTALS in kinds else (CELLS,))

"""Potentials of LAMMPS by name: classical ones that it ships, and folders with pair.in (see pair.py)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from gendesign.errors import UserError
from gendesign.lammps.pair import PAIR_FILE, is_pair_folder, pair_commands, pair_elements

SPECIES = "{species}"  # in commands: the elements in the order of the types
FOLDER_COST = 50.0  # us of CPU per atom and step of a model of a folder, roughly that of a POD


@dataclass(frozen=True)
class Model:
    """A potential in LAMMPS.

    commands: pair_style and pair_coeff, with {species} for the elements of the types. elements: those it knows. source:
    where it is from. cost: us of CPU per atom and step. whole: whether the types must be all of its elements, in their
    order, whatever the structure has.
    """

    name: str
    commands: tuple[str, ...]
    elements: tuple[str, ...]
    source: str
    cost: float
    whole: bool = False

    def species(self, atoms: Atoms) -> Sequence[str]:
        """The elements of the types 1, 2, ... for a structure."""
        return self.elements if self.whole else sorted(set(atoms.get_chemical_symbols()))


def _shipped(name: str, style: str, file: str, elements: str, source: str, cost: float) -> Model:
    return Model(
        name, (f"pair_style {style}", f"pair_coeff * * {file} {SPECIES}"), tuple(elements.split()), source, cost
    )


SHIPPED = {
    model.name: model
    for model in (
        _shipped("edip", "edip", "Si.edip", "Si", "Justo et al., Phys. Rev. B 58, 2539, 1998", 0.9),
        _shipped("stillinger_weber", "sw", "Si.sw", "Si", "Stillinger, Weber, Phys. Rev. B 31, 5262, 1985", 2.1),
        _shipped("tersoff", "tersoff", "Si.tersoff", "Si", "Tersoff, Phys. Rev. B 37, 6991, 1988", 3.4),
        _shipped("munetoh", "tersoff", "SiO.tersoff", "Si O", "Munetoh et al., Comput. Mater. Sci. 39, 334, 2007", 0.8),
        _shipped(
            "vashishta", "vashishta", "SiO.1994.vashishta", "Si O",
            "Nakano, Kalia, Vashishta, J. Non-Cryst. Solids 171, 157, 1994", 1.4,
        ),
    )
}  # fmt: skip


def load_model(name: str) -> Model:
    """A shipped model by its name, or that of a folder with pair.in; raises UserError for anything else."""
    if name in SHIPPED:
        return SHIPPED[name]
    if not is_pair_folder(name):
        raise UserError(f"model={name}: allowed are {', '.join(SHIPPED)}, or a folder with {PAIR_FILE}")
    folder = Path(name).expanduser()
    elements = tuple(pair_elements(folder))
    return Model(name, tuple(pair_commands(folder)), elements, str(folder), FOLDER_COST, whole=True)

"""Classical potentials that LAMMPS ships, and folders with the commands of others."""

from dataclasses import dataclass
from pathlib import Path

from gendesign.errors import UserError

PAIR_FILE = "pair.in"  # in the folder of a model: its pair_style and pair_coeff commands
SPECIES = "{species}"  # in that file: the elements in the order of the types


@dataclass(frozen=True)
class Model:
    """A potential in LAMMPS: its commands with {species} for the elements, the elements it knows, where it is from."""

    name: str
    commands: tuple[str, ...]
    elements: tuple[str, ...]
    source: str
    cost: float  # us of CPU per atom and step


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
    """A shipped model by its name, or that of a folder with pair.in; raises UserError for anything else.

    The first line of pair.in names the elements, `# elements: Si O`; other files are named by $HERE/file, and {species}
    stands for the elements in the order of the types.
    """
    if name in SHIPPED:
        return SHIPPED[name]
    path = Path(name).expanduser() / PAIR_FILE
    if not path.is_file():
        raise UserError(f"model={name}: allowed are {', '.join(SHIPPED)}, or a folder with {PAIR_FILE}")
    first, *lines = path.read_text().splitlines()
    title, _, elements = first.partition("elements:")
    if not title.startswith("#") or not elements.split():
        raise UserError(f"{path}: the first line must name the elements, such as # elements: Si O")
    here = str(path.parent.resolve())
    commands = tuple(line.replace("$HERE", here) for line in lines if line.strip() and not line.startswith("#"))
    return Model(name, commands, tuple(elements.split()), str(path), 50.0)

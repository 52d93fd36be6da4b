"""Folders that hold a potential for LAMMPS: pair.in with its pair_style and pair_coeff commands, and their files.

    # elements: O Si
    pair_style hybrid/overlay pod zbl 0.8 1.3
    pair_coeff * * pod $HERE/pod_param.pod $HERE/pod_coefficients.pod O Si
    pair_coeff 1 2 zbl 8 14

The types of a structure must be the elements of the first line, all of them in that order, whether or not the structure
has them: `pair_style pod` takes the first type for its first element, whatever pair_coeff says. `$HERE` stands for the
folder.
"""

from pathlib import Path

from gendesign.errors import UserError

PAIR_FILE, HERE = "pair.in", "$HERE"


def is_pair_folder(path: str | Path) -> bool:
    """Whether a path is a folder with pair.in."""
    return (Path(path).expanduser() / PAIR_FILE).is_file()


def pair_elements(folder: Path) -> list[str]:
    """The elements of the potential in `folder`, in the order of the types.

    Raises UserError if pair.in is missing or does not name them.
    """
    path = folder / PAIR_FILE
    if not path.is_file():
        raise UserError(f"{folder} holds no {PAIR_FILE}; give the folder that gendesign distil wrote")
    first = path.read_text().partition("\n")[0]
    title, _, elements = first.partition("elements:")
    if not title.startswith("#") or not elements.split():
        raise UserError(f"{path}: the first line must name the elements, such as # elements: O Si")
    return elements.split()


def pair_commands(folder: Path, here: str | None = None) -> list[str]:
    """The commands of pair.in; files are named below `here`, by default the folder itself."""
    place = str(folder.resolve()) if here is None else here
    lines = (folder / PAIR_FILE).read_text().splitlines()
    return [line.replace(HERE, place) for line in lines if line.strip() and not line.startswith("#")]

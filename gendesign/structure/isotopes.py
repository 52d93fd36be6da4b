"""Isotopes in formats whose readers do not know D and T: replace them by H in the text and return their masses."""

import re

from ase import Atoms

HEAVY_HYDROGEN = {"D": 2.01410178, "T": 3.01604928}  # masses in u


def as_hydrogen(text: str, kind: str) -> tuple[str, dict[int, float]]:
    """(text of a PDB or POSCAR file with H in place of D and T, masses (u) of these atoms by index in a structure).

    `kind` is ASE's name of the format. Other formats are returned unchanged.
    """
    lines = text.split("\n")
    change = {"proteindatabank": _pdb, "vasp": _poscar}.get(kind)
    masses = change(lines) if change else {}
    return ("\n".join(lines), masses) if masses else (text, {})


def set_masses(atoms: Atoms, masses: dict[int, float]) -> None:
    """Set the masses (u) of the atoms with these indices, if they exist and are hydrogen."""
    updated = atoms.get_masses()
    for i, mass in masses.items():
        if i < len(atoms) and atoms.numbers[i] == 1:
            updated[i] = mass
    atoms.set_masses(updated)


def _pdb(lines: list[str]) -> dict[int, float]:
    masses, atom = {}, 0
    for i, line in enumerate(lines):
        if line.startswith("MODEL"):
            atom = 0
        if not line.startswith(("ATOM", "HETATM")):
            continue
        name, element = line[12:16], line[76:78].strip().upper()
        symbol = element or re.sub(r"[^A-Za-z]", "", name)[:1].upper()
        if symbol in HEAVY_HYDROGEN and element in ("", symbol):
            masses[atom] = HEAVY_HYDROGEN[symbol]
            name = re.sub(symbol, "H", name, count=1, flags=re.IGNORECASE)
            lines[i] = f"{line[:12]}{name}{line[16:76]:<60} H{line[78:]}"
        atom += 1
    return masses


def _poscar(lines: list[str]) -> dict[int, float]:
    if len(lines) < 7 or not re.fullmatch(r"[\s\d]+", lines[6]):
        return {}
    masses: dict[int, float] = {}
    first = 0
    symbols, counts = lines[5].split(), [int(word) for word in lines[6].split()]
    for symbol, count in zip(symbols, counts, strict=False):
        masses |= {i: HEAVY_HYDROGEN[symbol] for i in range(first, first + count) if symbol in HEAVY_HYDROGEN}
        first += count
    lines[5] = " ".join("H" if symbol in HEAVY_HYDROGEN else symbol for symbol in symbols)
    return masses

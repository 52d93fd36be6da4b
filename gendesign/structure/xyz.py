"""Frames of xyz and extended xyz files. Each frame is read separately, so that a broken one does not affect others."""

import re
from io import StringIO

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from ase.io.extxyz import read_xyz as read_frame

from gendesign.structure.isotopes import HEAVY_HYDROGEN, set_masses

Frame = tuple[Atoms, str, tuple[str, ...]]  # atoms, why they cannot be used, what was assumed

ASSUMED_PERIODIC = "Lattice without pbc, taken as periodic in all directions"
# The first line of a QM9 record: its number, three rotational constants and twelve properties (Sci. Data 1, 140022).
QM9_LINE = re.compile(r"^gdb\s+\d+(\s+\S+){15}\s*$")
QM9_PROPERTIES = (
    "A_ghz", "B_ghz", "C_ghz", "mu_debye", "alpha_bohr3", "homo_hartree", "lumo_hartree", "gap_hartree", "r2_bohr2",
    "zpve_hartree", "u0_hartree", "u_hartree", "h_hartree", "g_hartree", "cv_cal_mol_k",
)  # fmt: skip
QM9_TAIL = 3  # lines after the atoms: frequencies, SMILES, InChI
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:(?:[eEdD]|\*\^)[-+]?\d+)?"
ATOM_LINE = re.compile(rf"^\s*[A-Za-z0-9]+\s+{NUMBER}\s+{NUMBER}\s+{NUMBER}")


def read_xyz(text: str, name: str) -> list[Frame]:
    """Every frame of an xyz text. An unreadable frame has a failure with the reason; reading continues after
    it.

    Supports extended xyz, plain xyz with further columns, a cell in VEC lines, and the records of QM9. `name` is the
    file in messages.
    """
    lines, at = text.split("\n"), 0
    frames: list[Frame] = []
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        number = len(frames) + 1
        fault = _fault(lines, at)
        end = at if fault else _end(lines, at)
        if not fault:
            try:
                frames.append(_frame(lines[at:end]))
            except Exception as error:  # ASE raises errors of many types for malformed lines
                fault = printable(" ".join(str(error).split())[:120]) or type(error).__name__
        if fault:
            frames.append((Atoms(), f"unreadable: frame {number} of {name}: {fault}", ()))
            end = max(end, _next_start(lines, at + 1))
        at = end
    return frames


def printable(text: str) -> str:
    """The text with ? in place of unprintable characters, such as escape sequences of a binary file."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _count(line: str) -> int:
    """The number of atoms in the first line of a frame, -1 if the line is not a number."""
    return int(line) if re.fullmatch(r"\s*\d{1,12}\s*", line) else -1


def _fault(lines: list[str], at: int) -> str:
    """Why no frame starts at this line, "" if one does."""
    n = _count(lines[at])
    if n < 0:
        return f"a number of atoms is expected, but the line is '{printable(lines[at].strip()[:40])}'"
    atoms = lines[at + 2 : at + 2 + n]
    complete = next((i for i, line in enumerate(atoms) if len(line.split()) < 4), len(atoms))
    return f"it is cut off after {complete} of {n} atoms" if complete < n else ""


def _end(lines: list[str], at: int) -> int:
    end = at + 2 + _count(lines[at])
    if QM9_LINE.match(lines[at + 1]):
        return end + QM9_TAIL
    while end < len(lines) and lines[end].lstrip().startswith("VEC"):
        end += 1
    return end


def _next_start(lines: list[str], at: int) -> int:
    """The next line at which a frame may start, that is, a number of atoms, a comment and an atom follow."""
    for i in range(at, len(lines) - 2):
        if _count(lines[i]) > 0 and ATOM_LINE.match(lines[i + 2]):
            return i
    return len(lines)


def _frame(lines: list[str]) -> Frame:
    n, comment, notes = _count(lines[0]), lines[1], []
    rows, tail = lines[2 : 2 + n], lines[2 + n :]
    qm9 = QM9_LINE.match(comment)
    if "Properties" not in comment:
        # further columns of plain xyz have no names
        rows = [" ".join(line.replace("*^", "e").split()[:4]) for line in rows]
    _check_columns(rows, comment)
    rows, masses = _isotopes(rows, comment)
    body = [lines[0], "" if qm9 else comment, *rows, *([] if qm9 else tail)]
    atoms = next(read_frame(StringIO("\n".join(body) + "\n"), index=0))
    if masses:
        set_masses(atoms, masses)
        notes.append(f"read {len(masses)} D or T as H with their masses")
    if qm9:
        _describe_qm9(atoms, lines, tail)
    if "pbc" not in comment and re.search(r"\bLattice\s*=", comment):
        notes.append(ASSUMED_PERIODIC)
    return atoms, "", tuple(notes)


def _isotopes(rows: list[str], comment: str) -> tuple[list[str], dict[int, float]]:
    """Rows with D and T replaced by H and atomic numbers by symbols, and the masses (u) of D and T by index."""
    place = _species_column(comment)
    masses, out = {}, []
    for i, row in enumerate(rows):
        words = row.split()
        label = words[place] if place is not None and place < len(words) else "H"
        if place is not None and label.upper() in HEAVY_HYDROGEN:
            masses[i], words[place] = HEAVY_HYDROGEN[label.upper()], "H"
            row = " ".join(words)
        elif label.isdigit() and int(label) < len(chemical_symbols) and place is not None:
            row = " ".join([*words[:place], chemical_symbols[int(label)], *words[place + 1 :]])
        elif label.capitalize() not in atomic_numbers:
            raise ValueError(f"'{label}' of atom {i + 1} is no element")
        out.append(row)
    return out, masses


def _check_columns(rows: list[str], comment: str) -> None:
    """Raise ValueError if `Properties` states more columns than there are; ASE would exhaust the memory."""
    stated = sum(int(width) for width in _properties(comment)[2::3])
    present = len(rows[0].split()) if rows else stated
    if stated > present:
        raise ValueError(f"Properties states {stated} columns, but its atoms have {present}")


def _properties(comment: str) -> list[str]:
    """Name, type and width of each column in one flat list from `Properties`; empty without it."""
    match = re.search(r"\bProperties\s*=\s*[\"']?([^\s\"']+)", comment)
    return match[1].split(":") if match else []


def _species_column(comment: str) -> int | None:
    parts, column = _properties(comment), 0
    if not parts:
        return 0
    for name, _, width in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        if name.lower() in ("species", "symbols"):
            return column
        column += int(width)
    return None


def _describe_qm9(atoms: Atoms, lines: list[str], tail: list[str]) -> None:
    """Store the properties, Mulliken charges and SMILES of a QM9 record in `atoms`."""
    words = lines[1].replace("*^", "e").split()
    atoms.info["qm9_id"] = int(words[1])
    atoms.info |= {f"qm9_{key}": float(word) for key, word in zip(QM9_PROPERTIES, words[2:], strict=False)}
    columns = [line.replace("*^", "e").split() for line in lines[2 : 2 + len(atoms)]]
    if all(len(column) == 5 for column in columns):
        atoms.new_array("mulliken_charges", np.array([float(column[4]) for column in columns]))
    if len(tail) > 1 and tail[1].split():
        atoms.info["qm9_smiles"] = tail[1].split()[0]

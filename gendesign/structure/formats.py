"""Records of structure files: every record becomes atoms or a failure with its reason."""

import bz2
import codecs
import gzip
import lzma
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import BytesIO, StringIO
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.io.cif import parse_cif
from ase.io.formats import UnknownFileTypeError, filetype
from ase.neighborlist import neighbor_list

from gendesign.errors import UserError
from gendesign.structure.isotopes import as_hydrogen, set_masses
from gendesign.structure.lammps_data import HEAD, is_lammps_data, read_lammps_data
from gendesign.structure.sdf import read_sdf
from gendesign.structure.xyz import printable, read_xyz

FORMATS = "extxyz, xyz, SDF, CIF, POSCAR, LAMMPS data or another format of ASE"
SDF_SUFFIXES = {".sdf", ".sd", ".mol"}
SHARED_SITE = 1e-3  # Angstrom
HEAVY = 1.5  # u, above which a hydrogen is D or T
XYZ_FORMATS = {"extxyz", "xyz"}
COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
}
# Formats that are not supported, with the reason and the remedy.
NOT_READ = {
    ".mol2": "is a mol2 file, which is not read; convert it to SDF",
    ".pdbqt": "is a pdbqt file, which is not read; convert it to SDF",
    ".smi": "holds SMILES, which have no coordinates; give structures in three dimensions",
    ".smiles": "holds SMILES, which have no coordinates; give structures in three dimensions",
}
# Byte order marks, which Windows programs write. Where one mark is the beginning of another, the longer one is first.
BYTE_ORDERS = {
    codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
# Patterns that occur once per structure, for formats whose readers may skip structures.
STRUCTURE_MARKS = {
    "cif": r"(?mi)^\s*_atom_site_(?:fract|cartn)_x\b",
    "proteindatabank": r"(?m)^MODEL\b",
    "res": r"(?m)^TITL\b",
}


@dataclass(frozen=True)
class Record:
    """One structure of a file.

    `failure` is the reason why it cannot be used, `notes` list assumptions of the reader.
    """

    atoms: Atoms
    failure: str = ""
    notes: tuple[str, ...] = field(default=())


def read_records(path: Path, hydrogens_needed: bool = True) -> list[Record]:
    """Every record of a file in order. Raises UserError for a file without records or of an unknown format.

    `hydrogens_needed` rejects SDF records that imply hydrogens without coordinates.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist; give the path of a structure file ({FORMATS})")
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the structure file in it ({FORMATS})")
    if not path.is_file():
        raise UserError(f"{path} is no regular file; give the path of a structure file ({FORMATS})")
    if not path.stat().st_size:
        raise UserError(f"{path} is empty; give a file with at least one structure")
    try:
        content = _content(path)
    except PermissionError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; give yourself the right to read it") from error
    except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error) as error:
        raise UserError(f"{path} cannot be decompressed: {_line(error)}; check that it is complete") from error
    inner = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    if not content.strip():
        raise UserError(f"{path} is empty; give a file with at least one structure")
    if inner.suffix.lower() in NOT_READ:
        raise UserError(f"{path} {NOT_READ[inner.suffix.lower()]} ({FORMATS})")
    if inner.suffix.lower() in SDF_SUFFIXES:
        records = [Record(*frame) for frame in read_sdf(_text(content), path.name, hydrogens_needed)]
        if records and all(record.failure.startswith("unreadable") for record in records):
            raise UserError(f"{path} holds no readable SDF record; check that it is complete and ends in $$$$")
    elif _is_xyz(path):
        records = [Record(*frame) for frame in read_xyz(_text(content), path.name)]
        if records and all(record.failure.startswith("unreadable") for record in records):
            reason = records[0].failure.removeprefix("unreadable: ")
            raise UserError(f"{path} cannot be read: {reason}; check that it is complete")
    elif is_lammps_data(_text(content[:HEAD])):
        atoms, note = read_lammps_data(_text(content), path.name)
        records = [Record(atoms, notes=(note,))]
    else:
        records = _read_ase(path, content)
    if not records:
        raise UserError(f"{path} holds no structure; give a file with at least one")
    return records


def _content(path: Path) -> bytes:
    return COMPRESSED.get(path.suffix.lower(), bytes)(path.read_bytes())


def read_text(path: Path) -> str:
    """The text of a file with any line ends and any byte order mark. Raises UserError if it cannot be read."""
    try:
        return _text(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; give a text file that you may read") from error


def _byte_order(content: bytes) -> str:
    """The encoding that a byte order mark states, "" without one."""
    return next((name for mark, name in BYTE_ORDERS.items() if content.startswith(mark)), "")


def _text(content: bytes) -> str:
    text = content.decode(_byte_order(content) or "utf-8", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _is_xyz(path: Path) -> bool:
    try:
        return filetype(str(path)) in XYZ_FORMATS
    except UnknownFileTypeError:
        return False
    except Exception:  # ASE inspects the content of the file and may raise errors of any type
        return False


def _read_ase(path: Path, content: bytes) -> list[Record]:
    kind = ""
    try:
        kind = filetype(str(path))
        text, masses = as_hydrogen(_text(content), kind)
        if kind == "vasp" and (fault := _nameless(text)):
            raise UserError(f"{path} {fault}")
        changed = bool(masses or _byte_order(content))
        source = StringIO(text) if changed else path
        # A file name may contain @, which ASE would interpret as a selection of frames.
        frames = ase.io.read(source, index=":", format=kind if changed else None, do_not_split_by_at_sign=True)
        frames = [frames] if isinstance(frames, Atoms) else frames
        # Closing lines, such as END after the last model of a PDB file, make empty frames.
        frames = [atoms for atoms in frames if len(atoms)] or frames
        shared = _shared_sites(content, frames) if kind == "cif" else []
    except UserError:
        raise
    except UnknownFileTypeError as error:
        raise UserError(f"{path} is of no known format ({FORMATS}); rename it with the format's suffix") from error
    except Exception as error:  # readers of ASE raise errors of many types for malformed files
        what = f"cannot be read as {kind}" if kind else "cannot be read"
        reason = f": {_line(error)}" if str(error).strip() else ""
        raise UserError(f"{path} {what}{reason}; check that it is complete and what its name says") from error
    for atoms in frames if masses else ():
        set_masses(atoms, masses)
    failures = [_disorder(atoms) for atoms in frames]
    if shared:
        failures = [disorder or overlap for disorder, overlap in zip(failures, shared, strict=True)]
    records = [Record(a, failure, _isotopes(a)) for a, failure in zip(frames, failures, strict=True)]
    marks = len(re.findall(STRUCTURE_MARKS[kind], _text(content))) if kind in STRUCTURE_MARKS else 0
    lost = max(0, marks - len(records))
    failure = f"unreadable: {path.name} holds {marks} structures, of which {len(records)} could be read"
    return records + [Record(Atoms(), failure)] * lost


def _nameless(text: str) -> str:
    """The fault of a VASP 4 POSCAR that does not name its elements, "" for all other files."""
    lines = text.split("\n")
    if len(lines) < 6 or not re.fullmatch(r"[\s\d]*\d[\s\d]*", lines[5]):
        return ""
    words = lines[0].split()
    if words[: len(lines[5].split())] and all(word in atomic_numbers for word in words[: len(lines[5].split())]):
        return ""
    return "names no elements; write their symbols in a line before the numbers of atoms, as VASP 5 does"


def _shared_sites(content: bytes, frames: Sequence[Atoms]) -> list[str]:
    """For each structure of a CIF the elements that share a site, or "". ASE would keep only the first of them."""
    blocks = [block for block in parse_cif(BytesIO(_text(content).encode())) if block.has_structure()]
    if len(blocks) != len(frames):
        return []
    faults = []
    for block, atoms in zip(blocks, frames, strict=True):
        lost = sorted(set(block.get_symbols()) - set(atoms.get_chemical_symbols()))
        fault = f"overlapping atoms: {lost[0]} shares its site with another element; mend the file" if lost else ""
        faults.append(fault or _two_elements(block.get_unsymmetrized_structure()))
    return faults


def _two_elements(sites: Atoms) -> str:
    if sites.cell.rank < 3:
        return ""
    sites.pbc = True
    i, j = neighbor_list("ij", sites, SHARED_SITE)
    pairs = sorted((sites.symbols[a], sites.symbols[b]) for a, b in zip(i, j, strict=True))
    first = next((f"{a} and {b}" for a, b in pairs if a != b), "")
    return f"overlapping atoms: {first} share a site; mend the file" if first else ""


def _isotopes(atoms: Atoms) -> tuple[str, ...]:
    count = int(((atoms.numbers == 1) & (atoms.get_masses() > HEAVY)).sum()) if atoms.has("masses") else 0
    return (f"read {count} D or T as H with their masses",) if count else ()


def _disorder(atoms: Atoms) -> str:
    sites = atoms.info.get("occupancy", {})
    sites = sites.values() if isinstance(sites, dict) else ()
    column = np.asarray(atoms.arrays.get("occupancy", ()), dtype=float)
    if any(sum(site.values()) < 0.999 or len(site) > 1 for site in sites) or ((column > 0) & (column < 0.999)).any():
        return "partial occupancy: some sites are partly occupied; give an ordered structure"
    return ""


def _line(error: Exception) -> str:
    return printable(" ".join(str(error).split())[:120]) or type(error).__name__

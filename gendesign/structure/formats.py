"""Records of structure files: every record becomes atoms, or says why it could not be read."""

import bz2
import gzip
import lzma
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.io.formats import UnknownFileTypeError, filetype

from gendesign.structure.isotopes import as_hydrogen, set_masses
from gendesign.structure.sdf import read_sdf
from gendesign.structure.types import UserError
from gendesign.structure.xyz import read_xyz

FORMATS = "extxyz, xyz, SDF, CIF, POSCAR or another format of ASE"
SDF_SUFFIXES = {".sdf", ".sd", ".mol"}
HEAVY = 1.5  # u, above which a hydrogen is D or T
XYZ_FORMATS = {"extxyz", "xyz"}
COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
}
# Patterns that occur once per structure, for formats of which readers may skip some.
STRUCTURE_MARKS = {
    "cif": r"(?mi)^\s*_atom_site_(?:fract|cartn)_x\b",
    "proteindatabank": r"(?m)^MODEL\b",
    "res": r"(?m)^TITL\b",
}


@dataclass(frozen=True)
class Record:
    """One structure of a file as it was read; `failure` says why it cannot be used, `notes` what was assumed."""

    atoms: Atoms
    failure: str = ""
    notes: tuple[str, ...] = field(default=())


def read_records(path: Path, hydrogens_needed: bool = True) -> list[Record]:
    """Every record of a file, in order. Raises UserError for a file that holds none or is of no known format.

    `hydrogens_needed` refuses SDF records that imply hydrogens without coordinates.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist; give the path of a structure file ({FORMATS})")
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the structure file in it ({FORMATS})")
    if not path.stat().st_size:
        raise UserError(f"{path} is empty; give a file with at least one structure")
    try:
        content = _content(path)
    except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error) as error:
        raise UserError(f"{path} cannot be decompressed: {_line(error)}; check that it is complete") from error
    inner = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    if not content.strip():
        raise UserError(f"{path} is empty; give a file with at least one structure")
    if inner.suffix.lower() in SDF_SUFFIXES:
        records = [Record(*one) for one in read_sdf(_text(content), path.name, hydrogens_needed)]
        if records and all(record.failure.startswith("unreadable") for record in records):
            raise UserError(f"{path} holds no readable SDF record; check that it is complete and ends in $$$$")
    elif _is_xyz(path):
        records = [Record(*one) for one in read_xyz(_text(content), path.name)]
        if records and all(record.failure.startswith("unreadable") for record in records):
            raise UserError(f"{path} cannot be read: {records[0].failure}; check that it is complete")
    else:
        records = _read_ase(path, content)
    if not records:
        raise UserError(f"{path} holds no structure; give a file with at least one")
    return records


def _content(path: Path) -> bytes:
    return COMPRESSED.get(path.suffix.lower(), bytes)(path.read_bytes())


def _text(content: bytes) -> str:
    return content.decode("utf-8", errors="replace").replace("\r\n", "\n").replace("\r", "\n")


def _is_xyz(path: Path) -> bool:
    try:
        return filetype(str(path)) in XYZ_FORMATS
    except UnknownFileTypeError:
        return False
    except Exception:  # ASE looks into the file, and stumbles over whatever is in it
        return False


def _read_ase(path: Path, content: bytes) -> list[Record]:
    try:
        kind = filetype(str(path))
        # A file name may hold an @, which ASE would take for the start of a frame selection.
        text, masses = as_hydrogen(_text(content), kind)
        source, given = (StringIO(text), {"format": kind}) if masses else (path, {})
        frames = ase.io.read(source, index=":", do_not_split_by_at_sign=True, **given)
    except UnknownFileTypeError as error:
        raise UserError(f"{path} is of no known format ({FORMATS}); rename it with the format's suffix") from error
    except Exception as error:  # readers of ASE raise whatever a malformed file makes them stumble over
        raise UserError(
            f"{path} cannot be read: {_line(error)}; check that it is complete and what its name says"
        ) from error
    # Closing lines, such as END after the last model of a PDB file, make empty frames.
    frames = [atoms for atoms in frames if len(atoms)] or frames
    for atoms in frames if masses else ():
        set_masses(atoms, masses)
    records = [Record(atoms, _disorder(atoms), _isotopes(atoms)) for atoms in frames]
    marks = len(re.findall(STRUCTURE_MARKS[kind], _text(content))) if kind in STRUCTURE_MARKS else 0
    lost = max(0, marks - len(records))
    failure = f"unreadable: {path.name} holds {marks} structures, of which {len(records)} could be read"
    return records + [Record(Atoms(), failure)] * lost


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
    return " ".join(str(error).split())[:120] or type(error).__name__

"""Hosts from PDB and mmCIF files: which of the atoms in such a file are the host, by fixed rules.

- The first of several models counts.
- Of alternate locations of a residue the one with the largest sum of occupancies counts, of equal ones the first in the
  alphabet; atoms without a letter always count.
- Water is left out. So is a residue that is named as the ligand. Ions, cofactors and all else are kept.
- Hydrogens of the file are kept. Missing ones of amino acids are added where the heavy atoms fix their place
  (host_hydrogens.py). `hidden` marks the heavy atoms that may carry others.
"""

import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from gendesign.errors import UserError
from gendesign.structure.clouds import all_atoms
from gendesign.structure.formats import read_text
from gendesign.structure.host_hydrogens import with_hydrogens

WATER = ("HOH", "WAT", "DOD", "H2O", "SOL", "TIP", "TP3", "SPC")
PDB, MMCIF = (".pdb", ".ent"), (".cif", ".mmcif")
CARTESIAN = "_atom_site.Cartn_x"  # mmCIF; the CIF of a crystal has _atom_site_fract_x
IONS = ("Na", "Mg", "Cl", "Ca", "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Br", "Se", "Cd")
TOKEN = re.compile(r"'(?:[^']|'(?=\S))*'(?=\s|$)|\"(?:[^\"]|\"(?=\S))*\"(?=\s|$)|\S+")
COLUMNS = {  # of mmCIF: the authors' names where they are given, as in the PDB file of the same structure
    "group": ("group_PDB",),
    "symbol": ("type_symbol",),
    "name": ("auth_atom_id", "label_atom_id"),
    "altloc": ("label_alt_id",),
    "residue": ("auth_comp_id", "label_comp_id"),
    "chain": ("auth_asym_id", "label_asym_id"),
    "number": ("auth_seq_id", "label_seq_id"),
    "insertion": ("pdbx_PDB_ins_code",),
    "occupancy": ("occupancy",),
    "model": ("pdbx_PDB_model_num",),
}


@dataclass(frozen=True)
class Site:
    """One atom of a file: element, position in Angstrom, and where it belongs."""

    symbol: str
    name: str
    altloc: str
    residue: str
    chain: str
    number: str
    occupancy: float
    model: str
    hetero: bool
    position: tuple[float, float, float]

    @property
    def place(self) -> tuple[str, str, str]:
        """Chain, number and name of the residue."""
        return self.chain, self.number, self.residue


@dataclass(frozen=True, eq=False)
class Macromolecule:
    """A host as it was read: `atoms` with the arrays residuenames, residuenumbers (text), chains, atomtypes, hetero and
    `hidden`; the `ligand` that was taken out, None without one; `notes`, what the rules left out or added."""

    atoms: Atoms
    ligand: Atoms | None
    notes: tuple[str, ...]


def is_macromolecule(path: str | Path) -> bool:
    """Whether the file is a PDB file by its name, or an mmCIF file by name and content."""
    suffix = _inner(path).suffix.lower()
    if suffix in PDB:
        return True
    return suffix in MMCIF and Path(path).is_file() and CARTESIAN in _text(Path(path))


def read_host(path: str | Path, ligand: str | None = None) -> Macromolecule:
    """The host in any file: PDB and mmCIF as `read_macromolecule` reads them, of other formats all atoms.

    Raises UserError, also for a `ligand` to take out of a file that knows no residues.
    """
    if is_macromolecule(path):
        return read_macromolecule(path, ligand)
    if ligand is not None:
        raise UserError(f"{path} has no residues; give the ligand as a file, or the host as PDB or mmCIF")
    return Macromolecule(all_atoms(path), None, ())


def read_macromolecule(path: str | Path, ligand: str | None = None, hydrogens: bool = True) -> Macromolecule:
    """The host in a PDB or mmCIF file; .gz is read as well.

    ligand: a residue to take out, as NAME, NAME:CHAIN or NAME:CHAIN:NUMBER. hydrogens: whether to add those whose place
    is fixed. Raises UserError for a file without atoms, an atom without a known element or place, and a ligand that is
    absent or not the only one of its name.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist; give the PDB or mmCIF file of a host")
    text = _text(path)
    sites = _of_pdb(path, text) if _inner(path).suffix.lower() in PDB else _of_mmcif(path, text)
    if not sites:
        raise UserError(f"{path} holds no atom; give a PDB or mmCIF file with the records of atoms")
    notes: list[str] = []
    models = list(dict.fromkeys(site.model for site in sites))
    if len(models) > 1:
        sites = [site for site in sites if site.model == models[0]]
        notes.append(f"the first of {len(models)} models")
    sites = _one_location(sites, notes)
    taken: list[Site] = []
    if ligand is not None:
        taken = _residue(path, sites, ligand)
        sites = [site for site in sites if site.place != taken[0].place]
    dry = [site for site in sites if site.residue not in WATER]
    if len(dry) < len(sites):
        count = len({site.place for site in sites} - {site.place for site in dry})
        notes.append(f"{count} water molecule{'s' if count > 1 else ''} left out")
    if not any(site.symbol != "H" for site in dry):
        raise UserError(f"{path}: without water and the ligand it has no atoms; give the host of the pocket")
    if kept := sorted({site.residue for site in dry if site.hetero}):
        notes.append(f"kept beside the chain: {', '.join(kept)}")
    atoms = _atoms(dry)
    if hydrogens:
        bare = len(atoms)
        atoms = with_hydrogens(atoms)
        if len(atoms) > bare:
            notes.append(f"{len(atoms) - bare} hydrogens added")
    return Macromolecule(atoms, _atoms(taken) if taken else None, tuple(notes))


def _inner(path: str | Path) -> Path:
    path = Path(path)
    return path.with_suffix("") if path.suffix.lower() == ".gz" else path


def _text(path: Path) -> str:
    if path.suffix.lower() != ".gz":
        return read_text(path)
    try:
        return gzip.decompress(path.read_bytes()).decode(errors="replace")
    except (OSError, EOFError) as error:
        raise UserError(f"{path} cannot be decompressed ({error}); check that it is complete") from error


def _of_pdb(path: Path, text: str) -> list[Site]:
    """The atoms of a PDB file: https://www.wwpdb.org/documentation/file-format."""
    sites, model = [], ""
    for count, line in enumerate(text.splitlines(), start=1):
        if line.startswith("MODEL"):
            model = line[6:].strip() or str(count)
        if not line.startswith(("ATOM", "HETATM")):
            continue
        where = f"{path}: line {count}"
        try:
            position = float(line[30:38]), float(line[38:46]), float(line[46:54])
            occupancy = float(line[54:60]) if line[54:60].strip() else 1.0
        except ValueError:
            raise UserError(
                f"{where} has no coordinates in columns 31 to 54; write it as the PDB format asks"
            ) from None
        symbol = _symbol(where, line[76:78], line[12:16], line.startswith("ATOM"))
        sites.append(
            Site(
                symbol, line[12:16].strip(), line[16].strip(), line[17:20].strip(),
                line[21].strip(), line[22:27].strip(), occupancy, model, line.startswith("HETATM"), position,
            )
        )  # fmt: skip
    return sites


def _of_mmcif(path: Path, text: str) -> list[Site]:
    """The atoms of the first loop `_atom_site` of an mmCIF file."""
    names: list[str] = []
    tokens: list[str] = []
    for line in text.splitlines():
        if line.startswith("_atom_site."):
            names.append(line.split()[0].removeprefix("_atom_site."))
        elif names:
            if line.startswith(("#", "_", "loop_", "data_")):
                break
            tokens += TOKEN.findall(line)
    if not names or not tokens or len(tokens) % len(names) or "Cartn_z" not in names or "type_symbol" not in names:
        raise UserError(f"{path} holds no complete loop of _atom_site with Cartn_x, Cartn_y, Cartn_z and type_symbol; "
                        "give the mmCIF file of a structure")  # fmt: skip
    column = {key: next((names.index(n) for n in options if n in names), None) for key, options in COLUMNS.items()}
    axes = [names.index(f"Cartn_{axis}") for axis in "xyz"]
    sites = []
    for start in range(0, len(tokens), len(names)):
        row = [_unquoted(token) for token in tokens[start : start + len(names)]]
        word = {key: "" if k is None or row[k] in ("?", ".") else row[k] for key, k in column.items()}
        where = f"{path}: atom {start // len(names) + 1}"
        try:
            x, y, z = (float(row[k]) for k in axes)
            occupancy = float(word["occupancy"] or 1)
        except ValueError:
            raise UserError(f"{where} has no coordinates; give a complete file") from None
        sites.append(
            Site(
                _symbol(where, word["symbol"], word["name"]), word["name"], word["altloc"], word["residue"],
                word["chain"], word["number"] + word["insertion"], occupancy, word["model"],
                word["group"] == "HETATM", (x, y, z),
            )
        )  # fmt: skip
    return sites


def _unquoted(token: str) -> str:
    return token[1:-1] if len(token) > 1 and token[0] == token[-1] and token[0] in "'\"" else token


def _symbol(where: str, stated: str, name: str, of_chain: bool = False) -> str:
    """The element as stated, or else by the columns of the atom's name, whose first two hold the element.

    Atoms of a chain have one letter, also where the name " CA " lost its first blank.
    """
    element = re.sub("[^A-Za-z]", "", stated)
    if not element:
        letters = re.sub("[^A-Za-z]", "", name[:2]) or re.sub("[^A-Za-z]", "", name)
        whole = not of_chain and letters.capitalize() in IONS
        element = letters if whole else letters[:1]
    element = element.capitalize()
    element = "H" if element in ("D", "T") else element
    if element not in atomic_numbers or element == "X":
        raise UserError(f"{where} has no known element ({stated.strip() or name.strip()!r}); write it in columns 77-78")
    return element


def _one_location(sites: Sequence[Site], notes: list[str]) -> list[Site]:
    """The atoms with one location for each residue."""
    weights: dict[tuple[str, str], dict[str, float]] = {}
    for site in sites:
        if site.altloc:
            of_residue = weights.setdefault((site.chain, site.number), {})
            of_residue[site.altloc] = of_residue.get(site.altloc, 0.0) + site.occupancy
    several = {place: min(letters, key=lambda a: (-letters[a], a)) for place, letters in weights.items()}
    if any(len(letters) > 1 for letters in weights.values()):
        count = sum(len(letters) > 1 for letters in weights.values())
        notes.append(f"the likeliest location of {count} residue{'s' if count > 1 else ''} with alternatives")
    return [site for site in sites if not site.altloc or site.altloc == several[site.chain, site.number]]


def _residue(path: Path, sites: Sequence[Site], ligand: str) -> list[Site]:
    """The atoms of the one residue that `ligand` names."""
    name, chain, number = (*ligand.split(":"), "", "")[:3]
    matches: dict[tuple[str, str, str], list[Site]] = {}
    for site in sites:
        if site.residue == name and chain in ("", site.chain) and number in ("", site.number):
            matches.setdefault(site.place, []).append(site)
    if len(matches) == 1:
        return next(iter(matches.values()))
    if matches:
        names = ", ".join(f"{name}:{c}:{n}" for c, n, _ in list(matches)[:4])
        raise UserError(f"{path} holds {len(matches)} residues {ligand}; name one of them: {names}")
    hetero = sorted({site.residue for site in sites if site.hetero} - set(WATER))
    raise UserError(f"{path} holds no residue {ligand}; it holds {', '.join(hetero[:8]) or 'none beside its chains'}")


def _atoms(sites: Sequence[Site]) -> Atoms:
    atoms = Atoms([site.symbol for site in sites], np.array([site.position for site in sites]))
    for name, values in {
        "residuenames": [site.residue for site in sites],
        "residuenumbers": [site.number for site in sites],
        "chains": [site.chain for site in sites],
        "atomtypes": [site.name for site in sites],
        "hetero": [site.hetero for site in sites],
    }.items():
        atoms.set_array(name, np.array(values))
    return atoms

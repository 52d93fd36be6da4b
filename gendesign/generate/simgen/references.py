"""The reference molecules, whose environments generated molecules resemble: bundled, or from the user's files."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ase import Atoms
from rdkit import Chem, RDLogger
from rdkit.Chem import Descriptors, rdDistGeom, rdForceFieldHelpers

from gendesign.errors import UserError
from gendesign.potential import PotentialLike
from gendesign.potential.zoo import checkpoints_folder
from gendesign.relaxation import Relaxation, relax
from gendesign.structure.files import read_structures
from gendesign.structure.formats import read_text
from gendesign.structure.reading_notes import reading_notes

SMILES_SUFFIXES = {".smi", ".smiles", ".csv", ".txt"}
SETTLING = Relaxation(max_steps=60, fmax=0.1)  # of conformers by RDKit, so that bonds have the potential's lengths

RDLogger.DisableLog("rdApp.*")


@dataclass(frozen=True)
class References:
    """Molecules with hydrogens, and how much each counts (molecules,)."""

    molecules: list[Atoms]
    weights: list[float]


def read_references(
    paths: Sequence[str],
    weights: Sequence[float],
    elements: Sequence[str],
    potential: PotentialLike,
    bundled: str = "reference",
) -> References:
    """The molecules of every file that are made of allowed `elements`, fluorine aside; no path means the `bundled` set.

    SMILES become conformers, relaxed by the potential. A line on standard error says which molecules of the user's
    files are left out. Raises UserError for a file that holds none.
    """
    weights = [_number(w) for w in weights]
    files = [Path(str(p)) for p in paths] or [checkpoints_folder() / "organic" / f"{bundled}.extxyz"]
    if len(weights) not in (0, len(files)) or any(not w > 0 for w in weights):
        raise UserError(
            f"generator.reference_weights={list(weights)}: give one number above zero for each of the {len(files)} "
            "reference files, or none"
        )
    allowed = {*elements, "H", "F"}
    molecules: list[Atoms] = []
    shares: list[float] = []
    for path, share in zip(files, weights or [1.0] * len(files), strict=True):
        if not paths:
            read = [atoms.copy() for atoms in _bundled(path)]
        else:
            read = _conformers(path, potential) if path.suffix.lower() in SMILES_SUFFIXES else _structures(path)
        usable = [a for a in read if set(a.symbols) <= allowed and sum(s in elements for s in a.symbols) > 1]
        if not usable:
            raise UserError(
                f"generator.reference={str(path)!r} holds no molecule of {' '.join(elements)} only; "
                "allow more elements or give other references"
            )
        if paths and len(usable) < len(read):
            n = len(read) - len(usable)
            _note(path, f"{n} of {len(read)} molecules are left out: they hold elements other than "
                        f"{' '.join(sorted(allowed))}, or fewer than two heavy atoms")  # fmt: skip
        molecules += usable
        shares += [share / len(usable) if weights else 1.0] * len(usable)
    return References(molecules, shares)


def _number(weight: float | str) -> float:
    try:
        return float(weight)
    except ValueError:
        raise UserError(f"generator.reference_weights holds {weight!r}; give numbers above zero") from None


def _note(path: Path, line: str) -> None:
    print(f"gendesign: generator.reference={path}: {line}", file=sys.stderr, flush=True)


@cache
def _bundled(path: Path) -> list[Atoms]:
    """The bundled molecules, which many generators of one process read."""
    return _structures(path)


def _structures(path: Path) -> list[Atoms]:
    candidates = read_structures([path], strict=False)
    for line in reading_notes(candidates):
        _note(path, line)
    return [c.atoms for c in candidates if c.failure is None]


def _conformers(path: Path, potential: PotentialLike) -> list[Atoms]:
    """Conformers of the SMILES in a file; a line on standard error says which are left out."""
    molecules = _read_smiles(path)
    settled, reasons = conformers(molecules, potential)
    for reason, lost in reasons.items():
        if lost:
            _note(path, f"{lost} of {len(molecules)} molecules are left out: {reason}")
    return settled


def _read_smiles(path: Path) -> list[Chem.Mol]:
    """The molecules of a file with one SMILES a line. Raises UserError for lines that hold no neutral molecule."""
    if not path.is_file():
        raise UserError(f"{path} does not exist; give the path of a file with one SMILES per line")
    molecules = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        text = line.replace(",", " ").split()
        if not text or text[0].lower() == "smiles":
            continue
        mol = Chem.MolFromSmiles(text[0])
        if mol is None or not mol.GetNumAtoms():
            raise UserError(f"{path}, line {number}: {text[0][:80]!r} is no SMILES; mend or remove it")
        if Chem.GetFormalCharge(mol) or len(Chem.GetMolFrags(mol)) > 1 or Descriptors.NumRadicalElectrons(mol):
            raise UserError(
                f"{path}, line {number}: {text[0]!r} is charged, a radical or several molecules; give neutral ones"
            )
        molecules.append(mol)
    return molecules


def conformers(molecules: Sequence[Chem.Mol], potential: PotentialLike) -> tuple[list[Atoms], dict[str, int]]:
    """A conformer with hydrogens of each molecule, roughly relaxed by the potential; how many are left out and why."""
    out = []
    for mol in molecules:
        full = Chem.AddHs(mol)
        if rdDistGeom.EmbedMolecule(full, randomSeed=7) == 0:
            if rdForceFieldHelpers.MMFFHasAllMoleculeParams(full):
                rdForceFieldHelpers.MMFFOptimizeMolecule(full)
            out.append(Atoms([a.GetSymbol() for a in full.GetAtoms()], full.GetConformer().GetPositions()))
    known = [a for a in out if set(a.symbols) <= set(potential.elements)]
    settled = [c.atoms for c in relax(known, potential, SETTLING) if c.failure is None]
    reasons = {
        "RDKit makes no conformer of them": len(molecules) - len(out),
        f"potential {potential.name} does not know their elements": len(out) - len(known),
        "their relaxation failed": len(known) - len(settled),
    }
    return settled, reasons

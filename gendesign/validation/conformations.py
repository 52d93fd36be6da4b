"""Conformations described by SMILES and dihedral angles, and their energies at a method's own geometries.

A conformation is a minimum, a structure with a held torsion angle, or the top of a rotation between two angles. Atoms
are numbered as in the SMILES, followed by the hydrogens in the order of the atoms that carry them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from ase import Atoms, units
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers, rdMolTransforms

from gendesign.errors import UserError
from gendesign.structure.bonds import connectivity
from gendesign.validation.holds import Dihedral, Hold, dihedrals_of, held, wrapped
from gendesign.validation.methods import Answer, Method

KCAL_PER_MOL = units.kcal / units.mol  # in eV
FMAX, STEPS = 0.01, 400  # eV/Angstrom
EMBEDDINGS, SEED = 12, 7
AT_START = 8.0  # degrees by which a start may deviate from its angles
WELL = 45.0  # degrees from the angles of its start beyond which a minimum is another one
HELD = 1.0  # degrees by which a held angle may deviate
ACROSS = 5  # angles at which the top of a rotation is searched

Angle = tuple[int, int, int, int, float]


@dataclass(frozen=True)
class Conformation:
    """A molecule with dihedral angles i-j-k-l in degrees.

    angles: of the start; a minimum that leaves them by more than WELL is another conformation.
    hold: the torsion that is held while all else relaxes; None for a minimum. top: half of the range in degrees about
    the held value in which the highest energy is searched; 0 for the held value itself.
    """

    smiles: str
    angles: tuple[Angle, ...] = ()
    hold: Hold | None = None
    top: float = 0.0


@dataclass(frozen=True)
class Level:
    """Energy (kcal/mol, total) and geometry of a conformation, or the reason why there is none.

    degrees: the held torsion, at the top if one was searched. moved: degrees from the angles of the start, above WELL
    where the method has no such minimum and the geometry is that of another conformation.
    """

    energy: float | None
    atoms: Atoms | None = None
    degrees: float | None = None
    moved: float = 0.0
    failure: str = ""


def start_of(conformation: Conformation) -> Atoms:
    """A geometry by ETKDG and MMFF94 (UFF where it lacks parameters) with the angles of `conformation`.

    The lowest of EMBEDDINGS embeddings that keep the angles within AT_START. Raises UserError if none does.
    """
    angles = conformation.angles
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(conformation.smiles)
        if mol is None:
            raise UserError(f"{conformation.smiles} is not a SMILES of a molecule; correct it")
        mol = Chem.AddHs(mol)
        settings = rdDistGeom.ETKDGv3()
        settings.randomSeed = SEED
        identifiers = list(rdDistGeom.EmbedMultipleConfs(mol, EMBEDDINGS, settings))
        energies = {k: energy for k in identifiers if (energy := _shaped(mol, k, angles)) is not None}
    if not energies:
        raise UserError(f"{conformation.smiles} has no geometry with the dihedral angles {angles}; correct them")
    best = min(energies, key=energies.__getitem__)
    symbols = [atom.GetSymbol() for atom in mol.GetAtoms()]
    return Atoms(symbols, mol.GetConformer(best).GetPositions())


def _shaped(mol: Chem.Mol, conformer: int, angles: Sequence[Angle]) -> float | None:
    """Give a conformer its dihedral angles and relax the rest; its energy, None if the angles are not reached."""
    for *dihedral, degrees in angles:
        if not mol.GetBondBetweenAtoms(*dihedral[1:3]).IsInRing():
            rdMolTransforms.SetDihedralDeg(mol.GetConformer(conformer), *dihedral, degrees)
    properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(mol)
    if properties is not None:
        field = rdForceFieldHelpers.MMFFGetMoleculeForceField(mol, properties, confId=conformer)
        add = field.MMFFAddTorsionConstraint
    else:
        field = rdForceFieldHelpers.UFFGetMoleculeForceField(mol, confId=conformer)
        add = field.UFFAddTorsionConstraint
    field.Initialize()
    for *dihedral, degrees in angles:
        add(*dihedral, False, degrees - 1, degrees + 1, 500.0)
    field.Minimize(maxIts=2000)
    return field.CalcEnergy() if _deviation(mol.GetConformer(conformer).GetPositions(), angles) < AT_START else None


def _deviation(positions: np.ndarray, angles: Sequence[Angle]) -> float:
    """The largest deviation in degrees of dihedral angles from `angles`, 0 without any."""
    if not angles:
        return 0.0
    dihedrals: list[Dihedral] = [tuple(angle[:4]) for angle in angles]
    wanted = np.array([angle[4] for angle in angles])
    return float(np.abs(wrapped(dihedrals_of(positions, dihedrals) - wanted)).max())


def levels(conformations: Sequence[Conformation], method: Method) -> list[Level]:
    """Energies of conformations at the method's own geometries; tops are searched at ACROSS angles.

    A structure has a failure instead of an energy if it does not converge, loses its bond graph, or does not keep the
    held angle. One that leaves its well has the energy of where it ends.
    """
    parts = [_scanned(conformation) for conformation in conformations]
    flat = [part for group in parts for part in group]
    starts = [start_of(part) for part in flat]
    ready = [start if part.hold is None else held(start, part.hold) for part, start in zip(flat, starts, strict=True)]
    ends = method.relax(ready, fmax=FMAX, steps=STEPS)
    failures = [
        "the method fails" if end is None else _wrong(part, start, end.atoms, end.converged)
        for part, start, end in zip(flat, starts, ends, strict=True)
    ]
    good = [k for k, failure in enumerate(failures) if not failure]
    found = [Level(None, failure=failure) for failure in failures]
    for k, answer in zip(good, method.evaluate([ends[k].atoms for k in good]), strict=True):
        found[k] = _level(flat[k], ends[k].atoms, answer)
    edges = np.cumsum([0, *(len(group) for group in parts)])
    return [highest(found[a:b]) for a, b in pairwise(edges)]


def _level(conformation: Conformation, end: Atoms, answer: Answer | None) -> Level:
    if answer is None:
        return Level(None, failure="the method fails")
    energy = answer.energy / KCAL_PER_MOL
    if conformation.hold is not None:
        return Level(energy, end, conformation.hold.degrees)
    return Level(energy, end, moved=_deviation(end.positions, conformation.angles))


def _scanned(conformation: Conformation) -> list[Conformation]:
    if not conformation.top:
        return [conformation]
    offsets = np.linspace(-conformation.top, conformation.top, ACROSS)
    hold = conformation.hold
    return [
        replace(conformation, hold=Hold(hold.dihedrals, hold.degrees + offset), top=0.0) for offset in offsets.tolist()
    ]


def _wrong(conformation: Conformation, start: Atoms, end: Atoms, converged: bool) -> str:
    """What makes the end of a relaxation unusable, empty if nothing does."""
    if connectivity(start) != connectivity(end):
        return "the bond graph changed"
    if not converged:
        return f"not converged in {STEPS} steps"
    if conformation.hold is not None and abs(conformation.hold.deviation(end)) > HELD:
        return f"the held angle is off by {conformation.hold.deviation(end):.1f} degrees"
    return ""


def highest(scan: Sequence[Level]) -> Level:
    """The top of a scan: by a parabola through the highest point and its neighbours; one level is its own top.

    Angles of the scan are evenly spaced. If the highest point is an end of the scan there is no top, a failure.
    """
    if len(scan) == 1 or any(level.energy is None for level in scan):
        return next((level for level in scan if level.energy is None), scan[0])
    energies = np.array([level.energy for level in scan])
    k = int(energies.argmax())
    if k in (0, len(scan) - 1):
        return Level(None, failure=f"no maximum from {scan[0].degrees:g} to {scan[-1].degrees:g} degrees")
    left, top, right = energies[k - 1 : k + 2]
    shift = 0.5 * (left - right) / (left - 2 * top + right)
    spacing = scan[1].degrees - scan[0].degrees
    return Level(float(top - 0.25 * (left - right) * shift), scan[k].atoms, scan[k].degrees + float(shift) * spacing)

"""Molecules for the physical tests: selected from files or from a set of the package, and their reference minima."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from gendesign.errors import UserError
from gendesign.structure.formula import hill_formula
from gendesign.validation.methods import Method, bare

# Flexible and rigid molecules of 7 to 13 heavy atoms with all common elements and groups of neutral organic molecules.
DEFAULT = (
    "CC(=O)Nc1ccc(O)cc1",
    "CCOC(=O)CCS",
    "NCCc1ccc(F)cc1",
    "CC(C)CC(N)C(=O)O",
    "Clc1cccc(C=O)c1",
    "CN1CCN(CC1)C=O",
    "O=[N+]([O-])c1ccccc1",
    "CS(=O)(=O)CCO",
    "C1CCC(CC1)C#N",
    "COc1ccsc1",
    "c1ccc(cc1)-c1ccncc1",
    "FC(F)(F)CCOC=C",
)
MINIMUM = 0.05  # eV/Angstrom: a labelled structure with smaller forces is at a minimum
WIDTHS = (0.03, 0.06, 0.12)  # Angstrom, of random displacements


def default_molecules(elements: Sequence[str]) -> list[Atoms]:
    """Conformers (ETKDG, MMFF94) of the molecules in DEFAULT that consist of `elements`.

    Raises UserError without any.
    """
    molecules = []
    with rdBase.BlockLogs():
        for number, text in enumerate(DEFAULT):
            mol = Chem.AddHs(Chem.MolFromSmiles(text))
            symbols = [atom.GetSymbol() for atom in mol.GetAtoms()]
            if not set(symbols) <= set(elements):
                continue
            settings = rdDistGeom.ETKDGv3()
            settings.randomSeed = 7 + number
            if rdDistGeom.EmbedMolecule(mol, settings) == 0:
                rdForceFieldHelpers.MMFFOptimizeMolecule(mol, maxIters=500)
                molecules.append(Atoms(symbols, mol.GetConformer().GetPositions(), info={"molecule": text}))
    if not molecules:
        raise UserError(
            f"the potential knows {' '.join(elements)}, of which none of the package's molecules is made; give "
            "structure files"
        )
    return molecules


def is_minimum(frame: Atoms) -> bool:
    """Whether all labelled forces of a frame are below MINIMUM."""
    forces = (frame.calc.results if frame.calc else {}).get("forces", frame.arrays.get("forces"))
    return forces is not None and bool(np.linalg.norm(forces, axis=1).max() < MINIMUM)


def choose(frames: Sequence[Atoms], n: int) -> list[Atoms]:
    """Up to `n` different molecules, evenly spread over the frames; only labelled minima if there are any."""
    frames = [frame for frame in frames if len(frame) > 2]
    minima = [frame for frame in frames if is_minimum(frame)]
    first: dict[str, Atoms] = {}
    for frame in minima or frames:
        name = frame.info.get("molecule") or hill_formula(frame.get_chemical_symbols())
        first.setdefault(str(name), frame)
    unique = list(first.values())
    kept = np.unique(np.linspace(0, len(unique) - 1, min(n, len(unique))).astype(int)) if unique else []
    return [unique[k] for k in kept]


def minima_of(molecules: Sequence[Atoms], reference: Method) -> list[Atoms]:
    """The reference minimum near each molecule; molecules whose relaxation does not converge are omitted."""
    ends = reference.relax(molecules, fmax=0.01)
    return [
        Atoms(end.atoms.numbers, end.atoms.positions, info={"molecule": str(atoms.info.get("molecule", ""))})
        for atoms, end in zip(molecules, ends, strict=True)
        if end is not None and end.converged
    ]


def displaced(minima: Sequence[Atoms], reference: Method, seed: int = 0) -> list[Atoms]:
    """Labelled copies of `minima`, undisplaced and with random displacements of WIDTHS, to measure errors without
    files.

    Works for crystals too. Structures for which the reference fails are omitted.
    """
    rng = np.random.default_rng(seed)
    frames = []
    for atoms in minima:
        for width in (0.0, *WIDTHS):
            frame = bare(atoms)
            frame.positions += rng.normal(0, width, frame.positions.shape) if width else 0.0
            frame.info["kind"] = f"displaced {width:g} A" if width else "minima"
            frames.append(frame)
    for frame, answer in zip(frames, reference.evaluate(frames), strict=True):
        if answer is not None:
            frame.calc = SinglePointCalculator(frame, energy=answer.energy, forces=answer.forces)
    return [frame for frame in frames if frame.calc is not None]

"""Training molecules of a diffusion model: read, checked, and divided into trained and held-out ones."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from rdkit import Chem, rdBase
from rdkit.Chem.Scaffolds import MurckoScaffold
from torch import Tensor

from gendesign.errors import UserError
from gendesign.generate.diffusion import qm9
from gendesign.generate.diffusion.model import Clouds, Statistics, one_hot
from gendesign.structure.bonds import perceive
from gendesign.structure.files import read_structures
from gendesign.structure.formula import hill_formula
from gendesign.structure.graph import all_pairs

QM9 = "qm9"
FEWEST = 100  # molecules to train on
FEWEST_ATOMS = 10  # of an element, below which nothing is learned of it
RANDOM, CLUSTER = "random", "cluster"
SMALLEST = 3  # atoms of a molecule that counts in the growth of the spread with the size


@dataclass(frozen=True)
class Molecules:
    """Molecules in flat arrays.

    numbers (atoms,) atomic numbers; positions (atoms, 3) in Angstrom about the centre of each molecule; start
    (molecules + 1,) where each begins; smiles (molecules,), empty where none is known; groups (molecules,) names of
    which a random split keeps equal ones together.
    """

    numbers: np.ndarray
    positions: np.ndarray
    start: np.ndarray
    smiles: np.ndarray
    groups: np.ndarray

    def __len__(self) -> int:
        return len(self.start) - 1

    @property
    def counts(self) -> np.ndarray:
        """Atoms of each molecule (molecules,)."""
        return np.diff(self.start)

    @property
    def elements(self) -> list[str]:
        """Symbols of all elements, hydrogen first, then by atomic number."""
        return [chemical_symbols[z] for z in np.unique(self.numbers)]

    @classmethod
    def of(cls, numbers: np.ndarray, positions: np.ndarray, counts: np.ndarray, smiles: np.ndarray, groups: np.ndarray):
        """From arrays as `qm9.read` returns them; positions are centred."""
        start = np.concatenate([[0], np.cumsum(counts)])
        centre = np.add.reduceat(positions.astype(float), start[:-1]) / counts[:, None]
        return cls(numbers, (positions - np.repeat(centre, counts, 0)).astype(np.float32), start, smiles, groups)

    @classmethod
    def from_atoms(cls, structures: Sequence[Atoms]) -> "Molecules":
        """From structures; info "molecule" or "smiles" names a molecule, else its formula does."""
        groups = [str(a.info.get("molecule") or a.info.get("smiles") or hill_formula(a.get_chemical_symbols()))
                  for a in structures]  # fmt: skip
        return cls.of(
            np.concatenate([a.numbers for a in structures]).astype(np.uint8),
            np.concatenate([a.positions for a in structures]),
            np.array([len(a) for a in structures]),
            np.array([str(a.info.get("smiles", "")) for a in structures]),
            np.array(groups),
        )

    def atoms(self, k: int) -> Atoms:
        """Molecule k."""
        rows = slice(self.start[k], self.start[k + 1])
        return Atoms(self.numbers[rows], self.positions[rows].astype(float))

    def chosen(self, rows: np.ndarray) -> "Molecules":
        """The molecules `rows` (n,), in that order."""
        counts = self.counts[rows]
        start = np.concatenate([[0], np.cumsum(counts)]).astype(int)
        atoms = np.arange(start[-1]) + np.repeat(self.start[rows] - start[:-1], counts)
        return Molecules(self.numbers[atoms], self.positions[atoms], start, self.smiles[rows], self.groups[rows])

    def clouds(self, elements: Sequence[str], device: torch.device | str = "cpu") -> Clouds:
        """All of them as one batch, without noise."""
        system = torch.repeat_interleave(torch.arange(len(self)), torch.as_tensor(self.counts)).to(device)
        numbers = torch.as_tensor(self.numbers.astype(int), device=device)
        positions = torch.as_tensor(self.positions, device=device)
        vectors = one_hot(numbers, [atomic_numbers[e] for e in elements], positions.dtype)
        return Clouds(positions, vectors, system, all_pairs(system, len(self)), len(self))


def read(data: str | Sequence[str], elements: Sequence[str] | None = None) -> Molecules:
    """`qm9`, or the molecules of files; raises UserError of one line for what cannot be trained on.

    elements: those that molecules may have; None for those of the data.
    """
    names = [data] if isinstance(data, str) else list(data)
    if not names:
        raise UserError("data=[]: give data=qm9, or files of molecules as extended XYZ or SDF")
    if QM9 in names and len(names) > 1:
        raise UserError(f"data={names}: give qm9 or files, not both")
    if names == [QM9]:
        arrays = qm9.read()
        molecules = Molecules.of(**{k: arrays[k] for k in ("numbers", "positions", "counts", "smiles")},
                                 groups=arrays["smiles"])  # fmt: skip
    else:
        if missing := [name for name in names if not Path(name).is_file()]:
            raise UserError(f"data={missing[0]} does not exist; give qm9, or files as extended XYZ or SDF")
        candidates = read_structures(names, chargeless="the diffusion model")
        if periodic := [c for c in candidates if c.atoms.pbc.any()]:
            raise UserError(
                f"data: structure {periodic[0].index + 1} is periodic; the diffusion model learns molecules"
            )
        for c in candidates:
            c.atoms.info |= {key: c.info[key] for key in ("smiles", "molecule") if key in c.info}
        molecules = Molecules.from_atoms([c.atoms for c in candidates])
    check(molecules, elements)
    return molecules


def check(molecules: Molecules, elements: Sequence[str] | None = None) -> None:
    """Raise UserError for too few molecules, data without hydrogens, and elements that are not allowed or too rare."""
    if len(molecules) < FEWEST:
        raise UserError(f"data holds {len(molecules)} molecules; a diffusion model needs {FEWEST} at least; give more")
    if not (molecules.numbers == 1).any():
        raise UserError("data holds no hydrogen; the model learns whole molecules, give them with their hydrogens")
    if elements is not None and (unknown := [e for e in molecules.elements if e not in elements]):
        raise UserError(
            f"data holds {', '.join(unknown)}, which elements=[{','.join(elements)}] lacks; add or remove them"
        )
    if elements is not None and (absent := [e for e in elements if e not in molecules.elements]):
        raise UserError(
            f"elements=[{','.join(elements)}]: no molecule of the data holds {', '.join(absent)}; leave them out"
        )
    for symbol in molecules.elements:
        count = int((molecules.numbers == atomic_numbers[symbol]).sum())
        if count < FEWEST_ATOMS:
            raise UserError(
                f"data holds {count} atoms of {symbol}, too few to learn ({FEWEST_ATOMS} at least); "
                "remove these molecules or give more"
            )


def statistics(molecules: Molecules, elements: Sequence[str]) -> Statistics:
    """What the restorative part and the drawing of sizes need."""
    counts, numbers = molecules.counts, molecules.numbers
    squared = np.add.reduceat((molecules.positions.astype(float) ** 2).mean(1), molecules.start[:-1]) / counts
    spread, atoms = float(np.sqrt(np.average(squared, weights=counts))), float(np.average(counts, weights=counts))
    usable = (counts >= SMALLEST) & (squared > 0)
    growth = 1 / 3
    if len(np.unique(counts[usable])) > 1:
        growth = float(np.polyfit(np.log(counts[usable]), 0.5 * np.log(squared[usable]), 1)[0])
    shares = np.array([(numbers == atomic_numbers[e]).mean() for e in elements])
    heavy = np.add.reduceat((numbers > 1).astype(int), molecules.start[:-1])
    rows, times = np.unique(np.stack([heavy, counts], 1), axis=0, return_counts=True)
    sizes = tuple((int(h), int(n), int(c)) for (h, n), c in zip(rows, times, strict=True))
    return Statistics(
        tuple(elements), tuple(float(s) for s in shares), spread, atoms, float(np.clip(growth, 0.2, 0.6)),
        float(np.sqrt((shares * (1 - shares)).mean())), sizes,
    )  # fmt: skip


def split(molecules: Molecules, share: float, by: str = RANDOM) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the trained and of the held-out molecules; `share` of the groups, chosen by a hash of their names.

    `random` keeps equal molecules together, `cluster` all molecules of one ring scaffold without elements and bond
    orders (of chains: one skeleton), so that what is held out is unlike what is trained on.
    """
    if not share:
        return np.arange(len(molecules)), np.zeros(0, int)
    names = molecules.groups if by == RANDOM else clusters(molecules)
    hashes = {name: hashlib.sha256(f"{by} {name}".encode()).hexdigest() for name in np.unique(names)}
    if len(hashes) < 2:
        raise UserError(f"split={by}: all molecules are of one group, {names[0]}; give others, or valid_share=0")
    limit = f"{int(share * 16**8):08x}"
    held = np.array([hashes[name][:8] < limit for name in names])
    if not held.any():
        held = names == min(hashes, key=lambda name: hashes[name])
    return np.flatnonzero(~held), np.flatnonzero(held)


def clusters(molecules: Molecules) -> np.ndarray:
    """The cluster of every molecule (molecules,): its generic scaffold, or skeleton where it has no ring."""
    out = []
    with rdBase.BlockLogs():
        for k, smiles in enumerate(molecules.smiles):
            mol = Chem.MolFromSmiles(str(smiles)) if smiles else perceive(molecules.atoms(k)).mol
            out.append(str(molecules.groups[k]) if mol is None else _generic(Chem.RemoveHs(mol)))
    return np.array(out)


def canonical(smiles: np.ndarray) -> set[str]:
    """Canonical SMILES without stereo marks and isotopes, by which molecules are compared; unreadable ones left out."""
    out = set()
    with rdBase.BlockLogs():
        for text in smiles:
            mol = Chem.MolFromSmiles(str(text))
            if mol is not None:
                out.add(Chem.MolToSmiles(mol, isomericSmiles=False))
    return out


def _generic(mol: Chem.Mol) -> str:
    scaffold = MurckoScaffold.GetScaffoldForMol(mol)
    bare = scaffold if scaffold.GetNumAtoms() else mol
    editable = Chem.RWMol(bare)
    for atom in editable.GetAtoms():
        atom.SetAtomicNum(6)
        atom.SetFormalCharge(0)
        atom.SetIsAromatic(False)
        atom.SetNoImplicit(True)
        atom.SetNumExplicitHs(0)
        atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
    for bond in editable.GetBonds():
        bond.SetBondType(Chem.BondType.SINGLE)
        bond.SetIsAromatic(False)
        bond.SetStereo(Chem.BondStereo.STEREONONE)
    return Chem.MolToSmiles(editable)


def drawn_noise(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers in the shape of `like`, drawn on the CPU so that every device has the same."""
    return torch.randn(like.shape, generator=generator, dtype=like.dtype).to(like.device)

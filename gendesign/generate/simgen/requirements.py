"""What every finished molecule of a run must satisfy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ase import Atoms
from rdkit import Chem

from gendesign.generate.simgen.fragments import displacement
from gendesign.generate.simgen.shape_files import LIKE
from gendesign.generate.simgen.skeleton import FixedAtoms
from gendesign.generate.simgen.sweep import sites_of
from gendesign.structure.contacts import Host
from gendesign.structure.rings import is_closed
from gendesign.structure.volumes import tanimoto

MAX_SHIFT = 0.3  # Angstrom that the heavy atoms of fragments may move, RMSD


@dataclass(frozen=True)
class Requirements:
    """Rules for finished molecules.

    The atoms of `fixed` fragments stay as they are; no pattern of `forbidden` may occur; molecules must not overlap
    `host`. `place` has the heavy atoms of a ligand whose shape molecules should have, in its place. `ring(n)`
    is how many of n heavy atoms a ring along the shape has; molecules with such a ring are preferred
    (structure/rings.py).
    """

    fixed: FixedAtoms | None = None
    forbidden: Sequence[Chem.Mol] = ()
    host: Host | None = None
    ring: Callable[[int], float] | None = None
    place: Atoms | None = None

    def lacks_ring(self, mol: Chem.Mol) -> bool:
        """Whether a ring along the shape was asked for and the molecule has none."""
        return self.ring is not None and not is_closed(mol, self.ring(mol.GetNumHeavyAtoms()))

    def shape_of(self, atoms: Atoms) -> float:
        """Shape Tanimoto of the heavy atoms with the ligand in whose place they belong; 1 where there is none."""
        heavy = atoms[atoms.numbers > 1]
        return 1.0 if self.place is None or len(heavy) < LIKE * len(self.place) else tanimoto(heavy, self.place)

    def broken_by(self, atoms: Atoms, mol: Chem.Mol) -> str:
        """Which rule on patterns or fragments a finished molecule breaks, in words; '' for none."""
        bare = Chem.RemoveHs(mol) if self.forbidden else mol  # SMARTS usually ignore atoms of hydrogen
        for pattern in self.forbidden:
            if bare.HasSubstructMatch(pattern):
                return f"contains {Chem.MolToSmarts(pattern)}"
        if self.fixed is None:
            return ""
        if not is_intact(atoms, self.fixed):
            return "a fragment has changed"
        shift = displacement(atoms, self.fixed)
        return f"the fragments moved by {shift:.2f} Angstrom" if shift > MAX_SHIFT else ""


NO_RULES = Requirements()


def is_intact(atoms: Atoms, fixed: FixedAtoms) -> bool:
    """Whether the first heavy atoms of a molecule have the bonds and the hydrogens of the fragments."""
    sites = sites_of(atoms)
    if sites is None or len(sites.symbols) < len(fixed):
        return False
    bonds = {(min(i, j), max(i, j)) for i, j, _ in sites.bonds if max(i, j) < len(fixed)}
    counts = [len(sites.hydrogens[k]) for k in range(len(fixed))]
    return bonds == set(fixed.orders) and counts == [len(x) for x in fixed.hydrogen_positions]

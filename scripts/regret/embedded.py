"""A generator of molecules that RDKit embeds from a file of SMILES, so that a campaign of thousands takes minutes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ase import Atoms
from rdkit import Chem
from rdkit.Chem import AllChem

from gendesign.structure.generator import Generator
from gendesign.structure.types import Candidate


@dataclass(frozen=True)
class Embedded(Generator):
    """Candidate i of seed s is line s * `each` + i of `path`, relaxed under MMFF94."""

    path: str
    each: int
    name: str = "embedded"

    @cached_property
    def lines(self) -> list[str]:
        """The SMILES."""
        return Path(self.path).read_text().split()

    def generate(self, indices: Sequence[int], *, seed: int) -> Iterator[Candidate]:
        """See Generator."""
        for index in indices:
            mol = Chem.AddHs(Chem.MolFromSmiles(self.lines[seed * self.each + index]))
            if AllChem.EmbedMolecule(mol, randomSeed=1) != 0:
                yield Candidate(Atoms(), index, self.name, seed, failure="RDKit embeds no conformer")
                continue
            AllChem.MMFFOptimizeMolecule(mol)
            symbols = [atom.GetSymbol() for atom in mol.GetAtoms()]
            yield Candidate(Atoms(symbols, mol.GetConformer().GetPositions()), index, self.name, seed)

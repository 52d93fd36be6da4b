"""Enumerate small organic molecules by growth of valid graphs.

No list of known molecules is used: graphs grow atom by atom or from the ring systems and functional groups below, and
rings are closed at random. The random stream of molecule `i` depends only on (seed, i). A `Palette` holds what grows:
H C N O F S Cl by default, and all of H B C N O F Si P S Cl Br I (rare_elements.py).
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rdkit import Chem, RDLogger
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

RDLogger.DisableLog("rdApp.*")

RINGS = (
    "C1CC1 C1CCC1 C1CCCC1 C1CCCCC1 C1CCCCCC1 C1CO1 C1CN1 C1CS1 C1COC1 C1CNC1 C1CCOC1 C1CCNC1 C1CCSC1 C1COCO1 "
    "C1CCNCC1 C1CCOCC1 C1COCCN1 C1CNCCN1 C1COCCO1 C1CCSCC1 C1=CC1 C1=CCC1 C1=CCCC1 C1=CCCCC1 C1=CCC=CC1 C1=COCC1 "
    "C1=NCCN1 C1=NCCO1 c1ccccc1 c1ccncc1 c1cncnc1 c1cnccn1 c1ccnnc1 c1ncncn1 c1cc[nH]c1 c1ccoc1 c1ccsc1 c1c[nH]cn1 "
    "c1cn[nH]c1 c1cocn1 c1cnoc1 c1cscn1 c1nnco1 c1nnc[nH]1 c1nn[nH]n1 c1nncs1 O=C1CCCN1 O=C1CCCC1 O=C1CCCO1 "
    "O=c1cc[nH]cc1 O=c1[nH]cccc1 O=c1cc[nH]c(=O)[nH]1 C1CC2CC1C2 C1CC2CCC1C2 C1CC2CC12 C1CC2(C1)CC2 c1ccc2[nH]ccc2c1 "
    "c1ccc2occc2c1 c1ccc2ccccc2c1 c1ccc2ncccc2c1 C1CCC2CCCC2C1 C1CCCCCCC1 O=C1C=CC(=O)C=C1 C1=CC=CC1"
).split()
# Functional groups; the first atom forms the bond.
GROUPS = (
    "C C C CC C(C)C C(C)(C)C C=C C#C O O O OC OC N N NC N(C)C C=O C(C)=O C(=O)O C(=O)OC C(=O)N C(=O)NC NC=O NC(C)=O "
    "C#N [N+](=O)[O-] C=N N=C C(=N)N NC(=O)N OC(=O)C N=O NO ON=C C=NO NN N=NC OO CO CCO CN CCN F F Cl Cl C(F)(F)F "
    "C(F)F CCl S SC S(C)=O S(C)(=O)=O S(N)(=O)=O S(=O)(=O)F S(=O)(=O)Cl S(=O)(=O)O C(=S)N C=S N=C=O N=C=S SC#N "
    "[N+]#[C-] N=[N+]=[N-] C=C=O C=C=C SS S(F)(F)(F)(F)F C=[N+]=[N-] C(=O)Cl C(=O)F C(=O)C=C OC=O c1ccccc1 C1CC1"
).split()
SPECIAL = (  # small and hypervalent species that growth rarely meets
    "S(F)(F)(F)(F)(F)F FS(F)(F)F O=S(F)(F)(F)F O=S(=O)(F)F O=S(F)F FSF O=S=O O=S(=O)=O OS(=O)(=O)O OS(=O)O O=S(Cl)Cl "
    "ClSCl O=S(=O)(Cl)Cl CS(F)(F)F CS(C)(=O)=O CS(C)=O O=C=O C=O O=C=S S=C=S N#N O=O F Cl O N S C FF ClCl FCl C#N "
    "[C-]#[O+] N#CC#N OO NN NO OCl OF NF NCl O=NCl O=NO O=[N+]([O-])O CO CN CF CCl CS C=C C#C CC C=N N=N N=O OC=O "
    "FC(F)F ClC(Cl)Cl FC(F)(F)F ClC(Cl)(Cl)Cl NC=O C1CC1 C1CO1 C1CN1 C1=CC1 N#CO O=C=N [O-][O+]=O N=[N+]=[N-] "
    "[C-]#[N+]C NS(=O)(=O)N O=S1(=O)CCC1 O=S1CCC1 C1SCSCS1 FC=O ClC(Cl)=O FC(F)=O NC(N)=O OC(O)=O CC=O "
    "CC(C)=O CCO COC CNC "
    "CN(C)C"
).split()

VALENCE = {"C": 4, "N": 3, "O": 2, "S": 2, "F": 1, "Cl": 1, "B": 3, "Si": 4, "P": 3, "Br": 1, "I": 1}
SINGLE_BONDS = ("B", "Si", "P", "S")  # multiple bonds of these come from groups and rings alone
SHARES_CNO = {"C": 0.66, "N": 0.16, "O": 0.18}
SHARES_ALL = {"C": 0.58, "N": 0.12, "O": 0.13, "S": 0.07, "F": 0.06, "Cl": 0.04}


@dataclass(frozen=True)
class Palette:
    """What molecules grow from: shares of elements, ring systems, and groups whose first atom forms the bond."""

    shares: Mapping[str, float]
    rings: Sequence[str] = tuple(RINGS)
    groups: Sequence[str] = tuple(GROUPS)


CNO, ALL = Palette(SHARES_CNO), Palette(SHARES_ALL)


def _free(atom):
    return atom.GetNumImplicitHs() + atom.GetNumExplicitHs()


def _open_atoms(mol):
    return [a.GetIdx() for a in mol.GetAtoms() if _free(a) > 0 and a.GetFormalCharge() == 0]


def joined(mol, other, i, j, order=Chem.BondType.SINGLE):
    """Two molecules bonded from atom `i` of the first to atom `j` of the second."""
    both = Chem.RWMol(Chem.CombineMols(mol, other))
    j += mol.GetNumAtoms()
    both.AddBond(i, j, order)
    for k in (i, j):  # an explicit [nH] loses its hydrogen
        atom = both.GetAtomWithIdx(k)
        atom.SetNumExplicitHs(max(0, atom.GetNumExplicitHs() - 1))
    Chem.SanitizeMol(both)
    return both.GetMol()


def _grow_atom(mol, rng, shares):
    symbol = rng.choices(list(shares), list(shares.values()))[0]
    i = rng.choice(_open_atoms(mol))
    free = min(_free(mol.GetAtomWithIdx(i)), VALENCE[symbol])
    order = rng.choices((1, 2, 3), (0.78, 0.17, 0.05))[0]
    order = min(order, free, 1 if symbol in SINGLE_BONDS else 3)
    bond = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE}[order]
    return joined(mol, _fragment("[SiH4]" if symbol == "Si" else symbol), i, 0, bond)


def _close_ring(mol, rng):
    distance = Chem.GetDistanceMatrix(mol)
    free = _open_atoms(mol)
    pairs = [(i, j) for i in free for j in free if i < j and 2 <= distance[i][j] <= 6]
    if not pairs:
        return mol
    i, j = rng.choices(pairs, [(0.15, 0.2, 1.0, 1.0, 0.4)[int(distance[p[0]][p[1]]) - 2] for p in pairs])[0]
    new = Chem.RWMol(mol)
    new.AddBond(i, j, Chem.BondType.SINGLE)
    for k in (i, j):
        atom = new.GetAtomWithIdx(k)
        atom.SetNumExplicitHs(max(0, atom.GetNumExplicitHs() - 1))
    Chem.SanitizeMol(new)
    return new.GetMol()


def _fragment(text):
    return Chem.MolFromSmiles(text)


HETERO = Chem.MolFromSmarts("[#7,#8,#16]~[#7,#8,#16]~[#7,#8]")
STRAINED = [
    Chem.MolFromSmarts(s)
    for s in (
        "[r3,r4,r5,r6,r7]#[r3,r4,r5,r6,r7]",
        "[r3,r4,r5,r6]=[r3,r4,r5,r6]=[r3,r4,r5,r6]",
        "[R]=[CR0]=[CR0]=[*]",
        "[r3]1=[r3][r3]1=[*]",
        "[R3]",
        "[r3;R2]",
    )
]


def plausible(mol, rng):
    """Whether a molecule is accepted; strained cages, cumulenes and heteroatom chains pass with probability 0.15."""
    odd = sum(mol.HasSubstructMatch(p) for p in STRAINED) + len(mol.GetSubstructMatches(HETERO))
    return odd == 0 or rng.random() < 0.15


def grow(rng, n_heavy, palette, strange=False):
    """A random molecular graph with about `n_heavy` heavy atoms, or None if it has no free valence left.

    strange: close more rings and allow strain.
    """
    allowed = set(palette.shares)
    parts = rng.random()
    mol = _fragment(rng.choice(palette.rings)) if parts < 0.55 else _fragment("C")
    if mol.GetNumAtoms() > n_heavy:
        mol = _fragment("C")
    ring_closures = rng.choices((0, 1, 2), (0.5, 0.35, 0.15))[0] if parts > 0.4 else 0
    if strange:
        ring_closures = rng.choices((1, 2, 3), (0.4, 0.4, 0.2))[0]
    while mol.GetNumAtoms() < n_heavy:
        if not _open_atoms(mol):
            return None
        if rng.random() < 0.45:
            group = rng.random() < 0.8
            piece = _fragment(rng.choice(palette.groups if group else palette.rings))
            if mol.GetNumAtoms() + piece.GetNumAtoms() > n_heavy + 1:
                continue
            mol = joined(mol, piece, rng.choice(_open_atoms(mol)), 0 if group else rng.choice(_open_atoms(piece)))
        else:
            mol = _grow_atom(mol, rng, palette.shares)
    for _ in range(ring_closures):
        mol = _close_ring(mol, rng)
    if any(a.GetSymbol() not in allowed for a in mol.GetAtoms()):
        return None
    return mol if strange or plausible(mol, rng) else None


def molecule(seed, index, sizes=(1, 16), weights=None, strange=0.0):
    """Molecule `index` of the stream `seed`, an RDKit molecule with implicit hydrogens.

    sizes: smallest and largest number of heavy atoms, with `weights`. strange: fraction of strange molecules.
    """
    rng = random.Random(f"{seed}/{index}")
    while True:
        n = rng.choices(range(sizes[0], sizes[1] + 1), weights)[0]
        try:
            if n <= 2:
                mol = Chem.MolFromSmiles(rng.choice(SPECIAL))
            else:
                palette = ALL if rng.random() < 0.4 else CNO
                mol = grow(rng, n, palette, strange > 0 and rng.random() < strange)
        except (Chem.AtomValenceException, Chem.KekulizeException, Chem.AtomKekulizeException):
            continue
        if mol is not None:
            return Chem.MolFromSmiles(Chem.MolToSmiles(mol))


def graph_key(mol):
    """SMILES without stereochemistry, the identity that separates training and test molecules."""
    return Chem.MolToSmiles(Chem.RemoveHs(mol), isomericSmiles=False)


def embed(mol, seed):
    """The molecule with hydrogens and one conformer, relaxed by MMFF if possible; None if embedding fails."""
    full = Chem.AddHs(mol)
    settings = rdDistGeom.ETKDGv3()
    settings.randomSeed = seed % 2**31
    settings.maxIterations = 20
    if rdDistGeom.EmbedMolecule(full, settings) != 0:
        return None
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(full):
        rdForceFieldHelpers.MMFFOptimizeMolecule(full, maxIters=100)
    return full


if __name__ == "__main__":
    import sys

    counts = Counter()
    for k in range(int(sys.argv[1])):
        m = molecule("look", k)
        print(Chem.MolToSmiles(m))
        counts.update(a.GetSymbol() for a in m.GetAtoms())
    print(counts)

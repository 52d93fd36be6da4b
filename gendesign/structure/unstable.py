"""Groups that do not survive in a flask: they lose water, ammonia or a halide, rearrange to a tautomer, or explode.

Rules of thumb of organic chemistry, not a calculation. None of the 200 molecules of MOSES's test split in
benchmark/cases/moses.smi has such a group. Rings may stabilise some of them: sugars and aromatic rings do not count.
"""

from functools import cache

from rdkit import Chem

PATTERNS = {
    "hemiaminal": "[OX2H][CX4][#7X3]",
    "hemiacetal": "[OX2H][CX4;!R][OX2]",
    "aminal": "[NX3;H2,H1;!$(N-[C,S]=[O,S,N])][CX4;!R][NX3,OX2;!$(N-[C,S]=[O,S])]",
    "thiohemiacetal": "[SX2H][CX4][N,O,S]",
    "chain of nitrogens": "[#7;!a;!$([N+])]-[#7;!a]-[#7;!a]",
    "diazene": "[NX2H]=[NX2]",
    "peroxide": "[OX2]-[OX2]",
    "O-N-O": "[OX2]-[NX3]-[OX2]",
    "S-OH": "[SX2,SX3][OX2H]",
    "S-H beside oxygen": "[SX3,SX4;H1]",
    "halogen on a heteroatom": "[F,Cl,Br,I]-[O,N,S]",
    "halogen beside a heteroatom": "[F,Cl,Br,I][CX4;!$(C(F)F)][NX3,OX2]",
    "acyl halide": "[CX3](=O)[F,Cl,Br,I]",
    "anhydride": "C(=O)OC(=O)",
    "carbamic acid": "[NX3]C(=O)[OX2H]",
    "carbonic acid": "[OX2]C(=O)[OX2H]",
    "N-H imine": "[NX2H]=[CX3;!$(C[#7X3]);!$(C[OX2])]",
    "imidic acid": "[OX2H][CX3]=[NX2;!a]",
    "enol": "[OX2H][CX3;!a]=[CX3;!a]",
    "enamine": "[NX3;H1,H2;!$(N-C=[O,S,N]);!$(NC=CC=O);!$(NC=CC#N);!$(N-S)][CX3;!a]=[CX3;!a]",
    "thioenol": "[SX2H][CX3]=[#6,#7]",
    "cumulene": "[C,N]=[C]=[C,N,O]",
    "cyclobutadiene": "C1=CC=C1",
}


@cache
def _patterns() -> dict[str, Chem.Mol]:
    return {name: Chem.MolFromSmarts(text) for name, text in PATTERNS.items()}


def unstable_groups(mol: Chem.Mol) -> dict[str, int]:
    """How often each unstable group occurs in a molecule, hydrogens explicit or not; only those that do."""
    bare = Chem.RemoveHs(mol)
    counts = {name: len(bare.GetSubstructMatches(pattern)) for name, pattern in _patterns().items()}
    return {name: count for name, count in counts.items() if count}

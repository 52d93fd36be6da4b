"""Groups and rings with B, Si, P, Br, I and hypervalent S, which QM9 and MOSES lack, as palettes for `grow`."""

import random

from rdkit import Chem

from scripts.organic.molecules import GROUPS, RINGS, Palette, grow, joined

HALOGENS = "Br Br Br I I CBr CI C(Br)Br C(Br)=C C=CBr C#CBr C#CI C(F)(F)Br c1ccc(Br)cc1 c1ccc(I)cc1".split()
BORON = (
    "B(O)O B(O)O B(C)C B(F)F B(N)N B(Cl)Cl B1OCCO1 B1OC(C)(C)C(C)(C)O1 B(OC)OC B OB(C)C NB(C)C CB(O)O "
    "[B-](F)(F)[N+](C)(C)C B1OCCCO1 B(c1ccccc1)O"
).split()
SILICON = (
    "[SiH3] [SiH2]C [SiH](C)C [Si](C)(C)C [Si](C)(C)C O[SiH3] O[Si](C)(C)C O[Si](C)(C)C N[Si](C)(C)C C[Si](C)(C)C "
    "[Si](F)(F)F [Si](Cl)(Cl)Cl [Si](O)(O)O [Si](OC)(OC)OC [SiH2]O[SiH3] [SiH2][SiH3] [Si](C)(C)O [SiH2]N [SiH2]F"
).split()
PHOSPHORUS = (
    "P P(C)C PC P(=O)(C)C P(=O)(O)O OP(=O)(O)O P(=O)(OC)OC OP(=O)(OC)OC P(=S)(OC)OC P(Cl)Cl P(F)F P(N)N P(O)O "
    "OP(C)C NP(=O)(C)C P(=O)(O)C P(=O)(F)F P(=O)(Cl)Cl P=C N=P(C)(C)C CP(C)C C=P P(F)(F)(F)F SP(=S)(C)C OP(=O)(O)C"
).split()
SULFUR = (
    "S(=O)(=O)N S(=O)(=O)NC S(=O)(=O)c1ccccc1 S(=O)(=O)C(F)(F)F SC(F)(F)F S(F)(F)F NS(C)(=O)=O S(C)(=N)=O OS(C)(=O)=O "
    "OS(=O)(=O)O S(=O)(=O)OC S(=O)c1ccccc1 N=S(C)C S(=O)N S(=O)O S(=O)F SSC S(=O)(=O)C=C CS(C)(=O)=O CS(C)=O"
).split()
RARE_RINGS = (
    "C1CC[SiH2]C1 C1CC[SiH2]CC1 C1CPCC1 C1CCPCC1 c1ccpcc1 C1COBO1 c1ccc2OBOc2c1 B1OBOBO1 B1NBNBN1 C1CBCC1 "
    "[SiH2]1O[SiH2]O[SiH2]O1 C1C[SiH2]1 C1CP1 O=S1(=O)CCCN1 O=S1(=O)CCCC1 O=S1(=O)NC(=O)c2ccccc12 O=P1OCCO1 "
    "P1OCCO1 C1O[SiH2]CO1 C1CC[SiH2]O1 c1ccsc1 c1ccc2sccc2c1 C1CCSSC1 O=S1(=O)C=CCC1 C1=C[SiH2]C=C1 c1cc[pH]c1"
).split()
SPECIAL = (
    "B FB(F)F ClB(Cl)Cl BrB(Br)Br CB(C)C CB(O)O OB(O)O COB(OC)OC NB NB(N)N OB [BH3-][NH3+] C[N+](C)(C)[BH3-] CB CBC "
    "F[B-](F)(F)[NH3+] [BH3-][PH3+] [BH3-][S+](C)C [BH3-][O+](C)C BB C=CB C#CB FB ClB B1OBOBO1 B1NBNBN1 BrB IB "
    "[SiH4] F[Si](F)(F)F Cl[Si](Cl)(Cl)Cl C[SiH3] C[SiH2]C C[SiH](C)C C[Si](C)(C)C [SiH3]O[SiH3] [SiH3][SiH3] "
    "O[Si](O)(O)O O[SiH3] N[SiH3] F[SiH3] Cl[SiH3] Br[SiH3] I[SiH3] [SiH3][SiH2][SiH3] C=[SiH2] O=[SiH2] C=C[SiH3] "
    "C#C[SiH3] [SiH3]S P[SiH3] [SiH3]N([SiH3])[SiH3] Br[Si](Br)(Br)Br [SiH3]C#N [SiH2]=[SiH2] B[SiH3] Cl[SiH2]Cl "
    "P PP FP(F)F ClP(Cl)Cl BrP(Br)Br O=P(Cl)(Cl)Cl O=P(F)(F)F O=P(O)(O)O FP(F)(F)(F)F ClP(Cl)(Cl)(Cl)Cl CP CPC "
    "CP(C)C C#P C=P O=P S=P(Cl)(Cl)Cl O=P(C)(C)C CP(=O)(O)O COP(=O)(OC)OC COP(OC)OC OP NP SP FP ClP P=P P#N PBr PI "
    "P12P3P1P23 O=PO OP(O)O C=CP CC#P S=P(C)(C)C PC#N Br I BrBr II ClBr ClI BrI CBr CI BrCBr ICI BrC(Br)Br CCBr CCI "
    "BrC(Br)(Br)Br IC(I)I C=CBr C=CI C#CBr C#CI FBr FI OBr OI NBr NI SBr SI FC(F)(F)Br FC(F)(F)I N#CBr N#CI O=C(Br)Br "
    "CC(=O)Br Brc1ccccc1 Ic1ccccc1 O=NBr BrOBr SBr CSBr O=S(Br)Br S=C=S S=S SS SSS SSSS CSSC CSSSC O=S(=O)=O O=S=S "
    "CS(C)(=O)=O CS(N)(=O)=O NS(N)(=O)=O CS(=O)(=O)O COS(=O)(=O)OC CS(=O)C CS(=O)O CS(C)(=N)=O FS(F)(F)(F)(F)F "
    "FS(F)(F)F C=S CC=S N#CS CSC#N O=C=S NC(N)=S C1CS1 c1ccsc1 O=S1(=O)CCCC1 FI(F)F OI(=O)=O O=IC"
).split()

SHARES = {"C": 0.62, "N": 0.11, "O": 0.13, "S": 0.04, "F": 0.03, "Cl": 0.03, "Br": 0.04}
PALETTES = {  # one family of elements a molecule, so that every element meets the common ones most often
    "halogens": (HALOGENS, {**SHARES, "Br": 0.06, "I": 0.03}),
    "boron": (BORON, {**SHARES, "B": 0.05}),
    "silicon": (SILICON, {**SHARES, "Si": 0.06}),
    "phosphorus": (PHOSPHORUS, {**SHARES, "P": 0.04}),
    "sulfur": (SULFUR, {**SHARES, "S": 0.08}),
    "mixed": (
        HALOGENS + BORON + SILICON + PHOSPHORUS + SULFUR,
        {**SHARES, "B": 0.03, "Si": 0.04, "P": 0.03, "I": 0.02},
    ),
}
WEIGHTS = (0.2, 0.17, 0.18, 0.18, 0.15, 0.12)
ELEMENTS = ("H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Br", "I")
RARE = {"B", "Si", "P", "S", "Br", "I"}
COMMON = 0.35  # share of the ordinary groups and rings


def rare_molecule(seed: str, index: int, sizes=(3, 14)):
    """Molecule `index` of the stream `seed`, with at least one atom of B, Si, P, S, Br or I."""
    rng = random.Random(f"rare/{seed}/{index}")
    while True:
        if rng.random() < 0.12:
            mol = Chem.MolFromSmiles(rng.choice(SPECIAL))
            if mol is not None:
                return mol
            continue
        groups, shares = PALETTES[rng.choices(list(PALETTES), WEIGHTS)[0]]
        rings = [r for r in RARE_RINGS if set(_symbols(r)) <= set(shares)]
        some = rng.sample(GROUPS, max(1, int(COMMON / (1 - COMMON) * len(groups))))
        ordinary = rng.sample(RINGS, max(1, len(rings)))
        palette = Palette({**shares, "I": shares.get("I", 0.0)}, tuple(rings + ordinary), tuple(groups + some))
        try:
            mol = grow(rng, rng.randint(*sizes), palette)
        except (Chem.AtomValenceException, Chem.KekulizeException, Chem.AtomKekulizeException):
            continue
        if mol is None or any(a.GetNumRadicalElectrons() for a in mol.GetAtoms()):
            continue
        if any(a.GetSymbol() in RARE for a in mol.GetAtoms()):
            return Chem.MolFromSmiles(Chem.MolToSmiles(mol))


def _symbols(smiles: str) -> set[str]:
    return {a.GetSymbol() for a in Chem.MolFromSmiles(smiles).GetAtoms()}


# Two unsaturated ends and what stands between them: the rotation of every such bond is a property of its own.
ENDS = (
    "C=C C(C)=C C=O C(C)=O C=N C=NC C#C C#N C(=O)O C(=O)OC C(=O)N C(=O)NC N=C N=O [N+](=O)[O-] N=N c1ccccc1 c1ccncc1 "
    "c1ccccn1 c1ccco1 c1cccs1 c1ccc[nH]1 c1ncc[nH]1 C(F)=C C(=O)F C(=O)Cl C=S C(N)=O OC=O OC(C)=O NC=O N(C)C=O "
    "SC(C)=O S(C)(=O)=O C=NO C(Cl)=C C=CC=O C=CC=C B(O)O C(=N)N c1ccccc1F c1ccccc1C"
).split()
MIDDLES = ("", "", "", "", "C", "N", "O", "S", "CC", "C(C)", "C(=O)", "CO", "CN", "C(O)", "N(C)", "S(=O)(=O)", "C=C")


def conjugated_molecule(seed: str, index: int):
    """Molecule `index` of the stream `seed`: two unsaturated or polar ends about one or two rotatable bonds."""
    rng = random.Random(f"conjugated/{seed}/{index}")
    while True:
        chain = [rng.choice(ENDS), rng.choice(MIDDLES), rng.choice([*ENDS, "C", "CC", "O", "N", "OC", "F"])]
        try:
            mol, place = Chem.MolFromSmiles(chain[0]), 0
            for text in filter(None, chain[1:]):
                piece = Chem.MolFromSmiles(text)
                before = mol.GetNumAtoms()
                mol = joined(mol, piece, place, 0)
                place = before + (len(text) > 1 and text in MIDDLES[:-1] and text[-1] != ")") * (
                    piece.GetNumAtoms() - 1
                )
        except (Chem.AtomValenceException, Chem.KekulizeException, Chem.AtomKekulizeException):
            continue
        return Chem.MolFromSmiles(Chem.MolToSmiles(mol))

"""More cations, combined from heads, chains and tails, for structures that only the tuned potential labels.

A fit reproduces the tuned potential only near its labels, and a label costs milliseconds (relaxation_paths.py).
"""

from functools import cache

from rdkit import Chem, RDLogger

from scripts.hoip.cations import FRESH, HELD_OUT

HEADS = (
    "[NH3+]",
    "C[NH2+]",
    "C[NH+](C)",
    "[NH3+]C(C)",
    "[NH3+]CC(C)",
    "NC(=[NH2+])",
    "NC(=[NH2+])N",
)
LONGEST = 5  # carbons between head and tail
SIZES = range(2, 11)  # heavy atoms
TAILS = (
    # chains, bonds, branches
    *("", "C=C", "C#C", "C=CC", "C#CC", "C(C)=C", "C(C)C", "C(C)(C)C"),
    # oxygen, nitrogen, halogen, a second charge
    *("O", "OC", "OCC", "OC=C", "C(C)(C)O", "C(C)=O", "C(=O)O", "C(=O)OC", "C(=O)N", "C#N", "N(C)C"),
    *("Cl", "Br", "I", "[NH3+]"),
    # saturated rings
    *("C1CC1", "C1CCC1", "C1CCCC1", "C1CCCCC1", "C1(C)CC1", "C1CC1C", "C1CCC1C", "C1CC=CC1", "C1CCC=CC1"),
    *("C1CO1", "C1COC1", "C1CCOC1", "C1CCOCC1", "N1CCOCC1", "C1CCNC1"),
    # aromatic rings
    *("c1ccccc1", "c1ccncc1", "c1cccnc1", "c1ccco1", "c1ccoc1", "c1cc[nH]c1", "n1ccnc1", "c1cnc[nH]1"),
    *("c1ccc(C)cc1", "c1ccc(O)cc1", "c1ccc(OC)cc1", "c1ccc(Cl)cc1", "c1ccc(Br)cc1", "c1ccc(I)cc1", "c1ccc(C#N)cc1"),
    *("c1ccc(N)cc1", "c1ccccc1C", "c1ccccc1Cl", "c1ccccc1O"),
)


@cache
def combined_cations() -> tuple[str, ...]:
    """Canonical SMILES of all combinations with SIZES heavy atoms, without the held-out cations."""
    RDLogger.DisableLog("rdApp.error")
    held_out = {Chem.CanonSmiles(smiles) for smiles in HELD_OUT + FRESH}
    cations = {}
    for head in HEADS:
        for length in range(LONGEST + 1):
            for tail in TAILS:
                mol = Chem.MolFromSmiles(head + "C" * length + tail)
                if mol is not None and mol.GetNumHeavyAtoms() in SIZES:
                    cations.setdefault(Chem.MolToSmiles(mol), None)
    return tuple(smiles for smiles in cations if smiles not in held_out)

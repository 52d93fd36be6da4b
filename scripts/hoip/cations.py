"""The organic cations from which `hoip` learns and, held out whole, those it is tested on."""

TRAINED = (
    # ammonium ions of one chain, shortest first
    "C[NH3+]",
    "CC[NH3+]",
    "CCC[NH3+]",
    "CCCCC[NH3+]",
    "CCCCCC[NH3+]",
    "CC(C)[NH3+]",
    "CC(C)C[NH3+]",
    "CC(C)(C)[NH3+]",
    "C#CC[NH3+]",
    "CC=CC[NH3+]",
    # with more than one carbon on nitrogen
    "C[NH2+]C",
    "CC[NH2+]C",
    "C[NH+](C)C",
    "C[N+](C)(C)C",
    # small ions with delocalised charge, and with nitrogen or oxygen beside the ammonium
    "NC=[NH2+]",
    "NC(N)=[NH2+]",
    "N[NH3+]",
    "O[NH3+]",
    # oxygen, nitrile, halogen in the chain
    "OCC[NH3+]",
    "OCCC[NH3+]",
    "OC(=O)C[NH3+]",
    "OC(=O)CC[NH3+]",
    "N#CC[NH3+]",
    "NC(=O)C[NH3+]",
    "ClCC[NH3+]",
    "BrCC[NH3+]",
    # saturated rings
    "C1C[NH2+]1",
    "C1CCC1[NH3+]",
    "C1CCCC1[NH3+]",
    "C1CCCCC1[NH3+]",
    "C1CC[NH2+]C1",
    "C1CC[NH2+]CC1",
    "C1COCC[NH2+]1",
    # aromatic rings
    "c1ccccc1[NH3+]",
    "c1ccccc1C[NH3+]",
    "c1ccccc1CCC[NH3+]",
    "c1cc[nH+]cc1",
    "c1c[nH]c[nH+]1",
    "c1cc(C[NH3+])ncc1",
    # two charges
    "[NH3+]CC[NH3+]",
    "[NH3+]CCC[NH3+]",
    "[NH3+]CCCCCC[NH3+]",
    "C1C[NH2+]CC[NH2+]1",
    "C1C[NH2+]CCC1C[NH3+]",
    "c1cc([NH3+])ccc1[NH3+]",
    "C[NH2+]CC[NH3+]",
    "c1c[nH+]ccc1C[NH3+]",
)

# Chosen by hand, so that every family is there: the two of the best-known layered perovskites, an unsaturated chain,
# small and large rings, an aromatic one with oxygen, an ether, a delocalised ion, one with two charges.
HELD_OUT = (
    "CCCC[NH3+]",
    "c1ccccc1CC[NH3+]",
    "C=CC[NH3+]",
    "C1CC1[NH3+]",
    "C1C[NH2+]C1",
    "COCC[NH3+]",
    "CC(N)=[NH2+]",
    "c1ccoc1C[NH3+]",
    "[NH3+]CCCC[NH3+]",
    "C1CCC(CC1)C[NH3+]",
)
assert not set(TRAINED) & set(HELD_OUT)

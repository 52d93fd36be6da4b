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

# The widest part of the stream: other rings, bonds and groups. What a fit lacks most is environments inside cations.
BROAD = (
    # rings of three and four
    "C1CC1C[NH3+]",
    "CC1(CC1)[NH3+]",
    "C1CC1C(C)[NH3+]",
    "C1OC1C[NH3+]",
    "CC1C[NH2+]1",
    "C1C(O)C[NH2+]1",
    "C[NH+]1CCC1",
    "CC1C[NH2+]C1",
    "C1C([NH3+])CO1",
    "C1CCC1C[NH3+]",
    # rings of five and six, saturated and not
    "C1CCOC1C[NH3+]",
    "C1CCCC1C[NH3+]",
    "C1=CC[NH2+]C1",
    "CC1CCC[NH2+]1",
    "C1COCCC1[NH3+]",
    "CC1CCCCC1[NH3+]",
    "C1C=CCCC1[NH3+]",
    "CC1CCC[NH2+]C1",
    "C[NH+]1CCOCC1",
    # aromatic ones with oxygen and nitrogen
    "c1cocc1C[NH3+]",
    "Cc1occc1C[NH3+]",
    "c1ccoc1CC[NH3+]",
    "c1cc[nH]c1C[NH3+]",
    "c1conc1C[NH3+]",
    "C[n+]1cc[nH]c1",
    "c1c[nH][nH+]c1",
    "c1ccncc1C[NH3+]",
    "C[n+]1ccccc1",
    # anilines and benzyls
    "Cc1ccccc1[NH3+]",
    "Oc1ccccc1[NH3+]",
    "Clc1ccccc1[NH3+]",
    "Brc1ccccc1[NH3+]",
    "COc1ccccc1[NH3+]",
    "Cc1ccccc1C[NH3+]",
    # delocalised charge
    "CCC(N)=[NH2+]",
    "CNC=[NH2+]",
    "CN(C)C=[NH2+]",
    "CNC(N)=[NH2+]",
    "OCC(N)=[NH2+]",
    "COC(N)=[NH2+]",
    "CC(C)=[NH2+]",
    # double and triple bonds
    "CC(=C)C[NH3+]",
    "C=CCC[NH3+]",
    "C=CC(C)[NH3+]",
    "C=CC=CC[NH3+]",
    "C=CC[NH2+]C",
    "CC#CC[NH3+]",
    # ethers, alcohols, ketones, acids, amides, nitriles, amines
    "CCOCC[NH3+]",
    "COCCC[NH3+]",
    "COC(C)C[NH3+]",
    "CO[NH3+]",
    "CC(O)C[NH3+]",
    "OCC[NH2+]C",
    "CC(=O)C[NH3+]",
    "CC(C(=O)O)[NH3+]",
    "CNC(=O)C[NH3+]",
    "N#CCC[NH3+]",
    "CN(C)CC[NH3+]",
    "NCC[NH3+]",
    # branched chains, halogens
    "CCC(C)[NH3+]",
    "CC(C)(C)C[NH3+]",
    "CCC[NH2+]C",
    "CC[NH+](C)C",
    "ClCCC[NH3+]",
    "ICC[NH3+]",
    "C=C(Cl)C[NH3+]",
    # two charges
    "[NH3+]CC(C)[NH3+]",
    "[NH3+]CCOCC[NH3+]",
    "[NH3+]CC=CC[NH3+]",
    "C[NH2+]CC[NH2+]C",
)

# Held out after BROAD was written, before any label of them was made: nothing was chosen by looking at these.
FRESH = (
    "CC(C)CC[NH3+]",
    "C#CCC[NH3+]",
    "COC(=O)C[NH3+]",
    "C[NH+]1CCCC1",
    "CC(C)(O)C[NH3+]",
    "C1=CCCC1[NH3+]",
)
assert len({*TRAINED, *HELD_OUT, *BROAD, *FRESH}) == len(TRAINED) + len(HELD_OUT) + len(BROAD) + len(FRESH)

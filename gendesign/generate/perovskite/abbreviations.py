"""Abbreviations of cations that papers on hybrid perovskites use, with names and SMILES."""

import difflib

from gendesign.errors import UserError

KNOWN: dict[str, tuple[str, str]] = {
    # in the cages of AMX3
    "Cs": ("caesium", "[Cs+]"),
    "MA": ("methylammonium", "C[NH3+]"),
    "FA": ("formamidinium", "NC=[NH2+]"),
    "GA": ("guanidinium", "NC(N)=[NH2+]"),
    "DMA": ("dimethylammonium", "C[NH2+]C"),
    # between layers, charge +1
    "EA": ("ethylammonium", "CC[NH3+]"),
    "BA": ("butylammonium", "CCCC[NH3+]"),
    "iBA": ("isobutylammonium", "CC(C)C[NH3+]"),
    "HA": ("hexylammonium", "CCCCCC[NH3+]"),
    "OA": ("octylammonium", "CCCCCCCC[NH3+]"),
    "CHA": ("cyclohexylammonium", "[NH3+]C1CCCCC1"),
    "PMA": ("benzylammonium", "[NH3+]Cc1ccccc1"),
    "BZA": ("benzylammonium", "[NH3+]Cc1ccccc1"),
    "PEA": ("phenethylammonium", "[NH3+]CCc1ccccc1"),
    "4F-PEA": ("4-fluorophenethylammonium", "[NH3+]CCc1ccc(F)cc1"),
    "4Cl-PEA": ("4-chlorophenethylammonium", "[NH3+]CCc1ccc(Cl)cc1"),
    "4Br-PEA": ("4-bromophenethylammonium", "[NH3+]CCc1ccc(Br)cc1"),
    "PPA": ("3-phenylpropylammonium", "[NH3+]CCCc1ccccc1"),
    "PBA": ("4-phenylbutylammonium", "[NH3+]CCCCc1ccccc1"),
    "MBA": ("1-phenylethylammonium (racemic)", "CC([NH3+])c1ccccc1"),
    "R-MBA": ("(R)-1-phenylethylammonium", "C[C@@H]([NH3+])c1ccccc1"),
    "S-MBA": ("(S)-1-phenylethylammonium", "C[C@H]([NH3+])c1ccccc1"),
    "ThMA": ("2-thienylmethylammonium", "[NH3+]Cc1cccs1"),
    "ThEA": ("2-(2-thienyl)ethylammonium", "[NH3+]CCc1cccs1"),
    "AVA": ("5-ammoniovaleric acid", "OC(=O)CCCC[NH3+]"),
    "5-AVA": ("5-ammoniovaleric acid", "OC(=O)CCCC[NH3+]"),
    "GABA": ("4-ammoniobutyric acid", "OC(=O)CCC[NH3+]"),
    # between layers, charge +2
    "EDA": ("ethane-1,2-diammonium", "[NH3+]CC[NH3+]"),
    "PDA": ("propane-1,3-diammonium", "[NH3+]CCC[NH3+]"),
    "BDA": ("butane-1,4-diammonium", "[NH3+]CCCC[NH3+]"),
    "DMAPA": ("3-(dimethylammonio)propylammonium", "C[NH+](C)CCC[NH3+]"),
    "3AMP": ("3-(ammoniomethyl)piperidinium", "[NH3+]CC1CCC[NH2+]C1"),
    "4AMP": ("4-(ammoniomethyl)piperidinium", "[NH3+]CC1CC[NH2+]CC1"),
    "3AMPY": ("3-(ammoniomethyl)pyridinium", "[NH3+]Cc1ccc[nH+]c1"),
    "4AMPY": ("4-(ammoniomethyl)pyridinium", "[NH3+]Cc1cc[nH+]cc1"),
    "PDMA": ("1,4-phenylenedimethanammonium", "[NH3+]Cc1ccc(C[NH3+])cc1"),
}
# Abbreviations that papers use for more than one cation: names and SMILES of the usual ones.
AMBIGUOUS: dict[str, tuple[tuple[str, str], ...]] = {
    "PA": (("propylammonium", "CCC[NH3+]"), ("pentylammonium", "CCCCC[NH3+]")),
    "AA": (("pentylammonium", "CCCCC[NH3+]"), ("acetamidinium", "CC(N)=[NH2+]")),
    "DA": (("decylammonium", "CCCCCCCCCC[NH3+]"), ("dodecylammonium", "CCCCCCCCCCCC[NH3+]")),
    "TMA": (("trimethylammonium", "C[NH+](C)C"), ("2-thienylmethylammonium", "[NH3+]Cc1cccs1")),
    "TEA": (("triethylammonium", "CC[NH+](CC)CC"), ("2-(2-thienyl)ethylammonium", "[NH3+]CCc1cccs1")),
    "HDA": (("hexane-1,6-diammonium", "[NH3+]CCCCCC[NH3+]"), ("hexadecylammonium", "CCCCCCCCCCCCCCCC[NH3+]")),
    "ODA": (("octane-1,8-diammonium", "[NH3+]CCCCCCCC[NH3+]"), ("octadecylammonium", "CCCCCCCCCCCCCCCCCC[NH3+]")),
}


def smiles_of(text: str) -> str:
    """The SMILES of an abbreviation; any other text as it is. Raises UserError for an ambiguous abbreviation."""
    if text in AMBIGUOUS:
        meanings = " or ".join(f"{name} ({smiles})" for name, smiles in AMBIGUOUS[text])
        raise UserError(f"cation={text} is ambiguous: {meanings}; write the SMILES")
    return KNOWN[text][1] if text in KNOWN else text


def nearest(text: str) -> str:
    """The abbreviations nearest to a word, with their names, as the end of a question; empty where none is near."""
    spelled = {name.lower(): name for name in (*KNOWN, *AMBIGUOUS)}
    names = [spelled[match] for match in difflib.get_close_matches(text.lower(), spelled, n=3, cutoff=0.6)]
    return " or ".join(f"{name} ({KNOWN[name][0] if name in KNOWN else AMBIGUOUS[name][0][0]})" for name in names)

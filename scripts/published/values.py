"""Published energy differences of conformations, torsion barriers and isomers, each with its source.

All are electronic energies at the bottom of the wells, without zero-point vibration. Values of GMTKN55 were read from
the files `.res` of its repository (github.com/grimme-lab/GMTKN55) and conformations from the geometries beside them;
what the files call W1-F12 and W2-F12 are CCSD(T) at the limit of the basis set. Rows whose source could not be read
have the source `FROM_MEMORY` and enter no mean.
"""

from dataclasses import dataclass

from gendesign.validation.conformations import Conformation
from gendesign.validation.holds import Hold

GMTKN55 = "GMTKN55: Goerigk et al., Phys. Chem. Chem. Phys. 19, 32184 (2017)"
BHROT27 = f"{GMTKN55}, BHROT27"
ACONF = f"{GMTKN55}, ACONF; CCSD(T) of Gruzman, Karton, Martin, J. Phys. Chem. A 113, 11974 (2009)"
AMINO = f"{GMTKN55}, Amino20x4; Kesharwani, Karton, Martin, J. Chem. Theory Comput. 12, 444 (2016)"
ISO34 = f"{GMTKN55}, ISO34; reactions of Grimme, Steinmetz, Korth, J. Org. Chem. 72, 2118 (2007)"
W411 = f"difference of atomisation energies, {GMTKN55}, W4-11; Karton, Daon, Martin, Chem. Phys. Lett. 510, 165 (2011)"
WELDON = "CCSD(T)/CBS, Weldon, Vickrey, Tschumper, J. Phys. Chem. A 109, 11073 (2005), abstract"
FROM_MEMORY = "from memory, not verified"

CLASSES = ("torsion barriers", "conformers", "isomers", "from memory")


@dataclass(frozen=True)
class Value:
    """A published energy (kcal/mol) of `upper` above `lower`, both at their own geometries."""

    name: str
    kind: str
    energy: float
    lower: Conformation
    upper: Conformation
    source: str


def at(smiles: str, *angles: tuple[int, int, int, int, float]) -> Conformation:
    """A minimum that starts at dihedral angles."""
    return Conformation(smiles, angles)


def over(
    smiles: str, degrees: float, *angles: tuple[int, int, int, int, float], top: float = 0.0, terms: int = 1
) -> Conformation:
    """A structure in which the sum of the first `terms` of `angles` is held, or the top of the rotation near there."""
    return Conformation(smiles, angles, Hold(tuple(angle[:4] for angle in angles[:terms]), degrees), top)


BUTADIENE, BIFURAN, DIMETHYLBUTANE, ACETAMIDE = "C=CC=C", "c1coc(c1)-c1ccco1", "CC(C)C(C)C", "CC(=O)N"
HYDRAZINE, HYDROXYLAMINE = "NN", "NO"
HYDRAZINE_GAUCHE = at(HYDRAZINE, (2, 0, 1, 4, 151), (2, 0, 1, 5, -89), (3, 0, 1, 4, -89), (3, 0, 1, 5, 31))
HYDROXYLAMINE_TOP = over(HYDROXYLAMINE, -132, (2, 0, 1, 4, -11), (3, 0, 1, 4, -122), top=50, terms=2)
BUTADIENE_TOP = over(BUTADIENE, 101, (0, 1, 2, 3, 101), top=20)
BIFURAN_TOP = over(BIFURAN, 101, (2, 3, 5, 9, 101), top=24)
DIMETHYLBUTANE_60, DIMETHYLBUTANE_180 = (at(DIMETHYLBUTANE, (9, 1, 3, 13, d)) for d in (70, 180))
DIMETHYLBUTANE_120 = over(DIMETHYLBUTANE, 120, (9, 1, 3, 13, 120), top=24)
AMIDE = at(ACETAMIDE, (2, 1, 3, 7, 0), (2, 1, 3, 8, 180))

BARRIERS = (
    ("ethane", 2.73, at("CC", (2, 0, 1, 5, 60)), over("CC", 0, (2, 0, 1, 5, 0))),
    ("methanol", 1.01, at("CO", (2, 0, 1, 5, 180)), over("CO", 0, (2, 0, 1, 5, 0))),
    (
        "methylamine",
        2.28,
        at("CN", (2, 0, 1, 5, 60), (2, 0, 1, 6, -60)),
        over("CN", 0, (2, 0, 1, 5, 120), (2, 0, 1, 6, -120), terms=2),
    ),
    ("hydrogen peroxide, trans", 1.01, at("OO", (2, 0, 1, 3, 113)), over("OO", 180, (2, 0, 1, 3, 180))),
    ("hydrogen peroxide, cis", 7.17, at("OO", (2, 0, 1, 3, 113)), over("OO", 0, (2, 0, 1, 3, 0))),
    (
        "hydrazine, one pair of H eclipsed",
        1.62,
        HYDRAZINE_GAUCHE,
        over(HYDRAZINE, 120, (2, 0, 1, 4, 0), (3, 0, 1, 5, 120), (2, 0, 1, 5, -120), top=60, terms=2),
    ),
    (
        "hydrazine, both eclipsed",
        8.41,
        HYDRAZINE_GAUCHE,
        over(HYDRAZINE, 0, (2, 0, 1, 4, 0), (3, 0, 1, 5, 0), (2, 0, 1, 5, 115), terms=2),
    ),
    ("hydroxylamine, from trans", 6.91, at(HYDROXYLAMINE, (2, 0, 1, 4, -124), (3, 0, 1, 4, 124)), HYDROXYLAMINE_TOP),
    ("hydroxylamine, from cis", 2.68, at(HYDROXYLAMINE, (2, 0, 1, 4, 58), (3, 0, 1, 4, -58)), HYDROXYLAMINE_TOP),
    (
        "acetamide, N lone pair away from CH3",  # 1 in the file: N-H at 122 degrees from O
        17.24,
        AMIDE,
        over(ACETAMIDE, 0, (2, 1, 3, 7, 122), (2, 1, 3, 8, -122), (2, 1, 0, 4, 0), terms=2),
    ),
    (
        "acetamide, N lone pair towards CH3",
        14.52,
        AMIDE,
        over(ACETAMIDE, 0, (2, 1, 3, 7, 56), (2, 1, 3, 8, -56), (2, 1, 0, 4, 0), terms=2),
    ),
    ("1,3-butadiene, from trans", 6.30, at(BUTADIENE, (0, 1, 2, 3, 180)), BUTADIENE_TOP),
    ("1,3-butadiene, from gauche", 3.35, at(BUTADIENE, (0, 1, 2, 3, 35)), BUTADIENE_TOP),
    (
        "biphenyl, planar",
        2.10,
        at("c1ccccc1-c1ccccc1", (4, 5, 6, 7, 42)),
        over("c1ccccc1-c1ccccc1", 0, (4, 5, 6, 7, 0)),
    ),
    ("2,2'-bifuran, from anti", 3.89, at(BIFURAN, (2, 3, 5, 9, 180)), BIFURAN_TOP),
    ("2,2'-bifuran, from syn", 2.09, at(BIFURAN, (2, 3, 5, 9, 20)), BIFURAN_TOP),
    (
        "2,3-dimethylbutane, gauche over 0 degrees",
        7.01,
        DIMETHYLBUTANE_60,
        over(DIMETHYLBUTANE, 0, (9, 1, 3, 13, 0)),
    ),
    ("2,3-dimethylbutane, gauche over 120 degrees", 3.46, DIMETHYLBUTANE_60, DIMETHYLBUTANE_120),
    ("2,3-dimethylbutane, anti over 120 degrees", 3.72, DIMETHYLBUTANE_180, DIMETHYLBUTANE_120),
)


def alkane(*torsions: float) -> Conformation:
    """A linear alkane with the given C-C-C-C angles."""
    return at("C" * (len(torsions) + 3), *((k, k + 1, k + 2, k + 3, angle) for k, angle in enumerate(torsions)))


T, G, X = 180.0, 63.0, -95.0
BUTANE = alkane(T)
ALKANES = (
    ("butane g", 0.598, (G,)),
    ("pentane tg", 0.614, (T, G)),
    ("pentane gg", 0.961, (G, G)),
    ("pentane gx", 2.813, (G, X)),
    ("hexane gtt", 0.595, (G, T, T)),
    ("hexane tgt", 0.604, (T, G, T)),
    ("hexane tgg", 0.934, (T, G, G)),
    ("hexane gtg", 1.178, (G, T, G)),
    ("hexane g+tg-", 1.302, (G, T, -G)),
    ("hexane ggg", 1.250, (G, G, G)),
    ("hexane g+x-t", 2.632, (G, X, T)),
)


def dipeptide(*torsions: float) -> Conformation:
    """N-acetylglycine-N-methylamide with C-C-N-C, phi, psi and C-N-C of the second amide."""
    backbone = ((0, 1, 3, 4), (1, 3, 4, 5), (3, 4, 5, 7), (4, 5, 7, 8))
    return at("CC(=O)NCC(=O)NC", *((*four, angle) for four, angle in zip(backbone, torsions, strict=True)))


FOLDED = dipeptide(179, 83, -71, 176)
PEPTIDES = (
    ("Ac-Gly-NHMe, extended", 1.091, (-179, 177, 179, 180)),
    ("Ac-Gly-NHMe, phi -101 psi 11", 2.627, (-172, -101, 11, 174)),
    ("Ac-Gly-NHMe, second amide cis", 2.743, (-179, 180, 179, -6)),
    ("Ac-Gly-NHMe, first amide cis", 4.086, (-6, 86, 7, 179)),
)


def substituted(smiles: str, angle: float) -> Conformation:
    """A chair whose substituent is equatorial (180 degrees to the ring) or axial (-70)."""
    ring = ((1, 2, 3, 4, -54.0), (2, 3, 4, 5, 56.0), (3, 4, 5, 6, -56.0))
    return at(smiles, (0, 1, 2, 3, angle), *ring)


CONFORMERS = (
    *((name, energy, alkane(*[T] * len(angles)), alkane(*angles), ACONF) for name, energy, angles in ALKANES),
    *((name, energy, FOLDED, dipeptide(*angles), AMINO) for name, energy, angles in PEPTIDES),
    ("nitrous acid, cis", 0.430, at("ON=O", (3, 0, 1, 2, 180)), at("ON=O", (3, 0, 1, 2, 0)), W411),
    ("methylcyclohexane, axial", 1.75, substituted("CC1CCCCC1", 180), substituted("CC1CCCCC1", -70), WELDON),
    ("2-methyloxane, axial", 2.83, substituted("CC1CCCCO1", 180), substituted("CC1CCCCO1", -70), WELDON),
)

TRANS_BUTENE = at("C/C=C/C")
ETHANOL = at("CCO", (0, 1, 2, 8, 60))
ISOMERS = (
    ("propyne, allene", 1.505, at("CC#C"), at("C=C=C"), W411),
    ("acetaldehyde, oxirane", 26.338, at("CC=O"), at("C1CO1"), W411),
    ("HCN, HNC", 15.215, at("C#N"), at("[C-]#[NH+]"), W411),
    ("isocyanic acid, cyanic acid", 24.671, at("N=C=O"), at("OC#N"), W411),
    ("isocyanic acid, fulminic acid", 69.766, at("N=C=O"), at("C#[N+][O-]"), W411),
    ("diazene, trans, cis", 5.399, at("N=N", (2, 0, 1, 3, 180)), at("N=N", (2, 0, 1, 3, 0)), W411),
    ("2-butene, trans, cis", 1.06, TRANS_BUTENE, at(r"C/C=C\C"), ISO34),
    ("isobutene, trans-2-butene", 1.23, at("CC(C)=C"), TRANS_BUTENE, ISO34),
    ("trans-2-butene, 1-butene", 2.49, TRANS_BUTENE, at("C=CCC", (0, 1, 2, 3, -120)), ISO34),
    ("1,3-butadiene, cyclobutene", 11.15, at(BUTADIENE, (0, 1, 2, 3, 180)), at("C1=CCC1"), ISO34),
    (
        "1,3-pentadiene, 1,4-pentadiene",
        6.54,
        at("C=C/C=C/C", (0, 1, 2, 3, 180)),
        at("C=CCC=C", (0, 1, 2, 3, -119), (1, 2, 3, 4, -119)),
        ISO34,
    ),
    ("neopentane, pentane", 3.80, at("CC(C)(C)C"), alkane(T, T), ISO34),
    ("toluene, norbornadiene", 45.65, at("Cc1ccccc1"), at("C1C2C=CC1C=C2"), ISO34),
    ("acetonitrile, methyl isocyanide", 24.58, at("CC#N"), at("C[N+]#[C-]"), ISO34),
    ("ethylamine, dimethylamine", 8.25, at("CCN", (0, 1, 2, 8, 59), (0, 1, 2, 9, -59)), at("CNC"), ISO34),
    ("N-methylmethanimine, aziridine", 10.02, at("CN=C"), at("C1CN1"), ISO34),
    ("ethanol, dimethyl ether", 12.26, ETHANOL, at("COC"), ISO34),
)

MEMORY = (
    ("butane over 120 degrees", 3.3, BUTANE, over("CCCC", 120, (0, 1, 2, 3, 120), top=20)),
    ("butane over 0 degrees", 5.5, BUTANE, over("CCCC", 0, (0, 1, 2, 3, 0))),
    ("ethanol gauche", 0.1, at("CCO", (0, 1, 2, 8, 180)), ETHANOL),
    ("formic acid E", 4.2, at("OC=O", (3, 0, 1, 2, 0)), at("OC=O", (3, 0, 1, 2, 180))),
    ("glyoxal cis", 4.4, at("O=CC=O", (0, 1, 2, 3, 180)), at("O=CC=O", (0, 1, 2, 3, 0))),
    ("acrolein cis", 2.1, at("C=CC=O", (0, 1, 2, 3, 180)), at("C=CC=O", (0, 1, 2, 3, 0))),
    (
        "cyclohexane twist-boat",
        6.2,
        at("C1CCCCC1", (0, 1, 2, 3, 55), (1, 2, 3, 4, -55), (2, 3, 4, 5, 55)),
        at("C1CCCCC1", (0, 1, 2, 3, 31), (1, 2, 3, 4, 31), (2, 3, 4, 5, -63)),
    ),
)

VALUES = (
    *(Value(name, CLASSES[0], energy, low, high, BHROT27) for name, energy, low, high in BARRIERS),
    *(Value(name, CLASSES[1], energy, low, high, source) for name, energy, low, high, source in CONFORMERS),
    *(Value(name, CLASSES[2], energy, low, high, source) for name, energy, low, high, source in ISOMERS),
    *(Value(name, CLASSES[3], energy, low, high, FROM_MEMORY) for name, energy, low, high in MEMORY),
)

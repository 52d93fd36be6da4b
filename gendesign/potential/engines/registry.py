"""The models of other packages that `potential=NAME` can name, and what is known of them without loading them."""

from collections.abc import Mapping
from dataclasses import dataclass

from ase.data import chemical_symbols

from gendesign.packages import Package
from gendesign.potential.domain import CELLS, CRYSTALS, MOLECULES, Domain
from gendesign.potential.protocol import Capability

BACKENDS = "gendesign.potential.engines.backends"
UNIVERSAL = tuple(chemical_symbols[1:84] + chemical_symbols[89:95])  # H to Bi, Ac to Pu: those of MPtrj
EVERYTHING = frozenset(Capability)
OF_CRYSTALS = Domain(
    (CRYSTALS,), "crystals of 89 elements; molecules are less accurate", charges="not distinguished"
)  # fmt: skip
OF_MOLECULES = Domain((MOLECULES,), "neutral closed-shell molecules of H, C, N and O", excluded=(CELLS,))


@dataclass(frozen=True)
class EngineModel:
    """A pretrained model: which package it comes from, and what users must know of it.

    backend: "module:class" that the process loads. weights: globs of its files inside the package's folder. cutoff: in
    Angstrom. theory: level of theory of the training data. layers: interactions that have descriptors. heads: outputs
    to choose from, empty for a model with one.
    """

    name: str
    package: Package
    backend: str
    weights: tuple[str, ...]
    elements: tuple[str, ...]
    cutoff: float
    theory: str
    licence: str
    citation: str
    domain: Domain | None = None
    layers: int = 1
    heads: tuple[str, ...] = ()
    supports: frozenset[Capability] = EVERYTHING


SEVENN = Package(
    "sevenn",
    ("sevenn==0.13.0", "e3nn==0.6.0", "braceexpand==0.1.7"),  # mace-torch pins e3nn 0.4.4
    55,
    (("pandas", "pandas"), ("requests", "requests"), ("tqdm", "tqdm"), ("torch_geometric", "torch_geometric")),
)
CHGNET = Package("chgnet", ("chgnet==0.4.2",), 17, (("pymatgen", "pymatgen"), ("nvidia_smi", "nvidia-ml-py3")))
TORCHANI = Package("torchani", ("torchani==2.0", "lark-parser==0.12.0", "setuptools<81"), 60)
DIEP = Package(
    "diep",
    ("diep==2.0.0",),
    5,
    (("torch_geometric", "torch_geometric"), ("pymatgen", "pymatgen"), ("requests", "requests")),
)

SEVENNET = "Park et al., J. Chem. Theory Comput. 20, 4857 (2024)"
MULTIFIDELITY = "Kim et al., J. Am. Chem. Soc. 147, 1042 (2025)"
DENG = "Deng et al., Nat. Mach. Intell. 5, 1031 (2023)"
BSD = "modified BSD"


def _sevennet(name: str, weights: str, theory: str, citation: str, heads: tuple[str, ...] = ()) -> EngineModel:
    return EngineModel(
        name,
        SEVENN,
        f"{BACKENDS}.sevennet:SevenNet",
        (f"sevenn/pretrained_potentials/{weights}",),
        UNIVERSAL,
        5.0,
        theory,
        "MIT",
        citation,
        OF_CRYSTALS,
        layers=4,
        heads=heads,
    )


def _chgnet(name: str, weights: str, theory: str) -> EngineModel:
    return EngineModel(
        name,
        CHGNET,
        f"{BACKENDS}.chgnet:CHGNet",
        (f"chgnet/pretrained/{weights}",),
        UNIVERSAL,
        6.0,
        theory,
        BSD,
        DENG,
        OF_CRYSTALS,
        layers=3,
    )


def _ani(name: str, folder: str, theory: str, citation: str) -> EngineModel:
    resources = "torchani/resources"
    return EngineModel(
        name,
        TORCHANI,
        f"{BACKENDS}.ani:ANI",
        (f"{resources}/{folder}.info", f"{resources}/{folder}/*.params", f"{resources}/{folder}/sae_linfit.dat",
         *(f"{resources}/{folder}/train{k}/networks/*" for k in range(8))),
        ("H", "C", "N", "O"),
        5.2,
        theory,
        "MIT",
        citation,
        OF_MOLECULES,
    )  # fmt: skip


def _diep(name: str, folder: str, theory: str, citation: str) -> EngineModel:
    return EngineModel(
        name,
        DIEP,
        f"{BACKENDS}.diep:DIEP",
        (f"diep/pretrained_models/{folder}/model.json", f"diep/pretrained_models/{folder}/state.pt"),
        UNIVERSAL,
        5.0,
        theory,
        "BSD-3-Clause",
        citation,
        OF_CRYSTALS,
        layers=3,
    )


MODELS: dict[str, EngineModel] = {
    model.name: model
    for model in (
        _sevennet("sevennet-0", "SevenNet_0__11Jul2024/checkpoint_sevennet_0.pth", "PBE(+U)", SEVENNET),
        _sevennet("sevennet-l3i5", "SevenNet_l3i5/checkpoint_l3i5.pth", "PBE(+U)", SEVENNET),
        _sevennet(
            "sevennet-mf-0",
            "SevenNet_MF_0/checkpoint_sevennet_mf_0.pth",
            "PBE(+U) or r2SCAN, by head",
            MULTIFIDELITY,
            ("PBE", "R2SCAN"),
        ),
        _chgnet("chgnet", "0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar", "PBE(+U)"),
        _chgnet("chgnet-r2scan", "r2scan/chgnet_r2scan_transfer_learning_e15f36s161m23.pth.tar", "r2SCAN"),
        _diep("diep", "diep_fold1", "r2SCAN", "Tawfik et al., Digital Discovery (2024), doi:10.1039/D4DD00246F"),
        _ani("ani1x", "ani-1x_8x", "wB97X/6-31G(d)", "Smith et al., J. Chem. Phys. 148, 241733 (2018)"),
        _ani("ani1ccx", "ani-1ccx_8x", "CCSD(T)*/CBS", "Smith et al., Nat. Commun. 10, 2903 (2019)"),
    )
}


def packages(models: Mapping[str, EngineModel] | None = None) -> dict[str, Package]:
    """The packages by name."""
    return {model.package.name: model.package for model in (MODELS if models is None else models).values()}


def models_of(package: str) -> list[EngineModel]:
    """The models that come with `package`."""
    return [model for model in MODELS.values() if model.package.name == package]

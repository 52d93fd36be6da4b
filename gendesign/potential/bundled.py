"""The bundled potentials, known without loading them: their names, folders, domains and elements."""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import yaml
from ase.data import chemical_symbols

from gendesign.potential.domain import CRYSTALS, MOLECULES, Domain

GENERATORS = ("agent", "diffusion")  # kinds of checkpoints that are no potentials
MACE_OFF, MACE_MP = "mace-off-small", "mace-mp-medium-mpa-0"
DOWNLOADED = {
    MACE_OFF: (MOLECULES, frozenset("H C N O F P S Cl Br I".split())),
    MACE_MP: (CRYSTALS, frozenset(chemical_symbols[1:84] + chemical_symbols[89:95])),  # H to Bi, Ac to Pu
}


def checkpoints_folder() -> Path:
    """Where the bundled checkpoints lie: inside an installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "checkpoints"
    return inside if inside.is_dir() else package.parent / "checkpoints"


def bundled() -> list[str]:
    """Names of the bundled potentials; agents and diffusion models lie beside them."""
    folders = [path.parent for path in checkpoints_folder().glob("*/weights.safetensors")]
    return sorted(folder.name for folder in folders if _kind(folder / "config.yaml") not in GENERATORS)


@cache
def _bundled() -> dict[str, tuple[Domain, frozenset[str]]]:
    """Domain and elements of the bundled potentials, read without their weights."""
    domains = {}
    for name in bundled():
        config = yaml.safe_load((checkpoints_folder() / name / "config.yaml").read_text())
        symbols = frozenset(chemical_symbols[z] for z in config["architecture"]["atomic_numbers"])
        if "domain" in config:
            domains[name] = Domain.from_config(config["domain"]), symbols
    return domains


def fitting(symbols: Iterable[str], kind: str) -> str | None:
    """The `potential=` that fits these elements and this kind: a bundled one, else one to download, or None."""
    wanted = set(symbols)
    for name, (domain, known) in _bundled().items():
        if kind in domain.kinds and wanted <= known and (not domain.contains or wanted & set(domain.contains)):
            return name
    return next((name for name, (its_kind, known) in DOWNLOADED.items() if its_kind == kind and wanted <= known), None)


def knowing(symbols: Iterable[str]) -> str | None:
    """The `potential=` that knows these elements, in molecules or else in crystals; None where there is none."""
    wanted = set(symbols)
    return fitting(wanted, MOLECULES) or fitting(wanted, CRYSTALS)


def _kind(path: Path) -> str | None:
    match = re.search(r"^kind: (\w+)$", path.read_text(), re.MULTILINE) if path.is_file() else None
    return match[1] if match else None

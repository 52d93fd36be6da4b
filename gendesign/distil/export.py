"""Decks of LAMMPS: for a student, which the installed LAMMPS runs, and for a MACE, which other builds of it run."""

import shutil
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gendesign.imports.mace  # noqa: F401  quick and silent
from gendesign.imports import silenced

import torch
from ase import Atoms
from ase.build import bulk
from ase.data import chemical_symbols

from gendesign.distil.labels import boxed
from gendesign.distil.student import HEAD, enlarged, write_data
from gendesign.errors import UserError
from gendesign.lammps.pair import PAIR_FILE, pair_commands, pair_elements
from gendesign.potential import load_mace
from gendesign.structure.files import write_atomically

DATA, STUDENT, MLIAP, LIBTORCH = "start.data", "in.student", "in.mliap", "in.mace"
MLIAP_MODEL, LIBTORCH_MODEL = "mace-mliap.pt", "mace-libtorch.pt"
BUILDS = {
    MLIAP: "needs LAMMPS built with ML-IAP and PYTHON (MLIAP_ENABLE_PYTHON), KOKKOS for a GPU; the LAMMPS of "
    "gendesign install lammps has no Python",
    LIBTORCH: "needs LAMMPS built with ML-MACE and libtorch (the ACEsuit branch of LAMMPS); the LAMMPS of gendesign "
    "install lammps lacks it",
}


@dataclass(frozen=True)
class Deck:
    """What a deck runs: a structure (None: a crystal of the last element) repeated to `atoms`, at `temperature` (K).

    timestep in fs.
    """

    structure: Atoms | None
    atoms: int
    temperature: float
    timestep: float
    steps: int


def export_student(folder: Path, output: Path, deck: Deck) -> list[str]:
    """Copy a student's files to `output` with a data file and a deck that runs there; lines for the terminal."""
    species = pair_elements(folder)
    for path in folder.iterdir():
        if path.is_file() and (path.suffix == ".pod" or path.name == PAIR_FILE):
            shutil.copy(path, output / path.name)
    count = _write_start(deck, species, output)
    write_atomically(output / STUDENT, script(pair_commands(folder, here="."), deck))
    return [f"{count} atoms; {output}: {STUDENT} (run there: lmp -in {STUDENT}), {DATA}, {PAIR_FILE}"]


def export_mace(
    name: str, output: Path, deck: Deck, *, head: str | None = None, trust_pickle: bool = False
) -> list[str]:
    """Write a MACE for the pair styles mliap and mace of LAMMPS, with a deck for each; lines for the terminal.

    Both files hold the network in float64 on the CPU. Raises UserError for a potential that is no MACE.
    """
    potential = load_mace(name, device="cpu", dtype="float64", trust_pickle=trust_pickle)
    net: Any = potential.net
    species = [chemical_symbols[int(z)] for z in net.atomic_numbers]
    files = {MLIAP: _mliap, LIBTORCH: _libtorch}  # compiled modules cannot be pickled, and they are the original ones
    commands = {
        LIBTORCH: ["pair_style mace no_domain_decomposition", f"pair_coeff * * {LIBTORCH_MODEL} {' '.join(species)}"],
        MLIAP: [f"pair_style mliap unified {MLIAP_MODEL} 0", f"pair_coeff * * {' '.join(species)}"],
    }
    count = _write_start(deck, species, output)
    lines = [f"{count} atoms in {output / DATA}"]
    for file, write in files.items():
        write(net, head, output)
        write_atomically(output / file, script(commands[file], deck, mapped=file == LIBTORCH))
        lines.append(f"{output / file}: {BUILDS[file]}")
    return lines


def script(commands: Sequence[str], deck: Deck, *, mapped: bool = False) -> str:
    """A deck: read DATA, run at constant temperature, write the end. mapped: with a map of atom numbers."""
    lines = [
        *HEAD[:2], *(["atom_modify map yes", "newton on"] if mapped else []), *HEAD[2:], f"read_data {DATA}", *commands,
        "neigh_modify delay 0 every 1 check yes", "thermo 50", "thermo_style custom step temp pe etotal press vol",
        f"velocity all create {2 * deck.temperature:g} 4242 dist gaussian mom yes",
        f"fix move all nvt temp {deck.temperature:g} {deck.temperature:g} 0.1", f"timestep {deck.timestep / 1000:g}",
        f"run {deck.steps}", "write_data end.data",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _write_start(deck: Deck, species: Sequence[str], output: Path) -> int:
    atoms = _crystal(species[-1]) if deck.structure is None else boxed(deck.structure, 12.0)
    atoms = enlarged(atoms, deck.atoms) if deck.structure is None or deck.structure.pbc.all() else atoms
    write_data(atoms, output / DATA, species)
    return len(atoms)


def _crystal(symbol: str) -> Atoms:
    """The element's own crystal, or a loose cubic one where ASE knows none."""
    try:
        return bulk(symbol, cubic=True)
    except (ValueError, RuntimeError, KeyError, TypeError):
        try:
            return bulk(symbol)
        except (ValueError, RuntimeError, KeyError, TypeError):
            return bulk(symbol, "fcc", a=6.0, cubic=True)


def _libtorch(net: Any, head: str | None, output: Path) -> None:
    from e3nn.util import jit
    from mace.calculators import LAMMPS_MACE

    with silenced():
        jit.compile(_wrapped(LAMMPS_MACE, deepcopy(net), head)).save(str(output / LIBTORCH_MODEL))


def _mliap(net: Any, head: str | None, output: Path) -> None:
    from mace.calculators.lammps_mliap_mace import LAMMPS_MLIAP_MACE

    with silenced():
        net = deepcopy(net)
        net.lammps_mliap = True
        torch.save(_wrapped(LAMMPS_MLIAP_MACE, net, head), output / MLIAP_MODEL)


def _wrapped(cls: Any, net: Any, head: str | None) -> Any:
    heads = list(getattr(net, "heads", None) or ["Default"])
    if head is not None and head not in heads:
        raise UserError(f"head={head!r}: the network has {', '.join(map(str, heads))}")
    return cls(net, **({} if head is None else {"head": head}))

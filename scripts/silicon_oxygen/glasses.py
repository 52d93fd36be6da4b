"""Two small amorphous models for the card: melted crystals cooled by classical potentials in LAMMPS, relaxed by DIEP.

They are made once and kept under training/silox/card. Every potential is asked about the same structures.
"""

from pathlib import Path

from ase import Atoms
from ase.build import bulk
from ase.io import read

from gendesign.lammps.deck import Dynamics
from gendesign.lammps.models import load_model
from gendesign.lammps.run import run_lammps
from gendesign.potential.protocol import PotentialLike
from gendesign.structure.files import write_extxyz
from gendesign.structure.types import Candidate
from scripts.silicon_oxygen import crystals
from scripts.silicon_oxygen.properties import relaxed
from scripts.silicon_oxygen.structures import ROOT

FOLDER = ROOT / "card"
STEPS, FMAX = 60, 0.02  # of the relaxation by the teacher; eV/Angstrom
STAGES: dict[str, tuple[str, list[Dynamics]]] = {
    # hot and cold in K, lengths in fs steps; EDIP at 5 K/ps, Vashishta at 15 K/ps
    "a-Si": ("edip", [
        Dynamics("npt", (4000, 4000), 10_000, 1.0, 11, velocities=True),
        Dynamics("npt", (1800, 1800), 20_000, 1.0, 12),
        Dynamics("npt", (1800, 300), 300_000, 1.0, 13),
    ]),
    "a-SiO2": ("vashishta", [
        Dynamics("langevin", (5000, 5000), 10_000, 1.0, 21, velocities=True),
        Dynamics("langevin", (4000, 300), 246_000, 1.0, 22),
        Dynamics("npt", (300, 300), 10_000, 1.0, 23),
    ]),
}  # fmt: skip


def start(name: str) -> Atoms:
    """The crystal that is melted: 216 atoms of Si, 192 of SiO2 at about the density of the glass."""
    if name == "a-Si":
        return bulk("Si", "diamond", a=crystals.DIAMOND, cubic=True) * 3
    return crystals.plain(crystals.POLYMORPHS["beta-cristobalite"]() * (2, 2, 2))


def made(name: str, teacher: PotentialLike) -> Atoms:
    """The model `name`, made and relaxed by `teacher` if it is not there yet."""
    path = FOLDER / f"{name}.extxyz"
    if not path.is_file():
        FOLDER.mkdir(parents=True, exist_ok=True)
        cooled = FOLDER / f"{name}-cooled.extxyz"
        if not cooled.is_file():
            _write(_cooled(name), cooled)
        _write(relaxed(read(cooled), teacher, steps=STEPS, fmax=FMAX), path)
    return crystals.plain(read(path))


def _cooled(name: str) -> Atoms:
    model, stages = STAGES[name]
    atoms = start(name)
    for stage in stages:
        atoms, _ = run_lammps(atoms, load_model(model), stage)
    return crystals.plain(atoms)


def _write(atoms: Atoms, path: Path) -> None:
    write_extxyz([Candidate(crystals.plain(atoms), 0)], path)

"""Density functional theory in plane waves as teacher: GPAW and Quantum ESPRESSO, each as a process of its own."""

import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import ase.io
import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes
from ase.data import ground_state_magnetic_moments

from gendesign.errors import UserError
from gendesign.fields import setting
from gendesign.train.teacher import Attempt, Teacher, multiplicities
from gendesign.train.teachers.classical import boxed

SCRIPT = Path(__file__).with_name("gpaw_script.py")
DEBIAN_PYTHON = "/usr/bin/python3"
DEBIAN_PSEUDO = "/usr/share/espresso/pseudo"
CUTOFF = "kinetic energy up to which plane waves are used"
DISPERSION = ("grimme-d2", "grimme-d3", "ts-vdw", "xdm")


@dataclass(frozen=True, kw_only=True)
class PlaneWaves(Teacher):
    """What both programs are told; energies in eV, lengths in Angstrom.

    A reciprocal vector, to which `kpoints_density` refers, is 2 pi / height long. Molecules lie in a box with `vacuum`
    on each side, with fixed spin. Crystals are not polarised unless `spin`, which frees the moments: they start from
    the file's or those of free atoms.
    """

    most_per_shard: ClassVar[int | None] = 1
    functional: str | None = setting("PBE", "exchange and correlation, as GPAW names it")
    cutoff: float = setting(500.0, CUTOFF, unit="eV", above=0)
    kpoints_density: float = setting(4.0, "k-points per 1/Angstrom along each reciprocal vector of a crystal", above=0)
    smearing: float = setting(0.05, "width of the Fermi-Dirac occupations", unit="eV", above=0)
    spin: bool = setting(False, "true gives crystals free magnetic moments, which start from the file's or free atoms'")
    open_shell: bool = setting(False, "true tries the two lowest multiplicities of a molecule")
    vacuum: float = setting(5.0, "empty space on each side of a molecule", unit="Angstrom", above=0)
    command: str | None = setting(
        None,
        "how to start a Python that has GPAW (/usr/bin/python3, mpiexec -n 4 gpaw python); null: this one",
        identity=False,
    )
    cores: int = setting(1, "cores that `command` uses; as many fewer worker processes run", least=1, identity=False)

    def workers(self, cores: int) -> int:
        return max(1, cores // self.cores)

    def prepare(self, atoms: Atoms) -> Atoms:
        return boxed(atoms, self.vacuum)

    def attempts(self, atoms: Atoms, scratch: Path | None) -> Iterator[Attempt]:
        if scratch is not None:
            scratch.mkdir(parents=True, exist_ok=True)
        for unpaired in self._unpaired(atoms):
            notes = {} if atoms.pbc.any() else {"multiplicity": unpaired + 1}
            with TemporaryDirectory(prefix="label-", dir=scratch) as folder:
                yield Program(self, unpaired, Path(folder)), notes

    def _unpaired(self, atoms: Atoms) -> tuple[int | None, ...]:
        """Numbers of unpaired electrons to try; None leaves the moment of a crystal free."""
        if atoms.pbc.any():
            return (None,) if self.spin else (0,)
        return tuple(multiplicity - 1 for multiplicity in multiplicities(atoms, self.open_shell))

    @abstractmethod
    def run(self, atoms: Atoms, unpaired: int | None, folder: Path) -> Mapping[str, Any]:
        """Energy, forces and, in crystals, stress as ASE has them; raises CalculationFailed."""


class Program(Calculator):
    """One single point by an external program in a folder of its own."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "stress"]

    def __init__(self, teacher: PlaneWaves, unpaired: int | None, folder: Path):
        super().__init__()
        self.teacher, self.unpaired, self.folder = teacher, unpaired, folder

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """Compute energy, forces and stress of `atoms` by the program."""
        super().calculate(atoms, properties, system_changes)
        work = self.atoms.copy()
        work.set_initial_magnetic_moments(moments(work, self.unpaired))
        self.results = dict(self.teacher.run(work, self.unpaired, self.folder))


@dataclass(frozen=True, kw_only=True)
class Gpaw(PlaneWaves):
    """GPAW in plane-wave mode, run by a Python that has it: this one, or the one `command` starts."""

    @cached_property
    def title(self) -> str:
        return "GPAW"

    @property
    def _words(self) -> list[str]:
        return [*(shlex.split(self.command) if self.command else [sys.executable]), str(SCRIPT)]

    def check(self, symbols: frozenset[str]) -> None:
        """Raise UserError unless GPAW answers and has the setup of every element."""
        try:
            words = [*self._words, "--check", self.functional or "LDA", *sorted(symbols)]
            done = subprocess.run(words, capture_output=True, text=True, timeout=300)
            reply = json.loads(done.stdout.strip().splitlines()[-1]) if done.returncode == 0 else {}
        except (OSError, subprocess.TimeoutExpired, ValueError, IndexError):
            reply = {}
        if "missing" not in reply:
            raise UserError(
                f"teacher=gpaw: {self.command or 'this Python'} has no GPAW; install it with pip install gpaw, or with "
                f"apt install gpaw gpaw-data and then teacher.command={DEBIAN_PYTHON}"
            )
        if missing := reply["missing"]:
            raise UserError(
                f"teacher=gpaw: no PAW setup of {', '.join(missing)} for {self.functional}; install setups (Debian: "
                "apt install gpaw-data; elsewhere: gpaw install-data) or leave such structures out"
            )

    def run(self, atoms: Atoms, unpaired: int | None, folder: Path) -> Mapping[str, Any]:
        job = {
            "numbers": atoms.numbers.tolist(),
            "positions": atoms.positions.tolist(),
            "cell": atoms.cell.tolist(),
            "pbc": atoms.pbc.tolist(),
            "moments": atoms.get_initial_magnetic_moments().tolist(),
            "functional": self.functional or "LDA",
            "cutoff": self.cutoff,
            "kpoints": kpoints(atoms, self.kpoints_density),
            "smearing": self.smearing,
            "spin": unpaired != 0,
            "fixed": bool(unpaired),
        }
        (folder / "job.json").write_text(json.dumps(job))
        message = start([*self._words, "job.json"], folder)
        answer = folder / "answer.json"
        if not answer.exists():
            raise CalculationFailed(message)
        results = json.loads(answer.read_text())
        return {key: np.array(value) if key != "energy" else value for key, value in results.items()}


@dataclass(frozen=True, kw_only=True)
class Espresso(PlaneWaves):
    """Quantum ESPRESSO's pw.x.

    Without `files` the folder of pseudopotentials must hold one for each element.
    """

    noted: ClassVar[tuple[str, ...]] = ("pseudopotentials", "files")
    functional: str | None = setting(
        None, "exchange and correlation, as pw.x names it; null: the pseudopotentials' own"
    )
    cutoff: float = setting(600.0, CUTOFF, unit="eV", above=0)
    density_cutoff: float = setting(
        8.0, "the same for the density, in units of `cutoff`; 4 suits norm-conserving pseudopotentials", least=4
    )
    dispersion: str | None = setting(None, "dispersion correction; null: none", allowed=DISPERSION)
    pseudopotentials: str | None = setting(None, "folder of UPF files; null: $ESPRESSO_PSEUDO or Debian's")
    files: tuple[str, ...] = setting(
        (), "file of each element in that folder, such as [Si.pz-vbc.UPF]; needed where it holds several"
    )
    command: str | None = setting(None, "how to start pw.x, such as mpirun -np 4 pw.x; null: pw.x", identity=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "files", tuple(self.files))  # Hydra gives a list, which has no hash

    @cached_property
    def title(self) -> str:
        return "Quantum ESPRESSO"

    @cached_property
    def _words(self) -> list[str]:
        return shlex.split(self.command or "pw.x")

    @cached_property
    def _folder(self) -> Path:
        return Path(self.pseudopotentials or os.environ.get("ESPRESSO_PSEUDO") or DEBIAN_PSEUDO).expanduser()

    def check(self, symbols: frozenset[str]) -> None:
        """Raise UserError unless pw.x and a pseudopotential of every element are there."""
        absent = [word for word in (self._words[0], self._words[-1]) if shutil.which(word) is None]
        if absent:
            raise UserError(
                f"teacher=espresso: there is no program {absent[0]}; install it (Debian: apt install quantum-espresso) "
                "or say how to start pw.x, such as teacher.command='mpirun -np 4 /path/to/pw.x'"
            )
        for symbol in sorted(symbols):
            self.pseudopotential(symbol)

    def pseudopotential(self, symbol: str) -> str:
        """The file for an element; raises UserError where there is none or more than one."""
        names = self.files or sorted(path.name for path in self._folder.glob("*") if path.is_file())
        fits = [name for name in names if re.match(rf"{symbol}[._-].*upf$", name, re.IGNORECASE)]
        if len(fits) != 1 or not (self._folder / fits[0]).is_file():
            problem = f"{len(fits)} pseudopotentials ({', '.join(fits[:4])}) of" if fits else "no pseudopotential of"
            where = "teacher.files names" if self.files else f"{self._folder} holds"
            if len(fits) == 1:
                where, problem = f"{self._folder} lacks", f"{fits[0]} for"
            raise UserError(
                f"teacher=espresso: {where} {problem} {symbol}; name a folder with teacher.pseudopotentials (Debian: "
                "apt install quantum-espresso-data) and one file for each element with teacher.files=[Si.UPF,...]"
            )
        return fits[0]

    def attempts(self, atoms: Atoms, scratch: Path | None) -> Iterator[Attempt]:
        names = " ".join(map(self.pseudopotential, sorted(set(atoms.get_chemical_symbols()))))
        for calculator, notes in super().attempts(atoms, scratch):
            yield calculator, {**notes, "pseudopotentials": names}

    def run(self, atoms: Atoms, unpaired: int | None, folder: Path) -> Mapping[str, Any]:
        ase.io.write(
            folder / "pw.in",
            atoms,
            format="espresso-in",
            input_data=self._input(atoms, unpaired, folder),
            pseudopotentials={symbol: self.pseudopotential(symbol) for symbol in set(atoms.symbols)},
            kpts=kpoints(atoms, self.kpoints_density),
        )
        message = start([*self._words, "-in", "pw.in"], folder, "pw.out")
        output = (folder / "pw.out").read_text(errors="replace")
        if stop := re.search(r"%{20,}\s*(.*?)%{20,}", output, re.DOTALL):
            raise CalculationFailed(stop[1])
        if "convergence NOT achieved" in output:
            raise CalculationFailed("the self-consistent field did not converge")
        if "JOB DONE" not in output:
            raise CalculationFailed(message)
        return ase.io.read(folder / "pw.out", format="espresso-out").calc.results

    def _input(self, atoms: Atoms, unpaired: int | None, folder: Path) -> dict[str, dict[str, Any]]:
        cutoff = self.cutoff / units.Rydberg
        system: dict[str, Any] = {
            "ecutwfc": cutoff,
            "ecutrho": self.density_cutoff * cutoff,
            "occupations": "smearing",
            "smearing": "fermi-dirac",
            "degauss": self.smearing / units.Rydberg,
            "nspin": 1 if unpaired == 0 else 2,
        }
        chosen = {"tot_magnetization": unpaired, "input_dft": self.functional, "vdw_corr": self.dispersion}
        system |= {key: value for key, value in chosen.items() if value}
        if not atoms.pbc.any():
            system["nosym"] = True  # a box is no reason to symmetrise the forces of a molecule
        return {
            "control": {
                "calculation": "scf",
                "tprnfor": True,
                "tstress": bool(atoms.pbc.all()),
                "disk_io": "none",
                "pseudo_dir": str(self._folder.resolve()),
                "outdir": str(folder.resolve()),
            },
            "system": system,
            "electrons": {"conv_thr": 1e-9 * len(atoms), "electron_maxstep": 200},
        }


def kpoints(atoms: Atoms, density: float) -> tuple[int, int, int]:
    """Points along each reciprocal vector, 1 where the structure is not periodic."""
    reciprocal = 2 * math.pi * np.linalg.norm(np.linalg.inv(atoms.cell.array), axis=0)
    a, b, c = (
        max(1, math.ceil(density * length - 1e-9)) if p else 1 for length, p in zip(reciprocal, atoms.pbc, strict=True)
    )
    return a, b, c


def moments(atoms: Atoms, unpaired: int | None) -> np.ndarray:
    """Magnetic moments (atoms,) to start from: `unpaired` electrons spread, or with None the file's or free atoms'."""
    if unpaired is not None:
        return np.full(len(atoms), unpaired / len(atoms))
    known = atoms.get_initial_magnetic_moments()
    return known if known.any() else ground_state_magnetic_moments[atoms.numbers]


def start(words: list[str], folder: Path, output: str | None = None) -> str:
    """Run a program in `folder`, its output into a file there; what it said last, for when it failed."""
    log = folder / (output or "log.txt")
    try:
        with open(log, "w") as handle:
            done = subprocess.run(
                words, cwd=folder, stdin=subprocess.DEVNULL, stdout=handle, stderr=subprocess.STDOUT, check=False
            )
    except OSError as error:
        raise CalculationFailed(f"{words[0]}: {error.strerror}") from error
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f"{Path(words[0]).name} ended with status {done.returncode}: {lines[-1] if lines else 'no output'}"

"""Snapshots of melts and quenches of classical potentials by LAMMPS, in cubic cells of about 100 atoms.

Random starts are pushed apart, kept at a high temperature and cooled in one ramp at constant volume; a silica slab gets
its vacuum at the end. The potentials are wrong in many ways, which is what makes their frames various.
"""

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from ase.io import read

from gendesign.lammps.locate import executable

DALTON_PER_A3 = 1.66053907  # g/cm3
STYLES = {
    "sw": ("sw", "Si.sw"),
    "edip": ("edip", "Si.edip"),
    "tersoff": ("tersoff", "Si.tersoff"),
    "munetoh": ("tersoff", "SiO.tersoff"),
    "vashishta": ("vashishta", "SiO.1994.vashishta"),
}
MASSES = {symbol: float(atomic_masses[atomic_numbers[symbol]]) for symbol in ("Si", "O")}
DIAMETERS = {"Si": 2.3, "O": 2.2}  # Angstrom, of the soft spheres that push random atoms apart; Si-O: 1.6
PUSHING, MELTING, COOLING, SNAPSHOTS = 2000, 3000, 16000, 10  # steps of 1 fs; snapshots of the cooling
COLDEST = 300.0  # K


@dataclass(frozen=True)
class Melt:
    """One trajectory: potential, numbers of atoms, density (g/cm3), temperature of the melt (K), seed."""

    potential: str
    n_si: int
    n_o: int
    density: float
    temperature: float
    seed: int
    vacuum: float = 0.0

    @property
    def name(self) -> str:
        """A name that no other trajectory has."""
        slab = "-slab" if self.vacuum else ""
        return f"{self.potential}{slab}-Si{self.n_si}O{self.n_o}-{self.density:.2f}-{self.temperature:.0f}K-{self.seed}"

    @property
    def edge(self) -> float:
        """Edge of the cubic cell in Angstrom."""
        mass = self.n_si * MASSES["Si"] + self.n_o * MASSES["O"]
        return float((mass * DALTON_PER_A3 / self.density) ** (1 / 3))


def all_melts() -> list[Melt]:
    """The trajectories: silicon by three potentials, suboxides by one, silica by two, at several densities."""
    out = []
    for potential, seeds in (("sw", 3), ("edip", 3), ("tersoff", 2)):
        for density in (1.9, 2.2, 2.33, 2.5, 2.75, 3.1):
            for seed in range(seeds):
                out.append(Melt(potential, 64, 0, density, (2500.0, 3500.0, 5000.0)[seed], seed))
    for n_o_per_100, densities in ((20, (2.1, 2.4)), (50, (2.0, 2.3, 2.7)), (100, (1.9, 2.25, 2.7)),
                                   (133, (2.2, 2.6)), (150, (1.9, 2.3, 2.8)), (180, (2.2,))):  # fmt: skip
        n_si = round(96 / (1 + n_o_per_100 / 100))
        for density in densities:
            for seed in range(3):
                out.append(Melt("munetoh", n_si, 96 - n_si, density, (3000.0, 4000.0, 5000.0)[seed], seed))
    for density in (1.7, 2.0, 2.2, 2.4, 2.8, 3.4, 4.2):
        for seed in range(3):
            out.append(Melt("vashishta", 32, 64, density, (3500.0, 4500.0, 6000.0)[seed], seed))
    for density in (2.0, 2.3, 3.0):
        out.append(Melt("munetoh", 32, 64, density, 4500.0, 0))
    out += [Melt("vashishta", 32, 64, density, 4000.0, 10 + seed, 12.0) for density in (2.2, 2.4) for seed in range(2)]
    out += [Melt("edip", 64, 0, 2.33, 2500.0, 10 + seed, 10.0) for seed in range(2)]
    return out


def snapshots(melt: Melt) -> list[Atoms]:
    """Frames of a trajectory: one packing, two of the melt, SNAPSHOTS of the cooling; `kind` and `group` in info."""
    program, environment = executable()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = [str(program), "-log", "none", "-nocite"]
        done = subprocess.run(words, input=script(melt), cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode:
            error = next((line for line in done.stdout.splitlines() if "ERROR" in line), f"status {done.returncode}")
            raise RuntimeError(f"{melt.name}: {error}")
        frames = read(folder / "frames.dump", index=":", format="lammps-dump-text")
    symbols = np.array(["Si", "O"])
    kinds = ["packing", "melt", "melt", *["quench"] * SNAPSHOTS]
    out = []
    for frame, kind in zip(frames, kinds, strict=True):
        atoms = Atoms(symbols[frame.numbers - 1], frame.positions, cell=frame.cell, pbc=True)  # numbers are types
        if melt.vacuum:
            kind = "slab"
        atoms.wrap()
        element = "silicon" if melt.n_o == 0 else "silica" if melt.n_o == 2 * melt.n_si else "suboxide"
        atoms.info = {"kind": f"{element} {kind}", "group": melt.name}
        out.append(atoms)
    return out[3 if melt.vacuum else 0 :]


def script(melt: Melt) -> str:
    """The input of LAMMPS."""
    style, file = STYLES[melt.potential]
    edge, seed = melt.edge, 1000 + 17 * melt.seed + round(100 * melt.density) + 7919 * melt.n_o
    species, types = ("Si O", 2) if melt.n_o else ("Si", 1)
    soft = [f"pair_coeff 1 1 {DIAMETERS['Si']}"]
    if melt.n_o:
        soft = [f"pair_coeff 1 1 {DIAMETERS['Si'] + 0.3}", f"pair_coeff 2 2 {DIAMETERS['O']}", "pair_coeff 1 2 1.6"]
    atoms = [f"create_atoms 1 random {melt.n_si} {seed} NULL"]
    atoms += [f"create_atoms 2 random {melt.n_o} {seed + 1} NULL"] if melt.n_o else []
    every, hot, write = (
        COOLING // SNAPSHOTS,
        melt.temperature,
        "write_dump all custom frames.dump id type x y z modify ",
    )
    write += "sort id append yes"
    low, high = -melt.vacuum / 2, edge + melt.vacuum / 2
    cooling = [f"run {every} start 0 stop {COOLING}\n{write}" for _ in range(SNAPSHOTS)]
    return "\n".join(
        [
            "units metal", "atom_style atomic", "boundary p p p", "neigh_modify delay 0 every 1 check yes",
            f"region cell block 0 {edge:.6f} 0 {edge:.6f} 0 {edge:.6f}", f"create_box {types} cell", *atoms,
            *(f"mass {k + 1} {MASSES[symbol]}" for k, symbol in enumerate(species.split())),
            "pair_style soft 3.0", *soft, "variable push equal ramp(0,60)",
            "fix push all adapt 1 pair soft a * * v_push", "fix limit all nve/limit 0.1", "timestep 0.001",
            f"run {PUSHING}", "unfix push", "unfix limit",
            f"pair_style {style}", f"pair_coeff * * {file} {species}", "minimize 0 5 30 60", write,
            f"velocity all create {hot} {seed} dist gaussian mom yes",
            f"fix slow all nve/limit 0.1\nfix warm all langevin {hot} {hot} 0.05 {seed}\nrun 1000",
            f"unfix slow\nunfix warm\nfix move all nve\nfix heat all langevin {hot} {hot} 0.1 {seed}",
            f"run {MELTING // 2}", write, f"run {MELTING // 2}", write,
            *([f"change_box all z final {low:.6f} {high:.6f} units box"] if melt.vacuum else []),
            f"unfix heat\nfix heat all langevin {hot} {COLDEST} 0.1 {seed + 5}", "reset_timestep 0", *cooling,
        ]
    )  # fmt: skip

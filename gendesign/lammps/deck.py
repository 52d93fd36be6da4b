"""Input scripts of LAMMPS, in units metal, and the files that they read and write."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from ase.geometry import cellpar_to_cell

from gendesign.lammps.models import SPECIES, Model
from gendesign.structure.constraints import fixed_components
from gendesign.structure.files import write_atomically

BAR = 1e4  # bar per GPa
LARGEST_SEED = 900_000_000  # of the Langevin thermostat of LAMMPS
DATA, RESULT, LOG = "start.data", "result.dump", "log.lammps"
DONE = "gendesign done"  # printed at the end
COLUMNS = "step temp press pe vol"  # of a report, in steps, K, bar, eV, Angstrom^3


@dataclass(frozen=True)
class Dynamics:
    """A run at conditions that change linearly; pairs are values at its beginning and end.

    ensemble: nve, langevin, nose_hoover or npt (isotropic). temperature in K, timestep in fs, pressure in GPa,
    thermostat and barostat in fs. edges: final over initial lengths, None leaves the cell alone. seed: of velocities
    (where `velocities`) and of the Langevin thermostat.
    """

    ensemble: str
    temperature: tuple[float, float]
    steps: int
    timestep: float
    seed: int
    pressure: tuple[float, float] = (0.0, 0.0)
    edges: float | None = None
    velocities: bool = False
    friction: float = 5.0
    thermostat: float = 100.0
    barostat: float = 1000.0


@dataclass(frozen=True)
class Minimisation:
    """A relaxation of positions, and of the cell under `pressure` (GPa), to forces of `fmax` (eV/Angstrom)."""

    fmax: float
    max_steps: int
    cell: bool = False
    pressure: float = 0.0


def write_data(atoms: Atoms, path: Path, species: Sequence[str]) -> None:
    """A data file of `atoms` with velocities and the types `species`.

    The cell is turned as LAMMPS needs it (see `standard`).
    """
    turned = standard(atoms)
    types = {symbol: number for number, symbol in enumerate(species, start=1)}
    cell = turned.cell.array
    text = StringIO()
    text.write(f"written by gendesign\n\n{len(atoms)} atoms\n{len(types)} atom types\n\n")
    for k, axis in enumerate("xyz"):
        text.write(f"0 {cell[k, k]:.17g} {axis}lo {axis}hi\n")
    if np.abs(cell - np.diag(np.diag(cell))).max() > 1e-12:
        text.write(f"{cell[1, 0]:.17g} {cell[2, 0]:.17g} {cell[2, 1]:.17g} xy xz yz\n")
    text.write("\nMasses\n\n")
    for symbol, number in types.items():
        text.write(f"{number} {atomic_masses[atomic_numbers[symbol]]:.17g}\n")
    kinds = [types[symbol] for symbol in atoms.get_chemical_symbols()]
    text.write("\nAtoms # atomic\n\n")
    for row, (kind, (x, y, z)) in enumerate(zip(kinds, turned.positions.tolist(), strict=True), start=1):
        text.write(f"{row} {kind} {x:.17g} {y:.17g} {z:.17g}\n")
    if turned.get_momenta().any():
        from ase import units

        text.write("\nVelocities\n\n")
        rows = (turned.get_velocities() * (1000 * units.fs)).tolist()  # Angstrom/ps
        for row, (x, y, z) in enumerate(rows, start=1):
            text.write(f"{row} {x:.17g} {y:.17g} {z:.17g}\n")
    write_atomically(path, text.getvalue())


def standard(atoms: Atoms) -> Atoms:
    """The same structure, wrapped, with a along x and b in the xy plane; momenta turn along."""
    out = Atoms(atoms.numbers, pbc=atoms.pbc)
    cell = cellpar_to_cell(atoms.cell.cellpar())
    turn = np.linalg.solve(atoms.cell.array, cell)
    out.cell = cell
    out.positions = atoms.positions @ turn
    out.set_momenta(atoms.get_momenta() @ turn)
    if np.all(atoms.pbc):
        out.wrap()
    return out


def read_result(path: Path, atoms: Atoms) -> Atoms:
    """`atoms` with the positions, cell and momenta of a dump (id x y z vx vy vz) of all of them."""
    from ase import units

    lines = path.read_text().splitlines()
    count = int(lines[3])
    bounds = np.array([[float(x) for x in line.split()] for line in lines[5:8]])
    tilt = bounds[:, 2] if bounds.shape[1] == 3 else np.zeros(3)  # xy, xz, yz
    shifts = [min(0, tilt[0], tilt[1], tilt[0] + tilt[1]), min(0, tilt[2]), 0]
    spans = [max(0, tilt[0], tilt[1], tilt[0] + tilt[1]), max(0, tilt[2]), 0]
    low = bounds[:, 0] - shifts
    lengths = bounds[:, 1] - spans - low
    rows = np.array([[float(x) for x in line.split()] for line in lines[9 : 9 + count]])
    if count != len(atoms):
        raise ValueError(f"{path} holds {count} atoms of {len(atoms)}")
    rows = rows[np.argsort(rows[:, 0])]
    out = atoms.copy()
    out.cell = [[lengths[0], 0, 0], [tilt[0], lengths[1], 0], [tilt[1], tilt[2], lengths[2]]]
    out.positions = rows[:, 1:4] - low
    out.set_momenta(rows[:, 4:7] / (1000 * units.fs) * out.get_masses()[:, None], apply_constraint=False)
    return out


def script(
    task: Dynamics | Minimisation,
    atoms: Atoms,
    model: Model,
    *,
    first: int = 0,
    last: int | None = None,
    restart: str = "",
    keep: str = "",
    every: int = 100,
) -> str:
    """The input script of a task or, for dynamics, of its part from step `first` to step `last`.

    restart: binary file to start from, in place of start.data. keep: binary file that is written at the end. every:
    steps between two reports.
    """
    boundary = " ".join("p" if periodic else "f" for periodic in atoms.pbc)
    start = [f"read_restart {restart}"] if restart else [f"read_data {DATA}"]
    species = " ".join(model.species(atoms))
    pair = [command.replace(SPECIES, species) for command in model.commands]
    head = [
        "units metal", "atom_style atomic", f"boundary {boundary}", *start, *pair, *_fixed(atoms),
        "neigh_modify delay 0 every 1 check yes", f"thermo {every}", f"thermo_style custom {COLUMNS}",
        "thermo_modify lost error flush yes",
    ]  # fmt: skip
    if isinstance(task, Minimisation):
        body = _minimise(task)
    else:
        body = _dynamics(task, first, task.steps if last is None else last, bool(restart))
    tail = [
        f"write_dump all custom {RESULT} id x y z vx vy vz modify sort id format float %.17g",
        *([f"write_restart {keep}"] if keep else []),
        f'print "{DONE}"',
    ]
    return "\n".join([*head, *body, *tail]) + "\n"


def _fixed(atoms: Atoms) -> list[str]:
    fixed = fixed_components(atoms).all(1)
    if not fixed.any():
        return ["group mobile union all"]
    ids = " ".join(str(index + 1) for index in np.flatnonzero(fixed))
    return [f"group fixed id {ids}", "group mobile subtract all fixed", "velocity fixed set 0 0 0",
            "fix hold fixed setforce 0 0 0"]  # fmt: skip


def _minimise(task: Minimisation) -> list[str]:
    box = [f"fix box all box/relax iso {task.pressure * BAR:.10g} vmax 0.002"] if task.cell else []
    # a cell that was relaxed with the atoms ends far from its minimum, so that the minimiser starts again
    rounds = 4 if task.cell else 1
    one = f"minimize 0 {task.fmax:.10g} {task.max_steps} {10 * task.max_steps}"
    return ["min_style cg", *box, *[one] * rounds, *(["unfix box"] if task.cell else []), "velocity all set 0 0 0",
            "run 0"]  # fmt: skip


def _dynamics(task: Dynamics, first: int, last: int, restarted: bool) -> list[str]:
    def at(ends: tuple[float, float], step: int) -> float:
        return ends[0] + (ends[1] - ends[0]) * step / max(1, task.steps)

    heat = [at(task.temperature, step) for step in (first, last)]
    press = [at(task.pressure, step) * BAR for step in (first, last)]
    dt, seed = task.timestep / 1000, (task.seed + first) % LARGEST_SEED + 1
    drag, damp, slow = 1 / task.friction, task.thermostat / 1000, task.barostat / 1000
    thermal = f"temp {max(heat[0], 0.1):.10g} {max(heat[1], 0.1):.10g}"
    out = [f"timestep {dt:.10g}"]
    if task.velocities and not restarted and first == 0:
        out += [f"velocity mobile create {task.temperature[0]:.10g} {task.seed} mom yes rot no dist gaussian"]
    out += {
        "nve": ["fix move mobile nve"],
        "langevin": [
            "fix move mobile nve",
            f"fix heat mobile langevin {heat[0]:.10g} {heat[1]:.10g} {drag:.10g} {seed} zero yes",
        ],
        "nose_hoover": [f"fix move mobile nvt {thermal} {damp:.10g}"],
        "npt": [f"fix move mobile npt {thermal} {damp:.10g} iso {press[0]:.10g} {press[1]:.10g} {slow:.10g}"],
    }[task.ensemble]  # fmt: skip
    if task.edges is not None:
        edge = [1 + (task.edges - 1) * step / max(1, task.steps) for step in (first, last)]
        scale = " ".join(f"{axis} scale {edge[1] / edge[0]:.17g}" for axis in "xyz")
        out += [f"fix size all deform 1 {scale} remap x"]
    return [*out, f"run {last - first}"]


def parts(steps: int, length: int) -> Sequence[tuple[int, int]]:
    """First and last steps of the parts of a run, each of `length` steps but the last."""
    return [(first, min(first + length, steps)) for first in range(0, steps, length)]

"""Short relaxations of many structures by the tuned potential, labelled by it at several steps: training/hoip/paths.

    python -m scripts.hoip.relaxation_paths STREAM FIRST LAST   # structures FIRST to LAST - 1 of a stream (streams.py)

A hundred structures are in a shard and go downhill together, atoms and cell, under a pressure drawn for each: on a GPU
11,000 labels take a minute and a half. WORKERS (4) processes build structures, list neighbours and add dispersion.
Structures with cations that are held out are left out.
"""

import os
import sys
import warnings
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

os.environ.setdefault("OMP_NUM_THREADS", "1")
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
from ase import Atoms, units  # noqa: E402
from ase.stress import voigt_6_to_full_3x3_stress  # noqa: E402
from tqdm import tqdm  # noqa: E402

from gendesign.train.label import write_frames  # noqa: E402
from scripts.hoip.gather import FOLDER  # noqa: E402
from scripts.hoip.graphs import DEVICE, graph, predicted  # noqa: E402
from scripts.hoip.label import BY_TUNED, MAX_FORCE, TUNED_WEIGHTS  # noqa: E402
from scripts.hoip.streams import Draw, numbers_of, stream  # noqa: E402
from scripts.hoip.structures import structure  # noqa: E402
from scripts.hoip.teachers import dispersion, tuned_universal  # noqa: E402

TOGETHER = 100  # structures of a shard
STEPS = (8, 20, 36)  # of a relaxation
EVERY = 4  # of these steps one is a label
PRESSURES = (0.3, 1.0, 2.0, 3.0)  # GPa; the potential relaxes without dispersion, which pulls about as much
STIFFNESS, DRAG = 50.0, 0.6  # eV/Angstrom^2 that a force is divided by; share of a move that goes on
LONGEST, STRAIN = 0.12, 0.02  # Angstrom and share that one step moves at most
RATTLES, STRETCH = (0.02, 0.05, 0.1), 0.05  # Angstrom, and largest strain, of what is labelled last


@dataclass
class Relaxing:
    """A structure being relaxed, with its last moves of atoms (Angstrom) and cell (strain)."""

    atoms: Atoms
    pressure: float
    move: np.ndarray
    strain: np.ndarray

    def step(self, forces: np.ndarray, stress: np.ndarray) -> None:
        """Downhill with some inertia; forces in eV/Angstrom, stress (6,) in eV/Angstrom^3."""
        pull = -(voigt_6_to_full_3x3_stress(stress) + self.pressure * np.eye(3)) * self.atoms.get_volume()
        self.move = DRAG * self.move + forces / STIFFNESS
        self.strain = DRAG * self.strain + pull / len(self.atoms) / STIFFNESS
        self.move *= min(1.0, LONGEST / max(1e-9, np.linalg.norm(self.move, axis=1).max()))
        self.strain *= min(1.0, STRAIN / max(1e-9, np.abs(self.strain).max()))
        self.atoms.positions += self.move
        self.atoms.set_cell(self.atoms.cell.array @ (np.eye(3) + self.strain), scale_atoms=True)

    def shake(self, rng: np.random.Generator) -> None:
        """Rattle and strain what has arrived."""
        self.atoms.positions += rng.normal(0, rng.choice(RATTLES), self.atoms.positions.shape)
        strain = rng.uniform(-STRETCH, STRETCH, (3, 3))
        self.atoms.set_cell(self.atoms.cell.array @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)


def shard(first: int, last: int, pool: Executor) -> list[Atoms]:
    """The labels of structures `first` to `last` - 1."""
    rng = stream(Draw.RELAXATION_PATH, first)
    calculator, elements = tuned_universal(TUNED_WEIGHTS)
    model, cutoff = calculator.model.to(DEVICE), calculator.cutoff
    model.set_is_batch_data(True)
    relaxing = [
        Relaxing(atoms, float(rng.choice(PRESSURES)) * units.GPa, np.zeros((len(atoms), 3)), np.zeros((3, 3)))
        for atoms in pool.map(structure, range(first, last), chunksize=4)
        if not atoms.info["held_out"]
    ]
    steps, evaluated_frames = int(rng.choice(STEPS)), []
    for step in range(steps + 2):
        answers = evaluated([one.atoms for one in relaxing], model, cutoff, pool)
        kept = []
        for i, (one, answer) in enumerate(zip(relaxing, answers, strict=True)):
            if not np.linalg.norm(answer[1], axis=1).max() < MAX_FORCE:
                continue  # torn, or without sense
            if step % EVERY == i % EVERY or step >= steps:
                evaluated_frames.append((one.atoms.copy(), *answer))
            kept.append(one)
            if step < steps:
                one.step(*answer[1:])
            else:
                one.shake(rng)
        relaxing = kept
    makes = partial(labelled, elements=elements)
    return [frame for frame in pool.map(makes, evaluated_frames, chunksize=10) if frame is not None]


def evaluated(structures: Sequence[Atoms], model, cutoff: float, pool: Executor) -> list[tuple]:
    """(energy, forces, stress) of each, without dispersion."""
    if not structures:
        return []
    graphs = list(pool.map(partial(graph, cutoff=cutoff), structures, chunksize=8))
    energy, forces, stress = (x.detach().cpu().double().numpy() for x in predicted(model, graphs))
    parts = np.split(forces, np.cumsum([len(atoms) for atoms in structures])[:-1])
    return list(zip(energy.tolist(), parts, stress, strict=True))


def labelled(one: tuple, elements: dict[int, float]) -> Atoms | None:
    """With dispersion and the energies of the elements; None where a force is beyond MAX_FORCE."""
    atoms, energy, forces, stress = one
    less = dispersion(atoms)
    forces = forces + less["forces"]
    if not np.linalg.norm(forces, axis=1).max() < MAX_FORCE:
        return None
    out = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True, info={**atoms.info, "stage": "way"})
    out.info["energy"] = energy + less["energy"] + sum(elements.get(int(z), 0.0) for z in atoms.numbers)
    out.info.update(stress=stress + less["stress"], teacher=BY_TUNED)
    out.arrays["forces"] = forces
    return out


def main(name: str, first: str, last: str) -> None:
    """Every shard of the stream that is missing, one after the other."""
    try:
        numbers = numbers_of(name, first, last)
    except ValueError as error:
        sys.exit(f"relaxation_paths {error}")
    (FOLDER / "paths").mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(int(os.environ.get("WORKERS", "4")), mp_context=get_context("spawn")) as pool:
        for start in tqdm(range(numbers.start, numbers.stop, TOGETHER), "paths", unit="shard"):
            path = FOLDER / "paths" / f"shard-{start:06d}.extxyz"
            if not path.exists():
                write_frames(path, shard(start, min(numbers.stop, start + TOGETHER), pool))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])

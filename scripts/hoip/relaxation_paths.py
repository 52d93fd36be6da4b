"""Short relaxations of many structures by the tuned potential, labelled by it at several steps: training/hoip/paths.

    python -m scripts.hoip.relaxation_paths STREAM FIRST LAST   # structures FIRST to LAST - 1 of a stream (streams.py)

The hundred structures of a shard are relaxed together, atoms and cell, each under a random pressure. On a GPU 11,000
labels take a minute and a half. The environment variable WORKERS (default 4) is the number of processes that build
structures, list neighbours and add dispersion. Structures with held-out cations are omitted.
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
EVERY = 4  # every fourth step becomes a label
PRESSURES = (0.3, 1.0, 2.0, 3.0)  # GPa; they replace dispersion, which the relaxation omits and which is about as large
STIFFNESS, DRAG = 50.0, 0.6  # eV/Angstrom^2, divides the forces; fraction of the previous step that is added
LONGEST, STRAIN = 0.12, 0.02  # largest displacement (Angstrom) and strain of one step
RATTLES, STRETCH = (0.02, 0.05, 0.1), 0.05  # displacements (Angstrom) and largest strain of the final geometries


@dataclass
class Relaxing:
    """A structure in relaxation with its last displacements (Angstrom) and strain."""

    atoms: Atoms
    pressure: float
    move: np.ndarray
    strain: np.ndarray

    def step(self, forces: np.ndarray, stress: np.ndarray) -> None:
        """A steepest-descent step with momentum; forces in eV/Angstrom, stress (6,) in eV/Angstrom^3."""
        pull = -(voigt_6_to_full_3x3_stress(stress) + self.pressure * np.eye(3)) * self.atoms.get_volume()
        self.move = DRAG * self.move + forces / STIFFNESS
        self.strain = DRAG * self.strain + pull / len(self.atoms) / STIFFNESS
        self.move *= min(1.0, LONGEST / max(1e-9, np.linalg.norm(self.move, axis=1).max()))
        self.strain *= min(1.0, STRAIN / max(1e-9, np.abs(self.strain).max()))
        self.atoms.positions += self.move
        self.atoms.set_cell(self.atoms.cell.array @ (np.eye(3) + self.strain), scale_atoms=True)

    def shake(self, rng: np.random.Generator) -> None:
        """Rattle and strain the relaxed structure."""
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
        answers = evaluated([item.atoms for item in relaxing], model, cutoff, pool)
        kept = []
        for i, (item, answer) in enumerate(zip(relaxing, answers, strict=True)):
            if not np.linalg.norm(answer[1], axis=1).max() < MAX_FORCE:
                continue  # broken
            if step % EVERY == i % EVERY or step >= steps:
                evaluated_frames.append((item.atoms.copy(), *answer))
            kept.append(item)
            if step < steps:
                item.step(*answer[1:])
            else:
                item.shake(rng)
        relaxing = kept
    makes = partial(labelled, elements=elements)
    return [frame for frame in pool.map(makes, evaluated_frames, chunksize=10) if frame is not None]


def evaluated(structures: Sequence[Atoms], model, cutoff: float, pool: Executor) -> list[tuple]:
    """(energy, forces, stress) of each structure, without dispersion."""
    if not structures:
        return []
    graphs = list(pool.map(partial(graph, cutoff=cutoff), structures, chunksize=8))
    energy, forces, stress = (x.detach().cpu().double().numpy() for x in predicted(model, graphs))
    parts = np.split(forces, np.cumsum([len(atoms) for atoms in structures])[:-1])
    return list(zip(energy.tolist(), parts, stress, strict=True))


def labelled(evaluation: tuple, elements: dict[int, float]) -> Atoms | None:
    """The label with dispersion and the energies of the elements, None if a force is above MAX_FORCE."""
    atoms, energy, forces, stress = evaluation
    d3 = dispersion(atoms)
    forces = forces + d3["forces"]
    if not np.linalg.norm(forces, axis=1).max() < MAX_FORCE:
        return None
    out = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True, info={**atoms.info, "stage": "way"})
    out.info["energy"] = energy + d3["energy"] + sum(elements.get(int(z), 0.0) for z in atoms.numbers)
    out.info.update(stress=stress + d3["stress"], teacher=BY_TUNED)
    out.arrays["forces"] = forces
    return out


def main(name: str, first: str, last: str) -> None:
    """Make the missing shards of a stream one after the other."""
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

"""Label the training structures of `organic`: minima, thermal and distorted geometries, fragments and pairs.

    python -m scripts.organic.structures train 0 400     # shards 0..399 of 8 molecules each -> training/train
    python -m scripts.organic.structures test 0 15       # the frozen test set
    python -m scripts.organic.structures wide 0 300      # more, larger and less usual molecules, fewer labels of each
    python -m scripts.organic.structures builds 0 20     # random atom-by-atom builds
    python -m scripts.organic.structures turned 0 200    # conformers far from minima: bonds rotated by any angle
    python -m scripts.organic.structures hot 0 40        # dynamics of the bundled potential at 1500 K
Shard i depends only on its index: shards can be made in any order, and an interrupted run resumes.
"""

import os
import sys
import warnings
from contextlib import suppress
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
warnings.filterwarnings("ignore", category=FutureWarning)

import numpy as np  # noqa: E402
from ase import Atoms, units  # noqa: E402
from ase.data import atomic_numbers, covalent_radii  # noqa: E402
from ase.md.langevin import Langevin  # noqa: E402
from ase.md.velocitydistribution import thermalize_momenta  # noqa: E402
from ase.optimize import LBFGS  # noqa: E402
from rdkit import Chem  # noqa: E402
from rdkit.Chem import rdForceFieldHelpers  # noqa: E402
from scipy.spatial.transform import Rotation  # noqa: E402

from gendesign.potential.reference import lowest_multiplicity  # noqa: E402
from gendesign.train.label import label_shards  # noqa: E402
from gendesign.train.teachers.semiempirical import FAILURES, gfn2, gfn2_label  # noqa: E402
from scripts.organic.molecules import embed, graph_key, molecule  # noqa: E402
from scripts.organic.well import Well  # noqa: E402

ELEMENTS = ("H", "C", "N", "O", "F", "S", "Cl")
MOLECULES_PER_SHARD = 8
MAX_FORCE = 60.0  # eV/Angstrom; labels with larger forces are dropped, because the pair repulsion covers this range
# Molecules of 9 and more heavy atoms whose key hashes into this fraction belong only to the test set.
TEST_SHARE = 0.10


def in_test(key: str) -> bool:
    """Whether a molecule belongs to the test set, by a hash of its graph, so that training never contains it."""
    import hashlib

    return int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) / 2**32 < TEST_SHARE


def as_atoms(mol, **info) -> Atoms:
    """An RDKit molecule with a conformer as ase.Atoms."""
    return Atoms([a.GetSymbol() for a in mol.GetAtoms()], mol.GetConformer().GetPositions(), info=info)


def relaxed(atoms: Atoms, fmax: float, steps: int) -> tuple[Atoms, list[Atoms]]:
    """The minimum of the teacher from `atoms`, and two geometries of the relaxation."""
    work, path = atoms.copy(), []
    work.calc = gfn2(lowest_multiplicity(work))
    optimizer = LBFGS(work, logfile=None, maxstep=0.15)
    optimizer.attach(lambda: path.append(Atoms(work.numbers, work.positions)))
    optimizer.run(fmax=fmax, steps=steps)
    return Atoms(work.numbers, work.positions), [path[0], path[len(path) // 3]]


def dynamics(atoms: Atoms, temperature: float, steps: list[int], rng) -> list[Atoms]:
    """Snapshots of Langevin dynamics (1 fs) by the teacher, after each of `steps` further steps; temperature in K."""
    work, out = atoms.copy(), []
    work.calc = gfn2(lowest_multiplicity(work))
    thermalize_momenta(work, temperature_K=2 * temperature, rng=rng)  # half of the energy becomes potential energy
    run = Langevin(work, 1 * units.fs, temperature_K=temperature, friction=0.02 / units.fs, fixcm=False, rng=rng)
    for count in steps:
        run.run(count)
        out.append(Atoms(work.numbers, work.positions))
    return out


def torn(atoms: Atoms, rng) -> list[Atoms]:
    """Strongly distorted geometries: random displacements, and one stretched or compressed bond."""
    out = [Atoms(atoms.numbers, atoms.positions + rng.normal(0, rng.uniform(0.05, 0.30), atoms.positions.shape))]
    n = len(atoms)
    if n > 2:
        distance = atoms.get_all_distances()
        sums = covalent_radii[atoms.numbers][:, None] + covalent_radii[atoms.numbers][None]
        i, j = np.argwhere((distance < 1.25 * sums) & ~np.eye(n, dtype=bool))[
            rng.integers(1 << 30) % max(1, int(((distance < 1.25 * sums) & ~np.eye(n, dtype=bool)).sum()))
        ]
        side = distance[:, j] < distance[:, i]
        moved = atoms.positions.copy()
        axis = (moved[j] - moved[i]) / distance[i, j]
        moved[side] += axis * distance[i, j] * (rng.uniform(0.7, 2.2) - 1)
        out.append(Atoms(atoms.numbers, moved + rng.normal(0, 0.03, moved.shape)))
    return out


def unfinished(atoms: Atoms, rng) -> list[Atoms]:
    """States of atom-by-atom building or of the generator: fragments with some or no hydrogens."""
    out = []
    heavy = np.flatnonzero(atoms.numbers > 1)
    hydrogen = np.flatnonzero(atoms.numbers == 1)
    keep_h = hydrogen[rng.random(len(hydrogen)) < rng.uniform(0, 1)]
    out.append(atoms[np.sort(np.concatenate([heavy, keep_h]))])
    # a fragment: the k atoms nearest to a random one
    order = np.argsort(atoms.get_all_distances()[rng.integers(len(atoms))])
    out.append(atoms[np.sort(order[: rng.integers(2, min(len(atoms), 12) + 1)])])
    for piece in out:
        piece.positions += rng.normal(0, rng.choice([0.02, 0.08]), piece.positions.shape)
    return [p for p in out if len(p) > 1]


def pair(a: Atoms, b: Atoms, rng) -> Atoms:
    """Two molecules in random orientations at a random contact distance."""
    first = Rotation.random(random_state=rng.integers(1 << 30)).apply(a.positions - a.positions.mean(0))
    second = Rotation.random(random_state=rng.integers(1 << 30)).apply(b.positions - b.positions.mean(0))
    sums = covalent_radii[a.numbers][:, None] + covalent_radii[b.numbers][None]
    shift, target = 0.0, rng.uniform(0.9, 2.6)  # Angstrom beyond the covalent contact
    while (np.linalg.norm(first[:, None] - second[None] - [0, 0, shift], axis=-1) - sums).min() < target or shift < 0.5:
        shift += 0.1
    return Atoms(np.concatenate([a.numbers, b.numbers]), np.concatenate([first, second + [0, 0, shift]]))


def labelled(frames, kind: str, key: str, open_shell: bool = False) -> list[Atoms]:
    """The frames with labels; those that the teacher fails for, or with a force above MAX_FORCE, are dropped."""
    out = []
    for frame in frames:
        frame.info = {"kind": kind, "molecule": key}
        answer = gfn2_label(frame, open_shell)
        if answer is not None and np.abs(answer.arrays["forces"]).max() < MAX_FORCE:
            out.append(answer)
    return out


def minimum(seed: str, k: int, sizes, weights, *, test: bool, fmax: float, steps: int):
    """(key, minimum of the teacher, path) of molecule k, or None if it is of the other set or a step fails."""
    mol = molecule(seed, k, sizes, weights)
    key = graph_key(mol)
    if in_test(key) != test and (test or mol.GetNumHeavyAtoms() >= 9):
        return None
    full = embed(mol, k)
    if full is None:
        return None
    try:
        final, path = relaxed(as_atoms(full), fmax, steps)
    except FAILURES:
        return None
    return key, final, path


TRAIN_SIZES = (1, 16)
TRAIN_WEIGHTS = (1, 3, 3, 4, 6, 8, 10, 12, 12, 10, 8, 5, 4, 3, 2, 2)


def train_shard(index: int, seed: str = "train") -> list[Atoms]:
    """Eight molecules: minimum, relaxation path, dynamics, distorted geometries, fragments and pairs."""
    rng = np.random.default_rng([index, 11])
    out, others = [], []
    for k in range(index * MOLECULES_PER_SHARD, (index + 1) * MOLECULES_PER_SHARD):
        relaxation = minimum(seed, k, TRAIN_SIZES, TRAIN_WEIGHTS, test=False, fmax=0.1, steps=40)
        if relaxation is None:
            continue
        key, final, path = relaxation
        out += labelled([final], "relaxed", key) + labelled(path, "path", key)
        temperature = rng.choice([300, 500, 800, 1200])
        with suppress(*FAILURES):  # if the dynamics fails, the other labels of the molecule are kept
            out += labelled(dynamics(final, temperature, [20, 14, 14], rng), "thermal", key)
        out += labelled(torn(final, rng), "violent", key)
        out += labelled(unfinished(final, rng), "fragment", key, open_shell=True)
        if others and len(final) + len(others[-1]) <= 26:
            out += labelled([pair(final, others[-1], rng)], "pair", key)
        others.append(final)
    return out


def test_shard(index: int) -> list[Atoms]:
    """Eight held-out molecules of 9 to 14 heavy atoms: the classes of `train_shard` with dynamics at 300 and 600 K."""
    rng = np.random.default_rng([index, 12])
    out, others, k = [], [], index * 1000
    while len(others) < MOLECULES_PER_SHARD and k < (index + 1) * 1000:
        k += 1
        relaxation = minimum("test", k, (9, 14), (6, 5, 4, 3, 2, 1), test=True, fmax=0.01, steps=300)
        if relaxation is None:
            continue
        key, final, _ = relaxation
        frames = labelled([final], "relaxed", key)
        for temperature in (300, 600):
            frames += labelled(dynamics(final, temperature, [120, 60, 60], rng), f"md{temperature}", key)
        frames += labelled(torn(final, rng), "violent", key)
        frames += labelled(unfinished(final, rng), "fragment", key, open_shell=True)
        if others:
            frames += labelled([pair(final, others[-1], rng)], "pair", key)
        out += frames
        others.append(final)
    return out


MODES_PER_SHARD = 40


def modes_shard(index: int) -> list[Atoms]:
    """Forty more molecules, two conformers each: harmonic thermal samples about force-field minima, some distorted."""
    rng = np.random.default_rng([index, 13])
    out = []
    for k in range(index * MODES_PER_SHARD, (index + 1) * MODES_PER_SHARD):
        mol = molecule("modes", k, (2, 15), (1, 1, 2, 4, 6, 8, 10, 12, 12, 10, 7, 5, 3, 2))
        key = graph_key(mol)
        if in_test(key) and mol.GetNumHeavyAtoms() >= 9:
            continue
        for conformer in range(2):
            full = embed(mol, 7 * k + conformer)
            if full is None or not rdForceFieldHelpers.UFFHasAllMoleculeParams(full):
                break
            base, well = as_atoms(full), Well(full)
            for temperature, count in ((50, 1), (250, 2), (500, 1)):
                frames = [Atoms(base.numbers, well.minimum + x) for x in well.samples(temperature, count, rng)]
                out += labelled(frames, "thermal", key)
            if conformer:
                out += labelled(torn(base, rng)[:1], "violent", key)
                out += labelled(unfinished(base, rng)[:1], "fragment", key, open_shell=True)
    return out


ROTATABLE = Chem.MolFromSmarts("[!#1;!D1;!$(*#*)]-&!@[!#1;!D1;!$(*#*)]")  # between atoms with other neighbours

WIDE_PER_SHARD = 20
WIDE_SIZES = (4, 30)
WIDE_WEIGHTS = (2, 3, 4, 5, 6, 8, 10, 10, 10, 9, 8, 6, 4, *[0.6] * 14)


def wide_shard(index: int) -> list[Atoms]:
    """Twenty molecules of up to 30 heavy atoms, a third of them strange, with few labels each.

    Two Newton steps, with the Hessian of the force field, lead from its minimum towards that of the teacher. Harmonic
    thermal samples about the last geometry follow, one distorted structure, two fragments, and a pair with the molecule
    before.
    """
    rng = np.random.default_rng([index, 14])
    out, other = [], None
    for k in range(index * WIDE_PER_SHARD, (index + 1) * WIDE_PER_SHARD):
        mol = molecule("wide", k, WIDE_SIZES, WIDE_WEIGHTS, strange=0.35)
        key = graph_key(mol)
        full = None if in_test(key) and mol.GetNumHeavyAtoms() >= 9 else embed(mol, k)
        if full is None or not rdForceFieldHelpers.UFFHasAllMoleculeParams(full):
            continue
        well = Well(full)
        x, numbers = well.minimum, as_atoms(full).numbers
        for _ in range(3):
            labels = labelled([Atoms(numbers, x)], "path", key)
            out += labels
            if not labels:
                break
            x = x + well.newton_step(labels[0].arrays["forces"])
        else:
            for temperature in (300, 600):
                frames = [Atoms(numbers, x + d) for d in well.samples(temperature, 1, rng)]
                out += labelled(frames, "thermal", key)
            if len(numbers) <= 40:
                base = Atoms(numbers, x)
                out += labelled([torn(base, rng)[rng.integers(2)]] if len(base) > 2 else [], "violent", key)
                out += labelled(unfinished(base, rng), "fragment", key, open_shell=True)
                if other is not None and len(base) + len(other) <= 40 and rng.random() < 0.4:
                    out += labelled([pair(base, other, rng)], "pair", key)
                other = base
    return out


TURNED_PER_SHARD = 20


def turned(full, rng) -> np.ndarray | None:
    """Positions (atoms, 3) with one rotatable bond at a random angle and the rest relaxed by the force field.

    These structures contain rotational barriers, which samples about minima do not. None without a rotatable bond.
    """
    ends = full.GetSubstructMatches(ROTATABLE)
    if not ends or not rdForceFieldHelpers.MMFFHasAllMoleculeParams(full):
        return None
    b, c = ends[rng.integers(len(ends))]
    a, d = (
        rng.choice([n.GetIdx() for n in full.GetAtomWithIdx(i).GetNeighbors() if n.GetIdx() != j])
        for i, j in ((b, c), (c, b))
    )
    angle = float(rng.uniform(-180, 180))
    field = rdForceFieldHelpers.MMFFGetMoleculeForceField(full, rdForceFieldHelpers.MMFFGetMoleculeProperties(full))
    field.MMFFAddTorsionConstraint(int(a), int(b), int(c), int(d), False, angle, angle, 300.0)
    field.Initialize()
    field.Minimize(maxIts=200)
    return np.array(field.Positions()).reshape(-1, 3)


def turned_shard(index: int) -> list[Atoms]:
    """Twenty molecules with rotated bonds, four angles each, half of them with random displacements."""
    rng = np.random.default_rng([index, 16])
    out = []
    for k in range(index * TURNED_PER_SHARD, (index + 1) * TURNED_PER_SHARD):
        mol = molecule("turned", k, (4, 16), (2, 3, 4, 6, 8, 10, 10, 10, 9, 7, 5, 3, 2))
        key = graph_key(mol)
        full = None if in_test(key) and mol.GetNumHeavyAtoms() >= 9 else embed(mol, k)
        if full is None:
            continue
        numbers = as_atoms(full).numbers
        for number in range(4):
            x = turned(full, rng)
            if x is not None:
                x = x + rng.normal(0, 0.04, x.shape) * (number % 2)
                out += labelled([Atoms(numbers, x)], "turned", key)
    return out


HOT_PER_SHARD = 20


def hot_shard(index: int) -> list[Atoms]:
    """Twenty molecules, ten snapshots each from 1 ps of dynamics by the bundled potential at 1500 K.

    The dynamics visits regions where the potential is too low; molecules that break only there are labelled on their
    path.
    """
    import torch

    from gendesign.dynamics import molecular_dynamics
    from gendesign.potential import load_potential

    torch.set_num_threads(1)
    starts, keys = [], []
    for k in range(index * HOT_PER_SHARD, (index + 1) * HOT_PER_SHARD):
        mol = molecule("hot", k, (5, 16), (2, 4, 6, 8, 10, 10, 10, 9, 7, 5, 3, 2), strange=0.35)
        key = graph_key(mol)
        full = None if in_test(key) and mol.GetNumHeavyAtoms() >= 9 else embed(mol, k)
        if full is not None:
            starts.append(as_atoms(full))
            keys.append(key)
    runs = molecular_dynamics(starts, load_potential("organic"), temperature=1500, timestep=0.5, steps=2000, every=200,
                              seed=index)  # fmt: skip
    out = []
    for key, frames in zip(keys, runs, strict=True):
        out += labelled([Atoms(f.numbers, f.positions) for f in frames[1:]], "hot", key)
    return out


ABUNDANCE = (0.38, 0.33, 0.09, 0.1, 0.05, 0.03, 0.02)  # of ELEMENTS in random builds


def random_build(rng, elements=ELEMENTS, abundance=ABUNDANCE) -> Atoms:
    """2 to 14 atoms, each placed at about the bonding distance of a random earlier one."""
    n = int(rng.integers(2, 15))
    numbers = rng.choice([atomic_numbers[element] for element in elements], n, p=abundance)
    numbers[0] = max(numbers[0], 6)
    positions = np.zeros((1, 3))
    while len(positions) < n:
        k = len(positions)
        to = rng.choice(np.flatnonzero(numbers[:k] > 1))  # hydrogens bind no further atoms
        direction = rng.normal(size=3)
        reach = (covalent_radii[numbers[k]] + covalent_radii[numbers[to]]) * rng.uniform(0.85, 1.25)
        new = positions[to] + reach * direction / np.linalg.norm(direction)
        closest = np.linalg.norm(positions - new, axis=1) / (covalent_radii[numbers[:k]] + covalent_radii[numbers[k]])
        if closest.min() > 0.75:
            positions = np.vstack([positions, new])
    return Atoms(numbers, positions)


def builds_shard(index: int) -> list[Atoms]:
    """A hundred random builds, as an untrained agent makes them."""
    rng = np.random.default_rng([index, 15])
    return labelled([random_build(rng) for _ in range(100)], "build", f"build-{index}", open_shell=True)


def dimer_shard(index: int) -> list[Atoms]:
    """The isolated atoms and the curve of every diatomic molecule from 0.5 Angstrom; only shard 0 is useful."""
    out = labelled([Atoms([e]) for e in ELEMENTS], "atom", "atom", open_shell=True)
    for a, first in enumerate(ELEMENTS):
        for second in ELEMENTS[a:]:
            for r in np.concatenate([np.arange(0.5, 2.4, 0.06), np.arange(2.4, 5.0, 0.2)]):
                frame = Atoms(
                    [first, second], [[0, 0, 0], [0, 0, r]], info={"kind": "dimer", "molecule": first + second}
                )
                answer = gfn2_label(frame, open_shell=True)
                out += [answer] if answer is not None else []
    return out


if __name__ == "__main__":
    kind, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    make = {"train": train_shard, "test": test_shard, "dimer": dimer_shard, "modes": modes_shard}
    make |= {"wide": wide_shard, "builds": builds_shard, "turned": turned_shard, "hot": hot_shard}
    label_shards(
        partial(make[kind]), range(first, last), Path("training") / kind, workers=int(os.environ.get("WORKERS", "2"))
    )

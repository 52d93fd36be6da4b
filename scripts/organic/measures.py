"""What the card of a checkpoint reports, one function per measurement; energies in eV, lengths in Angstrom."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii

from gendesign.dynamics import molecular_dynamics
from gendesign.potential import Potential
from gendesign.relaxation import Relaxation, relax
from gendesign.screening.energetics import aligned_rmsd
from gendesign.structure.bonds import connectivity
from gendesign.train.dataset import Dataset, labels_of
from gendesign.train.fit import errors
from gendesign.train.label import read_frames
from gendesign.train.teacher import gfn2_label

ROOT = Path("training")
HELD_OUT = ("relaxed", "md300", "md600")  # the classes the targets speak of
SHORTEST, CONTACT = 0.5, 0.8  # Angstrom; share of the sum of covalent radii: in between every pair must repel


def test_frames() -> list[Atoms]:
    """The frozen test set, labelled by the teacher."""
    return read_frames(sorted((ROOT / "test").glob("shard-*.extxyz")))


def error_table(potential: Potential, frames: Sequence[Atoms]) -> dict[str, dict[str, float]]:
    """Errors by class, and of the classes of HELD_OUT together under "combined"."""
    table = errors(potential.net, Dataset.from_frames(frames))
    together = Dataset.from_frames([f for f in frames if f.info["kind"] in HELD_OUT])
    together = replace(together, kind=np.full(len(together), "combined"))
    return errors(potential.net, together) | table


def label_counts() -> dict[str, dict[str, int]]:
    """Labels by folder of training/ and by kind, from the frames' headers alone."""
    counts = {}
    for folder in sorted(path for path in ROOT.iterdir() if any(path.glob("shard-*.extxyz"))):
        kinds = Counter(kind for file in folder.glob("shard-*.extxyz") for kind, _ in headers(file))
        counts[folder.name] = dict(sorted(kinds.items()))
    return counts


def shared_molecules() -> tuple[int, int, int]:
    """Different molecules that training has, that the test has, and that both have; their keys are graphs."""
    known: dict[bool, set[str]] = {True: set(), False: set()}
    for file in ROOT.glob("*/shard-*.extxyz"):
        known[file.parent.name == "test"] |= {name for kind, name in headers(file) if kind not in ("atom", "dimer")}
    train, test = known[False] - {""}, known[True]
    return len(train), len(test), len(train & test)


def headers(file: Path) -> list[tuple[str, str]]:
    """(kind, molecule) of every frame of an extxyz file."""
    found = []
    with open(file) as lines:
        for line in lines:
            if line.startswith("Properties=") or " kind=" in line:
                kind, name = (re.search(rf'\b{key}=("[^"]*"|\S+)', line) for key in ("kind", "molecule"))
                found.append((kind[1].strip('"') if kind else "", name[1].strip('"') if name else ""))
    return found


def geometries(potential: Potential, minima: Sequence[Atoms]) -> tuple[list[float], list[bool], list[bool]]:
    """Heavy-atom RMSD from the teacher's minima to those of the potential, bond graph kept, relaxation converged."""
    found = relax([Atoms(a.numbers, a.positions) for a in minima], potential, Relaxation(fmax=0.02, max_steps=500))
    rmsd, kept, converged = [], [], []
    for before, after in zip(minima, found, strict=True):
        heavy = before.numbers > 1
        rmsd.append(aligned_rmsd(before.positions[heavy], after.atoms.positions[heavy]))
        kept.append(connectivity(before) == connectivity(after.atoms))
        converged.append(bool(after.info.get("converged")))
    return rmsd, kept, converged


def explosions(
    potential: Potential,
    structures: Sequence[Atoms],
    *,
    time: float = 2000.0,
    temperature: float = 1000.0,
    timestep: float = 0.5,
) -> list[bool]:
    """Whether each structure came apart in `time` fs of dynamics: a bond at twice its length, or numbers not finite."""
    bare = [Atoms(a.numbers, a.positions) for a in structures]
    bonds = [np.array(sorted(connectivity(a))) for a in bare]
    runs = molecular_dynamics(bare, potential, temperature=temperature, timestep=timestep,
                              steps=round(time / timestep), every=20)  # fmt: skip
    return [_exploded(run, pairs) for run, pairs in zip(runs, bonds, strict=True)]


def _exploded(trajectory: Sequence[Atoms], bonds: np.ndarray) -> bool:
    first, second = bonds.T
    lengths = np.array([np.linalg.norm(a.positions[first] - a.positions[second], axis=-1) for a in trajectory])
    return bool(trajectory[-1].info["exploded"] or not np.isfinite(lengths).all() or (lengths > 2 * lengths[0]).any())


def pairs(potential: Potential) -> list[tuple[str, str]]:
    """Every unordered pair of the potential's elements."""
    return list(combinations_with_replacement(potential.elements, 2))


def dimer(potential: Potential, pair: tuple[str, str], distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Energy relative to the isolated atoms, and force that parts the two atoms, at each of `distances`."""
    found = potential.evaluate([Atoms(pair, [[0, 0, 0], [0, 0, r]]) for r in distances])
    atoms = sum(potential.isolated_energies[symbol] for symbol in pair)
    return found.energy.cpu().numpy() - atoms, found.forces[1::2, 2].cpu().numpy()


def attractive(potential: Potential) -> dict[str, dict]:
    """Pairs whose atoms attract somewhere between SHORTEST and CONTACT times their covalent radii: from, to, and
    whether the teacher's atoms attract there as well (the minimum of N2 or CO lies within that range)."""
    wrong = {}
    for pair in pairs(potential):
        contact = CONTACT * sum(covalent_radii[atomic_numbers[symbol]] for symbol in pair)
        # H-H touches below 0.5 Angstrom already; the shortest distance is asked of it all the same
        distances = np.unique(np.append(np.arange(SHORTEST, contact, 0.01), max(contact, SHORTEST)))
        force = dimer(potential, pair, distances)[1]
        if not (force > 0).all():
            low, high = distances[~(force > 0)][[0, -1]]
            wrong["-".join(pair)] = {"from": round(float(low), 2), "to": round(float(high), 2),
                                     "teacher_too": _teacher_attracts(pair, float(high))}  # fmt: skip
    return wrong


def _teacher_attracts(pair: tuple[str, str], distance: float) -> bool:
    found = gfn2_label(Atoms(pair, [[0, 0, 0], [0, 0, distance]]), open_shell=True)
    return found is not None and bool(labels_of(found)[1][1, 2] < 0)


def teacher_dimers() -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
    """Distance and energy relative to the isolated atoms of every labelled pair, shortest first."""
    frames = read_frames(sorted((ROOT / "dimer").glob("shard-*.extxyz")))
    atom = {str(f.symbols): labels_of(f)[0] for f in frames if f.info["kind"] == "atom"}
    rows: dict[tuple[str, str], list] = {}
    for frame in (f for f in frames if f.info["kind"] == "dimer"):
        symbols = tuple(frame.get_chemical_symbols())
        energy = labels_of(frame)[0] - sum(atom[symbol] for symbol in symbols)
        rows.setdefault(symbols, []).append((frame.get_distance(0, 1), energy))
    return {symbols: tuple(np.array(sorted(found)).T) for symbols, found in rows.items()}


def training_times() -> dict[str, tuple[int, float]]:
    """Steps and hours of every fit under training/; a log starts again at zero seconds when a fit was resumed."""
    found = {}
    for log in sorted(ROOT.glob("fit-*/log.csv")):
        rows = [(int(row["step"]), float(row["seconds"])) for row in csv.DictReader(log.read_text().splitlines())]
        seconds = [s for _, s in rows]
        ends = [s for s, following in zip(seconds, [*seconds[1:], 0.0], strict=True) if following < s]
        found[log.parent.name.removeprefix("fit-")] = rows[-1][0], sum(ends) / 3600
    return found

"""The measurements of the card of a checkpoint, one function each; energies in eV, lengths in Angstrom."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms, units
from rdkit import Chem

from gendesign.potential import Potential
from gendesign.structure.bonds import connectivity
from gendesign.structure.labels import labels_of
from gendesign.train.label import read_frames
from gendesign.train.teacher import label
from gendesign.train.teachers.semiempirical import Tblite, gfn2_label
from gendesign.validation import dimers, dynamics, errors
from gendesign.validation import geometries as minima_tests
from gendesign.validation.methods import Batched, OneByOne, bare
from gendesign.validation.teachers import by_labels
from scripts.organic.molecules import graph_key

ROOT, TRAINED = Path("training"), Path("checkpoints/organic/training.smi")
HELD_OUT = ("relaxed", "md300", "md600")  # classes to which the targets apply
REAL = {name: tuple(f"{name}-{state}" for state in ("relaxed", "300", "600")) for name in ("qm9", "moses")}
SHORTEST = dimers.SHORTEST
SAME_BASIN = 0.3  # Angstrom


def test_frames() -> list[Atoms]:
    """The frozen test set, labelled by the teacher."""
    return read_frames(sorted((ROOT / "test").glob("shard-*.extxyz")))


def real_frames() -> list[Atoms]:
    """The frozen test set of QM9 and MOSES, labelled by the teacher."""
    return read_frames(sorted((ROOT / "real-test").glob("shard-*.extxyz")))


def error_table(potential: Potential, frames: Sequence[Atoms]) -> dict[str, dict[str, float]]:
    """Errors by class, and of the classes of HELD_OUT together as "combined"."""
    table = errors.measure(frames, Batched(potential).evaluate(frames), HELD_OUT)["classes"]
    return {kind: row for kind, row in table.items() if kind != errors.ALL}


def real_errors(potential: Potential, frames: Sequence[Atoms]) -> dict[str, dict[str, float]]:
    """Errors of QM9 and of MOSES, each with minima and thermal structures together."""
    out = {}
    for name, kinds in REAL.items():
        part = [frame for frame in frames if frame.info["kind"] in kinds]
        out[name] = errors.measure(part, Batched(potential).evaluate(part), kinds)["classes"][errors.ALL]
    return out


def real_geometries(potential: Potential, frames: Sequence[Atoms]) -> dict[str, dict[str, float]]:
    """Minima of QM9 and MOSES relaxed with the potential: RMSD, bonds, and the strain that the teacher sees.

    The strain (kcal/mol) is the teacher's energy at the potential's minimum above that of the teacher's own minimum
    next to it; a molecule that left the basin (RMSD above SAME_BASIN) has none.
    """
    out = {}
    for name in REAL:
        minima = [frame for frame in frames if frame.info["kind"] == f"{name}-relaxed"]
        relaxed = Batched(potential).relax([bare(atoms) for atoms in minima], fmax=minima_tests.FMAX, steps=500)
        kept, rmsd, strain = 0, [], []
        for before, after in zip(minima, relaxed, strict=True):
            if after is None:
                rmsd.append(float("inf"))
                continue
            kept += connectivity(before) == connectivity(after.atoms)
            rmsd.append(minima_tests.heavy_rmsd(before, after.atoms))
            answer = gfn2_label(after.atoms) if rmsd[-1] < SAME_BASIN else None
            if answer is not None:
                strain.append((labels_of(answer)[0] - labels_of(before)[0]) * units.mol / units.kcal)
        out[name] = {
            "n": len(minima),
            "graph_kept": kept,
            "median_rmsd": float(np.median(rmsd)),
            "median_strain": float(np.median(strain)),
            "n_strain": len(strain),
        }
    return out


def label_counts() -> dict[str, dict[str, int]]:
    """Numbers of labels by folder of training/ and by kind, read from the headers of the frames."""
    counts = {}
    for folder in sorted(path for path in ROOT.iterdir() if any(path.glob("shard-*.extxyz"))):
        kinds = Counter(kind for file in folder.glob("shard-*.extxyz") for kind, _ in headers(file))
        counts[folder.name] = dict(sorted(kinds.items()))
    return counts


def shared_molecules() -> tuple[int, int, int]:
    """Numbers of different molecules (graphs) in training, in the test set, and in both.

    Labels of earlier parts of the fit may no longer exist; training.smi lists their molecules.
    """
    known: dict[bool, set[str]] = {True: set(), False: set()}
    for file in ROOT.glob("*/shard-*.extxyz"):
        if file.parent.name == "valid":  # neither trained on nor tested
            continue
        names = {name for kind, name in headers(file) if kind not in ("atom", "dimer", "build")}
        known[file.parent.name in ("test", "real-test")] |= names
    named = (Chem.MolFromSmiles(line) for line in TRAINED.read_text().split())
    train, test = known[False] - {""} | {graph_key(mol) for mol in named if mol is not None}, known[True]
    return len(train), len(test), len(train & test)


def headers(file: Path) -> list[tuple[str, str]]:
    """(kind, molecule) of every frame of an extxyz file."""
    rows = []
    with open(file) as lines:
        for line in lines:
            if line.startswith("Properties=") or " kind=" in line:
                kind, name = (re.search(rf'\b{key}=("[^"]*"|\S+)', line) for key in ("kind", "molecule"))
                rows.append((kind[1].strip('"') if kind else "", name[1].strip('"') if name else ""))
    return rows


def geometries(potential: Potential, minima: Sequence[Atoms]) -> tuple[list[float], list[bool], list[bool]]:
    """Heavy-atom RMSD (Angstrom) between minima of teacher and potential, graph conserved, relaxation converged."""
    rows = minima_tests.measure(Batched(potential), [bare(atoms) for atoms in minima])["molecules"]
    rmsd = [float("inf") if row["rmsd"] is None else row["rmsd"] for row in rows]
    return rmsd, [row["graph_kept"] for row in rows], [row["converged"] for row in rows]


def explosions(potential: Potential, structures: Sequence[Atoms], *, time: float = 2000.0) -> list[bool]:
    """Whether each structure broke in `time` fs of dynamics at 1000 K."""
    return [end is not None for end in dynamics.explosions(structures, potential, time=time / 1000)]


def pairs(potential: Potential) -> list[tuple[str, str]]:
    """Every unordered pair of the potential's elements."""
    return dimers.pairs_of(potential.elements)


def dimer(potential: Potential, pair: tuple[str, str], distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Energy relative to the isolated atoms, and repulsive force, at each of `distances`."""
    energy, force = dimers.curve(Batched(potential), pair, distances)
    return energy - sum(potential.isolated_energies[symbol] for symbol in pair), force


def attractive(potential: Potential) -> dict[str, dict]:
    """Pairs that attract at short range; see `gendesign.validation.dimers.attraction`."""
    teacher = OneByOne(by_labels(partial(label, Tblite(open_shell=True))), "GFN2-xTB")
    rows = {"-".join(p): dimers.attraction(Batched(potential), p, teacher) for p in pairs(potential)}
    return {pair: row for pair, row in rows.items() if row}


def teacher_dimers() -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
    """Distances and energies relative to the isolated atoms of every labelled pair, shortest distance first."""
    frames = read_frames(sorted(ROOT.glob("*dimer*/shard-*.extxyz")))
    atom = {str(f.symbols): labels_of(f)[0] for f in frames if f.info["kind"] == "atom"}
    rows: dict[tuple[str, str], list] = {}
    for frame in (f for f in frames if f.info["kind"] == "dimer"):
        symbols = tuple(frame.get_chemical_symbols())
        energy = labels_of(frame)[0] - sum(atom[symbol] for symbol in symbols)
        rows.setdefault(symbols, []).append((frame.get_distance(0, 1), energy))
    return {symbols: tuple(np.array(sorted(points)).T) for symbols, points in rows.items()}


def training_times() -> dict[str, tuple[int, float]]:
    """Steps and hours of every fit under training/. The seconds in a log restart at zero when a fit is resumed."""
    times = {}
    for log in sorted(ROOT.glob("fit-*/log.csv")):
        rows = [(int(row["step"]), float(row["seconds"])) for row in csv.DictReader(log.read_text().splitlines())]
        seconds = [s for _, s in rows]
        ends = [s for s, following in zip(seconds, [*seconds[1:], 0.0], strict=True) if following < s]
        times[log.parent.name.removeprefix("fit-")] = rows[-1][0], sum(ends) / 3600
    return times

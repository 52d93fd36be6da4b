"""Label the training structures of `hoip`, shard by shard; an interrupted run continues at the first missing shard.

    python -m scripts.hoip.label rough small 0 2000   # structure k: relaxation by the rough teacher, labelled
    python -m scripts.hoip.label visited 0 40         # relaxations of eight structures each by `hoip`, roughly labelled
    python -m scripts.hoip.label search-results 0 100 # two crystals of each of 100 searches by `hoip`, for `dft`
    python -m scripts.hoip.label searched 0 60        # all crystals of 60 searches, by the tuned potential
    python -m scripts.hoip.label tuned small 0 700    # structures of these shards again, by the tuned potential
    python -m scripts.hoip.label dft small 0 400      # one geometry of structure k by PBE-D3(BJ); makes missing shards
    python -m scripts.hoip.label dft disagreements 0 160   # the selection of disagreements.py
    python -m scripts.hoip.label again                # labels of `dft` with too few k-points, or possibly metallic
    python -m scripts.hoip.label atoms                # the isolated atoms
A structure has a stream and a number in it (streams.py). `tuned visited K` is shard K of `visited`; `dft searches` 2 K
and 2 K + 1 are the two crystals of search K. Shards are in training/hoip/{rough,visited,search-results,...}. The
environment variable WORKERS (default 1) is the number of processes, each with one thread. gather.py counts and packs
the labels and makes the training files.
"""

import os
import re
import sys
import time
import warnings
from collections.abc import Sequence

os.environ.setdefault("OMP_NUM_THREADS", "1")
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
from ase import Atoms, units  # noqa: E402
from ase.data import ground_state_magnetic_moments  # noqa: E402
from ase.filters import FrechetCellFilter  # noqa: E402
from ase.optimize import FIRE  # noqa: E402

from gendesign.train.label import label_shards, read_frames, write_frames  # noqa: E402
from scripts.hoip.gather import FOLDER, split  # noqa: E402
from scripts.hoip.search_results import all_of_search, crystals_of_search  # noqa: E402
from scripts.hoip.streams import STREAMS, Draw, numbers_of, stream  # noqa: E402
from scripts.hoip.structures import WIDE, apart, rattled, strained, structure  # noqa: E402
from scripts.hoip.teachers import ELECTRONS, ROUGH, TUNED, Failed, Universal, cp2k, usual_density  # noqa: E402

TUNED_WEIGHTS = FOLDER / "tuned.pt"
LONGEST = 24  # largest number of relaxation steps, so that some structures stay far from their minimum
THIN = 3  # every third structure is labelled by the tuned potential, which costs 2.4 times as much as `rough`
EVERY = 3  # every third relaxation step becomes a label
MAX_FORCE = 30.0  # eV/Angstrom, of a label
BY_TUNED = f"{TUNED} tuned to CP2K + D3(BJ)"
VISITED, TOGETHER = STREAMS["visited"].start, 8  # first number; structures that are relaxed in one batch
MOST = 42  # largest number of atoms of a visited structure
SLOW = 17  # SCF steps from which on energies have a systematic error (docs/notebook/hoip-fits.md)
DISAGREEMENTS = FOLDER / "disagreements.extxyz"
BOX = 11.0  # Angstrom, of an isolated atom


def rough_shard(k: int) -> list[Atoms]:
    """`_rough`, or a failure with its reason, so that one structure does not end the run."""
    try:
        return _rough(k)
    except Exception as error:  # neighbour lists and filters raise errors of many types for broken cells
        return [Atoms("H", info={"kind": "none", "stream": k, "failure": f"{type(error).__name__}: {error}"[:200]})]


def _rough(k: int) -> list[Atoms]:
    """The start of structure k, some geometries of its relaxation under pressure, and strained and rattled ones."""
    rng = stream(Draw.ROUGH_RELAXATION, k)
    start = structure(k)
    frames = _labelled(start, "start")
    work = start.copy()
    work.calc = Universal()
    pressure = float(rng.choice([0.0, 0.5, 2.0])) * units.GPa
    optimizer = FIRE(FrechetCellFilter(work, scalar_pressure=pressure), logfile=None, maxstep=0.12)
    steps, path = int(rng.choice([6, LONGEST // 2, LONGEST])), []
    for _ in optimizer.irun(fmax=0.05, steps=steps):
        path.append(work.copy())
        path[-1].calc = None
        path[-1].info["results"] = dict(work.calc.results)
        if len(path) > 1 and not apart(work, 0.35):
            return frames
    for i in range(len(path) - 1, 0, -EVERY):
        frames += _with(path[i], path[i].info.pop("results"), "way")
    last = path[-1]
    last.info.pop("results", None)
    for stage, made in (
        ("rattled", rattled(last, rng)),
        ("strained", strained(last, rng)),
        ("both", rattled(strained(last, rng), rng)),
    ):
        if apart(made, 0.4):
            frames += _labelled(made, stage)
    return frames


def visited_shard(k: int) -> list[Atoms]:
    """Rough labels of geometries from relaxations by the checkpoint, of TOGETHER structures of the stream `visited`.

    Active learning: the training set then contains the structures that a search meets with this potential, including
    its failures. The relaxation is that of a search, under pressure and then without. Geometries on the path, at its
    end and about the end are labelled.
    """
    import torch

    from gendesign.potential import load_potential
    from gendesign.relaxation import Relaxation, relax

    torch.set_num_threads(1)
    rng = stream(Draw.VISITED, k)
    potential = load_potential(os.environ.get("POTENTIAL", "hoip"))
    works = [structure(VISITED + TOGETHER * k + i, MOST) for i in range(TOGETHER)]
    going, frames = list(range(TOGETHER)), []
    for steps, pressure in ((20, 1.0), (60, 1.0), (80, 0.0)):
        settings = Relaxation("precon_lbfgs", 0.01, steps, cell=True, pressure=pressure)
        done = relax([works[i] for i in going], potential, settings)
        for i, candidate in zip(tuple(going), done, strict=True):
            if candidate.failure is not None or not apart(candidate.atoms, 0.3):
                going.remove(i)
                continue
            works[i].cell, works[i].positions = candidate.atoms.cell, candidate.atoms.positions
            frames += _safely(works[i], "visited")
    for i in going:
        for made in (rattled(works[i], rng), strained(works[i], rng, 0.04)):
            if apart(made, 0.4):
                frames += _safely(made, "about")
    return frames


def search_shard(k: int) -> list[Atoms]:
    """Rough labels of the crystals of search k by the checkpoint."""
    return [
        label
        for number, crystal in enumerate(crystals_of_search(k))
        for label in _safely(crystal, crystal.info["stage"], STREAMS["searches"].start + 2 * k + number)
    ]


def searched_shard(k: int) -> list[Atoms]:
    """All crystals of search k by the checkpoint, labelled by the tuned potential."""
    teacher, labelled = Universal(TUNED_WEIGHTS), []
    for crystal in all_of_search(k):
        work = crystal.copy()
        work.calc = teacher
        work.get_forces()
        labelled += _with(crystal, teacher.results, crystal.info["stage"], BY_TUNED)
    return labelled


def tuned_shard(k: int) -> list[Atoms]:
    """Every THIN-th training structure of a shard of `rough` or `visited`, labelled by the tuned potential."""
    folder, number = ("visited", k - VISITED) if k >= VISITED else ("rough", k)
    frames = read_frames([FOLDER / folder / f"shard-{number:05d}.extxyz"])
    labelled = []
    for frame in split([frame for frame in frames if "failure" not in frame.info])["train"][
        :: 1 if k in WIDE else THIN
    ]:
        frame.calc = Universal(TUNED_WEIGHTS)
        frame.get_forces()
        labelled += _with(frame, frame.calc.results, frame.info["stage"], BY_TUNED)
    return labelled


def _safely(atoms: Atoms, stage: str, stream: int | None = None) -> list[Atoms]:
    if stream is not None:
        atoms.info["stream"] = stream
    try:
        return _labelled(atoms, stage)
    except Exception as error:  # as in rough_shard
        return [Atoms("H", info={"kind": "none", "failure": f"{type(error).__name__}: {error}"[:200]})]


def _labelled(atoms: Atoms, stage: str) -> list[Atoms]:
    work = atoms.copy()
    work.calc = Universal()
    work.get_forces()
    return _with(atoms, work.calc.results, stage)


def _with(atoms: Atoms, results: dict, stage: str, teacher: str = f"{ROUGH} + D3(BJ)") -> list[Atoms]:
    """The structure with its label as a list, empty if a force is above MAX_FORCE."""
    if not np.linalg.norm(results["forces"], axis=1).max() < MAX_FORCE:
        return []
    out = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True, info={**atoms.info, "stage": stage})
    out.info.pop("results", None)
    out.set_array("rigid", atoms.arrays["rigid"])
    out.info.update(energy=float(results["energy"]), stress=np.array(results["stress"], dtype=float), teacher=teacher)
    out.arrays["forces"] = np.array(results["forces"], dtype=float)
    return [out]


def dft_shard(k: int) -> list[Atoms]:
    """The label of one geometry of structure k, usually late in its relaxation, and the rough teacher's result."""
    if (chosen := _to_label(k)) is None:
        return []
    began, before = time.time(), os.times()
    try:
        results = cp2k(chosen)
    except Failed as error:
        chosen.calc = None
        chosen.info = {key: chosen.info[key] for key in ("kind", "molecule", "held_out", "stream", "stage")}
        chosen.info["failure"] = str(error)
        return [chosen]
    after = os.times()
    done = _with(chosen, results, chosen.info["stage"], str(results["teacher"]))
    for frame in done:
        answer = chosen.calc.results
        frame.info["rough_energy"], frame.info["rough_stress"] = answer["energy"], np.array(answer["stress"])
        frame.arrays["rough_forces"] = answer["forces"]
        frame.info["cpu_s"] = (
            after.children_user + after.children_system - before.children_user - before.children_system
        )
        frame.info |= {"wall_s": time.time() - began, "scf_steps": results["scf_steps"], "entropy": results["entropy"]}
    return done


def _to_label(k: int) -> Atoms | None:
    """The geometry of structure k for CP2K with the result of the rough teacher; None if its relaxation failed."""
    if k in STREAMS["disagreements"]:
        chosen = next((frame for frame in read_frames([DISAGREEMENTS]) if frame.info["stream"] == k), None)
        if chosen is not None:
            chosen.info = {key: chosen.info[key] for key in ("kind", "molecule", "stream")}
            chosen.info |= {"stage": "disagreement", "held_out": False}
            chosen.set_array(
                "rigid", np.zeros(len(chosen), dtype=int)
            )  # not used again: this structure is not displaced
            chosen.calc = Universal()
            chosen.get_forces()
        return chosen
    search = search_of(k)
    make, folder, number = (rough_shard, "rough", k) if search is None else (search_shard, "search-results", search)
    path = FOLDER / folder / f"shard-{number:05d}.extxyz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_frames(path, make(number))
    frames = [frame for frame in read_frames([path]) if "failure" not in frame.info]
    if search is not None:
        frames = [frame for frame in frames if frame.info["stream"] == k]
    if not frames:
        return None
    rng = stream(Draw.LABELLED_GEOMETRY, k)
    share = np.array([{"start": 0.5, "way": 1.0}.get(frame.info["stage"], 2.0) for frame in frames])
    return frames[int(rng.choice(len(frames), p=share / share.sum()))]


def search_of(k: int) -> int | None:
    """The number of the search that made structure k, None for other structures."""
    searches = STREAMS["searches"]
    return (k - searches.start) // 2 if k in searches else None


def again() -> None:
    """Repeat labels of `dft` that may be wrong, at the same geometry.

    These are labels with fewer k-points than `usual_density`, and labels whose SCF converged slowly and that do not
    hold an entropy, which shows whether they are metallic.
    """
    for path in sorted((FOLDER / "dft").glob("shard-*.extxyz")):
        old = next(iter(read_frames([path])), None)
        if old is None or "failure" in old.info:
            continue
        few = float(re.search(r"k ([\d.]+)/", old.info["teacher"])[1]) < usual_density(old)
        if not few and (old.info["scf_steps"] < SLOW or "entropy" in old.info):
            continue
        results = cp2k(old)
        for frame in _with(old, results, old.info["stage"], str(results["teacher"])):
            frame.arrays["rough_forces"] = old.arrays["rough_forces"]
            frame.info |= {"scf_steps": results["scf_steps"], "entropy": results["entropy"]}
            write_frames(path, [frame])
            moved = 1000 * (results["energy"] - old.get_potential_energy()) / len(old)
            change = f"moved by {moved:.1f} meV/atom, entropy {1000 * results['entropy']:.2f} meV"
            print(f"{path.name}: {old.get_chemical_formula()} {change}", flush=True)


def atom_shard(index: int) -> list[Atoms]:
    """One isolated atom with its spin by Hund's rule."""
    symbol = sorted(ELECTRONS)[index]
    atoms = Atoms([symbol], cell=[BOX] * 3, pbc=True)
    unpaired = int(ground_state_magnetic_moments[atoms.numbers[0]])
    try:
        results = cp2k(atoms, density=0.1, unpaired=unpaired)
    except Failed as error:
        return [Atoms([symbol], info={"kind": "atom", "failure": str(error)})]
    out = Atoms([symbol], info={"kind": "atom", "energy": results["energy"], "teacher": results["teacher"]})
    out.arrays["forces"] = np.zeros((1, 3))
    return [out]


MAKERS = {
    "rough": rough_shard,
    "visited": visited_shard,
    "search-results": search_shard,
    "searched": searched_shard,
    "tuned": tuned_shard,
    "dft": dft_shard,
    "atoms": atom_shard,
}
BY_STREAM = ("rough", "tuned", "dft")


def main(what: str = "", *words: str) -> None:
    """Make the missing ones of the requested shards."""
    if what == "again" and not words:
        return again()
    indices = requested_shards(what, words)
    workers = int(os.environ.get("WORKERS", "1"))
    if what == "dft" and workers > 1:  # made first, because two workers would otherwise run the same search
        searches = sorted({search_of(k) for k in indices} - {None})
        label_shards(search_shard, searches, FOLDER / "search-results", workers)
    label_shards(MAKERS[what], indices, FOLDER / what, workers)


def requested_shards(what: str, words: Sequence[str]) -> range:
    """The shards that the command line names. Exits with a one-line message for invalid words."""
    if what == "atoms" and not words:
        return range(len(ELECTRONS))
    if what in BY_STREAM and len(words) == 3:
        try:
            return numbers_of(*words)
        except ValueError as error:
            sys.exit(f"label {what} {error}")
    plain = set(MAKERS) - {"atoms", *BY_STREAM}
    if what in plain and len(words) == 2 and all(word.isdecimal() for word in words):
        return range(*map(int, words))
    sys.exit(
        f"{' '.join(('label', what, *words)).rstrip()}: give {', '.join(sorted(plain))} with the first and the end, "
        f"such as visited 0 40; {', '.join(BY_STREAM)} with a stream too, such as dft small 0 400; or atoms, or again"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

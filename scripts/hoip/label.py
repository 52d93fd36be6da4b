"""Label the structures from which `hoip` learns, shard by shard; an interrupted run starts at the first missing one.

    python -m scripts.hoip.label rough small 0 2000   # structure k: relaxation by the rough teacher, labelled
    python -m scripts.hoip.label visited 0 40         # relaxations of eight structures each by `hoip`, roughly labelled
    python -m scripts.hoip.label search-results 0 100 # two crystals of each of so many searches by `hoip`, for `dft`
    python -m scripts.hoip.label searched 0 60        # all crystals of so many searches, by the finetuned potential
    python -m scripts.hoip.label tuned small 0 700    # structures of those shards again, by the finetuned potential
    python -m scripts.hoip.label dft small 0 400      # one geometry of structure k by PBE-D3(BJ); makes what it needs
    python -m scripts.hoip.label dft disagreements 0 160   # what disagreements.py chose
    python -m scripts.hoip.label again                # labels of `dft` with too few k-points, or perhaps metallic
    python -m scripts.hoip.label atoms                # the isolated atoms
Structures have a stream and a number in it (streams.py); `tuned visited K` is shard K of `visited`, and `dft searches`
2 K and 2 K + 1 are the two crystals of search K. Shards are in training/hoip/{rough,visited,search-results,...}.
WORKERS (1) processes, each with one thread. gather.py counts the labels, packs them and makes training files of them.
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
LONGEST = 24  # steps of the relaxation, all of which cost the same: some structures are left far from their minimum
THIN = 3  # of labels by the tuned potential, each of which costs 2.4 times one of `rough`
EVERY = 3  # of these steps one is a label
MAX_FORCE = 30.0  # eV/Angstrom
BY_TUNED = f"{TUNED} tuned to CP2K + D3(BJ)"
VISITED, TOGETHER = STREAMS["visited"].start, 8  # so many of these are relaxed in a batch
MOST = 42  # atoms of these
SLOW = 17  # steps of a field; from about there on energies are off on one side (README.md)
DISAGREEMENTS = FOLDER / "disagreements.extxyz"
BOX = 11.0  # Angstrom, of an isolated atom


def rough_shard(k: int) -> list[Atoms]:
    """`_rough`, or the reason why there is none: one structure must not end the run."""
    try:
        return _rough(k)
    except Exception as error:  # neighbour lists and filters raise whatever a torn cell makes them stumble over
        return [Atoms("H", info={"kind": "none", "stream": k, "failure": f"{type(error).__name__}: {error}"[:200]})]


def _rough(k: int) -> list[Atoms]:
    """The start of structure k, some geometries of its relaxation under pressure, and strained and rattled ones."""
    rng = stream(Draw.ROUGH_RELAXATION, k)
    start = structure(k)
    frames = _labelled(start, "start")
    work = start.copy()
    work.calc = Universal()
    pressure = float(rng.choice([0.0, 0.5, 2.0])) * units.GPa
    search = FIRE(FrechetCellFilter(work, scalar_pressure=pressure), logfile=None, maxstep=0.12)
    steps, way = int(rng.choice([6, LONGEST // 2, LONGEST])), []
    for _ in search.irun(fmax=0.05, steps=steps):
        way.append(work.copy())
        way[-1].calc = None
        way[-1].info["results"] = dict(work.calc.results)
        if len(way) > 1 and not apart(work, 0.35):
            return frames
    for i in range(len(way) - 1, 0, -EVERY):
        frames += _with(way[i], way[i].info.pop("results"), "way")
    last = way[-1]
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
    """Where relaxations by the checkpoint lead, of TOGETHER structures from 100,000 + TOGETHER k on, roughly labelled.

    Active learning: what the search meets under its own potential, its failures among it, is learned. Relaxed as the
    search does it: under pressure, then without, and labelled on the way, at its end and about that.
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
        for i, one in zip(tuple(going), done, strict=True):
            if one.failure is not None or not apart(one.atoms, 0.3):
                going.remove(i)
                continue
            works[i].cell, works[i].positions = one.atoms.cell, one.atoms.positions
            frames += _safely(works[i], "visited")
    for i in going:
        for made in (rattled(works[i], rng), strained(works[i], rng, 0.04)):
            if apart(made, 0.4):
                frames += _safely(made, "about")
    return frames


def search_shard(k: int) -> list[Atoms]:
    """The crystals of search k by the checkpoint, roughly labelled."""
    return [
        label
        for number, one in enumerate(crystals_of_search(k))
        for label in _safely(one, one.info["stage"], STREAMS["searches"].start + 2 * k + number)
    ]


def searched_shard(k: int) -> list[Atoms]:
    """All that search k by the checkpoint leaves, labelled by the tuned potential."""
    teacher, labelled = Universal(TUNED_WEIGHTS), []
    for one in all_of_search(k):
        work = one.copy()
        work.calc = teacher
        work.get_forces()
        labelled += _with(one, teacher.results, one.info["stage"], BY_TUNED)
    return labelled


def tuned_shard(k: int) -> list[Atoms]:
    """Every THIN-th structure to train on of a shard of `rough` or `visited`, labelled by the tuned potential."""
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
    """The structure with its label, or none where a force is beyond MAX_FORCE."""
    if not np.linalg.norm(results["forces"], axis=1).max() < MAX_FORCE:
        return []
    out = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True, info={**atoms.info, "stage": stage})
    out.info.pop("results", None)
    out.set_array("rigid", atoms.arrays["rigid"])
    out.info.update(energy=float(results["energy"]), stress=np.array(results["stress"], dtype=float), teacher=teacher)
    out.arrays["forces"] = np.array(results["forces"], dtype=float)
    return [out]


def dft_shard(k: int) -> list[Atoms]:
    """The label of structure k: of one geometry, mostly a late one; the rough teacher's answer stands beside it."""
    if (chosen := _to_label(k)) is None:
        return []
    began, held = time.time(), os.times()
    try:
        results = cp2k(chosen)
    except Failed as error:
        chosen.calc = None
        chosen.info = {key: chosen.info[key] for key in ("kind", "molecule", "held_out", "stream", "stage")}
        chosen.info["failure"] = str(error)
        return [chosen]
    spent = os.times()
    done = _with(chosen, results, chosen.info["stage"], str(results["teacher"]))
    for frame in done:
        answer = chosen.calc.results
        frame.info["rough_energy"], frame.info["rough_stress"] = answer["energy"], np.array(answer["stress"])
        frame.arrays["rough_forces"] = answer["forces"]
        frame.info["cpu_s"] = spent.children_user + spent.children_system - held.children_user - held.children_system
        frame.info |= {"wall_s": time.time() - began, "scf_steps": results["scf_steps"], "entropy": results["entropy"]}
    return done


def _to_label(k: int) -> Atoms | None:
    """The geometry of structure k for CP2K with the rough teacher's answer, or None where none came of it."""
    if k in STREAMS["disagreements"]:
        chosen = next((frame for frame in read_frames([DISAGREEMENTS]) if frame.info["stream"] == k), None)
        if chosen is not None:
            chosen.info = {key: chosen.info[key] for key in ("kind", "molecule", "stream")}
            chosen.info |= {"stage": "disagreement", "held_out": False}
            chosen.set_array("rigid", np.zeros(len(chosen), dtype=int))  # nothing here is moved any more
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
    """The search, two of whose crystals are structures, to which structure k belongs, if it is of one."""
    searches = STREAMS["searches"]
    return (k - searches.start) // 2 if k in searches else None


def again() -> None:
    """Labels of `dft` that may be wrong are made again, at the same geometry.

    Those with fewer k-points than usual_density has, and those whose field was slow to converge and that do not say
    yet whether they are metallic.
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
            said = f"moved by {moved:.1f} meV/atom, entropy {1000 * results['entropy']:.2f} meV"
            print(f"{path.name}: {old.get_chemical_formula()} {said}", flush=True)


def atom_shard(index: int) -> list[Atoms]:
    """One isolated atom with the spin of Hund's rule."""
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
OF_STREAMS = ("rough", "tuned", "dft")


def main(what: str = "", *words: str) -> None:
    """Makes the missing ones of the shards asked for."""
    if what == "again" and not words:
        return again()
    indices = asked_for(what, words)
    workers = int(os.environ.get("WORKERS", "1"))
    if what == "dft" and workers > 1:  # two of these are of one search, which two workers would make
        searches = sorted({search_of(k) for k in indices} - {None})
        label_shards(search_shard, searches, FOLDER / "search-results", workers)
    label_shards(MAKERS[what], indices, FOLDER / what, workers)


def asked_for(what: str, words: Sequence[str]) -> range:
    """The shards that the command line names; it ends with one line where it names none."""
    if what == "atoms" and not words:
        return range(len(ELECTRONS))
    if what in OF_STREAMS and len(words) == 3:
        try:
            return numbers_of(*words)
        except ValueError as error:
            sys.exit(f"label {what} {error}")
    plain = set(MAKERS) - {"atoms", *OF_STREAMS}
    if what in plain and len(words) == 2 and all(word.isdecimal() for word in words):
        return range(*map(int, words))
    sys.exit(
        f"{' '.join(('label', what, *words)).rstrip()}: give {', '.join(sorted(plain))} with the first and the end, "
        f"such as visited 0 40; {', '.join(OF_STREAMS)} with a stream too, such as dft small 0 400; or atoms, or again"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

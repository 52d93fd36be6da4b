"""Gather, count and pack the labels of label.py and relaxation_paths.py for gendesign train.

python -m scripts.hoip.gather          # training/hoip/{rough,tuned,dft}-{train,test,fresh}.extxyz, rough-replay
python -m scripts.hoip.gather count    # numbers of labels by class
python -m scripts.hoip.gather pack     # write the labels of `dft` to dft.extxyz.gz in this folder
python -m scripts.hoip.gather unpack   # restore them from it, so that `label.py dft` makes only the missing ones
"""

import gzip
import sys
from collections import Counter
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from gendesign.train.label import read_frames, write_frames
from scripts.hoip.cations import FRESH
from scripts.hoip.teachers import METALLIC

FOLDER = Path("training/hoip")
PACKED = Path(__file__).with_name("dft.extxyz.gz")  # each label took a minute of a core
COUNTED = {"search": 3, "shaken": 3}  # repetitions: few labels, but important for the ranking in searches


def frames_of(what: str) -> list[Atoms]:
    """All labels of the folder `what` without failures."""
    frames = read_frames(sorted((FOLDER / what).glob("shard-*.extxyz")))
    return [frame for frame in frames if "failure" not in frame.info]


def split(frames: list[Atoms]) -> dict[str, list[Atoms]]:
    """Split into train, test (cations of HELD_OUT), fresh (of FRESH, used only after the weights are chosen) and
    metallic.

    Metallic crystals are excluded from training, because a potential of ions cannot represent their energies.
    """
    sets: dict[str, list[Atoms]] = {"train": [], "test": [], "fresh": [], "metallic": []}
    for frame in frames:
        fresh = frame.info["molecule"] in FRESH
        name = "fresh" if fresh else "test" if frame.info["held_out"] else "train"
        sets["metallic" if name == "train" and frame.info.get("entropy", 0.0) < METALLIC else name].append(frame)
    return sets


def moved_to_dft(rough: list[Atoms], dft: list[Atoms]) -> list[Atoms]:
    """Rough labels with energies comparable to those of `dft`, shifted by a fitted energy of every element.

    They are replayed in a fit to the few labels of `dft`.
    """
    numbers = sorted({int(z) for frame in [*rough, *dft] for z in frame.numbers})

    def counts(frames: list[Atoms]) -> np.ndarray:
        return np.array([[np.count_nonzero(frame.numbers == z) for z in numbers] for frame in frames], dtype=float)

    paired = [frame for frame in dft if "rough_energy" in frame.info]
    apart = np.array([frame.get_potential_energy() - frame.info["rough_energy"] for frame in paired])
    share = np.linalg.lstsq(counts(paired), apart, rcond=None)[0]
    moved = []
    for frame, move in zip(rough, counts(rough) @ share, strict=True):
        results = dict(frame.calc.results)
        out = frame.copy()
        out.calc = SinglePointCalculator(out, **{**results, "energy": results["energy"] + float(move)})
        moved.append(out)
    return moved


def gather() -> None:
    """Write the training and test files."""
    trained = split([frame for folder in ("rough", "visited") for frame in frames_of(folder)])["train"]
    taught = split(frames_of("dft"))["train"]
    if taught and trained:
        replay = moved_to_dft(trained, taught)
        for frame in replay:
            frame.arrays.pop("rigid", None)
        ase.io.write(FOLDER / "rough-replay.extxyz", replay, format="extxyz")
    for what, folders in (
        ("rough", ("rough", "visited")),
        ("tuned", ("tuned", "paths", "searched")),
        ("dft", ("dft",)),
    ):
        frames = [frame for folder in folders for frame in frames_of(folder)]
        sets = split([frame for frame in frames for _ in range(COUNTED.get(frame.info.get("stage"), 1))])
        if what != "rough" and sets["train"]:
            sets["train"] = frames_of("atoms") + sets["train"]
        for name, chosen in sets.items():
            if chosen:
                for frame in chosen:
                    for key in ("rough_forces", "rigid"):
                        frame.arrays.pop(key, None)
                ase.io.write(FOLDER / f"{what}-{name}.extxyz", chosen, format="extxyz")
                print(f"{FOLDER}/{what}-{name}.extxyz: {len(chosen)} structures")


def count() -> None:
    """Print the numbers of labels by folder and class."""
    for what in ("rough", "visited", "search-results", "searched", "tuned", "paths", "dft", "atoms"):
        paths = sorted((FOLDER / what).glob("shard-*.extxyz"))
        frames = read_frames(paths)
        good = [frame for frame in frames if "failure" not in frame.info]
        table = Counter((f.info["kind"], bool(f.info.get("held_out"))) for f in good)
        print(f"{what}: {len(paths)} shards, {len(good)} labels, {len(frames) - len(good)} failures")
        for kind in sorted({kind for kind, _ in table}):
            print(f"  {kind:16s} {table[kind, False]:5d} trained {table[kind, True]:5d} held out")
        if what == "dft" and good:
            for low, high in ((0, 15), (15, 30), (30, 45), (45, 80)):
                cpu = [f.info["cpu_s"] for f in good if low <= len(f) < high]
                if cpu:
                    print(f"  {low}-{high} atoms: {len(cpu)} labels, {np.mean(cpu):.0f} s of one core each")


def pack() -> None:
    """Write all labels of `dft`, including failures, to one file; deterministic."""
    paths = sorted((FOLDER / "dft").glob("shard-*.extxyz"))
    text = "".join(path.read_text() for path in paths)
    PACKED.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(f"{PACKED.name}: {len(paths)} structures, {PACKED.stat().st_size / 1024:.0f} KiB")


def unpack() -> None:
    """Restore missing shards of `dft` from that file."""
    with gzip.open(PACKED, "rt") as handle:
        frames = ase.io.read(handle, ":", format="extxyz")
    (FOLDER / "dft").mkdir(parents=True, exist_ok=True)
    made = 0
    for frame in frames:
        path = FOLDER / "dft" / f"shard-{frame.info['stream']:05d}.extxyz"
        if not path.exists():
            write_frames(path, [frame])
            made += 1
    print(f"{FOLDER / 'dft'}: {made} of {len(frames)} shards written")


COMMANDS = {"count": count, "pack": pack, "unpack": unpack}

if __name__ == "__main__":
    words = sys.argv[1:]
    if words and (len(words) > 1 or words[0] not in COMMANDS):
        sys.exit(f"gather.py {' '.join(words)}: give count, pack, unpack or nothing")
    (COMMANDS[words[0]] if words else gather)()

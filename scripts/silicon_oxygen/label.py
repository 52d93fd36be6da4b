"""Label the structures by DIEP (MatPES r2SCAN): energies, forces and stresses.

    python -m scripts.silicon_oxygen.label [KIND ...]       # one process, resumable, shard by shard
    python -m scripts.silicon_oxygen.label count            # labels and dropped structures by kind
Reads training/silox/structures, writes training/silox/labels. Dropped, with the reason in info["failure"]: structures
with forces above MAX_FORCE, and force spikes, which are forces that a copy moved by 0.01 Angstrom does not have.
"""

import sys
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read

from gendesign.potential import load_potential
from gendesign.potential.protocol import PotentialLike
from gendesign.train.label import label_shards, read_frames
from scripts.silicon_oxygen.structures import KINDS, ROOT, STRUCTURES

TEACHER, DTYPE = "diep", "float64"
LABELS = ROOT / "labels"
MAX_FORCE = 60.0  # eV/Angstrom; beyond it the pair repulsion of the network decides
SUSPICIOUS, MOVED, RATIO = 8.0, 0.01, 1.5  # eV/Angstrom, Angstrom, force over force of the moved copies
BATCH = 128  # atoms evaluated at once
NAME = "DIEP 2.0 diep_fold1 (MatPES r2SCAN)"


def label(potential: PotentialLike, structures: Path, index: int) -> list[Atoms]:
    """The structures of a shard with labels, or with a reason why they have none."""
    frames = read(structures / f"shard-{index:05d}.extxyz", index=":")
    batch = max(1, BATCH // max(map(len, frames)))
    return [out for k in range(0, len(frames), batch) for out in labelled(potential, frames[k : k + batch])]


def labelled(potential: PotentialLike, frames: list[Atoms]) -> list[Atoms]:
    """Copies of `frames` with info["energy"] (eV), arrays["forces"] and info["stress"], or info["failure"]."""
    prediction = potential.evaluate(frames, stress=True)
    forces = np.split(prediction.forces.double().cpu().numpy(), np.cumsum([len(f) for f in frames])[:-1])
    out = []
    for k, (frame, force) in enumerate(zip(frames, forces, strict=True)):
        answer = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc, info=dict(frame.info))
        reason = fault(potential, answer, force)
        if reason:
            answer.info["failure"] = reason
        else:
            answer.info |= {"energy": float(prediction.energy[k]), "teacher": NAME}
            answer.info["stress"] = prediction.stress[k].double().cpu().numpy()
            answer.arrays["forces"] = force
        out.append(answer)
    return out


def fault(potential: PotentialLike, frame: Atoms, forces: np.ndarray, copies: int = 2) -> str:
    """Why a label is not used, or "".

    A force is a spike if every one of `copies` moved at random has a largest force that is RATIO times smaller.
    """
    largest = float(np.linalg.norm(forces, axis=1).max())
    if not np.isfinite(forces).all() or largest > MAX_FORCE:
        return f"force of {largest:.0f} eV/Angstrom"
    if largest < SUSPICIOUS:
        return ""
    rng = np.random.default_rng(len(frame))
    moved = []
    for _ in range(copies):
        copy = frame.copy()
        copy.positions += rng.normal(0, MOVED, copy.positions.shape)
        moved.append(copy)
    others = potential.evaluate(moved).forces.norm(dim=1).view(copies, -1).amax(1)
    return "force spike" if largest > RATIO * float(others.max()) else ""


def main(*kinds: str) -> None:
    """Label the kinds, all by default."""
    potential = load_potential(TEACHER, device="cpu", dtype=DTYPE)
    rounds = sorted(path.name for path in STRUCTURES.glob("round-*"))
    for kind in kinds or [*KINDS, *rounds]:
        folder = STRUCTURES / kind
        indices = [int(path.stem.removeprefix("shard-")) for path in sorted(folder.glob("shard-*.extxyz"))]
        label_shards(partial(label, potential, folder), indices, LABELS / kind, workers=1)


def count() -> None:
    """Print how many structures of each class have a label, and why others have none."""
    frames = read_frames(sorted(LABELS.glob("*/shard-*.extxyz")))
    good = Counter(frame.info["kind"] for frame in frames if "failure" not in frame.info)
    bad = Counter((frame.info["kind"], frame.info["failure"].split(" of ")[0]) for frame in frames
                  if "failure" in frame.info)  # fmt: skip
    for kind, number in sorted(good.items()):
        dropped = ", ".join(f"{n} {reason}" for (of, reason), n in sorted(bad.items()) if of == kind)
        print(f"{kind:20s} {number:5d}  {dropped}")
    print(f"{'all':20s} {sum(good.values()):5d}  {sum(bad.values())} dropped")


if __name__ == "__main__":
    count() if sys.argv[1:] == ["count"] else main(*sys.argv[1:])

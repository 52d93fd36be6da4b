"""Cations about which the fits and their teacher disagree most, for CP2K to label: training/hoip/disagreements.extxyz.

    python -m scripts.hoip.disagreements FIT FIT ...   # checkpoint folders, such as training/hoip/dft-0

Active learning by committee: how far the mean of the fits is from the tuned potential, and the fits from each other,
in energy per atom, on every fifth of its labels of small quiet salts and pairs, which cost CP2K less than layers do. A
part of what is off is the same in all crystals of a cation (README.md), so it is one crystal of each that has not been
labelled for this reason before, the worst first; numbers continue from those that have. The command printed last
labels the first 160.
"""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

warnings.filterwarnings("ignore")

import ase.io  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from ase import Atoms  # noqa: E402

from gendesign.potential import load_potential  # noqa: E402
from gendesign.train.dataset import Dataset  # noqa: E402
from gendesign.train.label import read_frames, write_frames  # noqa: E402
from gendesign.train.loss import deviations  # noqa: E402
from scripts.hoip.gather import FOLDER  # noqa: E402
from scripts.hoip.label import DISAGREEMENTS  # noqa: E402
from scripts.hoip.streams import STREAMS  # noqa: E402

FIRST = STREAMS["disagreements"].start
EVERY, KINDS = 5, ("salt", "pair")
MOST, VOLUME, QUIET = 24, 420.0, 2.5  # atoms; Angstrom^3, by which CP2K costs; eV/Angstrom of the largest force


def disagreement(frames: Sequence[Atoms], fits: Sequence[str]) -> np.ndarray:
    """Error of the mean of the fits plus the range of the fits (frames,), eV/atom, for the energy of each frame."""
    data = Dataset.from_frames(frames)
    by_fit = []
    for fit in fits:
        errors = deviations(load_potential(fit, device="cpu").net, data, batch_size=16)
        by_fit.append([float(errors[i]["energy"][0]) for i in range(len(frames))])
    return np.abs(np.mean(by_fit, axis=0)) + np.ptp(by_fit, axis=0)


def one_of_each(frames: Sequence[Atoms], disagreements: np.ndarray) -> list[Atoms]:
    """The frame of each cation with the largest disagreement, the worst first."""
    chosen: dict[str, Atoms] = {}
    for i in np.argsort(-disagreements, kind="stable"):
        chosen.setdefault(frames[i].info["molecule"], frames[i])
    return list(chosen.values())


def numbered(frames: Sequence[Atoms], asked: Sequence[Path]) -> list[Atoms]:
    """Those of cations that no shard `asked` has, with the numbers (info `stream`) that follow these."""
    known = {frame.info["molecule"] for frame in read_frames(asked)}
    new = [frame for frame in frames if frame.info["molecule"] not in known]
    first = 1 + max((int(path.stem.removeprefix("shard-")) for path in asked), default=FIRST - 1)
    for k, frame in enumerate(new, first):
        frame.info["stream"] = k
    return new


def main(fits: Sequence[str]) -> None:
    torch.set_num_threads(1)
    labelled = ase.io.read(FOLDER / "tuned-train.extxyz", ":")[::EVERY]
    small = [f for f in labelled if f.info["kind"] in KINDS and len(f) <= MOST and f.get_volume() <= VOLUME]
    quiet = [f for f in small if np.linalg.norm(f.get_forces(), axis=1).max() < QUIET]
    asked = [path for path in sorted((FOLDER / "dft").glob("shard-*.extxyz")) if path.stem >= f"shard-{FIRST}"]
    chosen = numbered(one_of_each(quiet, disagreement(quiet, fits)), asked)
    write_frames(DISAGREEMENTS, chosen)
    print(f"{DISAGREEMENTS}: {len(chosen)} crystals of {len(quiet)}")
    if chosen:
        first = chosen[0].info["stream"] - FIRST
        print(f"python -m scripts.hoip.label dft disagreements {first} {first + min(160, len(chosen))}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1:])

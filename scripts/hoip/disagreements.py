"""Select the cations for which the fits and their teacher disagree most, for labels by CP2K.

    python -m scripts.hoip.disagreements FIT FIT ...   # checkpoint folders, such as training/hoip/dft-0

Writes training/hoip/disagreements.extxyz. The criterion is that of active learning by committee: the energy difference
per atom between the mean of the fits and the tuned potential, plus the range of the fits. It is evaluated for every
fifth label of small salts and pairs with small forces, which are cheaper for CP2K than layers. A part of the error is
common to all crystals of a cation (docs/notebook/hoip-fits.md). The selection therefore holds one crystal of each
cation that was not selected before, in descending order of disagreement. The printed command labels the first 160.
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

from gendesign.potential import load_mace  # noqa: E402
from gendesign.train.dataset import Dataset  # noqa: E402
from gendesign.train.label import read_frames, write_frames  # noqa: E402
from gendesign.train.loss import deviations  # noqa: E402
from scripts.hoip.gather import FOLDER  # noqa: E402
from scripts.hoip.label import DISAGREEMENTS  # noqa: E402
from scripts.hoip.streams import STREAMS  # noqa: E402

FIRST = STREAMS["disagreements"].start
EVERY, KINDS = 5, ("salt", "pair")
MOST, VOLUME, QUIET = 24, 420.0, 2.5  # largest number of atoms, volume (Angstrom^3) and force (eV/Angstrom)


def disagreement(frames: Sequence[Atoms], fits: Sequence[str]) -> np.ndarray:
    """Energy error of the mean of the fits plus the range of the fits (frames,), in eV/atom."""
    data = Dataset.from_frames(frames)
    by_fit = []
    for fit in fits:
        errors = deviations(load_mace(fit, device="cpu").net, data, batch_size=16)
        by_fit.append([float(errors[i]["energy"][0]) for i in range(len(frames))])
    return np.abs(np.mean(by_fit, axis=0)) + np.ptp(by_fit, axis=0)


def one_of_each(frames: Sequence[Atoms], disagreements: np.ndarray) -> list[Atoms]:
    """The frame of largest disagreement for each cation, in descending order of disagreement."""
    chosen: dict[str, Atoms] = {}
    for i in np.argsort(-disagreements, kind="stable"):
        chosen.setdefault(frames[i].info["molecule"], frames[i])
    return list(chosen.values())


def numbered(frames: Sequence[Atoms], labelled: Sequence[Path]) -> list[Atoms]:
    """Frames of cations that are not in the shards `labelled`, with the next free numbers as info `stream`."""
    known = {frame.info["molecule"] for frame in read_frames(labelled)}
    new = [frame for frame in frames if frame.info["molecule"] not in known]
    first = 1 + max((int(path.stem.removeprefix("shard-")) for path in labelled), default=FIRST - 1)
    for k, frame in enumerate(new, first):
        frame.info["stream"] = k
    return new


def main(fits: Sequence[str]) -> None:
    """Write the selection and print the command that labels it."""
    torch.set_num_threads(1)
    labelled = ase.io.read(FOLDER / "tuned-train.extxyz", ":")[::EVERY]
    small = [f for f in labelled if f.info["kind"] in KINDS and len(f) <= MOST and f.get_volume() <= VOLUME]
    quiet = [f for f in small if np.linalg.norm(f.get_forces(), axis=1).max() < QUIET]
    done = [path for path in sorted((FOLDER / "dft").glob("shard-*.extxyz")) if path.stem >= f"shard-{FIRST}"]
    chosen = numbered(one_of_each(quiet, disagreement(quiet, fits)), done)
    write_frames(DISAGREEMENTS, chosen)
    print(f"{DISAGREEMENTS}: {len(chosen)} crystals of {len(quiet)}")
    if chosen:
        first = chosen[0].info["stream"] - FIRST
        print(f"python -m scripts.hoip.label dft disagreements {first} {first + min(160, len(chosen))}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1:])

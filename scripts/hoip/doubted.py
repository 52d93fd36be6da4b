"""Cations about which the fits and their teacher disagree most: training/hoip/doubted.extxyz, which CP2K is to label.

    python scripts/hoip/doubted.py FIT FIT ...      # checkpoint folders, such as training/hoip/dft-0 training/hoip/dft-1

Active learning by committee: how far the mean of the fits is from the tuned potential, and the fits from each other,
in energy per atom, on every FIFTH of its labels of small quiet salts and pairs. What is off is mostly the same in all
crystals of a cation, and in these it costs a fifth of what it does in a layer. One crystal of each cation, the worst
first; `label.py dft 500000 500160` labels the first 160.
"""

import sys
import warnings
from collections.abc import Sequence

warnings.filterwarnings("ignore")

import ase.io  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from ase import Atoms  # noqa: E402
from label import DOUBTED_FILE, FOLDER  # noqa: E402

from gendesign.potential import load_potential  # noqa: E402
from gendesign.train.dataset import Dataset  # noqa: E402
from gendesign.train.label import write_frames  # noqa: E402
from gendesign.train.loss import deviations  # noqa: E402

FIFTH, KINDS = 5, ("salt", "pair")
MOST, VOLUME, QUIET = 24, 420.0, 2.5  # atoms; Angstrom^3, by which CP2K costs; eV/Angstrom of the largest force


def doubts(frames: Sequence[Atoms], fits: Sequence[str]) -> np.ndarray:
    """Doubt about the energy of each labelled frame (eV/atom): of the fits' mean and the label, and among the fits."""
    data = Dataset.from_frames(frames)
    by_fit = []
    for fit in fits:
        found = deviations(load_potential(fit, device="cpu").net, data, batch_size=16)
        by_fit.append([float(found[i]["energy"][0]) for i in range(len(frames))])
    return np.abs(np.mean(by_fit, axis=0)) + np.ptp(by_fit, axis=0)


def one_of_each(frames: Sequence[Atoms], doubt: np.ndarray) -> list[Atoms]:
    """The most doubted frame of each cation, the worst first."""
    chosen: dict[str, Atoms] = {}
    for i in np.argsort(-doubt, kind="stable"):
        chosen.setdefault(frames[i].info["molecule"], frames[i])
    return list(chosen.values())


def main(fits: Sequence[str]) -> None:
    torch.set_num_threads(1)
    labelled = ase.io.read(FOLDER / "tuned-train.extxyz", ":")[::FIFTH]
    small = [f for f in labelled if f.info["kind"] in KINDS and len(f) <= MOST and f.get_volume() <= VOLUME]
    quiet = [f for f in small if np.linalg.norm(f.get_forces(), axis=1).max() < QUIET]
    chosen = one_of_each(quiet, doubts(quiet, fits))
    write_frames(DOUBTED_FILE, chosen)
    print(f"{DOUBTED_FILE}: {len(chosen)} crystals of {len(quiet)}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1:])

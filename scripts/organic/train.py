"""Fit `organic` to all labels under training/ and print its errors on the frozen test set.

    python -m scripts.organic.train NAME steps=25000 channels=96 max_ell=2 correlation=3 [init=FOLDER]
FOLDER holds a checkpoint of the same architecture to start from.
On several cores: torchrun --nproc_per_node 2 scripts/organic/train.py ... (one thread each).
Writes training/fit-NAME/{state.pt,log.csv,errors.json}; the same command resumes an interrupted fit.
"""

import json
import os
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import torch  # noqa: E402

from gendesign.potential import load_mace, mace  # noqa: E402
from gendesign.train.dataset import Dataset  # noqa: E402
from gendesign.train.fit import Fit, fit  # noqa: E402
from gendesign.train.label import read_frames  # noqa: E402
from gendesign.train.loss import errors  # noqa: E402

ROOT = Path("training")
LABELS = ("train", "modes", "wide", "turned", "hot", "builds", "dimer")
# Repetitions of rare kinds, which are important for short-range repulsion and stability.
COUNTED = {"dimer": 3, "hot": 4}
ARCHITECTURE = ("cutoff", "channels", "max_ell", "max_l", "correlation", "layers", "n_bessel", "radial_mlp", "readout")


def main(name: str, *pairs: str) -> None:
    """Fit with the options `pairs` (key=value) into training/fit-NAME."""
    options = {key: json.loads(value) if key != "init" else value for key, value in (p.split("=") for p in pairs)}
    init = options.pop("init", None)
    torch.set_num_threads(options.pop("threads", 2))
    frames = read_frames(
        sorted(
            f
            for d in ROOT.iterdir()
            if d.name in LABELS or d.name.startswith("visited")
            for f in d.glob("shard-*.extxyz")
        )
    )
    atoms = {
        int(f.numbers[0]): f.info["energy"] if f.calc is None else f.get_potential_energy()
        for f in frames
        if len(f) == 1 and f.info["kind"] == "atom"
    }
    print(f"{len(frames)} labels; isolated atoms {atoms}")
    for kind, times in COUNTED.items():
        frames += (times - 1) * [f for f in frames if f.info["kind"] == kind]
    shape = {key: options.pop(key) for key in ARCHITECTURE if key in options}
    architecture = mace.new_mace(atomic_energies=dict(sorted(atoms.items())), **shape)
    folder = ROOT / f"fit-{name}"
    start = None
    if init is not None:
        start = load_mace(init).net.state_dict()
    if "RANK" in os.environ:
        torch.distributed.init_process_group("gloo")
    net = fit(architecture, Dataset.from_frames(frames), folder, Fit(**options), start)
    if int(os.environ.get("RANK", 0)):
        return
    table = errors(net, Dataset.from_frames(read_frames(sorted((ROOT / "test").glob("shard-*.extxyz")))))
    (folder / "errors.json").write_text(json.dumps(table, indent=1))
    for kind, row in table.items():
        print(f"{kind:10s}" + "  ".join(f"{key} {value:.1f}" for key, value in row.items()))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Fit `organic` to all labels under training/ and print its errors on the frozen test sets.

    python -m scripts.organic.train NAME steps=25000 channels=96 max_ell=2 correlation=3 [init=FOLDER] [labels=cc]
init: a checkpoint to start from, whose shape is kept; elements that it lacks are added. labels: `all` kinds by GFN2-xTB
(default), or `cc`, those of coupled_cluster.py with the torn ones of GFN2-xTB as old data.
On several cores: torchrun --nproc_per_node 2 -m scripts.organic.train ... (one thread each).
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
from gendesign.train.fit import Fit, fit  # noqa: E402
from gendesign.train.loss import errors  # noqa: E402
from gendesign.train.start import begin_from  # noqa: E402
from scripts.organic.labels import all_labels, coupled_cluster_labels, isolated_atoms, test_sets  # noqa: E402

ROOT = Path("training")
ARCHITECTURE = ("cutoff", "channels", "max_ell", "max_l", "correlation", "layers", "n_bessel", "radial_mlp", "readout")
WORDS = ("init", "labels")  # options that are no numbers


def main(name: str, *pairs: str) -> None:
    """Fit with the options `pairs` (key=value) into training/fit-NAME."""
    given = dict(pair.split("=", 1) for pair in pairs)
    options = {key: value if key in WORDS else json.loads(value) for key, value in given.items()}
    init, labels = options.pop("init", None), options.pop("labels", "all")
    torch.set_num_threads(options.pop("threads", 1))
    if labels == "cc":
        data, replay, atoms = coupled_cluster_labels()
    else:
        data, replay, atoms = all_labels(), None, isolated_atoms()
    print(f"{len(data)} labels; isolated atoms {atoms}", flush=True)
    shape = {key: options.pop(key) for key in ARCHITECTURE if key in options}
    if init is None:
        architecture, start = mace.new_mace(atomic_energies=atoms, **shape), None
    else:
        architecture, start = begin_from(load_mace(init, device="cpu"), atoms)
    if "RANK" in os.environ:
        torch.distributed.init_process_group("gloo")
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    folder = ROOT / f"fit-{name}"
    net = fit(architecture, data, folder, Fit(**settings), start, replay=replay)
    if int(os.environ.get("RANK", 0)):
        return
    tables = {title: errors(net, test) for title, test in test_sets(labels).items()}
    (folder / "errors.json").write_text(json.dumps(tables, indent=1))
    for title, table in tables.items():
        for kind, row in table.items():
            print(f"{title:6s} {kind:15s}" + "  ".join(f"{key} {value:.1f}" for key, value in row.items()))


if __name__ == "__main__":
    main(*sys.argv[1:])

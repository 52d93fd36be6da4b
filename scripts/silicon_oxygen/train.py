"""Fit `silicon-oxygen` to the labels under training/silox and print its errors on the held-out trajectories.

    python -m scripts.silicon_oxygen.train NAME shape=accurate|fast steps=20000 [channels=64 ...] [batch_size=8 ...]
    python -m scripts.silicon_oxygen.train export NAME [FOLDER]     # default checkpoints/silicon-oxygen
On several cores: torchrun --nproc_per_node 2 -m scripts.silicon_oxygen.train ... (one thread each).
Writes training/silox/fit-NAME/{state.pt,log.csv,errors.json}; the same command resumes an interrupted fit.
"""

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore")

import torch  # noqa: E402

from gendesign.potential import load_mace, mace, save_folder  # noqa: E402
from gendesign.potential.domain import AMORPHOUS, CRYSTALS, MOLECULES, Domain  # noqa: E402
from gendesign.train.dataset import Dataset  # noqa: E402
from gendesign.train.fit import Fit, fit  # noqa: E402
from gendesign.train.loss import errors  # noqa: E402
from gendesign.train.start import begin_from  # noqa: E402
from scripts.silicon_oxygen.data import average_neighbours, divided, isolated_atoms  # noqa: E402
from scripts.silicon_oxygen.label import NAME as TEACHER  # noqa: E402
from scripts.silicon_oxygen.structures import ROOT  # noqa: E402

SHAPES: dict[str, dict[str, Any]] = {
    "accurate": {"cutoff": 5.0, "channels": 64, "max_ell": 3, "correlation": 3, "layers": 2},
    "fast": {"cutoff": 4.5, "channels": 24, "max_ell": 2, "correlation": 2, "layers": 2},
}
DEFAULTS: dict[str, Any] = {"batch_size": 8, "learning_rate": 0.004, "steps": 20_000, "energy_weight": [1, 8]}
FOLDER = Path("checkpoints/silicon-oxygen")
DOMAIN = Domain(
    (CRYSTALS, AMORPHOUS, MOLECULES), "silicon, silica and what lies between, crystalline, amorphous and liquid"
)


def main(name: str, *pairs: str) -> None:
    """Fit with the options `pairs` (key=value) into training/silox/fit-NAME."""
    given = dict(pair.split("=", 1) for pair in pairs)
    shape, init = dict(SHAPES[given.pop("shape", "accurate")]), given.pop("init", None)
    options = DEFAULTS | {key: json.loads(value) for key, value in given.items()}
    torch.set_num_threads(options.pop("threads", 1))
    train, test = divided()
    atoms = isolated_atoms(train)
    print(f"{len(train)} labels with copies, {len(test)} held out; isolated atoms {atoms}", flush=True)
    shape |= {key: options.pop(key) for key in list(options) if key in {*shape, "n_bessel", "radial_mlp", "readout"}}
    if init is None:
        neighbours = average_neighbours(train, shape["cutoff"])
        network, start = mace.new_mace(atomic_energies=atoms, average_neighbours=neighbours, **shape), None
    else:
        network, start = begin_from(load_mace(init, device="cpu"), atoms)
    if "RANK" in os.environ:
        torch.distributed.init_process_group("gloo")
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    folder = ROOT / f"fit-{name}"
    net = fit(network, Dataset.from_frames(train), folder, Fit(**settings), start)
    if int(os.environ.get("RANK", 0)):
        return
    table = errors(net, Dataset.from_frames(test), batch_size=4)
    (folder / "errors.json").write_text(json.dumps(table, indent=1))
    for kind, row in table.items():
        print(f"{kind:20s}" + "  ".join(f"{key} {value:.1f}" for key, value in row.items()))


def export(name: str, out: str = str(FOLDER)) -> None:
    """Write the averaged weights of the fit `name` as a checkpoint folder."""
    folder = ROOT / f"fit-{name}"
    saved = torch.load(folder / "state.pt", weights_only=True)
    net = mace.from_plain(json.loads((folder / "settings.json").read_text())["architecture"])
    net.load_state_dict(saved["net"])
    net.load_state_dict(saved["average"], strict=False)
    save_folder(
        net.requires_grad_(False),
        Path(out),
        name=Path(out).name,
        licence="MIT",
        citation="gendesign (this repository)",
        teacher=f"{TEACHER}, BSD-3-Clause",
        training={"fit": name, "steps": saved["step"]},
        domain=DOMAIN.to_config(),
    )
    print(f"exported {name} at step {saved['step']} to {out}")


if __name__ == "__main__":
    export(*sys.argv[2:]) if sys.argv[1] == "export" else main(*sys.argv[1:])

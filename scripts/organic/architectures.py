"""Compare network architectures: train each one from scratch for the same CPU time.

    python -m scripts.organic.architectures SECONDS [CORE/CORES]      # prints the table of docs/notebook/organic.md
Trains on molecules of QM9, MOSES and the enumerations and validates on OTHERS shards of each with other molecules, with
one thread and Muon as for `organic`. The frozen test sets are not used, because the result selects an architecture. CPU
time is counted, so that other work on the machine matters little. Each of CORES processes trains its share;
training/shapes/NAME.json stores the results.
"""

import json
import sys
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import torch  # noqa: E402

from gendesign.potential import mace  # noqa: E402
from gendesign.train.dataset import Dataset  # noqa: E402
from gendesign.train.fit import Fit, fit  # noqa: E402
from gendesign.train.isolated_atoms import atomic_energies  # noqa: E402
from gendesign.train.label import read_frames  # noqa: E402
from gendesign.train.loss import errors  # noqa: E402
from scripts.organic.labels import cached  # noqa: E402

ROOT = Path("training")
OUT = ROOT / "shapes"
BASE = {"cutoff": 4.5, "channels": 96, "max_ell": 2, "max_l": 0, "correlation": 3, "layers": 2}
CHANGES = {
    "as organic": {},
    "64 channels": {"channels": 64},
    "128 channels": {"channels": 128},
    "correlation 2": {"correlation": 2},
    "l_max 1": {"max_ell": 1},
    "l_max 3": {"max_ell": 3},
    "vectors between layers": {"max_l": 1, "channels": 64},
    "3 layers": {"layers": 3},
    "cutoff 5.0": {"cutoff": 5.0},
}
TRIAL = 25  # steps that are timed first
BATCH = 8  # structures per step; small, because a short fit is limited by the number of steps
HELD_OUT = ("path", "thermal")  # near minima and at temperature
FOLDERS, OTHERS = ("real-qm9", "real-moses", "real-rare", "wide"), 3


def main(seconds: float, part: str = "1/1") -> None:
    """Train this process's share of the architectures and print the table."""
    share, shares = map(int, part.split("/"))
    torch.set_num_threads(1)
    shards = [sorted((ROOT / folder).glob("shard-*.extxyz")) for folder in FOLDERS]
    data = cached("shapes", [path for paths in shards for path in paths[:-OTHERS]])
    others = read_frames([path for paths in shards for path in paths[-OTHERS:]])
    # least squares instead of isolated atoms: a short fit would otherwise spend its time on the bonding energy
    some = read_frames([path for paths in shards for path in paths[:OTHERS]])
    atoms = atomic_energies([f for f in some if f.info["kind"] in HELD_OUT], set(map(int, data.numbers.unique())))
    test = Dataset.from_frames([f for f in others if f.info["kind"] in HELD_OUT])
    OUT.mkdir(exist_ok=True)
    for name, change in list(CHANGES.items())[share - 1 :: shares]:
        path = OUT / f"{name}.json"
        if not path.exists():
            path.write_text(json.dumps(measured(name, {**BASE, **change}, atoms, data, test, seconds), indent=1))
    print(f"| shape | weights | steps | ms a step of {BATCH} | ms an evaluation of 20 atoms | forces | energy |")
    print("|---|---|---|---|---|---|---|")
    for name in CHANGES:
        if (path := OUT / f"{name}.json").exists():
            row = json.loads(path.read_text())
            print(f"| {name} | {row['weights']:,} | {row['steps']:,} | {row['step']:.0f} | {row['evaluation']:.1f} | "
                  f"{row['forces']:.0f} | {row['energy']:.1f} |")  # fmt: skip


def measured(name: str, shape: dict, atoms: dict, data: Dataset, test: Dataset, seconds: float) -> dict:
    """Validation errors after `seconds` of CPU time, and the costs of a step and of an evaluation."""
    architecture = mace.new_mace(atomic_energies=atoms, radial_mlp=[64, 64, 64], **shape)

    def run(steps: int, folder: str) -> torch.nn.Module:
        plan = Fit(steps=steps, batch_size=BATCH, learning_rate=0.004, decay_from=0.2, energy_weight=(1.0, 4.0),
                   damping=2.0, save_every=10**6)  # fmt: skip
        return fit(architecture, data, OUT / folder, plan)

    run(TRIAL, f"warm-{name}")
    start = time.process_time()
    run(2 * TRIAL, f"trial-{name}")
    step = (time.process_time() - start) / (2 * TRIAL)
    steps = int(seconds / step)
    net = run(steps, name)
    start = time.process_time()
    table = errors(net, test)
    evaluation = (time.process_time() - start) / sum(test.pointer.diff()).item() * 20
    count = sum(row["n"] for row in table.values())
    mean = {key: sum(row["n"] * row[key] for row in table.values()) / count
            for key in ("force_mae_mev_a", "energy_mae_mev_atom")}  # fmt: skip
    weights = sum(p.numel() for p in net.parameters())
    return {"weights": weights, "steps": steps, "step": 1000 * step, "evaluation": 1000 * evaluation,
            "forces": mean["force_mae_mev_a"], "energy": mean["energy_mae_mev_atom"]}  # fmt: skip


if __name__ == "__main__":
    main(float(sys.argv[1]), *sys.argv[2:])

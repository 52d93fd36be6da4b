"""Measure `organic-cc` and write its card.md and errors.json.

    python -m scripts.organic.cc_card [CHECKPOINT_FOLDER]
Needs the labels of coupled_cluster.py and structures.py under training/, and the rows of `organic-cc` that
`python -m scripts.published organic-cc` writes to docs/benchmarks/published.json.
"""

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore")

import yaml  # noqa: E402
from ase.data import chemical_symbols  # noqa: E402

from gendesign.benchmark.record import hardware  # noqa: E402
from gendesign.potential import Potential, load_mace  # noqa: E402
from gendesign.train.label import read_frames  # noqa: E402
from gendesign.validation import errors  # noqa: E402
from gendesign.validation.methods import Batched  # noqa: E402
from scripts.organic import measures  # noqa: E402
from scripts.organic.card import described  # noqa: E402
from scripts.organic.coupled_cluster import ELEMENTS, usable  # noqa: E402
from scripts.organic.labels import ani_labels, coupled_cluster_labels  # noqa: E402
from scripts.published.__main__ import RECORD, TARGETS  # noqa: E402

TEMPLATE = (Path(__file__).parent / "cc_card.md.in").read_text()
METHODS = ("organic-cc", "organic", "ani1ccx", "gfn2")
PUBLISHED = {
    "torsion barriers, MAE": "torsion barriers", "torsion barriers, median error": None, "conformers, MAE": None,
    "conformers, median error": None, "isomers, MAE": None, "isomers, median error": None,
    "from memory, MAE": None, "QM9 heavy-atom RMSD, median": "rmsd", "QM9 frequencies MAE, harmonic, unscaled": None,
    "QM9 frequencies MAE, scaled": "frequencies",
}  # fmt: skip
TORN = ("fragment", "violent")
N_DYNAMICS = 20


def measure(potential: Potential) -> dict[str, Any]:
    """All numbers of the card except the published ones."""
    frames = read_frames(sorted(Path("training/cc/test").glob("shard-*.extxyz")))
    asked = sum(usable(frame, True) for frame in measures.real_frames())
    enumerated = [f for f in measures.test_frames() if set(f.get_chemical_symbols()) <= ELEMENTS]
    torn = [f for f in enumerated if f.info["kind"] in TORN]
    hot = measures.explosions(potential, [f for f in enumerated if f.info["kind"] == "relaxed"][:N_DYNAMICS])
    return {
        "errors": measures.real_errors(potential, frames),
        "asked": asked,
        "left_out": asked - len(frames),
        "torn": {
            name: _forces(Batched(model), torn)
            for name, model in (("organic-cc", potential), ("organic", load_mace("organic", device="cpu")))
        },
        "hot_n": len(hot),
        "exploded": sum(hot),
        "labels": len(ani_labels()),
        "torn_labels": len(coupled_cluster_labels()[1]),
    }


def _forces(method: Batched, frames: list) -> dict[str, dict[str, float]]:
    """Force errors by class against GFN2-xTB."""
    table = errors.measure(frames, method.evaluate(frames), TORN)["classes"]
    return {kind: {key: row[key] for key in ("n", "force_mae_mev_a")} for kind, row in table.items() if kind in TORN}


def published() -> str:
    """The summary rows of METHODS as a Markdown table."""
    rows = {row["name"]: row for row in json.loads(RECORD.read_text())}
    lines = [f"| | unit | {' | '.join(METHODS)} | target |", "|---" * (len(METHODS) + 3) + "|"]
    for what, target in PUBLISHED.items():
        found = [rows.get(f"{name}: {what}") for name in METHODS]
        cells = ["-" if row is None or row["value"] is None else f"{row['value']:.3g} (n={row['n']})" for row in found]
        wanted = TARGETS["organic-cc"].get(target, "") if target else ""
        unit = next(row["unit"] for row in found if row is not None)
        lines.append(f"| {what} | {unit} | {' | '.join(cells)} | {wanted} |")
    return "\n".join(lines)


def card(config: dict[str, Any], results: dict[str, Any], spent: float) -> str:
    """The text of card.md."""
    rows = ["| | structures | energy MAE | force MAE | force RMSE |", "|---|---|---|---|---|"]
    for name, row in results["errors"].items():
        keys = ("energy_mae_mev_atom", "force_mae_mev_a", "force_rmse_mev_a")
        rows.append(f"| {name.upper()} | {row['n']:.0f} | " + " | ".join(f"{row[key]:.2f}" for key in keys) + " |")
    torn = ["| force MAE against GFN2-xTB, meV/Angstrom | n | organic-cc | organic |", "|---|---|---|---|"]
    for kind, row in results["torn"]["organic-cc"].items():
        other = results["torn"]["organic"][kind]["force_mae_mev_a"]
        torn.append(f"| {kind} | {row['n']:.0f} | {row['force_mae_mev_a']:.0f} | {other:.0f} |")
    steps, hours = measures.training_times()[config["training"]["fit"]]
    plain = ("asked", "left_out", "hot_n", "exploded")
    return TEMPLATE.format(
        elements=" ".join(chemical_symbols[z] for z in sorted(config["architecture"]["atomic_numbers"])),
        teacher=config["teacher"], architecture=described(config["architecture"]), sha=config["weights_sha256"],
        published=published(), errors="\n".join(rows), torn="\n".join(torn), steps=f"{steps:,}", hours=hours,
        labels=f"{results['labels']:,}", torn_labels=f"{results['torn_labels']:,}", hardware=hardware(), spent=spent,
        **{key: results[key] for key in plain},
    )  # fmt: skip


def main(folder: str = "checkpoints/organic-cc") -> None:
    """Measure the checkpoint in `folder` and write its card."""
    start, out = time.perf_counter(), Path(folder)
    config = yaml.safe_load((out / "config.yaml").read_text())
    results = measure(load_mace(folder, device="cpu"))
    results["seconds"] = time.perf_counter() - start
    (out / "errors.json").write_text(json.dumps(results, indent=1) + "\n")
    (out / "card.md").write_text(card(config, results, results["seconds"]))
    print(out / "card.md")


if __name__ == "__main__":
    main(*sys.argv[1:])

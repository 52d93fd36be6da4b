"""Measure a checkpoint and write card.md, card.png and errors.json beside it.

    python -m scripts.organic.card [CHECKPOINT_FOLDER] [quick|text]
quick: two molecules, 20 fs, print only. text: rewrite card.md from errors.json without measuring.
Needs the labels of structures.py and the logs of the fits under training/.
"""

import json
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore")

import matplotlib  # noqa: E402

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
import yaml  # noqa: E402
from ase.data import chemical_symbols  # noqa: E402

from gendesign.benchmark.record import Row, hardware, table  # noqa: E402
from gendesign.potential import Potential, load_mace  # noqa: E402
from scripts.organic import measures  # noqa: E402

N_DYNAMICS = 20
COLUMNS = 13  # panels of card.png in a row
MET = {None: "", True: "met", False: "**not met**"}
KINDS = {
    "combined": "**minima and dynamics**",
    "relaxed": "minima",
    "md300": "dynamics at 300 K",
    "md600": "dynamics at 600 K",
    "violent": "violent",
    "fragment": "fragments",
    "pair": "pairs",
}


def measure(potential: Potential, quick: bool) -> dict[str, Any]:
    """All numbers of the card; `quick` uses two molecules and 20 fs."""
    frames = measures.test_frames()
    minima = [f for f in frames if f.info["kind"] == "relaxed"][: 2 if quick else None]
    if quick:
        frames = frames[:20]
    results: dict[str, Any] = {"errors": measures.error_table(potential, frames)}
    rmsd, kept, converged = measures.geometries(potential, minima)
    real = measures.real_frames()
    real = real[:: len(real) // 20] if quick else real
    results["real"] = {"errors": measures.real_errors(potential, real),
                       "geometry": measures.real_geometries(potential, real)}  # fmt: skip
    results["geometry"] = {"n": len(minima), "median_rmsd": float(np.median(rmsd)), "largest_rmsd": max(rmsd),
                         "graph_kept": sum(kept), "converged": sum(converged)}  # fmt: skip
    hot = measures.explosions(potential, minima[:N_DYNAMICS], time=20.0 if quick else 2000.0)
    results["dynamics"] = {"n": len(hot), "exploded": sum(hot)}
    results["dimers"] = {"n": len(measures.pairs(potential)), "attractive": measures.attractive(potential)}
    results["labels"] = measures.label_counts()
    results["molecules"] = dict(zip(("training", "test", "both"), measures.shared_molecules(), strict=True))
    results["fits"] = {name: {"steps": s, "hours": h} for name, (s, h) in measures.training_times().items()}
    return results


def target_rows(results: dict[str, Any]) -> list[Row]:
    """The rows with targets."""
    errors, geometry, dimers = results["errors"]["combined"], results["geometry"], results["dimers"]
    fragments, n, n_minima, wrong = results["errors"]["fragment"], int(errors["n"]), geometry["n"], dimers["attractive"]
    alone = sum(not row["teacher_too"] for row in wrong.values())
    hot = results["dynamics"]
    rows = [
        Row("force MAE, minima and dynamics", errors["force_mae_mev_a"], "meV/Angstrom", n, "<= 50"),
        Row("energy MAE, minima and dynamics", errors["energy_mae_mev_atom"], "meV/atom", n, "<= 2.5"),
        Row("force MAE, fragments", fragments["force_mae_mev_a"], "meV/Angstrom", int(fragments["n"]), "<= 200"),
        Row("median heavy-atom RMSD of minima", geometry["median_rmsd"], "Angstrom", n_minima, "<= 0.04"),
        Row("minima that keep their bond graph", geometry["graph_kept"] / n_minima, "fraction", n_minima, ">= 0.995"),
        Row("exploded in 2 ps at 1000 K", hot["exploded"], "molecules", hot["n"], "<= 0"),
        Row("element pairs not repulsive at short range", len(wrong), "pairs", dimers["n"], "<= 0"),
        Row("of these, where the teacher repels at the outer end", alone, "pairs", dimers["n"]),
    ]
    for name, title in (("qm9", "QM9"), ("moses", "MOSES")):
        if "real" not in results:  # measured by an earlier version
            continue
        table, minima = results["real"]["errors"][name], results["real"]["geometry"][name]
        count, n = int(table["n"]), minima["n"]
        rows += [
            Row(f"{title}: force MAE, minima and thermal", table["force_mae_mev_a"], "meV/Angstrom", count),
            Row(f"{title}: energy MAE, minima and thermal", table["energy_mae_mev_atom"], "meV/atom", count),
            Row(f"{title}: minima that keep their bond graph", minima["graph_kept"] / n, "fraction", n, ">= 0.995"),
            Row(f"{title}: median heavy-atom RMSD of minima", minima["median_rmsd"], "Angstrom", n),
            Row(f"{title}: median strain by the teacher", minima["median_strain"], "kcal/mol", minima["n_strain"],
                "<= 0.5"),
        ]  # fmt: skip
    return rows


def picture(potential: Potential, file: Path) -> None:
    """Draw the energy of every pair of atoms against its distance: the potential as a line, the teacher as points."""
    teacher = {tuple(sorted(pair)): curve for pair, curve in measures.teacher_dimers().items()}
    distances, pairs = np.linspace(measures.SHORTEST, potential.cutoff, 200), measures.pairs(potential)
    figure, panels = plt.subplots(-(-len(pairs) // COLUMNS), COLUMNS, figsize=(18, 10.5), sharex=True,
                                  layout="constrained")  # fmt: skip
    for panel, pair in zip(panels.flat, pairs, strict=False):
        panel.plot(distances, measures.dimer(potential, pair, distances)[0], color="tab:blue", lw=1.3)
        low = 0.0
        if (curve := teacher.get(tuple(sorted(pair)))) is not None:
            panel.plot(*curve, ".", color="tab:orange", ms=3)
            low = float(curve[1].min())
        panel.set_ylim(min(low, -1.0) * 1.3, max(5.0, -low))
        panel.set_title("-".join(pair), fontsize=9, pad=2)
        panel.tick_params(labelsize=7)
        panel.axhline(0, color="0.8", lw=0.6, zorder=0)
    figure.supxlabel("distance (Angstrom)")
    figure.supylabel("energy relative to the isolated atoms (eV)")
    figure.savefig(file, dpi=110)
    plt.close(figure)


def card(config: dict[str, Any], results: dict[str, Any], spent: float) -> str:
    """The text of card.md."""
    return TEMPLATE.format(
        name=config["name"], teacher=config["teacher"], licence=config["licence"], sha=config["weights_sha256"],
        elements=" ".join(chemical_symbols[z] for z in sorted(config["architecture"]["atomic_numbers"])),
        architecture=described(config["architecture"]),
        targets=_targets(target_rows(results)), errors=_errors(results["errors"]), labels=_labels(results["labels"]),
        **results["molecules"],
        **{f"geometry_{key}": value for key, value in results["geometry"].items()}, dimers=_dimers(results["dimers"]),
        fits=_fits(results["fits"], config.get("training", {})), hardware=hardware(), spent=spent,
    )  # fmt: skip


def _targets(rows: Sequence[Row]) -> str:
    lines = ["| | value | target | | n |", "|---|---|---|---|---|"]
    for row in rows:
        value = f"{row.value:.3g}" if isinstance(row.value, float) else row.value
        unit = "" if row.unit == "fraction" else row.unit
        lines.append(f"| {row.name} | {value} {unit} | {row.target or ''} | {MET[row.met]} | {row.n} |")
    return "\n".join(lines)


def _errors(table: dict[str, dict[str, float]]) -> str:
    heads = ("class", "structures", "energy MAE", "force MAE", "force RMSE", "the teacher's force RMS")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for kind in sorted(table, key=list(KINDS).index):
        row = table[kind]
        keys = ("energy_mae_mev_atom", "force_mae_mev_a", "force_rmse_mev_a", "force_rms_mev_a")
        lines.append(f"| {KINDS[kind]} | {row['n']:.0f} | " + " | ".join(f"{row[key]:.1f}" for key in keys) + " |")
    return "\n".join(lines)


def _labels(counts: dict[str, dict[str, int]]) -> str:
    lines = ["| | labels | kinds |", "|---|---|---|"]
    for folder, kinds in counts.items():
        parts = ", ".join(f"{kind} {count:,}" for kind, count in kinds.items())
        lines.append(f"| {folder} | {sum(kinds.values()):,} | {parts} |")
    return "\n".join(lines)


def _dimers(dimers: dict[str, Any]) -> str:
    if not dimers["attractive"]:
        return f"All {dimers['n']} pairs repel over this whole range."
    wrong = dimers["attractive"].items()
    listed = "\n".join(f"| {pair} | {row['from']} to {row['to']} |" for pair, row in wrong)
    shared = ", ".join(pair for pair, row in wrong if row["teacher_too"]) or "none of them"
    return (
        f"{len(wrong)} of {dimers['n']} pairs attract within it:\n\n| pair | distances, Angstrom |\n|---|---|\n"
        f"{listed}\n\n"
        f"The minimum of some diatomics lies in the range. There the teacher attracts as well: {shared}."
    )


def _fits(fits: dict[str, dict[str, float]], training: dict[str, Any]) -> str:
    rows = [f"`{name}`: {fit['steps']:,} steps, {fit['hours']:.1f} h" for name, fit in fits.items()]
    return "; ".join(rows) + f". These weights are `{training.get('fit')}` at step {training.get('steps', 0):,}."


def described(shape: dict[str, Any]) -> str:
    """The network in one line of a card."""
    return (
        f"MACE, {shape['hidden_irreps']} features, {shape['num_interactions']} layers, "
        f"cutoff {shape['r_max']} Angstrom, l_max {shape['max_ell']},\n  "
        f"correlation {shape['correlation']}, ZBL repulsion at short range"
    )


TEMPLATE = (Path(__file__).parent / "card.md.in").read_text()


def main(folder: str = "checkpoints/organic", mode: str = "full") -> None:
    """Measure the checkpoint in `folder` and write its card."""
    start, out = time.perf_counter(), Path(folder)
    potential, config = load_mace(folder, device="cpu"), yaml.safe_load((out / "config.yaml").read_text())
    if mode == "text":
        results = json.loads((out / "errors.json").read_text())
    else:
        results = measure(potential, quick=mode == "quick")
        results["seconds"] = time.perf_counter() - start
    text = card(config, results, results["seconds"])
    if mode == "quick":  # too few molecules for the record
        print(text)
        return
    if mode == "full":
        picture(potential, out / "card.png")
    (out / "errors.json").write_text(json.dumps(results, indent=1) + "\n")
    (out / "card.md").write_text(text)
    print(table(target_rows(results)))
    print(f"{out / 'card.md'} written in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])

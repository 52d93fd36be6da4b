"""Write checkpoints/hoip/card.md from the results of `gendesign benchmark perovskites` and the labels in training/hoip.

    python -m scripts.hoip.card
Label counts are stored in checkpoints/hoip/labels.json, so that the card can be rewritten without the labels.
"""

import json
import re
from collections import Counter
from pathlib import Path

import ase.io
import numpy as np
import yaml
from ase import units
from ase.data import chemical_symbols

FOLDER, MEASURED = Path("checkpoints/hoip"), Path("docs/benchmarks/perovskites.json")
LABELS = Path("training/hoip")
CAUTIONS = {
    False: "It is a rough one: a universal potential that imitates\n  PBE, no density-functional calculation of these "
    "crystals. Fine-tune it on labels of your own method\n  (`gendesign train ... init=hoip`) to trust its energies.",
    True: "Labels of the\n  density-functional teacher are few: fine-tune it on labels of your own compositions\n"
    "  (`gendesign train ... init=hoip`) before you trust small differences.",
}
SHARE = "recovered: matched or lower"
EXPERIMENT = re.compile(r"(.*), off (experiment|the .* phase) \((.*)\)$")


def counted() -> dict[str, dict[str, int]]:
    """Numbers of training labels by folder and class, from training/hoip or, without it, from labels.json."""
    path, counts = FOLDER / "labels.json", {}
    for folder in ("rough", "visited", "tuned", "paths", "searched", "dft"):
        kinds: Counter[str] = Counter()
        for file in sorted((LABELS / folder).glob("shard-*.extxyz")):
            frames = [line for line in file.read_text().splitlines() if "Lattice=" in line and "failure=" not in line]
            lines = [line for line in frames if "held_out=F" in line]
            kinds.update(re.findall(r' kind=(?:"([^"]+)"|(\S+))', line)[0] for line in lines)
        if kinds:
            counts[folder] = {quoted or plain: n for (quoted, plain), n in sorted(kinds.items())}
    if counts:
        path.write_text(json.dumps(counts, indent=1) + "\n")
    return json.loads(path.read_text())


def agreement() -> str:
    """Differences in forces and stresses between the rough teacher and CP2K for geometries labelled by both."""
    path = FOLDER / "agreement.json"
    files = sorted((LABELS / "dft").glob("shard-*.extxyz"))
    frames = [frame for file in files if file.stat().st_size for frame in ase.io.read(file, ":")]
    frames = [frame for frame in frames if "failure" not in frame.info]
    if frames:
        differences = {}
        for kind in ["all", *sorted({frame.info["kind"] for frame in frames})]:
            chosen = [frame for frame in frames if kind in ("all", frame.info["kind"])]
            force = np.concatenate([(f.get_forces() - f.arrays["rough_forces"]).ravel() for f in chosen])
            stress = np.concatenate([f.get_stress() - np.array(f.info["rough_stress"]) for f in chosen]) / units.GPa
            differences[kind] = [len(chosen), 1000 * float(np.abs(force).mean()), float(np.abs(stress).mean())]
        path.write_text(json.dumps(differences, indent=1) + "\n")
    rows = json.loads(path.read_text()) if path.is_file() else {}
    return "\n".join(
        ["| class | labels | forces, meV/Angstrom | stress, GPa |", "|---|---|---|---|"]
        + [f"| {kind} | {n} | {force:.0f} | {stress:.2g} |" for kind, (n, force, stress) in rows.items()]
    )


def main() -> None:
    """Write the card."""
    config, rows = yaml.safe_load((FOLDER / "config.yaml").read_text()), json.loads(MEASURED.read_text())
    shape, training = config["architecture"], config["training"]
    text = Path(__file__).with_name("card.md.in").read_text().format(
        name=config["name"],
        elements=" ".join(chemical_symbols[z] for z in shape["atomic_numbers"]),
        teacher=config["teacher"],
        caution=CAUTIONS[config["teacher"].startswith("PBE")],
        architecture=f"MACE, {shape['hidden_irreps']} features, {shape['num_interactions']} layers, cutoff "
        f"{shape['r_max']} Angstrom, l_max {shape['max_ell']}, correlation {shape['correlation']}, ZBL repulsion",
        licence=config["licence"],
        sha=config["weights_sha256"],
        targets=targets([row for row in rows if row["target"] and (": " not in row["name"] or row["name"] == SHARE)]),
        errors=errors(rows),
        lattices=lattices(rows),
        labels="\n".join(
            ["| | labels | classes |", "|---|---|---|"]
            + [f"| {folder} | {sum(kinds.values()):,} | {', '.join(f'{k} {n:,}' for k, n in kinds.items())} |"
               for folder, kinds in counted().items()]
        ),
        agreement=agreement(),
        training=f"{training['structures']:,} structures, {training['steps']:,} steps, begun from `{training['init']}`"
        + (f"; the average of {len(averaged)} such fits" if (averaged := training.get("average_of")) else ""),
    )  # fmt: skip
    (FOLDER / "card.md").write_text(text)
    print(f"{FOLDER / 'card.md'} written")


def targets(rows: list[dict]) -> str:
    """The table of targets."""
    lines = ["| | value | target | | n |", "|---|---|---|---|---|"]
    for row in rows:
        value, (sign, limit) = row["value"], row["target"].split()
        met = value is not None and (value <= float(limit) if sign == "<=" else value >= float(limit))
        shown = "not measured" if value is None else f"{value:.3g} {row['unit'].replace('fraction', '')}"
        lines.append(f"| {row['name']} | {shown} | {row['target']} | {'met' if met else '**not met**'} | {row['n']} |")
    return "\n".join(lines)


def errors(rows: list[dict]) -> str:
    """The table of energy, force and stress errors by class."""
    by_class: dict[str, dict[str, dict]] = {}
    for row in rows:
        if match := re.match(r"(energy|force|stress) MAE, (.*)$", row["name"]):
            by_class.setdefault(match[2], {})[match[1]] = row
    unit = next((group["stress"]["unit"] for group in by_class.values() if "stress" in group), "GPa")
    heads = ("class", "structures", "energy MAE, meV/atom", "force MAE, meV/Angstrom", f"stress MAE, {unit}")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for kind, group in by_class.items():
        cells = [f"{group[k]['value']:.3g}" if k in group and group[k]["value"] is not None else "" for k in
                 ("energy", "force", "stress")]  # fmt: skip
        lines.append(f"| {kind} | {group['force']['n'] if 'force' in group else ''} | {' | '.join(cells)} |")
    return "\n".join(lines)


def lattices(rows: list[dict]) -> str:
    """The table of all lengths with an experimental value, and their deviations."""
    values = {row["name"]: row["value"] for row in rows}
    lines = ["| | value | measured | off, % |", "|---|---|---|---|"]
    for row in rows:
        if (match := EXPERIMENT.match(row["name"])) and row["value"] is not None:
            phase = "" if match[2] == "experiment" or match[2][4:] in match[1] else f" ({match[2][4:]})"
            lines.append(f"| {match[1]} | {values[match[1]]:.4g} | {match[3]}{phase} | {row['value']:.2g} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

"""Measure `silicon-oxygen` and write its card.md and docs/benchmarks/silicon-oxygen.json.

    python -m scripts.silicon_oxygen.card [NAME ...] [silicon_dft=FILE] [folder=FOLDER] [record=FOLDER]
    python -m scripts.silicon_oxygen.card print NAME ...      # the table alone, of any potentials
NAME is a potential, by default those of CHECKPOINTS that exist. The card goes to the first one's folder. DIEP stands
beside everything, 7net-l3i5 as second opinion where it is affordable. Every part is kept under training/silox/card by
the hash of its potential; an interrupted command continues.
"""

import json
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import psutil  # noqa: E402
import yaml  # noqa: E402
from ase import Atoms  # noqa: E402
from ase.io import read  # noqa: E402

from gendesign.benchmark.record import hardware, write  # noqa: E402
from gendesign.potential import load_potential  # noqa: E402
from gendesign.potential.protocol import PotentialLike  # noqa: E402
from gendesign.structure.files import write_atomically  # noqa: E402
from gendesign.structure.labels import labels_of  # noqa: E402
from gendesign.structure.types import Row  # noqa: E402
from scripts.silicon_oxygen import card_table, data, glasses, properties  # noqa: E402
from scripts.silicon_oxygen.structures import ROOT  # noqa: E402

KEPT = ROOT / "card"
CHECKPOINTS = ("checkpoints/silicon-oxygen", "checkpoints/silicon-oxygen-fast")
TEACHER, SECOND = "diep", "sevennet-l3i5"
SILICON_DFT = "../shared/data/silicon-dft/test.extxyz"
RECORD = Path("docs/benchmarks")
BATCH = 400  # atoms evaluated at once
TEMPLATE = Path(__file__).parent / "card.md.in"
Results = dict[str, Any]


def held_out(potential: PotentialLike) -> Results:
    """Errors on the frozen test trajectories by class, and for Si, SiO_x, their melts and quenches, and clusters."""
    groups: dict[str, list] = {}
    for frame, energy, forces in evaluated(potential, [f for f in data.frames() if data.in_test(f)]):
        true, label = labels_of(frame)
        row = ((energy - true) / len(frame), (forces, label))
        names = [frame.info["kind"], family(frame)]
        if names[0].endswith(("melt", "quench")):
            names.append(f"{names[1]}, melts and quenches")
        for name in names:
            groups.setdefault(name, []).append(row)
    return {
        name: dict(properties.force_errors([pair for _, pair in rows]))
        | {"energy_mae": float(np.mean([abs(off) for off, _ in rows])),
           "energy_rmse": float(np.sqrt(np.mean([off**2 for off, _ in rows])))}
        for name, rows in groups.items()
    }  # fmt: skip


def family(frame: Atoms) -> str:
    """Si, SiO_x, or clusters."""
    if frame.info["kind"].split()[-1] == "cluster":
        return "clusters"
    return "Si" if set(frame.symbols) == {"Si"} else "SiO_x"


def evaluated(potential: PotentialLike, frames: Sequence[Atoms]) -> list[tuple[Atoms, float, np.ndarray]]:
    """(frame, energy, forces) of every frame, in batches."""
    out: list[tuple[Atoms, float, np.ndarray]] = []
    ordered = sorted(frames, key=len)
    while len(out) < len(ordered):
        part = ordered[len(out) : len(out) + max(1, BATCH // len(ordered[len(out)]))]
        answer = potential.evaluate(part)
        forces = np.split(np.asarray(answer.forces.double().cpu()), np.cumsum([len(f) for f in part])[:-1])
        out += [(f, float(answer.energy[k]), forces[k]) for k, f in enumerate(part)]
    return out


def silicon_dft(path: str, potential: PotentialLike) -> Results:
    """Forces on the PBE benchmark of silicon; energies of another functional are not compared."""
    frames = read(path, index=":")
    pairs = [(forces, frame.get_forces()) for frame, _, forces in evaluated(potential, frames)]
    return dict(properties.force_errors(pairs))


def amorphous(teacher: PotentialLike, potential: PotentialLike) -> Results:
    """Energies above diamond and quartz (eV/atom) and forces of two amorphous models that the teacher relaxed."""
    table = properties.crystal_table(potential, ("diamond", "quartz"))
    out: Results = {}
    for name, crystal in (("a-Si", "diamond"), ("a-SiO2", "quartz")):
        model = glasses.made(name, teacher)
        ((_, energy, forces),) = evaluated(potential, [model])
        out[name] = {"n": len(model), "above": energy / len(model) - table[crystal]["energy"],
                     "force_rms": float(np.sqrt((forces**2).mean()))}  # fmt: skip
    return out


def parts(name: str, paths: Mapping[str, str]) -> dict[str, Callable[[PotentialLike], Any]]:
    """What is measured of a potential. The second opinion has no coesite, and no held-out errors: it is PBE."""
    second, knows = name == SECOND, properties.CRYSTALS
    names = tuple(crystal for crystal in knows if crystal != "coesite") if second else knows
    teacher = partial(load_potential, TEACHER, device="cpu", dtype="float64")
    out: dict[str, Callable[[PotentialLike], Any]] = {"crystals": partial(properties.crystal_table, names=names)}

    def with_edge(function: Callable[[PotentialLike, float], Any]) -> Callable[[PotentialLike], Any]:
        return lambda potential: function(potential, kept(name, potential, "crystals", out["crystals"])["diamond"]["a"])

    out |= {
        "elastic": with_edge(properties.elastic), "phonons": with_edge(properties.phonons),
        "surfaces": with_edge(properties.surfaces), "dimers": properties.dimer_curves,
    }  # fmt: skip
    if not second:
        out["vacancy"] = with_edge(properties.vacancy)
    if name not in (TEACHER, SECOND):  # the labels are the teacher's, and the second opinion is another functional
        out["held_out"] = held_out
    if Path(paths["silicon_dft"]).is_file():
        out["silicon_dft"] = partial(silicon_dft, paths["silicon_dft"])
    out["amorphous"] = lambda potential: amorphous(potential if name == TEACHER else teacher(), potential)
    return out


def kept(name: str, potential: PotentialLike, part: str, measure: Callable[[PotentialLike], Any]) -> Any:
    """The result of a part, measured once for these weights."""
    path = KEPT / f"{Path(name).name}-{potential.weights_hash[:8]}" / f"{part}.json"
    if not path.is_file():
        start, cpu = time.perf_counter(), _cpu()
        results = measure(potential)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"results": results, "seconds": time.perf_counter() - start, "cpu": _cpu() - cpu}
        write_atomically(path, json.dumps(content, indent=1) + "\n")
        print(f"{name}: {part}, {content['cpu']:.0f} CPU s", flush=True)
    return json.loads(path.read_text())["results"]


def _cpu() -> float:
    """CPU seconds of this process and of the processes of engines."""
    me = psutil.Process()
    return sum(sum(one.cpu_times()[:2]) for one in (me, *me.children(recursive=True)))


def measured(name: str, paths: Mapping[str, str]) -> Results:
    """All parts of one potential."""
    potential = load_potential(name, device="cpu", dtype="float64" if name != SECOND else "float32")
    return {part: kept(name, potential, part, measure) for part, measure in parts(name, paths).items()}


def spent(name: str) -> float:
    """CPU seconds of all parts of a potential, also those measured before."""
    files = KEPT.glob(f"{Path(name).name}-*/*.json")
    return float(sum(json.loads(path.read_text()).get("cpu", 0) for path in files))


def card(folder: Path, tables: str, names: Sequence[str]) -> str:
    """The text of card.md."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    plain = [frame for frame in data.frames()]
    training = config.get("training", {})
    return TEMPLATE.read_text().format(
        name=folder.name, teacher=config.get("teacher", ""), sha=config.get("weights_sha256", ""),
        tables=tables, labels=f"{len(plain):,}", held=f"{sum(map(data.in_test, plain)):,}",
        architecture=_architecture(config["architecture"]), steps=f"{training.get('steps', 0):,}",
        hardware=hardware(), spent=sum(map(spent, names)) / 60,
    )  # fmt: skip


def _architecture(settings: Mapping[str, Any]) -> str:
    from scripts.organic.card import described

    return described(settings)


def main(*words: str) -> None:
    """Measure the potentials, print the table, and write card and rows unless the first word is `print`."""
    only_print = bool(words) and words[0] == "print"
    paths = {"silicon_dft": SILICON_DFT, "folder": "", "record": str(RECORD)}
    paths |= dict(word.split("=", 1) for word in words if "=" in word)
    names = [word for word in words[only_print:] if "=" not in word]
    names = names or [name for name in CHECKPOINTS if Path(name).is_dir()]
    # the teacher first: it makes the amorphous models
    results = {name: measured(name, paths) for name in (TEACHER, *names, SECOND)}
    shown = {Path(name).name: table for name, table in results.items()}
    tables = card_table.tables(shown, TEACHER)
    print(tables)
    if only_print:
        return
    rows: list[Row] = [row for name in names for row in card_table.rows(Path(name).name, shown, TEACHER)]
    import torch

    write(rows, Path(paths["record"]) / "silicon-oxygen.json", torch.device("cpu"))
    folder = Path(paths["folder"] or names[0])
    write_atomically(folder / "card.md", card(folder, tables, list(results)))
    print(folder / "card.md")


if __name__ == "__main__":
    main(*sys.argv[1:])

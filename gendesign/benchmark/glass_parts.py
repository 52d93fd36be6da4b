"""The parts of `gendesign benchmark amorphous`: each makes or reads models and gives rows and curves."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from glob import glob
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev

from ase import Atoms

from gendesign.analysis.analyse import analyse_models
from gendesign.analysis.compiled import check_compiled
from gendesign.analysis.energetics import diamond, relaxed
from gendesign.analysis.reading import Model, read_models
from gendesign.analysis.results import Mean, mean_curves
from gendesign.analysis.settings import Analysis
from gendesign.benchmark import glass_scale
from gendesign.benchmark.glass_runs import Bench, Made
from gendesign.benchmark.record import SHARE, between
from gendesign.errors import UserError
from gendesign.structure.cells import density
from gendesign.structure.types import Row

ANALYSED = ("coordination", "distributions", "rings", "structure_factor", "crystallinity", "defects")
PERCENT = "%"
DRAWN = ("rdf", "angles", "sq", "sq_from_rdf", "rings")
R_WIDTH, ANGLE_WIDTH = 0.04, 2.0  # Angstrom, degrees: models of a few hundred atoms fill these bins
Curves = dict[str, dict[str, list[float]]]  # by kind: x and its columns

# Of six glasses of 3,000 atoms at each rate in K/ps, arXiv 2507.05024: fourfold Si, twofold O, angle, density.
PUBLISHED = {100.0: (99.70, 98.12, 149.0, 2.169), 1.0: (99.95, 99.53, 151.0, 2.129)}  # %, %, degrees, g/cm3
WITHIN = (0.1, 0.1, 0.3, 0.3)  # %, %, degrees, % of the density


@dataclass
class Part:
    """Rows of a part, and curves by the name of their models. points: of a picture that is no curve."""

    rows: list[Row] = field(default_factory=list)
    curves: dict[str, Curves] = field(default_factory=dict)
    points: dict[str, list[list[float]]] = field(default_factory=dict)


def analysed(models: Sequence[Atoms], parts: Sequence[str] = ()) -> tuple[dict[str, Mean], Curves]:
    """Means over models by name, and the curves that are drawn."""
    settings = Analysis(parts=tuple(parts) or ANALYSED, r_width=R_WIDTH, angle_width=ANGLE_WIDTH)
    report = analyse_models([Model(str(k), atoms) for k, atoms in enumerate(models)], settings)
    curves: Curves = {}
    for kind, (curve, _) in mean_curves(report.found).items():
        if kind in DRAWN:
            columns = {"x": curve.x, **curve.columns}
            curves[kind] = {name: [float(f"{y:.6g}") for y in values] for name, values in columns.items()}
    return {row.name: row for row in report.means}, curves


def value(means: Mapping[str, Mean], name: str) -> float | None:
    """A mean by its name, shares of atoms in percent; None where the analysis has none."""
    if name not in means:
        return None
    return means[name].value * (100 if means[name].unit == SHARE else 1)


def finished(title: str, made: Made, rate: bool = True) -> list[Row]:
    """How many models ended well, the slowest cooling, and their cost."""
    n = len(made.models) + made.failed
    rows = [Row(f"{title}: models that ended well", len(made.models) / n, SHARE, n)]
    rates = [float(c.info["cooling_rate"]) for c in made.models if "cooling_rate" in c.info]
    if rate and rates:
        rows.append(Row(f"{title}: slowest cooling", max(rates), "K/ps", len(rates)))
    return [*rows, Row(f"{title}: one core", made.seconds_each, "s/model", n)]


def silicon(bench: Bench) -> Part:
    """Amorphous silicon by melting and quenching."""
    s = bench.config.amorphous
    made = bench.generate(
        "silicon", "Si", s.silicon_atoms, s.silicon_models, f"generator.protocol={s.silicon_protocol}"
    )
    title, n = f"a-Si, {s.silicon_atoms} atoms", len(made.models)
    part = Part(finished(title, made))
    if not n:
        return part
    means, part.curves[title] = analysed(made.atoms)
    ratio = mean(map(density, made.atoms)) / crystal_density(bench)
    above = bench.above(made.models)
    part.rows += [
        Row(f"{title}: coordination defects at 2.85 Angstrom", value(means, "Si defects"), PERCENT, n, "<= 4"),
        Row(f"{title}: bond angle", value(means, "Si-Si-Si angle"), "degrees", n),
        Row(
            f"{title}: deviation of the bond angle", value(means, "Si-Si-Si angle, deviation"), "degrees", n, "<= 11.5"
        ),
        *between(f"{title}: density over that of diamond", ratio, "", n, 0.96, 0.99),
        Row(f"{title}: energy above diamond", mean(above) if above else None, "eV/atom", len(above), "<= 0.26"),
        *between(f"{title}: first peak of S(q)", _peak(means), "1/Angstrom", n, 1.95, 2.05),
        *others(title, means, n, ("Si-Si bond length", "King rings, mean size", "diamond-like nodes")),
    ]
    return part


def crystal_density(bench: Bench) -> float:
    """Density of relaxed diamond by the potential, g/cm3, computed once."""
    path = bench.folder / "diamond.json"
    if not path.is_file():
        bench.folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(density(relaxed(diamond(), bench.potential.as_ase()))))
    return float(json.loads(path.read_text()))


def _peak(means: Mapping[str, Mean]) -> float | None:
    return value(means, "first diffraction peak, neutron")


def others(title: str, means: Mapping[str, Mean], n: int, names: Sequence[str]) -> list[Row]:
    """Numbers without a target."""
    return [
        Row(f"{title}: {name}", value(means, name), PERCENT if means[name].unit == SHARE else means[name].unit, n)
        for name in names
        if name in means
    ]


def silica(bench: Bench) -> Part:
    """Silica glass by melting and quenching."""
    s = bench.config.amorphous
    made = bench.generate("silica", "SiO2", s.silica_atoms, s.silica_models, f"generator.protocol={s.silica_protocol}")
    title, n = f"a-SiO2, {s.silica_atoms} atoms", len(made.models)
    part = Part(finished(title, made))
    if not n:
        return part
    means, part.curves[title] = analysed(made.atoms)
    above = bench.above(made.models)
    part.rows += [
        Row(f"{title}: Si fourfold at 2.0 Angstrom", value(means, "Si with 4 bonds"), PERCENT, n, ">= 98"),
        Row(f"{title}: O twofold at 2.0 Angstrom", value(means, "O with 2 bonds"), PERCENT, n, ">= 98.5"),
        *between(f"{title}: Si-O bond", value(means, "Si-O bond length"), "Angstrom", n, 1.60, 1.65),
        *between(f"{title}: Si-O-Si angle", value(means, "Si-O-Si angle"), "degrees", n, 142, 150),
        *between(f"{title}: density", mean(map(density, made.atoms)), "g/cm3", n, 2.15, 2.28),
        *between(f"{title}: first sharp diffraction peak, neutron", _peak(means), "1/Angstrom", n, 1.45, 1.60),
        *between(f"{title}: most frequent King ring", value(means, "King rings, most frequent size"), "Si", n, 6, 6),
        Row(f"{title}: energy above quartz", mean(above) if above else None, "eV/atom", len(above)),
        *others(title, means, n, ("Si-O-Si angle, deviation", "O-Si-O angle", "O-Si-O angle, deviation")),
    ]
    return part


def trend(bench: Bench) -> Part:
    """Silicon by EDIP at several rates, relaxed by the potential: slower is lower in energy and in defects."""
    s, part = bench.config.amorphous, Part()
    samples: dict[float, dict[str, list[float]]] = {}
    for rate in s.trend_rates:
        lammps = "engine: lammps, model: edip"
        path = bench.protocol(f"trend-{rate:g}", [
            f"name: settle, kind: relax, {lammps}, fmax: 0.5",
            f"name: melt, {lammps}, ensemble: nose_hoover, temperature: 3000, duration: 5",
            f"name: cool, {lammps}, ensemble: nose_hoover, temperature: [3000, 1800], rate: 100",
            f"name: quench, {lammps}, ensemble: npt, temperature: [1800, 600], rate: {rate:g}",
        ], f"silicon; quench by EDIP at {rate:g} K/ps")  # fmt: skip
        name = f"trend-{rate:g}"
        made = bench.generate(name, "Si", s.trend_atoms, s.trend_models, f"generator.protocol={path}")
        title = f"trend, a-Si, {s.trend_atoms} atoms, {rate:g} K/ps"
        part.rows += finished(title, made, rate=False)
        if not made.models:
            continue
        part.curves[title] = analysed(made.atoms)[1]
        defects = [value(analysed([atoms], ("coordination",))[0], "Si defects") or 0.0 for atoms in made.atoms]
        samples[rate] = {"energy": bench.above(made.models), "defects": defects}
        for what, unit in (("energy", "eV/atom"), ("defects", PERCENT)):
            part.rows += _with_error(f"{title}: {what}", samples[rate][what], unit)
    part.rows += falls(samples)
    for what in ("energy", "defects"):
        part.points[what] = [[rate, *_mean_error(kept[what])] for rate, kept in samples.items() if kept[what]]
    return part


def _mean_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error."""
    return mean(values), stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")


def _with_error(name: str, values: Sequence[float], unit: str) -> list[Row]:
    if not values:
        return [Row(name, None, unit, 0)]
    middle, error = _mean_error(values)
    return [Row(name, middle, unit, len(values)), Row(f"{name}, standard error", error, unit, len(values))]


def falls(samples: Mapping[float, Mapping[str, Sequence[float]]]) -> list[Row]:
    """Of each pair of neighbouring rates, and of the ends: how far the slower is lower, in combined standard errors."""
    rates = sorted(samples, reverse=True)
    pairs = [*pairwise(rates), *([(rates[0], rates[-1])] if len(rates) > 2 else [])]
    out = []
    for what in ("energy", "defects"):
        for fast, slow in pairs:
            many, few = samples[fast][what], samples[slow][what]
            lower = None
            if len(many) > 1 and len(few) > 1:
                (a, da), (b, db) = _mean_error(many), _mean_error(few)
                lower = (a - b) / max((da**2 + db**2) ** 0.5, 1e-12)
            name = f"trend: {what} at {slow:g} below that at {fast:g} K/ps"
            out.append(Row(name, lower, "standard errors", len(many) + len(few), ">= 1"))
    return out


def published(bench: Bench) -> Part:
    """Our analysis of the published glasses against their published numbers."""
    patterns = bench.config.amorphous.glasses
    files = [path for pattern in patterns for path in sorted(glob(str(pattern)))]
    if not files:
        raise UserError(
            "part published needs amorphous.glasses=[PATTERN], the 24 published glasses; leave the part out"
        )
    groups: dict[float, list[str]] = {}
    for path in files:
        if match := re.search(r"(\d+(?:_\d+)?)k_", Path(path).name):
            groups.setdefault(float(match[1].replace("_", ".")), []).append(path)
    part = Part()
    for rate, paths in sorted(groups.items(), reverse=True):
        models = [model.atoms for model in read_models(paths, ["O", "Si"])]
        means, part.curves[f"{rate:g} K/ps"] = analysed(models, ("coordination", "distributions"))
        at = "Si-O-Si angle, at atoms without defect"
        found = [
            value(means, "Si with 4 bonds"),
            value(means, "O with 2 bonds"),
            value(means, at),
            mean(map(density, models)),
        ]
        title, n = f"published glasses, {rate:g} K/ps", len(models)
        names = (
            ("Si fourfold", PERCENT),
            ("O twofold", PERCENT),
            ("Si-O-Si angle at twofold O", "degrees"),
            ("density", "g/cm3"),
        )
        part.rows += [Row(f"{title}: {name}", v, unit, n) for (name, unit), v in zip(names, found, strict=True)]
        for (name, unit), v, known, limit in zip(names, found, PUBLISHED.get(rate, ()), WITHIN, strict=False):
            off = None if v is None else abs(v - known) * (100 / known if name == "density" else 1)
            unit = PERCENT if name == "density" else unit
            part.rows.append(Row(f"{title}: {name}, off the published one", off, unit, n, f"<= {limit:g}"))
    return part


def large(bench: Bench) -> Part:
    """A large model of silicon, quenched by EDIP or from a file."""
    s = bench.config.amorphous
    check_compiled(s.large_atoms, "rings")
    if s.large:
        atoms, title = read_models([s.large])[0].atoms, "a-Si, {} atoms, from a file"
        rows = []
    else:
        lammps = "engine: lammps, model: edip"
        path = bench.protocol("large", [
            f"name: melt, {lammps}, ensemble: nose_hoover, temperature: 3500, duration: 10",
            f"name: cool, {lammps}, ensemble: nose_hoover, temperature: [3500, 1800], rate: 100",
            f"name: quench, {lammps}, ensemble: npt, temperature: [1800, 300], rate: {s.large_rate:g}",
            f"name: settle, kind: relax, {lammps}, fmax: 0.02",
        ], f"silicon; quench by EDIP at {s.large_rate:g} K/ps")  # fmt: skip
        words = (f"generator.protocol={path}", "generator.start=diamond", "relaxation=null", "screening=null")
        made = bench.generate("large", "Si", s.large_atoms, 1, *words)
        rows = finished("a-Si, large", made)
        if not made.models:
            return Part(rows)
        atoms, title = made.atoms[0], f"a-Si, {{}} atoms, EDIP, {s.large_rate:g} K/ps"
    title = title.format(len(atoms))
    means, curves = analysed([atoms])
    names = ("Si with 3 bonds", "Si with 4 bonds", "Si with 5 bonds", "Si-Si-Si angle", "Si-Si-Si angle, deviation",
             "diamond-like nodes", "King rings, mean size", "undercoordinated clustering z",
             "overcoordinated clustering z", "overcoordinated largest cluster")  # fmt: skip
    rows += [
        Row(f"{title}: atoms", len(atoms), "atoms", 1, ">= 97336"),
        Row(f"{title}: coordination defects at 2.85 Angstrom", value(means, "Si defects"), PERCENT, len(atoms)),
        Row(f"{title}: density", density(atoms), "g/cm3", 1),
        *between(f"{title}: first peak of S(q)", _peak(means), "1/Angstrom", 1, 1.95, 2.05),
        *others(title, means, len(atoms), names),
    ]
    return Part(rows, {title: curves})


def scale(bench: Bench) -> Part:
    """Coordination, g(r), rings and defect classes of a very large model, in a process of its own."""
    check_compiled(bench.config.amorphous.scale_atoms, "rings")
    words = [sys.executable, "-m", glass_scale.__name__, str(bench.config.amorphous.scale_atoms)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise UserError(f"the analysis of {words[-1]} atoms ended with status {done.returncode}, said above")
    result = json.loads(done.stdout.splitlines()[-1])
    n = int(result["atoms"])
    title, parts = f"analysis of {n} atoms", [result[name] for name in glass_scale.PARTS]
    rows = [Row(f"{title}: all four parts", sum(parts), "CPU s", n, "<= 180"),
            Row(f"{title}: memory", result["memory"], "GiB", n, "<= 3")]  # fmt: skip
    rows += [Row(f"{title}: {name}", result[name], "CPU s", n) for name in glass_scale.PARTS]
    return Part(rows, points={"seconds": [[float(k), spent] for k, spent in enumerate(parts)]})

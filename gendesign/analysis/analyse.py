"""The analysis of models from files: all parts of all models, means, files and figures."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from gendesign.analysis import energy_stages, stages
from gendesign.analysis.choices import cutoffs_of, ideal_of, parts_of, r_max_of
from gendesign.analysis.compare import agreement, read_curve
from gendesign.analysis.energetics import crystal_energies
from gendesign.analysis.reading import Model, read_models
from gendesign.analysis.report import Report, write_report
from gendesign.analysis.results import Found, mean_curves
from gendesign.analysis.scattering import weights
from gendesign.analysis.settings import Analysis
from gendesign.errors import UserError
from gendesign.potential.advice import concerns
from gendesign.potential.protocol import PotentialLike

Progress = Callable[[str, int, int], None]
PLAIN_PARTS: dict[str, Callable[[stages.Case, Found], None]] = {
    "coordination": stages.add_coordination,
    "distributions": stages.add_distributions,
    "rings": stages.add_rings,
    "structure_factor": stages.add_structure_factor,
    "order": stages.add_order,
    "crystallinity": stages.add_crystallinity,
    "voids": stages.add_voids,
    "defects": stages.add_defects,
}
ORDER = ("energy", *PLAIN_PARTS, "elastic", "vibrations", "diffusion")  # local energies are used by the defects


def _silent(part: str, done: int, total: int) -> None:
    """No progress."""


@dataclass(frozen=True)
class _Tools:
    """What all models share."""

    settings: Analysis
    r_max: float
    potential: PotentialLike | None
    crystals: Sequence[Atoms]
    progress: Progress


def analyse_files(
    files: Sequence[str | Path],
    output: str | Path,
    settings: Analysis | None = None,
    potential: PotentialLike | None = None,
    progress: Progress = _silent,
) -> Report:
    """Analyse every structure of every file as one model, and write the files of the report into `output`.

    Raises UserError for files that cannot be read, models of different elements, and settings that do not fit them.
    """
    settings = settings or Analysis()
    models = read_models(files, settings.species, settings.trajectory)
    report = analyse_models(models, settings, potential, progress)
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    write_report(report, folder, settings.figures, [model.atoms for model in models] if settings.atoms else ())
    return report


def analyse_models(
    models: Sequence[Model],
    settings: Analysis | None = None,
    potential: PotentialLike | None = None,
    progress: Progress = _silent,
) -> Report:
    """The results of all models. `progress` is called with the part, the parts done and their number."""
    settings = settings or Analysis()
    first = models[0].atoms
    for model in models:
        if set(model.atoms.symbols) != set(first.symbols):
            names = [", ".join(sorted(set(one.symbols))) for one in (first, model.atoms)]
            raise UserError(
                f"{models[0].name} has {names[0]}, but {model.name} has {names[1]}; analyse them separately"
            )
    ideal_of(settings.ideal)
    measured = {kind: read_curve(path[0]) for kind, path in _measured(settings).items()}
    moving = any(len(model.frames) > 1 for model in models)
    velocities = moving and all(frame.has("momenta") for model in models for frame in model.frames)
    available = {"potential": potential is not None, "trajectory": moving, "velocities": velocities}
    parts = parts_of(settings, available)
    symbols = sorted(set(map(str, first.symbols)))
    crystals: Sequence[Atoms] = ()
    if potential is not None:
        potential.require_elements(symbols)
        if "energy" in parts:
            own = (
                [model.atoms for model in read_models(settings.reference_crystals)]
                if settings.reference_crystals
                else []
            )
            crystals = crystal_energies(symbols, potential.as_ase(), own)
    tools = _Tools(settings, r_max_of([model.atoms for model in models], settings), potential, crystals, progress)
    cutoffs, origin = cutoffs_of(first, settings)
    found = []
    for number, model in enumerate(models):
        done = (number * len(parts), len(models) * len(parts))
        found.append(_analyse(model, parts, cutoffs, tools, done))
    words = ", ".join(f"{a}-{b} {length:.3g} Angstrom" for (a, b), length in cutoffs.items())
    formula = first.get_chemical_formula(empirical=True)
    report = Report(found, f"{words} ({origin})", {"formula": formula, **asdict(settings), "r_max": tools.r_max})
    report.notes = [model.note for model in models if model.note]
    report.notes += [note for one in found for note in one.notes]
    if potential is not None:
        smallest = min((model.atoms for model in models), key=len)
        report.notes += [f"warning: {text}" for _, text in concerns([smallest], potential)]
    _compare(report, measured, settings)
    return report


def _analyse(model: Model, parts: Sequence[str], cutoffs: dict, tools: _Tools, done: tuple[int, int]) -> Found:
    """All parts of one model."""
    atoms = model.atoms
    case = stages.Case(atoms, tools.settings, cutoffs, tools.r_max)
    found = Found(model.name)
    found.add("atoms", len(atoms))
    mass = float(atoms.get_masses().sum())
    found.add("density", mass / atoms.get_volume() * stages.DENSITY, "g/cm3")
    for count, part in enumerate(name for name in ORDER if name in parts):
        tools.progress(f"{model.name}: {part.replace('_', ' ')}", done[0] + count, done[1])
        begun = time.perf_counter()

        def within(at: int, total: int, part: str = part, count: int = count) -> None:
            tools.progress(f"{model.name}: {part} ({at} of {total})", done[0] + count, done[1])

        if part in PLAIN_PARTS:
            PLAIN_PARTS[part](case, found)
        elif part == "energy" and tools.potential is not None:
            energy_stages.add_energy(case, found, tools.potential, tools.crystals)
        elif part == "elastic" and tools.potential is not None:
            energy_stages.add_elastic(case, found, tools.potential, within)
        elif part == "vibrations":
            energy_stages.add_vibrations(case, found, model.frames, tools.potential, within)
        elif part == "diffusion":
            energy_stages.add_diffusion(case, found, model.frames)
        found.seconds[part] = time.perf_counter() - begun
    tools.progress(model.name, done[0] + len(parts), done[1])
    return found


def _measured(settings: Analysis) -> dict[str, tuple[str, ...]]:
    chosen = {"sq": settings.measured_sq, "rdf": settings.measured_gr}
    for kind, paths in chosen.items():
        if len(paths) > 1:
            raise UserError(f"measured_{'gr' if kind == 'rdf' else kind}: give one file, not {len(paths)}")
    return {kind: paths for kind, paths in chosen.items() if paths}


def _compare(report: Report, measured: dict, settings: Analysis) -> None:
    """Add the agreement of the mean curves with measured ones."""
    curves = mean_curves(report.found)
    for kind, curve in measured.items():
        if kind not in curves:
            part = "structure_factor" if kind == "sq" else "distributions"
            raise UserError(f"a measured curve was given, but its part is left out; add {part} to parts")
        computed = curves[kind][0]
        y = computed.columns[settings.radiation] if kind == "sq" else _weighted(report, computed, settings.radiation)
        name = ("S(q)" if kind == "sq" else "g(r)") + f", {settings.radiation}"
        report.agreements[name] = agreement(computed.x, y, curve, settings.fit_scale)
        report.measured[kind] = curve


def _weighted(report: Report, curve, radiation: str) -> np.ndarray:
    """Total g(r) with the weights of the radiation at q = 0."""
    from ase.formula import Formula

    shares = Formula(str(report.settings["formula"])).count()
    total = sum(shares.values())
    scatter = {symbol: float(weights(symbol, np.zeros(1), radiation)[0]) for symbol in shares}
    mean = sum(shares[symbol] / total * scatter[symbol] for symbol in shares)
    out = np.zeros_like(curve.x)
    for name, g in curve.columns.items():
        if name != "total":
            a, b = name.split("-")
            both = 1 if a == b else 2
            out += both * shares[a] * shares[b] / total**2 * scatter[a] * scatter[b] * g / mean**2
    return out

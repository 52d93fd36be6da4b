"""`gendesign benchmark perovskites`: errors of a potential, recovery of crystals, lattices, and speed of relaxations.

Searches, relaxed references and other slow results are stored below `output`, and the same command completes them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from ase import Atoms
from omegaconf import DictConfig, OmegaConf

from gendesign.benchmark import lattices, recovery, relaxing
from gendesign.benchmark.potentials import test_files
from gendesign.benchmark.record import Row, check_record, table, write
from gendesign.benchmark.search import Material, Search, digest, fitting_cell, in_known_cell, settings_for
from gendesign.errors import UserError
from gendesign.potential.protocol import PotentialLike
from gendesign.potential.zoo import hash_of
from gendesign.relaxation import Relaxation, relax
from gendesign.run.build import load, make
from gendesign.run.folder import check_folder, open_folder
from gendesign.run.validation import run_validation
from gendesign.structure.files import write_atomically
from gendesign.structure.formula import parse_formula
from gendesign.structure.labels import has_label, kind_of
from gendesign.structure.perovskite import energy_of, metals_of
from gendesign.structure.types import Candidate
from gendesign.train.teacher import Teacher, label, make_teacher
from gendesign.validation.errors import ALL
from gendesign.validation.suite import read_frames

BEST = 5  # the reference must be one of so many best candidates
TARGETS = {"force MAE, combined": ("meV/Angstrom", "<= 80"), "energy MAE, combined": ("meV/atom", "<= 5"),
           "stress MAE, combined": ("GPa", None)}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """A material with its search and the calculations that it is compared with.

    reference: the relaxation of the reference crystal. phases: searches in the published cells of its phases.
    """

    material: Material
    search: Search
    reference: Search | None = None
    phases: Mapping[str, Search] = field(default_factory=dict)

    @property
    def searches(self) -> list[Search]:
        """All searches of the plan."""
        return [self.search, *([self.reference] if self.reference else []), *self.phases.values()]


def run(config: DictConfig) -> None:
    """Complete the calculations in `config.output`, print the table, and write perovskites.json to `config.record`.

    Raises UserError for unusable settings, files and folders before any calculation starts.
    """
    settings, record = config.perovskites, check_record(config.record)

    files = test_files(settings.test, "perovskites.test", "scripts/hoip/gather.py")
    output = Path(config.output) / "perovskites"
    recovered, known = recovery_plans(config, output / "recovery"), known_plans(config, output / "known")
    taught = lattices.teacher_cells(settings.teacher_cells)
    teacher = _teacher(config, recovered)
    potential = load(config)
    plans = [*recovered, *known.values()]
    elements = {symbol for plan in plans for symbol in plan.material.compound.elements}
    potential.require_elements(elements.union(*map(parse_formula, settings.cubic)))
    for plan in plans:
        for search in plan.searches:
            search.check(potential)
    rows = [
        *error_rows(files, config, potential, output / "errors"),
        *recovery_rows(recovered, potential, teacher, output / "teacher"),
        *known_rows(known, potential, taught),
        *cubic_rows(settings.cubic, potential, taught),
        *timing_rows(plans, settings, potential, output / "relaxing.json"),
    ]
    write(rows, record / "perovskites.json", potential.device)
    print(table(rows))
    print(f"ranked crystals: {output}/*/*/report.html; rows: {record / 'perovskites.json'}")


def recovery_plans(config: DictConfig, output: Path) -> list[Plan]:
    """The searches for `perovskites.compositions` and their references. Raises UserError for impossible searches."""
    settings, plans = config.perovskites, []
    known = recovery.read_references(settings.references) if settings.compositions else {}
    for text in settings.compositions:
        material = Material.parse(text)
        references = recovery.references_for(material, known, config)
        cell = fitting_cell(material, settings.cells, settings.most_atoms)
        chosen = {seed: settings_for(material, cell, config, seed) for seed in recovery.seeds_of(config)}
        relaxed = Search(chosen[config.seed], output / f"{material.folder}-reference", references)
        for seed, search_settings in chosen.items():
            plans.append(Plan(material, Search(search_settings, output / f"{material.folder}-{seed}"), relaxed))
    return plans


def known_plans(config: DictConfig, output: Path) -> dict[str, Plan]:
    """The searches for crystals of known lattice, by name, in cells of two metals and in the published cells."""
    plans = {}
    for name in config.perovskites.known:
        material, starts, seed = lattices.MATERIALS[name], config.perovskites.published, config.seed
        search = Search(settings_for(material, "sqrt2", config), output / f"{name}-{seed}")
        cells = lattices.PHASES[name] if starts else {}
        phases = {
            phase: in_known_cell(search, cell, f"{name}-{phase}-{seed}".replace(" ", "-"), starts)
            for phase, cell in cells.items()
        }
        plans[name] = Plan(material, search, phases=phases)
    return plans


def error_rows(files: Sequence[str], config: DictConfig, potential: PotentialLike, output: Path) -> list[Row]:
    """Errors on the labelled files, combined and by kind; rows without a value if there are no files."""
    if not files:
        return [Row(name, None, unit, 0, target) for name, (unit, target) in TARGETS.items()]
    kinds = sorted({kind_of(frame) for frame in read_frames(files) if has_label(frame)})
    identity = {"verb": "benchmark perovskites", "settings": {"dtype": config.dtype},
                "files": {file: hash_of(Path(file)) for file in files}, "weights": potential.weights_hash}  # fmt: skip
    check_folder(output, identity)
    aims = {name: target for name, (_, target) in TARGETS.items() if target}
    with open_folder(output, identity, "parts/*.json"):
        results = run_validation(potential, files, {"tests": ["errors"], "together": kinds}, output, aims)
    return [row for row in results["errors"] if not row.name.endswith(ALL)]  # they repeat the combined rows


def recovery_rows(plans: Sequence[Plan], potential: PotentialLike, teacher: Teacher | None, output: Path) -> list[Row]:
    """The outcome of each search for its reference, and the fractions over all searches."""
    rows, outcomes = [], {}
    for plan in plans:
        search_result, reference = plan.search.run(potential), plan.reference.run(potential)
        difference = None if teacher is None else _teacher_difference(teacher, output / plan.search.path.name)
        outcome = recovery.outcome_of(search_result, reference, BEST, difference)
        outcomes.setdefault(plan.material.text, []).append(outcome)
        title = f"{plan.material.text}, seed {plan.search.settings.seed}"
        rows += recovery.recovery_rows(title, outcome, search_result, BEST)
    return [*recovery.share_rows(outcomes), *rows]


def known_rows(plans: dict[str, Plan], potential: PotentialLike, taught: dict[str, Candidate]) -> list[Row]:
    """Lattices of the best structure of each search, of the phases in their published cells, and of the teacher."""
    rows = []
    for name, plan in plans.items():
        compound = plan.material.compound
        measured = {phase: lattices.Lattice.of(cell, compound) for phase, cell in lattices.PHASES[name].items()}
        search_result, limits = plan.search.run(potential), make(plan.search.settings.relaxation)
        # the lattice of a candidate that has not converged is still that of its start
        converged = [candidate for candidate in search_result.ranked if candidate.info["converged"]]
        ranked = [(_lattice(candidate), energy_of(candidate)) for candidate in converged]
        rows += lattices.lattice_rows(f"{name}, best of the search", ranked[0][0] if ranked else None, measured)
        for phase, lattice in measured.items():
            rows += lattices.nearest_rows(name, ranked, phase, lattice)
        for phase, search in plan.phases.items():
            crystal, title = _released(search.run(potential).best, potential, limits), f"{name}, {phase} relaxed"
            rows += lattices.lattice_rows(title, _lattice(crystal), {phase: measured[phase]})
            above = energy_of(crystal) - ranked[0][1] if crystal and ranked else None
            n = int(above is not None)
            rows.append(Row(f"{title}: above the best of the search", above, "eV per formula unit", n))
        titles = {name: measured} | {f"{name}, {phase}": {phase: lattice} for phase, lattice in measured.items()}
        for title, phases in titles.items():
            crystal = taught.get(title)
            if crystal is None and title != name:
                continue
            rows += lattices.lattice_rows(f"{title}, teacher", _lattice(crystal), phases, None)
            if crystal is not None:
                relaxed = _lattice(_released(crystal, potential, limits))
                rows += lattices.followed_rows(title, _lattice(crystal), relaxed)
    return rows


def _released(crystal: Candidate | None, potential: PotentialLike, limits: Relaxation) -> Candidate | None:
    """The crystal with relaxed atoms and cell; None without a crystal or if the relaxation does not converge."""
    (relaxed,) = relax([crystal], potential, limits) if crystal else (None,)
    return relaxed if relaxed and relaxed.failure is None and relaxed.info["converged"] else None


def cubic_rows(formulas: Sequence[str], potential: PotentialLike, taught: dict[str, Candidate]) -> list[Row]:
    """Lattice constants of cubic perovskites."""
    if not formulas:
        return []
    done = relax([lattices.cubic_start(formula) for formula in formulas], potential, lattices.CUBIC_LIMITS)
    rows = []
    for name, candidate in zip(formulas, done, strict=True):
        rows += lattices.cubic_rows(name, candidate, taught[name].atoms if name in taught else None)
    return rows


def timing_rows(plans: Sequence[Plan], settings: DictConfig, potential: PotentialLike, path: Path) -> list[Row]:
    """Structures per second in relaxations of starts of the first material, batched and by ASE."""
    if not plans or not settings.timed:
        return relaxing.pace_rows(None, 0, potential.device)
    search = plans[0].search
    timed = {"max_steps": settings.timed_steps, "fmax": settings.timed_fmax, "max_stress": settings.timed_stress}
    limits = replace(make(search.settings.relaxation), optimizer="fire", **timed)
    generator, starts = make(search.settings.generator, potential=potential), []
    for index in range(10 * settings.timed):
        start = generator.build_start(index, seed=search.settings.seed)
        if start.failure is None and len(starts) < settings.timed:
            starts.append(Atoms(start.atoms.numbers, start.atoms.positions, cell=start.atoms.cell, pbc=True))
    identity = {"weights": potential.weights_hash, "device": str(potential.device), "dtype": search.settings.dtype,
                "threads": torch.get_num_threads(), "starts": digest(starts), "relaxation": vars(limits),
                "ways": list(relaxing.TITLES)}  # fmt: skip
    paces = cached(path, identity, lambda: relaxing.measured(starts, potential, limits))
    return relaxing.pace_rows(paces, len(starts), potential.device)


def cached(path: Path, identity: dict[str, Any], compute: Callable[[], Any]) -> Any:
    """The JSON value from `compute`, or from the file at `path` if it was computed for the same identity before."""
    if path.is_file() and (stored := json.loads(path.read_text()))["identity"] == identity:
        return stored["found"]
    value = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps({"identity": identity, "found": value}, indent=1) + "\n")
    return value


def _lattice(crystal: Candidate | None) -> lattices.Lattice | None:
    return None if crystal is None else lattices.lattice_of(crystal.atoms, int(crystal.info.get("layers", 1)))


def _teacher_difference(teacher: Teacher, folder: Path) -> Callable[[Atoms, Atoms], float | None]:
    """Energy difference of two crystals by the teacher, in eV per metal, of which a formula unit has one; cached."""

    def difference(first: Atoms, second: Atoms) -> float | None:
        folder.mkdir(parents=True, exist_ok=True)
        labelled = [label(teacher, atoms, scratch=folder) for atoms in (first, second)]
        if any("failure" in frame.info for frame in labelled):
            return None
        energies = [frame.info["energy"] / len(metals_of(frame)) for frame in labelled]
        return float(energies[0] - energies[1])

    def cached_difference(first: Atoms, second: Atoms) -> float | None:
        identity = {"teacher": teacher.about, "structures": digest([first, second])}
        return cached(folder.with_suffix(".json"), identity, lambda: difference(first, second))

    return cached_difference


def _teacher(config: DictConfig, plans: Sequence[Plan]) -> Teacher | None:
    """The teacher that confirms structures below the reference.

    Raises UserError if it cannot compute the references.
    """
    if config.get("teacher") is None:
        return None
    teacher = make_teacher(OmegaConf.to_container(config.teacher, resolve=True))
    teacher.check(frozenset(symbol for plan in plans for symbol in plan.material.compound.elements))
    references: list[Candidate] = [candidate for plan in plans for candidate in plan.reference.structures]
    for reason in filter(None, (teacher.refuse(candidate.atoms) for candidate in references)):
        raise UserError(f"teacher={teacher.title}: a reference {reason}")
    return teacher

"""`gendesign benchmark agent`: molecules that agents learn to build, measured by the potential and by its teacher.

Every agent is trained into the output folder with the default settings; the same command resumes.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from matplotlib.figure import Figure
from omegaconf import DictConfig
from tqdm import tqdm

from gendesign.benchmark import building, record
from gendesign.benchmark.record import Row
from gendesign.errors import UserError
from gendesign.generate.rl.archive import Archive
from gendesign.generate.rl.checkpoint import load_agent, read_config
from gendesign.generate.rl.environment import VectorBuilding
from gendesign.generate.rl.policy import Policy
from gendesign.generate.rl.reward import Reward
from gendesign.generate.rl.tasks import SingleBag, Solvation
from gendesign.potential.protocol import PotentialLike
from gendesign.randomness import Purpose, seed_of, stream
from gendesign.run.build import load
from gendesign.structure.bonds import connectivity
from gendesign.structure.formula import parse_formula

ISOMERS = Path(__file__).parent / "cases" / "isomers.json"
UNSEEN = ("C2H4O2", "C3H7N", "C4H8O", "C3H7NO", "C4H6O", "C2H6N2O", "C5H8", "C4H9N", "C3H6O2", "C5H10O")
MAX_DISTANCE, MAX_L = 2.0, 4  # Angstrom, for S-F bonds; degree that resolves an octahedron
SOLVENT_DISTANCE = 2.8  # Angstrom
BEST = 10  # molecules of highest return that are relaxed by the teacher
STEPS = 400  # placements on which rewards are compared
TIMED = 30  # updates that are timed
CLOSE = 0.3  # kcal/mol per atom
HYDROGEN_BOND = 2.3  # Angstrom between a hydrogen and the oxygen it is not bonded to


def run(config: DictConfig) -> None:
    """Train what is missing, print the table, write agent.json and agent.png to `record`."""
    settings, folder = config.building, record.check_record(config.record)
    references = json.loads(ISOMERS.read_text())
    for key, known in (("symmetric", building.KNOWN), ("bags", references)):
        if unknown := [name for name in settings[key] if name not in known]:
            raise UserError(f"building.{key}: {unknown[0]} has no reference; allowed are {', '.join(known)}")
    potential, output = load(config), Path(config.output) / "agent"
    curves: dict[str, list[list[tuple[int, float]]]] = {}
    rows = []
    for formula in settings.symmetric:
        rows += symmetric(formula, settings, potential, output, curves)
    for formula in settings.bags:
        rows += bag(formula, references[formula], settings, potential, output, curves)
    if settings.agent is not None:
        rows += several(settings, potential, output)
    if settings.solvation_steps:
        rows += solvation(settings, potential, output)
    if settings.speed:
        rows += speed(potential)
    record.write(rows, folder / "agent.json", potential.device)
    best = {row.name.split(":")[0]: row.value for row in rows if row.name.endswith("optimum, potential")}
    picture(curves, best, folder / "agent.png")
    print(record.table(rows))
    print(f"rows: {folder / 'agent.json'}; learning curves: {folder / 'agent.png'}")


def symmetric(formula: str, settings: DictConfig, potential: PotentialLike, output: Path, curves: dict) -> list[Row]:
    """Returns of agents whose best structure is known, over several seeds."""
    task, reward, best = SingleBag(formula), building.reward_of(potential), building.optimum(formula, potential)
    shares: dict[str, list[float]] = {"potential": [], "teacher": [], "sampled": []}
    for seed in range(settings.seeds):
        agent = building.trained(output / f"{formula}-{seed}", task, potential, settings.symmetric_steps, seed,
                                 max_distance=MAX_DISTANCE, max_l=MAX_L)  # fmt: skip
        curves.setdefault(formula, []).append(agent.curve)
        built = building.run_episodes(agent.policy, task, reward, 1, deterministic=True).finished
        by_potential, by_teacher = building.both_returns(built, potential) if built else (np.zeros(1),) * 2
        shares["potential"].append(float(by_potential[0]) / best["potential"])
        shares["teacher"].append(float(by_teacher[0]) / best["teacher"])
        drawn = building.run_episodes(agent.policy, task, reward, settings.episodes)
        shares["sampled"].append(sum(drawn.returns) / drawn.count / best["potential"])
    n = settings.seeds
    return [
        Row(f"{formula}: most probable molecule, return over the optimum, potential",
            float(np.mean(shares["potential"])), "", n, ">= 0.97"),
        Row(f"{formula}: the same, teacher", float(np.mean(shares["teacher"])), "", n, ">= 0.97"),
        Row(f"{formula}: range over seeds", float(np.ptp(shares["potential"])), "", n, "<= 0.03"),
        Row(f"{formula}: drawn molecules, failures as zero, over the optimum", float(np.mean(shares["sampled"])), "",
            n * settings.episodes),
        Row(f"{formula}: optimum, potential", best["potential"], "Hartree", 1),
        Row(f"{formula}: optimum, teacher", best["teacher"], "Hartree", 1),
    ]  # fmt: skip


def bag(
    formula: str, reference: dict[str, Any], settings: DictConfig, potential: PotentialLike, output: Path, curves: dict
) -> list[Row]:
    """Molecules of an agent of one organic bag."""
    task, reward = SingleBag(formula), building.reward_of(potential)
    agent = building.trained(output / formula, task, potential, settings.bag_steps, diverse=True)
    curves.setdefault(formula, []).append(agent.curve)
    drawn = building.run_episodes(agent.policy, task, reward, settings.episodes)
    n_valid = sum(map(len, building.valid(drawn.finished).values()))
    isomers = agent.archive.best.get(next(iter(agent.archive.best), ""), {})
    references = set(reference["smiles"])
    lowest = min((building.teacher_minimum(atoms)[1] for atoms in best_of(agent.archive)), default=float("nan"))
    gap = building.kcal_per_atom(lowest - reference["lowest_energy_eV"], sum(parse_formula(formula).values()))
    best = best_of(agent.archive)[:1]
    by_potential, by_teacher = building.both_returns(best, potential) if isomers else ([np.nan], [np.nan])
    kind = "all isomers" if reference["complete"] else "a fixed sample of isomers"
    return [
        Row(f"{formula}: best, relaxed by the teacher, above the lowest isomer", gap, "kcal/mol per atom",
            reference["count"], f"<= {CLOSE}"),
        Row(f"{formula}: distinct valid isomers in training", len(isomers), "molecules", agent.archive.n_finished),
        Row(f"{formula}: share of {kind} found", len(references & set(isomers)) / len(references), record.SHARE,
            len(references)),
        Row(f"{formula}: isomers that keep their graph when relaxed",
            agent.archive.n_stable / agent.archive.n_relaxed if agent.archive.n_relaxed else None, record.SHARE,
            agent.archive.n_relaxed),
        Row(f"{formula}: valid, of molecules drawn afterwards", n_valid / drawn.count, record.SHARE, drawn.count),
        Row(f"{formula}: best return, potential", float(by_potential[0]), "Hartree", 1),
        Row(f"{formula}: the same, teacher", float(by_teacher[0]), "Hartree", 1),
    ]  # fmt: skip


def best_of(archive: Archive) -> list[Atoms]:
    """The molecules of highest return: relaxed ones, or as built if none was relaxed."""
    entries = [entry for group in (archive.demonstrations or archive.best).values() for entry in group.values()]
    return [entry.atoms for entry in sorted(entries, key=lambda entry: -entry.total_return)[:BEST]]


def several(settings: DictConfig, potential: PotentialLike, output: Path) -> list[Row]:
    """An agent of several bags on unseen formulas, beside agents of one formula that share as many placements."""
    policy = load_agent(settings.agent, potential)
    reward, rows, steps, asymmetry = building.reward_of(potential), [], [], 0.0
    spent = read_config(settings.agent)["steps"] // max(1, settings.unseen)
    totals = {"several": [0, 0], "single": [0, 0]}
    for formula in tqdm(UNSEEN[: settings.unseen], desc="formulas"):
        task = SingleBag(formula)
        alone = building.trained(output / f"single-{formula}", task, potential, spent, diverse=True).policy
        for name, agent in (("several", policy), ("single", alone)):
            drawn = building.run_episodes(agent, task, reward, settings.episodes)
            isomers = building.valid(drawn.finished)
            n_valid = sum(map(len, isomers.values()))
            totals[name][0] += n_valid
            totals[name][1] += len(isomers)
            rows += [
                Row(f"{formula}: valid, agent of {name}", n_valid / drawn.count, record.SHARE, drawn.count),
                Row(f"{formula}: distinct isomers, agent of {name}", len(isomers), "molecules", drawn.count),
            ]
            steps += drawn.steps if name == "several" else []
        asymmetry = max(asymmetry, largest_asymmetry(policy, task, reward))
    if not steps:
        return []
    n = settings.unseen * settings.episodes
    chosen = [
        steps[k] for k in stream(Purpose.AGENT_BENCHMARK, 0).choice(len(steps), min(STEPS, len(steps)), replace=False)
    ]
    errors = building.reward_errors(chosen, potential)
    finite = errors[np.isfinite(errors)]
    return [
        *rows,
        Row("unseen formulas: valid, agent of several bags", totals["several"][0] / n, record.SHARE, n),
        Row(f"unseen formulas: valid, agents of one bag, {spent} placements each", totals["single"][0] / n,
            record.SHARE, n),
        Row("unseen formulas: distinct isomers, agent of several bags", totals["several"][1], "molecules", n),
        Row("unseen formulas: distinct isomers, agents of one bag", totals["single"][1], "molecules", n),
        Row("reward, potential against teacher, MAE", float(np.abs(finite).mean()), "Hartree", len(finite), "<= 0.02"),
        Row("reward, potential against teacher, median", float(np.median(np.abs(finite))), "Hartree", len(finite)),
        Row("log-probabilities under rotation, shift, renumbering: largest change", asymmetry, "", settings.unseen,
            "<= 0.0001"),
    ]  # fmt: skip


def largest_asymmetry(policy: Policy, task: SingleBag, reward: Reward) -> float:
    """Largest change of a log-probability under symmetry operations, along one round of episodes."""
    purpose = Purpose.AGENT_BENCHMARK_ENVIRONMENT
    vectors = VectorBuilding(task, reward, 8, elements=policy.elements, purpose=purpose)
    rng, worst = torch.Generator().manual_seed(seed_of(Purpose.AGENT_BENCHMARK, 1)), 0.0
    policy = policy.double()
    for _ in range(task.sizes[0]):
        canvas = vectors.canvas.to(torch.float64)
        action = policy.act(canvas, rng)[0]
        worst = max(worst, building.asymmetry(policy, canvas, action))
        vectors.step(action)
    policy.float()
    return worst


def solvation(settings: DictConfig, potential: PotentialLike, output: Path) -> list[Row]:
    """Formaldehyde with five waters: hydrogen bonds and energies of the best clusters."""
    task = Solvation("H2CO", "H2O", 5)
    agent = building.trained(
        output / "solvation", task, potential, settings.solvation_steps, max_distance=SOLVENT_DISTANCE
    )
    drawn = building.run_episodes(agent.policy, task, building.reward_of(potential), settings.episodes)
    clusters = [atoms for group in building.valid(drawn.finished, task.n_molecules).values() for atoms in group]
    share = len(clusters) / drawn.count
    clusters += best_of(agent.archive)
    rows = [Row("solvation: six whole molecules, of clusters drawn", share, record.SHARE, drawn.count)]
    if not clusters:
        return rows
    minima = building.relaxed(clusters, potential)
    by_potential, by_teacher = building.binding(minima, task, potential)
    best = int(np.argmin(by_potential))
    return [
        *rows,
        Row("solvation: hydrogen bonds of the best cluster", hydrogen_bonds(minima[best]), "", 1, ">= 4"),
        Row("solvation: mean hydrogen bonds of relaxed clusters", float(np.mean([*map(hydrogen_bonds, minima)])), "",
            len(minima)),
        Row("solvation: binding energy per water, best cluster, potential", float(by_potential[best]) / task.n,
            "kcal/mol", 1),
        Row("solvation: the same, GFN2-xTB", float(by_teacher[best]) / task.n, "kcal/mol", 1),
    ]  # fmt: skip


def hydrogen_bonds(atoms: Atoms) -> int:
    """Pairs of a hydrogen and an oxygen of another molecule nearer than 2.3 Angstrom."""
    bonded = connectivity(atoms)
    distances = atoms.get_all_distances()
    pairs = [(h, o) for h in np.flatnonzero(atoms.numbers == 1) for o in np.flatnonzero(atoms.numbers == 8)]
    return sum(bool(distances[h, o] < HYDROGEN_BOND and (min(h, o), max(h, o)) not in bonded) for h, o in pairs)


def speed(potential: PotentialLike) -> list[Row]:
    """Placements per second at ten atoms, updates included, and the share of time of every phase."""
    measured = building.speed(SingleBag("C3H6O"), potential, TIMED)
    rows = [Row("placements of ten atoms, update included", measured.pop("steps_per_second"), "1/s", TIMED, ">= 100")]
    return rows + [Row(f"share of the time: {name}", share, "", TIMED) for name, share in measured.items()]


def picture(curves: dict[str, Sequence[Sequence[tuple[int, float]]]], best: dict[str, float], path: Path) -> None:
    """Mean returns of training episodes against placements; a dashed line at the `best` return, where it is known."""
    columns = min(3, max(1, len(curves)))
    lines = -(-len(curves) // columns) or 1
    figure = Figure(figsize=(3.4 * columns, 2.5 * lines), layout="constrained")
    panels = iter(figure.subplots(lines, columns, squeeze=False).flat)
    for formula, runs in curves.items():
        panel = next(panels)
        for curve in runs:
            panel.plot(*zip(*curve, strict=True), lw=0.8)
        if formula in best:
            panel.axhline(best[formula], color="grey", ls="--", lw=0.8)
        panel.set(title=formula, xlabel="placements", ylabel="return, Hartree")
    for panel in panels:
        panel.axis("off")
    figure.savefig(path, dpi=120)

"""Agents for `gendesign benchmark agent`: training into the output folder, episodes, and measures of the molecules."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from ase import Atoms, units
from ase.build import molecule
from ase.optimize import LBFGS

from gendesign.generate.rl.archive import Archive, smiles_of
from gendesign.generate.rl.canvas import Action, Canvas
from gendesign.generate.rl.energies import Energies, potential_energies, returns_of, teacher_energies
from gendesign.generate.rl.environment import VectorBuilding
from gendesign.generate.rl.expert_iteration import ExpertIteration
from gendesign.generate.rl.features import PotentialFeatures
from gendesign.generate.rl.policy import Policy, PolicySettings
from gendesign.generate.rl.ppo import PPO
from gendesign.generate.rl.reward import Reward
from gendesign.generate.rl.tasks import Solvation, Task
from gendesign.generate.rl.training import PHASES, State, Training, improve, train
from gendesign.objective import Objective
from gendesign.potential.protocol import PotentialLike
from gendesign.randomness import Purpose, seed_of, stream
from gendesign.relaxation import Relaxation, relax
from gendesign.run.agents import roughly_relaxed
from gendesign.structure.types import Candidate
from gendesign.train.teachers.semiempirical import gfn2

TEACHER = "gfn2"
BONUS = 0.3  # Hartree
N_ENVS = 32  # environments in parallel when trained agents build molecules


@dataclass(frozen=True)
class Trained:
    """A trained agent, its archive, and its learning curve: placements and mean return (Hartree) of every update."""

    policy: Policy
    archive: Archive
    curve: list[tuple[int, float]]


def reward_of(potential: PotentialLike, diverse: bool = False) -> Reward:
    """Reward of all rows, by the potential; if `diverse`, with a bonus for valid molecules that are not frequent."""
    objective = Objective(["valid"], diversity_filter="molecule") if diverse else None
    return Reward(potential_energies(potential), objective=objective, objective_weight=BONUS)


def trained(
    folder: Path,
    task: Task,
    potential: PotentialLike,
    steps: int,
    seed: int = 0,
    *,
    max_distance: float = 1.8,
    max_l: int = 3,
    diverse: bool = False,
) -> Trained:
    """An agent with the default settings, trained for `steps` placements; a training begun in `folder` is resumed."""
    settings = Training(steps=steps, seed=seed, eval_freq=steps, n_eval_episodes=1)
    features = PotentialFeatures(max_l=max_l)
    policy = Policy(PolicySettings(features, max_distance=max_distance), task.elements, potential, seed)
    reward = reward_of(potential, diverse)
    vectors = [VectorBuilding(task, reward, n, seed) for n in (settings.n_envs, 1)]
    relaxing = None if len(task.initial_atoms) else partial(roughly_relaxed, reward, potential)
    state = train(policy, *vectors, folder, settings, PPO(), ExpertIteration(), relax=relaxing)
    with (folder / "log.csv").open() as file:
        curve = [(int(float(row["step"])), float(row["return"])) for row in csv.DictReader(file)]
    return Trained(policy.eval(), state.archive, curve)


@dataclass(frozen=True)
class Episodes:
    """Episodes of a trained agent: finished structures with their returns (Hartree), and the number of all episodes.

    `steps` are pairs of structures, before and after a placement.
    """

    finished: list[Atoms]
    returns: list[float]
    count: int
    steps: list[tuple[Atoms, Atoms]]


@torch.no_grad()
def run_episodes(
    policy: Policy, task: Task, reward: Reward, count: int, seed: int = 1, deterministic: bool = False
) -> Episodes:
    """`count` episodes with actions drawn from the policy, or with the most probable ones."""
    purpose = Purpose.AGENT_BENCHMARK_ENVIRONMENT
    vectors = VectorBuilding(task, reward, min(N_ENVS, count), seed, elements=policy.elements, purpose=purpose)
    rng = torch.Generator().manual_seed(seed_of(Purpose.AGENT_BENCHMARK, 2, seed))
    share = -(-count // vectors.n_envs)  # equally many of each environment, so that short episodes do not count more
    canvas, ended, steps = vectors.canvas, [[] for _ in range(vectors.n_envs)], []
    while min(map(len, ended)) < share:
        before = canvas.to_atoms()
        canvas, _, _, infos = vectors.step(policy.act(canvas, rng, deterministic=deterministic)[0])
        after = canvas.to_atoms()
        for k, info in enumerate(infos):
            if info:
                ended[k].append(info)
            result = info["atoms"] if info else after[k]
            if len(result) == len(before[k]) + 1:
                steps.append((before[k], result))
    infos = [info for infos in ended for info in infos[:share]][:count]
    finished = [info for info in infos if not info["reason"]]
    return Episodes([i["atoms"] for i in finished], [float(i["return"]) for i in finished], count, steps)


def valid(structures: Sequence[Atoms], n_molecules: int = 1) -> dict[str, list[Atoms]]:
    """Valid molecules, or clusters of `n_molecules` valid molecules, by SMILES."""
    by_smiles: dict[str, list[Atoms]] = {}
    for atoms in structures:
        if (key := smiles_of(atoms, n_molecules)) is not None:
            by_smiles.setdefault(key, []).append(atoms)
    return by_smiles


def relaxed(structures: Sequence[Atoms], potential: PotentialLike) -> list[Atoms]:
    """Minima of the potential."""
    candidates = [Candidate(atoms, k) for k, atoms in enumerate(structures)]
    minima = relax(candidates, potential, Relaxation(fmax=0.05, max_steps=500))
    return [Atoms(c.atoms.numbers, c.atoms.positions) for c in minima]


def teacher_minimum(atoms: Atoms) -> tuple[Atoms, float]:
    """The minimum of the teacher from a closed-shell structure, and its energy in eV."""
    work = Atoms(atoms.numbers, atoms.positions, calculator=gfn2())
    LBFGS(work, logfile=None, maxstep=0.1).run(fmax=0.02, steps=300)
    return Atoms(work.numbers, work.positions), float(work.get_potential_energy())


@cache
def teacher() -> Energies:
    """The energies of the teacher; isolated atoms are computed once."""
    return teacher_energies(TEACHER)


def both_returns(structures: Sequence[Atoms], potential: PotentialLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns (n,) in Hartree of finished structures under the potential and under its teacher."""
    return returns_of(structures, potential_energies(potential)), returns_of(structures, teacher())


def reward_errors(steps: Sequence[tuple[Atoms, Atoms]], potential: PotentialLike) -> np.ndarray:
    """Differences (n,) in Hartree between the rewards of placements under the potential and under its teacher."""
    elements = sorted({int(z) for _, after in steps for z in after.numbers})
    structures = [*(a for pair in steps for a in pair), *(Atoms([z]) for z in elements)]
    rewards = []
    for energies in (potential_energies(potential), teacher()):
        values = np.asarray(energies(structures))
        isolated = dict(zip(elements, values[2 * len(steps) :], strict=True))
        pairs = values[: 2 * len(steps)].reshape(-1, 2)
        rewards.append(pairs[:, 0] - pairs[:, 1] + [isolated[int(after.numbers[-1])] for _, after in steps])
    return rewards[0] - rewards[1]


def binding(clusters: Sequence[Atoms], task: Solvation, potential: PotentialLike) -> tuple[np.ndarray, np.ndarray]:
    """Binding energies (n,) in kcal/mol of relaxed clusters, potential and teacher, against relaxed molecules."""
    parts = [task.initial_atoms, molecule("H2O")]
    minima = relaxed(parts, potential)
    teacher_minima = [teacher_minimum(atoms)[0] for atoms in parts]
    out = []
    for energies, (solute, solvent) in ((potential_energies(potential), minima), (teacher(), teacher_minima)):
        values = np.asarray(energies([*clusters, solute, solvent]))
        out.append((values[:-2] - values[-2] - task.n * values[-1]) * units.Hartree / (units.kcal / units.mol))
    return out[0], out[1]


def speed(task: Task, potential: PotentialLike, updates: int) -> dict[str, float]:
    """Placements per second and the share of time of every phase of an update, after two updates to warm up."""
    settings, ppo = Training(), PPO()
    reward = reward_of(potential)
    policy = Policy(PolicySettings(), task.elements, potential)
    vectors = VectorBuilding(task, reward, settings.n_envs)
    optimizer = torch.optim.Adam([p for p in policy.parameters() if p.requires_grad], lr=ppo.learning_rate)
    rng = torch.Generator().manual_seed(seed_of(Purpose.AGENT_BENCHMARK, 3))
    state = State(policy, optimizer, vectors, rng, Archive())
    rows = [improve(state, settings, ppo, ExpertIteration()) for _ in range(updates + 2)][2:]
    seconds = np.array([1 / row["steps_per_second"] for row in rows])
    shares = {phase: [row[f"{phase}_share"] for row in rows] for phase in PHASES}
    return {"steps_per_second": float(1 / seconds.mean())} | {
        key: float(np.average(share, weights=seconds)) for key, share in shares.items()
    }


def asymmetry(policy: Policy, canvas: Canvas, action: Action, seed: int = 0) -> float:
    """Largest change of a log-probability under rotation, reflection, translation and permutation of the canvases."""
    rng = stream(Purpose.AGENT_BENCHMARK, 4, seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    rotation, shift = torch.as_tensor(rotation), torch.as_tensor(rng.normal(size=3) * 3)
    worst = 0.0
    for k in range(len(canvas)):
        n = int(canvas.counts[k])
        order = torch.as_tensor(rng.permutation(n))
        single, act = canvas[[k]], action[[k]]
        positions, numbers = single.positions.clone(), single.numbers.clone()
        positions[0, :n] = single.positions[0, order] @ rotation.T.to(positions) + shift.to(positions)
        numbers[0, :n] = single.numbers[0, order]
        focus = torch.argsort(order)[act.focus] if n else act.focus
        direction = act.direction @ rotation.T.to(act.direction)
        moved = Canvas(positions, numbers, single.bag, single.elements)
        with torch.no_grad():
            first = policy.evaluate_actions(single, act)[0]
            second = policy.evaluate_actions(moved, Action(focus, act.element, act.distance, direction))[0]
        worst = max(worst, float((first - second).abs().max()))
    return worst


def optimum(formula: str, potential: PotentialLike) -> dict[str, float]:
    """Returns (Hartree) of the known structure of SF6 or SOF4 at the minimum of the potential and of the teacher."""
    start = KNOWN[formula]
    minimum = relaxed([start], potential)[0]
    return {
        "potential": float(returns_of([minimum], potential_energies(potential))[0]),
        "teacher": float(returns_of([teacher_minimum(start)[0]], teacher())[0]),
    }


def _octahedron() -> Atoms:
    return Atoms("SF6", np.vstack([np.zeros(3), *(s * 1.56 * np.eye(3) for s in (1, -1))]))


def _bipyramid() -> Atoms:
    """SOF4: oxygen and two fluorines in the equatorial plane of a trigonal bipyramid."""
    angles = np.deg2rad([0, 120, 240])
    equator = np.stack([np.cos(angles), np.sin(angles), np.zeros(3)], 1) * np.array([[1.42], [1.54], [1.54]])
    return Atoms("SOF4", [[0, 0, 0], *equator, [0, 0, 1.58], [0, 0, -1.58]])


KNOWN = {"SF6": _octahedron(), "SOF4": _bipyramid()}


def kcal_per_atom(energy: float, n_atoms: int) -> float:
    """eV to kcal/mol per atom."""
    return energy / n_atoms / (units.kcal / units.mol)

"""Agents for `gendesign benchmark agent`: trained into the output folder, played, and what they built judged."""

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

from gendesign.generate.rl.archive import Archive, name_of
from gendesign.generate.rl.canvas import Action, Canvas
from gendesign.generate.rl.energies import Energies, potential_energies, returned, teacher_energies
from gendesign.generate.rl.environment import VectorBuilding
from gendesign.generate.rl.features import PotentialFeatures
from gendesign.generate.rl.policy import Policy, PolicySettings
from gendesign.generate.rl.ppo import PPO
from gendesign.generate.rl.practice import Practice
from gendesign.generate.rl.reward import CONTACT, Reward
from gendesign.generate.rl.tasks import Solvation, Task
from gendesign.generate.rl.training import State, Training, improve, train
from gendesign.objective import Objective
from gendesign.potential import Potential
from gendesign.relaxation import Relaxation, relax
from gendesign.run.agents import roughly_relaxed
from gendesign.structure.types import Candidate
from gendesign.train.teachers.semiempirical import gfn2

TEACHER = "gfn2"
PRIZE = 0.3  # Hartree
PLAYERS = 32  # environments side by side when agents are played


@dataclass(frozen=True)
class Trained:
    """An agent, what it kept, and the number of placements after each update with the mean return (Hartree) there."""

    policy: Policy
    archive: Archive
    curve: list[tuple[int, float]]


def reward_of(potential: Potential, diverse: bool = False) -> Reward:
    """What pays in all rows, the potential; if `diverse`, with a prize for valid molecules not found often before."""
    objective = Objective(["valid"], diversity_filter="molecule") if diverse else None
    return Reward(potential_energies(potential), contact=CONTACT, objective=objective, weight=PRIZE)


def trained(
    folder: Path,
    task: Task,
    potential: Potential,
    steps: int,
    seed: int = 0,
    *,
    longest: float = 1.8,
    max_l: int = 3,
    diverse: bool = False,
) -> Trained:
    """An agent of the usual settings, trained for `steps` placements; what `folder` holds of it goes on."""
    settings = Training(steps=steps, seed=seed, judge_every=steps, judged=1)
    policy = Policy(PolicySettings(PotentialFeatures(max_l=max_l), longest=longest), task.elements, potential, seed)
    reward = reward_of(potential, diverse)
    vectors = [VectorBuilding(task, reward, n, seed) for n in (settings.environments, 1)]
    relaxing = None if len(task.given) else partial(roughly_relaxed, reward, potential)
    state = train(policy, *vectors, folder, settings, PPO(), Practice(), relax=relaxing)
    with (folder / "log.csv").open() as file:
        curve = [(int(float(row["step"])), float(row["return"])) for row in csv.DictReader(file)]
    return Trained(policy.eval(), state.archive, curve)


@dataclass(frozen=True)
class Played:
    """Episodes that were played: finished structures with their returns (Hartree), and how many there were at all.

    `steps` are pairs of structures, before and after a placement, as the agent met them.
    """

    finished: list[Atoms]
    returns: list[float]
    episodes: int
    steps: list[tuple[Atoms, Atoms]]


@torch.no_grad()
def played(
    policy: Policy, task: Task, reward: Reward, episodes: int, seed: int = 1, deterministic: bool = False
) -> Played:
    """As many `episodes`, actions drawn from the policy, or the most probable ones."""
    vectors = VectorBuilding(task, reward, min(PLAYERS, episodes), seed, elements=policy.elements)
    rng = torch.Generator().manual_seed(seed)
    share = -(-episodes // vectors.n)  # as many of each environment, so that short episodes do not count more
    canvas, ended, steps = vectors.canvas, [[] for _ in range(vectors.n)], []
    while min(map(len, ended)) < share:
        before = canvas.to_atoms()
        canvas, _, _, infos = vectors.step(policy.act(canvas, rng, deterministic=deterministic)[0])
        after = canvas.to_atoms()
        for k, info in enumerate(infos):
            if info:
                ended[k].append(info)
            reached = info["atoms"] if info else after[k]
            if len(reached) == len(before[k]) + 1:
                steps.append((before[k], reached))
    infos = [info for own in ended for info in own[:share]][:episodes]
    finished = [info for info in infos if not info["reason"]]
    return Played([i["atoms"] for i in finished], [float(i["return"]) for i in finished], episodes, steps)


def valid(structures: Sequence[Atoms], molecules: int = 1) -> dict[str, list[Atoms]]:
    """Those that are valid, or clusters of so many valid `molecules`, by their SMILES."""
    found: dict[str, list[Atoms]] = {}
    for atoms in structures:
        if (key := name_of(atoms, molecules)) is not None:
            found.setdefault(key, []).append(atoms)
    return found


def relaxed(structures: Sequence[Atoms], potential: Potential) -> list[Atoms]:
    """Minima of the potential."""
    candidates = [Candidate(atoms, k) for k, atoms in enumerate(structures)]
    done = relax(candidates, potential, Relaxation(fmax=0.05, max_steps=500))
    return [Atoms(c.atoms.numbers, c.atoms.positions) for c in done]


def teacher_minimum(atoms: Atoms) -> tuple[Atoms, float]:
    """The teacher's minimum from a closed-shell structure, and its energy in eV."""
    work = Atoms(atoms.numbers, atoms.positions, calculator=gfn2())
    LBFGS(work, logfile=None, maxstep=0.1).run(fmax=0.02, steps=300)
    return Atoms(work.numbers, work.positions), float(work.get_potential_energy())


@cache
def teacher() -> Energies:
    """The teacher's energies, its lone atoms asked once."""
    return teacher_energies(TEACHER)


def both_returns(structures: Sequence[Atoms], potential: Potential) -> tuple[np.ndarray, np.ndarray]:
    """Returns (n,) in Hartree of finished structures under the potential and under its teacher."""
    return returned(structures, potential_energies(potential)), returned(structures, teacher())


def reward_errors(steps: Sequence[tuple[Atoms, Atoms]], potential: Potential) -> np.ndarray:
    """Differences (n,) in Hartree between the rewards of placements under the potential and under its teacher."""
    kinds = sorted({int(z) for _, after in steps for z in after.numbers})
    structures = [*(a for pair in steps for a in pair), *(Atoms([z]) for z in kinds)]
    apart = []
    for energies in (potential_energies(potential), teacher()):
        found = np.asarray(energies(structures))
        lone = dict(zip(kinds, found[2 * len(steps) :], strict=True))
        pairs = found[: 2 * len(steps)].reshape(-1, 2)
        apart.append(pairs[:, 0] - pairs[:, 1] + [lone[int(after.numbers[-1])] for _, after in steps])
    return apart[0] - apart[1]


def binding(clusters: Sequence[Atoms], task: Solvation, potential: Potential) -> tuple[np.ndarray, np.ndarray]:
    """Binding energies (n,) in kcal/mol of relaxed clusters, potential and teacher, against relaxed molecules."""
    parts = [task.given, molecule("H2O")]
    own = relaxed(parts, potential)
    alone = [teacher_minimum(atoms)[0] for atoms in parts]
    out = []
    for energies, (solute, solvent) in ((potential_energies(potential), own), (teacher(), alone)):
        found = np.asarray(energies([*clusters, solute, solvent]))
        out.append((found[:-2] - found[-2] - task.n * found[-1]) * units.Hartree / (units.kcal / units.mol))
    return out[0], out[1]


def speed(task: Task, potential: Potential, updates: int) -> dict[str, float]:
    """Placements per second and the shares of policy, energy, update and practice, after two updates to warm up."""
    settings, ppo = Training(), PPO()
    reward = reward_of(potential)
    policy = Policy(PolicySettings(), task.elements, potential)
    vectors = VectorBuilding(task, reward, settings.environments)
    optimizer = torch.optim.Adam([p for p in policy.parameters() if p.requires_grad], lr=ppo.learning_rate)
    state = State(policy, optimizer, vectors, torch.Generator().manual_seed(0), Archive())
    rows = [improve(state, settings, ppo, Practice()) for _ in range(updates + 2)][2:]
    seconds = np.array([1 / row["steps_per_second"] for row in rows])
    shares = {f"{key}": [row[f"{key}_share"] for row in rows] for key in ("policy", "energy", "update", "practice")}
    return {"steps_per_second": float(1 / seconds.mean())} | {
        key: float(np.average(share, weights=seconds)) for key, share in shares.items()
    }


def asymmetry(policy: Policy, canvas: Canvas, action: Action, seed: int = 0) -> float:
    """Largest change of a log-probability when canvases are turned, mirrored, moved and renumbered."""
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn, shift = torch.as_tensor(turn), torch.as_tensor(rng.normal(size=3) * 3)
    worst = 0.0
    for k in range(len(canvas)):
        n = int(canvas.counts[k])
        order = torch.as_tensor(rng.permutation(n))
        one, act = canvas[[k]], action[[k]]
        positions, numbers = one.positions.clone(), one.numbers.clone()
        positions[0, :n] = one.positions[0, order] @ turn.T.to(one.positions) + shift.to(one.positions)
        numbers[0, :n] = one.numbers[0, order]
        focus = torch.argsort(order)[act.focus] if n else act.focus
        direction = act.direction @ turn.T.to(act.direction)
        moved = Canvas(positions, numbers, one.bag, one.elements)
        with torch.no_grad():
            first = policy.judge(one, act)[0]
            second = policy.judge(moved, Action(focus, act.element, act.distance, direction))[0]
        worst = max(worst, float((first - second).abs().max()))
    return worst


def optimum(formula: str, potential: Potential) -> dict[str, float]:
    """Returns (Hartree) of SF6's or SOF4's known structure at the minimum of the potential and of the teacher."""
    start = KNOWN[formula]
    own = relaxed([start], potential)[0]
    return {
        "potential": float(returned([own], potential_energies(potential))[0]),
        "teacher": float(returned([teacher_minimum(start)[0]], teacher())[0]),
    }


def _octahedron() -> Atoms:
    return Atoms("SF6", np.vstack([np.zeros(3), *(s * 1.56 * np.eye(3) for s in (1, -1))]))


def _bipyramid() -> Atoms:
    """OSF4: oxygen and two fluorines around the waist of a trigonal bipyramid."""
    angles = np.deg2rad([0, 120, 240])
    waist = np.stack([np.cos(angles), np.sin(angles), np.zeros(3)], 1) * np.array([[1.42], [1.54], [1.54]])
    return Atoms("SOF4", [[0, 0, 0], *waist, [0, 0, 1.58], [0, 0, -1.58]])


KNOWN = {"SF6": _octahedron(), "SOF4": _bipyramid()}


def kcal_per_atom(energy: float, atoms: int) -> float:
    """eV to kcal/mol per atom."""
    return energy / atoms / (units.kcal / units.mol)

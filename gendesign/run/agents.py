"""Train an agent into a folder: checkpoint, log, and its best molecules relaxed, screened and reported."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from omegaconf import DictConfig, OmegaConf

from gendesign.errors import UserError
from gendesign.generate.rl.checkpoint import load_agent, save_agent
from gendesign.generate.rl.energies import potential_energies, returns_of, teacher_energies
from gendesign.generate.rl.environment import VectorBuilding
from gendesign.generate.rl.policy import Policy
from gendesign.generate.rl.reward import Reward
from gendesign.generate.rl.tasks import Task
from gendesign.generate.rl.training import train
from gendesign.potential.protocol import PotentialLike
from gendesign.relaxation import Relaxation, relax
from gendesign.run.build import Structures, make, make_run
from gendesign.run.domain import judge_generator
from gendesign.run.folder import Folder
from gendesign.structure.types import Candidate

ROUGH = Relaxation(fmax=0.1, max_steps=100)  # enough to leave saddle points, without converging to the minimum


def train_agent(config: DictConfig, files: Sequence[str], potential: PotentialLike, folder: Folder) -> dict[str, Any]:
    """Train by `config` (conf/agent.yaml), write agent and molecules to `folder`; returns the summary of the run."""
    judge_generator(Structures((), "agent"), potential, config)  # before hours of training; `make_run` warns
    task = _task(config)
    ppo, settings = make(config.ppo), make(config.training)
    expert_iteration = make(config.expert_iteration) if config.get("expert_iteration") else None
    energies = potential_energies(potential) if config.energies == "potential" else teacher_energies(config.energies)
    reward = make(config.reward, energies=energies)
    if reward.objective is not None:
        reward = replace(reward, objective=reward.objective.under(potential))
    policy = _policy(config, task, potential, settings.seed)

    def building(n: int, seed: int) -> VectorBuilding:
        return VectorBuilding(task, reward, n, seed, elements=policy.elements)

    # initial atoms keep their positions, so molecules built on them are not relaxed
    relaxing = None if len(task.initial_atoms) else partial(roughly_relaxed, reward, potential)
    environments = building(settings.n_envs, settings.seed)
    eval_environments = building(settings.n_eval_episodes, settings.seed)
    state = train(
        policy, environments, eval_environments, folder.path, settings, ppo, expert_iteration, config.archive_size,
        relaxing,
    )  # fmt: skip
    task_settings: Any = OmegaConf.to_container(config.task, resolve=True)
    if config.generator.formula is not None:
        task_settings["formula"] = str(config.generator.formula)
    save_agent(policy, folder.path, potential=potential.name, potential_sha256=potential.weights_hash,
               energies=config.energies, task=task_settings,
               steps=state.step)  # fmt: skip
    candidates = state.archive.candidates("agent")
    if not candidates:
        raise UserError(
            f"{state.archive.n_finished} molecules were finished in {state.step} placements and none is valid; train "
            "longer (training.steps)"
        )
    return make_run(config, files, potential, folder, Structures(candidates, "agent"))


def roughly_relaxed(reward: Reward, potential: PotentialLike, structures: Sequence[Atoms]) -> list[tuple[Atoms, float]]:
    """`structures` after a rough relaxation, with the returns (Hartree) of building them in that geometry."""
    candidates = [Candidate(atoms, k, "agent") for k, atoms in enumerate(structures)]
    relaxed = [Atoms(c.atoms.numbers, c.atoms.positions) for c in relax(candidates, potential, ROUGH)]
    return list(zip(relaxed, returns_of(relaxed, reward.energies).tolist(), strict=True))


def _task(config: DictConfig) -> Task:
    formula = config.generator.formula
    if formula is None:
        return make(config.task)
    if "formula" not in config.task:
        raise UserError(f"generator.formula={formula}: this task has no formula; set its own keys, task.*")
    return make(config.task, formula=str(formula))


def _policy(config: DictConfig, task: Task, potential: PotentialLike, seed: int) -> Policy:
    wanted: Sequence[int] = task.elements
    if config.generator.elements is not None:
        text = str(config.generator.elements).strip("[]").replace(",", " ").split()
        unknown = [symbol for symbol in text if symbol not in atomic_numbers]
        if unknown:
            raise UserError(f"generator.elements: {unknown[0]} is not an element; give symbols such as [C,H,N,O]")
        wanted = sorted({*wanted, *(atomic_numbers[symbol] for symbol in text)})
    if config.init is None:
        potential.require_elements([chemical_symbols[z] for z in wanted])
        return Policy(make(config.policy), wanted, potential, seed)
    policy = load_agent(config.init, potential, moved=True).train()
    if not set(wanted) <= set(policy.elements):
        known = " ".join(chemical_symbols[z] for z in policy.elements)
        raise UserError(
            f"init={config.init} builds with {known} only; train a new agent (init=null), or choose another task"
        )
    return policy

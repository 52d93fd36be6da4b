"""Train an agent into a folder: its checkpoint, its log, and its best molecules relaxed, screened and reported."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from omegaconf import DictConfig, OmegaConf

from gendesign.errors import UserError
from gendesign.generate.rl.checkpoint import load_agent, save_agent
from gendesign.generate.rl.energies import potential_energies, returned, teacher_energies
from gendesign.generate.rl.environment import VectorBuilding
from gendesign.generate.rl.policy import Policy
from gendesign.generate.rl.reward import Reward
from gendesign.generate.rl.tasks import Task
from gendesign.generate.rl.training import train
from gendesign.potential import Potential
from gendesign.relaxation import Relaxation, relax
from gendesign.run.build import Structures, make, make_run
from gendesign.run.domain import judge_generator
from gendesign.run.folder import Folder
from gendesign.structure.types import Candidate

ROUGH = Relaxation(fmax=0.1, max_steps=100)  # far enough to fall off saddle points, not down to the minimum


def train_agent(config: DictConfig, files: Sequence[str], potential: Potential, folder: Folder) -> dict[str, Any]:
    """Train by `config` (conf/agent.yaml), write agent and molecules to `folder`, return the summary of the latter."""
    judge_generator(Structures((), "agent"), potential, config)  # before hours of training; `make_run` warns
    task = _task(config)
    ppo, settings = make(config.ppo), make(config.training)
    practice = make(config.practice) if config.get("practice") else None
    energies = potential_energies(potential) if config.energies == "potential" else teacher_energies(config.energies)
    reward = make(config.reward, energies=energies)
    if reward.objective is not None:
        reward = replace(reward, objective=reward.objective.under(potential))
    policy = _policy(config, task, potential, settings.seed)

    def building(n: int, seed: int) -> VectorBuilding:
        return VectorBuilding(task, reward, n, seed, elements=policy.elements)

    # given atoms have to stay where they are
    relaxing = None if len(task.given) else partial(roughly_relaxed, reward, potential)
    state = train(
        policy, building(settings.environments, settings.seed), building(settings.judged, settings.seed), folder.path,
        settings, ppo, practice, config.kept, relaxing,
    )  # fmt: skip
    given = OmegaConf.to_container(config.task, resolve=True)
    if config.generator.formula is not None:
        given["formula"] = str(config.generator.formula)
    save_agent(policy, folder.path, potential=potential.name, potential_sha256=potential.weights_hash,
               energies=config.energies, task=given,
               steps=state.step)  # fmt: skip
    found = state.archive.candidates("agent")
    if not found:
        raise UserError(
            f"{state.archive.seen} molecules were finished in {state.step} placements and none is valid; train longer "
            "(training.steps)"
        )
    return make_run(config, files, potential, folder, Structures(found, "agent"))


def roughly_relaxed(reward: Reward, potential: Potential, structures: Sequence[Atoms]) -> list[tuple[Atoms, float]]:
    """`structures` after a rough relaxation, and the returns (Hartree) that they would have had like this."""
    candidates = [Candidate(atoms, k, "agent") for k, atoms in enumerate(structures)]
    done = [Atoms(c.atoms.numbers, c.atoms.positions) for c in relax(candidates, potential, ROUGH)]
    return list(zip(done, returned(done, reward.energies).tolist(), strict=True))


def _task(config: DictConfig) -> Task:
    formula = config.generator.formula
    if formula is None:
        return make(config.task)
    if "formula" not in config.task:
        raise UserError(f"generator.formula={formula}: this task has no formula; set its own keys, task.*")
    return make(config.task, formula=str(formula))


def _policy(config: DictConfig, task: Task, potential: Potential, seed: int) -> Policy:
    wanted: Sequence[int] = task.elements
    if config.generator.elements is not None:
        text = str(config.generator.elements).strip("[]").replace(",", " ").split()
        unknown = [symbol for symbol in text if symbol not in atomic_numbers]
        if unknown:
            raise UserError(f"generator.elements: {unknown[0]} is no element; write symbols such as [C,H,N,O]")
        wanted = sorted({*wanted, *(atomic_numbers[symbol] for symbol in text)})
    if config.init is None:
        potential.require_elements([chemical_symbols[z] for z in wanted])
        return Policy(make(config.policy), wanted, potential, seed)
    policy = load_agent(config.init, potential, moved=True).train()
    if not set(wanted) <= set(policy.elements):
        known = " ".join(chemical_symbols[z] for z in policy.elements)
        raise UserError(f"init={config.init} builds with {known} only; begin a new agent, or choose another task")
    return policy

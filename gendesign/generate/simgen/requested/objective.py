"""The objective and its components, as plain measurements."""

from dataclasses import dataclass, field
from functools import partial

import numpy as np
from ase import Atoms

from gendesign.generate.simgen.problem import Problem
from gendesign.objective import Objective
from gendesign.objective.objective import Scored
from gendesign.structure.conditions import Condition, Finding, Subject


def conditions(problem: Problem) -> list[Condition]:
    """The total and every component."""
    if problem.reward is None:
        return []
    objective = problem.reward.objective
    scores = Scores(objective)
    return [
        Condition("objective", "median objective", partial(_total, scores), "", False, True),
        *(
            Condition(f"objective_{name}", f"median {name}", partial(_component, scores, name), "", False, True)
            for name in (component.name for component in objective.components)
        ),
    ]


@dataclass
class Scores:
    """The scores of the last structure that was asked for: several conditions ask for the same one."""

    objective: Objective
    _last: tuple[bytes, Scored | None] = field(default=(b"", None), init=False, repr=False)

    def __call__(self, atoms: Atoms) -> Scored:
        """The scores of one structure; repeated calls with the same structure use the stored ones."""
        key = atoms.numbers.tobytes() + atoms.positions.tobytes()
        if self._last[0] != key:
            self._last = key, self.objective([atoms])
        return self._last[1]


def _total(scores: Scores, subject: Subject) -> Finding:
    return Finding(None, float(scores(subject.atoms).total[0]))


def _component(scores: Scores, name: str, subject: Subject) -> Finding:
    value = float(scores(subject.atoms).values[name][0])
    return Finding(None, value) if np.isfinite(value) else Finding(None, None, f"{name} gave no number")

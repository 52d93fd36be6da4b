"""What a run was asked for, as checks of its finished candidates (structure/conditions.py).

Each condition looks at one candidate as the run leaves it, relaxed and in place. One file per kind of condition.
"""

from collections.abc import Sequence
from dataclasses import replace

from gendesign.generate.simgen.problem import Problem
from gendesign.generate.simgen.requested import composition, guidance, host, likeness, objective, shape
from gendesign.structure.conditions import Condition

KINDS = (composition, host, shape, likeness, guidance, objective)


def conditions(problem: Problem) -> tuple[Condition, ...]:
    """A check, or a few, for everything that was asked for."""
    return _distinct([condition for kind in KINDS for condition in kind.conditions(problem)])


def _distinct(conditions: Sequence[Condition]) -> tuple[Condition, ...]:
    """The conditions, of which several of one name (two distances, say) get numbers."""
    out, counts = [], {}
    for condition in conditions:
        counts[condition.name] = count = counts.get(condition.name, 0) + 1
        if count > 1:
            name, title = f"{condition.name}_{count}", f"{condition.title} ({count})"
            condition = replace(condition, name=name, title=title)
        out.append(condition)
    return tuple(out)

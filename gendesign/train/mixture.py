"""Checks that the labels of a fit are by one teacher: energies of two methods have different zeros."""

from collections import Counter
from collections.abc import Mapping, Sequence

from ase import Atoms

from gendesign.errors import UserError
from gendesign.structure.labels import teacher_of

UNNAMED = "no named teacher"
SHOWN = 60  # characters of the name of a teacher in a message
ADVICE = "set mixed_teachers=true to use all of them"


def counts_of(frames: Sequence[Atoms]) -> Counter[str]:
    """Number of frames by teacher; settings of convergence do not make another teacher."""
    return Counter(teacher_of(frame) or UNNAMED for frame in frames)


def refuse_mixture(
    frames: Sequence[Atoms], tests: Mapping[str, Sequence[Atoms]], replay: Sequence[Atoms], replay_energies: bool
) -> None:
    """Raise UserError if the labels that are trained on, or a test, are by several teachers.

    Forces and stresses of old data may be by another teacher, energies may not.
    """
    teachers = counts_of(frames)
    if len(teachers) > 1:
        raise UserError(
            f"the labels are by {len(teachers)} teachers, whose energies have no common zero: {_listed(teachers)}; "
            f"train on those of one, or {ADVICE}"
        )
    for name, test in tests.items():
        if others := set(counts_of(test)) - set(teachers):
            raise UserError(
                f"test={name} is by another teacher than the files: {_listed(counts_of(test))}, not "
                f"{_listed(teachers)} ({_short(min(others))} has another zero of energy); leave it out, or {ADVICE}"
            )
    if replay_energies and replay and set(counts_of(replay)) - set(teachers):
        raise UserError(
            f"replay is by another teacher than the files: {_listed(counts_of(replay))}, not {_listed(teachers)}; its "
            f"energies have another zero: learn its forces and stresses alone by fit.replay_energies=false, or {ADVICE}"
        )


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} by {_short(name)}" for name, count in counts.most_common(5))


def _short(name: str) -> str:
    return name if len(name) <= SHOWN else f"{name[:SHOWN]}..."

"""Which teachers the labels of a fit come from: energies of two methods have two zeros, and no fit has both."""

from collections import Counter
from collections.abc import Mapping, Sequence

from ase import Atoms

from gendesign.errors import UserError
from gendesign.structure.labels import teacher_of

UNNAMED = "no named teacher"
SHOWN = 60  # letters of a teacher's name in a message
ADVICE = "mixed_teachers=true fits them together all the same"


def counts_of(frames: Sequence[Atoms]) -> Counter[str]:
    """How many frames are by each teacher; settings of convergence do not make another one."""
    return Counter(teacher_of(frame) or UNNAMED for frame in frames)


def refuse_mixture(
    frames: Sequence[Atoms], tests: Mapping[str, Sequence[Atoms]], replay: Sequence[Atoms], replay_energies: bool
) -> None:
    """Raise UserError where labels that are learned or measured as one are by several teachers.

    Of replayed data of another teacher forces and stresses are learned without harm, energies are not.
    """
    own = counts_of(frames)
    if len(own) > 1:
        raise UserError(
            f"the labels are by {len(own)} teachers, whose energies have no common zero: {_listed(own)}; "
            f"train on those of one, or {ADVICE}"
        )
    for name, test in tests.items():
        if others := set(counts_of(test)) - set(own):
            raise UserError(
                f"test={name} is by another teacher than the files: {_listed(counts_of(test))}, not {_listed(own)} "
                f"({_short(min(others))} has another zero of energy); leave it out, or {ADVICE}"
            )
    if replay_energies and replay and set(counts_of(replay)) - set(own):
        raise UserError(
            f"replay is by another teacher than the files: {_listed(counts_of(replay))}, not {_listed(own)}; its "
            f"energies have another zero: learn its forces and stresses alone by fit.replay_energies=false, or {ADVICE}"
        )


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} by {_short(name)}" for name, count in counts.most_common(5))


def _short(name: str) -> str:
    return name if len(name) <= SHOWN else f"{name[:SHOWN]}..."

"""What the conditions of all kinds share."""

from ase import Atoms

from gendesign.structure.conditions import Finding


def heavy(atoms: Atoms) -> Atoms:
    """The atoms that are no hydrogen."""
    return atoms[atoms.numbers > 1]


def met_unless(reason: str, value: float | str | None = None) -> Finding:
    """A condition that is met unless there is a `reason` against it."""
    return Finding(not reason, value, reason)

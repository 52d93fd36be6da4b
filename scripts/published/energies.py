"""Energy differences of a method beside the published ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import batched

from ase.formula import Formula
from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcMolFormula

from gendesign.validation.conformations import WELL, Conformation, Level, levels
from scripts.published.kept import Kept
from scripts.published.methods import Judged
from scripts.published.values import Value

AT_ONCE = 12  # conformations between two lines of progress


@dataclass(frozen=True)
class Difference:
    """A published value and the method's own (kcal/mol), or the reason why it has none.

    moved: degrees by which a minimum left the angles of its start, if it is another conformation for that.
    """

    value: Value
    energy: float | None
    moved: float | None = None
    reason: str = ""

    @property
    def error(self) -> float | None:
        """Method minus published, kcal/mol."""
        return None if self.energy is None else self.energy - self.value.energy


def symbols_of(value: Value) -> set[str]:
    """Elements of a value's molecule."""
    return set(Formula(CalcMolFormula(Chem.AddHs(Chem.MolFromSmiles(value.lower.smiles)))).count())


def _levels(unique: Sequence[Conformation], judged: Judged) -> dict[Conformation, Level]:
    """Energies of conformations; what an interrupted run has finished is read from its file."""
    kept = Kept(judged.name, "energies")
    minima, held = ([c for c in unique if (c.hold is None) == free] for free in (True, False))
    for group, by in ((minima, judged.many), (held, judged.single)):
        missing = [conformation for conformation in group if repr(conformation) not in kept]
        for part in map(list, batched(missing, AT_ONCE)):
            found = dict(zip(part, levels(part, by), strict=True))
            # Steps of the batched optimizer may cross into another well, or into a hole at short distances.
            again = (
                [c for c, level in found.items() if level.failure or level.moved > WELL] if by is judged.many else []
            )
            found |= dict(zip(again, levels(again, judged.single), strict=True))
            for conformation, level in found.items():
                kept[repr(conformation)] = [level.energy, level.degrees, level.moved, level.failure]
            kept.store()
            print(f"{judged.name}: {len(kept)} of {len(unique)} conformations", flush=True)
    return {c: Level(energy, None, *rest) for c in unique for energy, *rest in [kept[repr(c)]]}


def differences(values: Sequence[Value], judged: Judged) -> list[Difference]:
    """The method's differences; conformations that several values share are relaxed once."""
    known = [value for value in values if judged.knows(symbols_of(value))]
    unique = list(dict.fromkeys(conformation for value in known for conformation in (value.lower, value.upper)))
    found = _levels(unique, judged)
    out = []
    for value in values:
        if value not in known:
            out.append(Difference(value, None, reason="elements that the method does not know"))
            continue
        low, high = found[value.lower], found[value.upper]
        failure = low.failure or high.failure
        moved = max(low.moved, high.moved)
        energy = None if failure else high.energy - low.energy
        out.append(Difference(value, energy, moved if moved > WELL else None, failure))
    return out

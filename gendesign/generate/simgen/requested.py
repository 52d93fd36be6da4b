"""What a run was asked for, as checks of its finished candidates (structure/conditions.py).

Each condition looks at one candidate as the run leaves it, relaxed and in place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator
from scipy.spatial import cKDTree

from gendesign.generate.simgen import finish, kernel
from gendesign.generate.simgen.conditions import AUTO
from gendesign.generate.simgen.fragments import displacement
from gendesign.generate.simgen.guidance import Guidance
from gendesign.generate.simgen.restraints import Distance, RadiusOfGyration
from gendesign.generate.simgen.shape import Shape
from gendesign.generate.simgen.shape_files import MoleculeShape, Pocket
from gendesign.generate.simgen.shape_prior import ShapePrior
from gendesign.objective import Objective
from gendesign.structure.bonds import perceive
from gendesign.structure.clouds import heavy_atoms
from gendesign.structure.conditions import Condition, Finding, Subject
from gendesign.structure.contacts import Host
from gendesign.structure.formula import parse_formula
from gendesign.structure.rings import is_closed, largest_ring
from gendesign.structure.volumes import filled, tanimoto

if TYPE_CHECKING:
    from gendesign.generate.simgen.generator import SimGen

TOLERANCE = 0.3  # Angstrom from what a restraint asks for, as far as fragments may move
LEEWAY = 1.0  # Angstrom from the room of a pocket: atoms in hydrogen bonds come that much nearer to the host


def conditions(simgen: SimGen) -> tuple[Condition, ...]:
    """A check, or a few, for every condition that `simgen` was given."""
    found = [
        *_composition(simgen),
        *_fragments(simgen),
        *_host(simgen.environment),
        *_shape(simgen),
        *_likeness(simgen),
    ]
    found += [c for guidance in simgen.guidance for c in _guidance(guidance)] + _objective(simgen)
    return _distinct(found)


def _distinct(found: Sequence[Condition]) -> tuple[Condition, ...]:
    """The conditions, of which two of one name (two distances, say) get numbers."""
    out, seen = [], {}
    for condition in found:
        seen[condition.name] = count = seen.get(condition.name, 0) + 1
        if count > 1:
            name, title = f"{condition.name}_{count}", f"{condition.title} ({count})"
            condition = Condition(
                name, title, condition.judge, condition.unit, condition.passes, condition.needs_molecule
            )
        out.append(condition)
    return tuple(out)


def _heavy(atoms: Atoms) -> Atoms:
    return atoms[atoms.numbers > 1]


def _met(wrong: str, value: float | str | None = None) -> Finding:
    return Finding(not wrong, value, wrong)


# sizes, formulas, limits, patterns, fragments


def _composition(simgen: SimGen) -> list[Condition]:
    out = []
    if str(simgen.n_heavy_atoms) != AUTO:
        low, high = (n + simgen.n_fixed for n in simgen.size_range)
        out.append(Condition("heavy_atoms", "heavy atoms as asked for", partial(_size, low, high)))
    if simgen.formula is not None:
        exact = partial(_formula, parse_formula(str(simgen.formula)), str(simgen.formula))
        out.append(Condition("formula_kept", "formula as asked for", exact))
    if simgen.counts is not None:
        given = [] if simgen.frame is None else simgen.frame.given.numbers.tolist()
        limits = simgen.limits
        ranges = list(zip(simgen.heavy_elements, limits.low.tolist(), limits.high.tolist(), strict=True))
        out.append(Condition("counts", "counts of elements as asked for", partial(_counts, ranges, given)))
    if simgen.forbidden:
        rule = finish.Conditions(forbidden=simgen.conditions.forbidden)
        out.append(
            Condition("forbidden", "without forbidden substructures", partial(_allowed, rule), needs_molecule=True)
        )
    return out


def _size(low: int, high: int, subject: Subject) -> Finding:
    n = len(_heavy(subject.atoms))
    wanted = str(low) if low == high else f"{low} to {high}"
    return _met("" if low <= n <= high else f"{n} heavy atoms, {wanted} were asked for", float(n))


def _formula(wanted: dict[str, int], text: str, subject: Subject) -> Finding:
    formula = subject.atoms.get_chemical_formula("hill")
    return _met("" if subject.atoms.symbols.formula.count() == wanted else f"{formula}, not {text}", formula)


def _counts(ranges: Sequence[tuple[str, int, int]], given: Sequence[int], subject: Subject) -> Finding:
    symbols, fixed = list(subject.atoms.symbols), [chemical_symbols[z] for z in given]
    found = {symbol: symbols.count(symbol) - fixed.count(symbol) for symbol, _, _ in ranges}
    wrong = [f"{found[s]} {s}" for s, low, high in ranges if not low <= found[s] <= high]
    return _met(f"{', '.join(wrong)} beyond the limits" if wrong else "", " ".join(f"{s}{n}" for s, n in found.items()))


def _allowed(rule: finish.Conditions, subject: Subject) -> Finding:
    return _met(rule.broken_by(subject.atoms, subject.mol))


def _fragments(simgen: SimGen) -> list[Condition]:
    if simgen.frame is None:
        return []
    rule = finish.Conditions(given=simgen.frame.given)
    return [
        Condition("fragments", "fragments intact and in place", partial(_intact, rule), "Angstrom", needs_molecule=True)
    ]


def _intact(rule: finish.Conditions, subject: Subject) -> Finding:
    shift = displacement(subject.atoms, rule.given) if len(_heavy(subject.atoms)) >= len(rule.given) else None
    return _met(rule.broken_by(subject.atoms, subject.mol), shift)


# the host


def _host(host: Host | None) -> list[Condition]:
    if host is None:
        return []
    return [
        Condition("host", "no overlap with the host", partial(_apart, host)),
        Condition("host_distance", "median closest contact with the host", partial(_contact, host), "Angstrom", False),
    ]


def _apart(host: Host, subject: Subject) -> Finding:
    """Value: the distance of the closest pair relative to the sum of its van der Waals radii."""
    found = host.contact(subject.atoms)
    return _met(host.overlap(subject.atoms), found and found.of_vdw)


def _contact(host: Host, subject: Subject) -> Finding:
    found = host.contact(subject.atoms)
    words = found and f"{found.of_vdw:.2f} of the van der Waals radii, {found.of_covalent:.2f} of the covalent radii"
    return Finding(None, found and found.distance, words or "")


# shapes


def _shape(simgen: SimGen) -> list[Condition]:
    shape = simgen.prior.shape if isinstance(simgen.prior, ShapePrior) else None
    if shape is None:
        return []
    out = []
    if hasattr(shape, "ring"):
        ring = dict(needs_molecule=True)
        out.append(Condition("ring_closed", "ring closed along the shape", partial(_closed, shape), **ring))
        out.append(Condition("ring_size", "median size of the largest ring", _largest, "atoms", False, **ring))
    if isinstance(shape, Pocket):
        room = Condition("in_pocket", f"all heavy atoms within {LEEWAY:g} Angstrom of the pocket's room",
                         partial(_inside, shape), "Angstrom")  # fmt: skip
        return [*out, room]
    low, high = simgen.size_range
    sizes = low + simgen.n_fixed, high + simgen.n_fixed
    return [*out, Condition("shape", "median shape Tanimoto", partial(_overlap, shape, sizes), "", False)]


def _closed(shape: Shape, subject: Subject) -> Finding:
    size, along = largest_ring(subject.mol), shape.ring(subject.mol.GetNumHeavyAtoms())
    wrong = f"the largest ring has {size} atoms, one along the shape about {along:.0f}"
    return _met("" if is_closed(subject.mol, along) else wrong, float(size))


def _largest(subject: Subject) -> Finding:
    return Finding(None, float(largest_ring(subject.mol)))


def _overlap(shape: Shape, sizes: tuple[int, int], subject: Subject) -> Finding:
    """Value: the volume that heavy atoms and shape share, divided by what either fills; the shape as large as meant."""
    heavy = _heavy(subject.atoms)
    if not len(heavy):
        return Finding(None, None, "no heavy atoms")
    n = min(max(len(heavy), sizes[0]), sizes[1])
    target = heavy_atoms(shape.path) if isinstance(shape, MoleculeShape) else filled(shape.points(n))
    return Finding(None, tanimoto(heavy, target))


def _inside(pocket: Pocket, subject: Subject) -> Finding:
    """Value: the largest distance of a heavy atom from the room of the pocket."""
    far = float(cKDTree(pocket.room).query(_heavy(subject.atoms).positions)[0].max(initial=0.0))
    return _met("" if far <= LEEWAY else f"a heavy atom lies {far:.2f} Angstrom outside the pocket's room", far)


# likeness


def _likeness(simgen: SimGen) -> list[Condition]:
    if not simgen.reference:
        return []
    return [
        Condition("likeness", "median Tanimoto to the nearest reference", Nearest(simgen.references.molecules),
                  "", False, needs_molecule=True),
        Condition("likeness_kernel", "median log-similarity of an atom to the references", partial(_kernel, simgen),
                  "", False),
    ]  # fmt: skip


@dataclass
class Nearest:
    """Tanimoto similarity of Morgan fingerprints (radius 2, 2,048 bits) to the nearest of some molecules."""

    molecules: Sequence[Atoms]
    _known: list[Any] | None = field(default=None, init=False, repr=False)

    def __call__(self, subject: Subject) -> Finding:
        if self._known is None:
            perceived = [perceive(Atoms(a.numbers, a.positions)).mol for a in self.molecules]
            self._known = [_fingerprint(mol) for mol in perceived if mol is not None]
        if not self._known:
            return Finding(None, None, "the references hold no valid molecule")
        return Finding(None, float(max(DataStructs.BulkTanimotoSimilarity(_fingerprint(subject.mol), self._known))))


def _fingerprint(mol: Chem.Mol) -> DataStructs.ExplicitBitVect:
    maker = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    return maker.GetFingerprint(Chem.MolFromSmiles(Chem.MolToSmiles(Chem.RemoveHs(mol))))


def _kernel(simgen: SimGen, subject: Subject) -> Finding:
    """Value: mean log k over the heavy atoms, as the sampler sees them at its last noise level."""
    skeleton = subject.atoms[np.isin(subject.atoms.numbers, simgen.numbers)]
    if not len(skeleton):
        return Finding(None, None, "no heavy atoms")
    potential, references = simgen.potential, simgen.score.references
    numbers = torch.as_tensor(skeleton.numbers, device=potential.device)
    with torch.no_grad():
        raw = potential.descriptors([skeleton], shortest=kernel.SHORTEST)
        found = kernel.energies(references.whitened(raw, numbers), numbers, references, 0.0)
    return Finding(None, -float(found.mean()))


# guidance


def _guidance(guidance: Guidance) -> list[Condition]:
    function = guidance.function
    kind = type(function)
    if kind.__module__ != RadiusOfGyration.__module__:  # a function of the user's own: its energy is all there is
        name = re.sub(r"\W+", "_", guidance.name.rsplit(":", 1)[-1])
        energy = partial(_energy, guidance)
        return [Condition(f"guidance_{name}", f"median guidance energy of {guidance.name}", energy, "", False)]
    words = re.sub(r"(?<!^)([A-Z])", r" \1", kind.__name__).lower()
    title = f"{words} within {TOLERANCE:g} Angstrom of what was asked for"
    out = [Condition(words.replace(" ", "_"), title, partial(_restrained, function), "Angstrom")]
    if isinstance(function, RadiusOfGyration):
        out.append(Condition("gyration", "median radius of gyration", _gyration, "Angstrom", False))
    return out


def _energy_of(function: Callable, atoms: Atoms) -> float:
    """A function of positions for the heavy atoms of one structure."""
    x = torch.as_tensor(_heavy(atoms).positions)[None].clone().requires_grad_()
    return float(function(x, torch.ones(x.shape[:2], dtype=torch.bool)).detach()[0])


def _energy(guidance: Guidance, subject: Subject) -> Finding:
    return Finding(None, _energy_of(guidance.energy, subject.atoms))


def _restrained(restraint: Callable, subject: Subject) -> Finding:
    """Value: the distance from what is asked for, over all atoms that miss it (root of the sum of squares)."""
    n = len(_heavy(subject.atoms))
    if isinstance(restraint, Distance):
        if subject.candidate.info.get("dropped_atoms", 0):
            return Finding(False, None, "atoms were lost, so that the places of heavy atoms are not known")
        if max(place for place in (restraint.first, restraint.second) if isinstance(place, int)) >= n:
            return Finding(False, None, f"{n} heavy atoms have no such place")
    share = n if isinstance(restraint, RadiusOfGyration) else 1
    off = float(np.sqrt(2 * _energy_of(restraint, subject.atoms) / max(1, share)))
    return _met("" if off <= TOLERANCE else f"{off:.2f} Angstrom from what was asked for", off)


def _gyration(subject: Subject) -> Finding:
    x = _heavy(subject.atoms).positions
    return Finding(None, float(np.sqrt(((x - x.mean(0)) ** 2).sum(1).mean())) if len(x) else None)


# the objective


def _objective(simgen: SimGen) -> list[Condition]:
    if simgen.objective is None:
        return []
    scored = Scores(simgen.paying)
    names = [component.name for component in simgen.objective.components]
    return [
        Condition("objective", "median objective", partial(_total, scored), "", False, True),
        *(
            Condition(f"objective_{name}", f"median {name}", partial(_part, scored, name), "", False, True)
            for name in names
        ),
    ]


@dataclass
class Scores:
    """What an objective says of the last structure it was asked about: several conditions ask for the same one."""

    objective: Objective
    _last: tuple[bytes, Any] = field(default=(b"", None), init=False, repr=False)

    def __call__(self, atoms: Atoms):
        key = atoms.numbers.tobytes() + atoms.positions.tobytes()
        if self._last[0] != key:
            self._last = key, self.objective([atoms])
        return self._last[1]


def _total(scored: Scores, subject: Subject) -> Finding:
    return Finding(None, float(scored(subject.atoms).total[0]))


def _part(scored: Scores, name: str, subject: Subject) -> Finding:
    value = float(scored(subject.atoms).values[name][0])
    return Finding(None, value) if np.isfinite(value) else Finding(None, None, f"{name} gave no number")

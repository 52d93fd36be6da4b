"""From the settings of a run to the problem that its molecules solve: sizes, limits, fragments, priors, references."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from rdkit import Chem

from gendesign.errors import UserError
from gendesign.generate.simgen import composition, effort, kernel
from gendesign.generate.simgen.assembly import Assembly
from gendesign.generate.simgen.blocks import Parts, parts_of
from gendesign.generate.simgen.effort import Effort
from gendesign.generate.simgen.fragments import Fragments, Joining
from gendesign.generate.simgen.polar_pull import PolarPull
from gendesign.generate.simgen.prior import Drawn, GaussianMixture, Prior, shapes_of
from gendesign.generate.simgen.reference_shapes import ReferenceShapes
from gendesign.generate.simgen.references import References, read_references
from gendesign.generate.simgen.requirements import Requirements
from gendesign.generate.simgen.settings import SimGenSettings
from gendesign.generate.simgen.shape import RingShape, Shape
from gendesign.generate.simgen.shape_files import MoleculeShape, Pocket
from gendesign.generate.simgen.shape_prior import HostRepulsion, ShapePrior
from gendesign.objective import Objective
from gendesign.potential import Capability, Potential, PotentialLike, PotentialWrapper, fit_chemical_potentials
from gendesign.potential.batching import in_batches
from gendesign.potential.protocol import require
from gendesign.structure.contacts import Host
from gendesign.structure.formula import parse_range
from gendesign.structure.macromolecules import read_host
from gendesign.structure.types import Score

AUTO = "auto"
USUAL_SIZE = 9  # heavy atoms where no other setting says how many
PULL = 5.0  # of a hydrogen bond in sampling, for each eV that it is worth
WHOLE_SHAPE = 5  # atoms from which on a reference skeleton counts as a shape of the prior
LOWEST_SCORE = 1e-3  # of an objective, below which its logarithm no longer falls


@dataclass(frozen=True)
class Reward:
    """What a structure gains by its objective: weight * log(score), in eV."""

    objective: Objective
    weight: float

    def __call__(self, structures: Sequence[Atoms]) -> np.ndarray:
        """eV (structures,)."""
        total = np.asarray(self.objective(structures).total, float)
        return self.weight * np.log(np.maximum(total, LOWEST_SCORE))


@dataclass(frozen=True)
class Problem:
    """What molecules are asked for, read from files and checked; `resolve` makes it.

    `elements`: symbols that new heavy atoms may have. `sizes`: fewest and most new heavy atoms, which `size_requested`
    tells from a default. `limits`: on the number of atoms of each element. `skeletons`: the references without hydrogen
    and without elements that are not allowed; `requested_references`: whether they are the user's own. `importances`:
    weight of the similarity by atomic number. `shape`: of the prior, None without one. `reward`: None without an
    objective. `max_atoms`: per model call.
    """

    potential: PotentialLike
    elements: tuple[str, ...]
    sizes: tuple[int, int]
    size_requested: bool
    formula: str | None
    counts: str | None
    limits: composition.Limits | None
    fragments: Fragments | None
    requirements: Requirements
    references: References
    requested_references: bool
    skeletons: list[Atoms]
    likeness: float
    importances: dict[int, float]
    shape: Shape | None
    priors: tuple[Prior | Drawn, ...]
    assembly: Assembly | None
    effort: Effort
    bundled: str
    walls: tuple[Score, ...]
    guidance: tuple[Score, ...]
    reward: Reward | None
    max_atoms: int

    @property
    def numbers(self) -> list[int]:
        """Atomic numbers of `elements`."""
        return [atomic_numbers[e] for e in self.elements]

    @property
    def n_fixed(self) -> int:
        """Heavy atoms of the fragments."""
        return 0 if self.fragments is None else len(self.fragments.fixed)

    @property
    def host(self) -> Host | None:
        """What molecules must not overlap."""
        return self.requirements.host

    @cached_property
    def score(self) -> kernel.KernelScore:
        """The similarity score to the references; made once, as it describes all of them."""
        known = _environments(self.potential, self.skeletons, self.references.weights, self.likeness)
        return kernel.KernelScore(self.potential, known, self.importances)

    @cached_property
    def formation_potential(self) -> PotentialLike:
        """The potential with chemical potentials of the elements, fitted to the references where it has none."""
        if self.reward is not None:
            return self.reward.objective.potential
        return _with_chemical_potentials(self.potential, self.references, self.elements, self.fragments, self.max_atoms)


DESCRIBED: dict[tuple[int, bytes, float], tuple[PotentialLike, kernel.Environments]] = {}  # the last, for the next call


def _environments(
    potential: PotentialLike, skeletons: Sequence[Atoms], weights: Sequence[float], likeness: float
) -> kernel.Environments:
    """The references, described. The last description is kept, as processes forked from this one ask for it again."""
    content = b"".join(a.numbers.tobytes() + a.positions.tobytes() for a in skeletons) + np.array(weights).tobytes()
    key = (id(potential), hashlib.sha256(content).digest(), likeness)
    if key not in DESCRIBED:
        DESCRIBED.clear()
        known = kernel.environments(potential, skeletons, weights=weights, temperature=likeness)
        DESCRIBED[key] = potential, known  # the potential is held, so that no other has its id
    return DESCRIBED[key][1]


def resolve(settings: SimGenSettings, potential: PotentialLike) -> Problem:
    """The problem that `settings` state, under `potential`.

    Raises UserError for unusable files, settings that contradict each other, and elements that the potential
    or the references do not know.
    """
    elements = tuple(settings.elements if settings.formula is None else composition.elements_of(settings.formula))
    limits = composition.limits_of(settings.formula, settings.counts, elements)
    fragments = _fragments(settings)
    shape = settings.prior.shape if isinstance(settings.prior, ShapePrior) else None
    sizes = _sizes(settings, limits, fragments, shape)
    host = _host(settings.host, shape, settings.hydrogen_bonds)
    fixed = None if fragments is None else fragments.fixed
    ring = shape.ring if isinstance(shape, RingShape) else None
    require(potential, Capability.DESCRIPTORS)
    potential.require_elements(["H", *elements, *_symbols(fragments)])
    paths = [settings.reference] if isinstance(settings.reference, str) else settings.reference or []
    bundled = effort.bundled(settings, sizes)
    references = read_references(paths, settings.reference_weights, elements, potential, bundled)
    assembled = effort.assembles(settings, sizes)
    work = effort.effort(settings, sizes, assembled)
    skeletons = _skeletons(references, elements)
    reward = None
    if settings.objective is not None:
        judging = _with_chemical_potentials(potential, references, elements, fragments, settings.max_atoms)
        reward = Reward(settings.objective.under(judging), settings.objective_weight)
    return Problem(
        potential=potential,
        elements=elements,
        sizes=sizes,
        size_requested=str(settings.n_heavy_atoms) != AUTO,
        formula=None if settings.formula is None else str(settings.formula),
        counts=settings.counts,
        limits=limits,
        fragments=fragments,
        requirements=Requirements(
            fixed,
            _patterns(settings.forbidden),
            host,
            ring,
            shape.ligand_atoms if isinstance(shape, Pocket) and fragments is None else None,
        ),
        references=references,
        requested_references=bool(settings.reference),
        skeletons=skeletons,
        likeness=settings.likeness,
        importances=composition.weights_of(settings.importance, elements),
        shape=shape,
        priors=_priors(settings, fragments, skeletons, sizes, work),
        assembly=_assembly(settings, references, elements, potential) if assembled else None,
        effort=work,
        bundled="" if paths else bundled,
        walls=_walls(host, settings.hydrogen_bonds),
        guidance=tuple(settings.guidance),
        reward=reward,
        max_atoms=settings.max_atoms,
    )


def _sizes(
    settings: SimGenSettings, limits: composition.Limits | None, fragments: Fragments | None, shape: Shape | None
) -> tuple[int, int]:
    """Fewest and most new heavy atoms: as requested, or of the formula, the fragments, the shape, in this order."""
    requested = str(settings.n_heavy_atoms) != AUTO
    if requested:
        low, high = parse_range(settings.n_heavy_atoms, "generator.n_heavy_atoms")
    elif settings.formula is not None:
        low, high = limits.total
    elif fragments is not None:
        low, high = fragments.sizes()
    else:
        low = high = shape.n_heavy_atoms if isinstance(shape, MoleculeShape) else USUAL_SIZE
    if limits is not None:
        fewest, most = limits.total
        if not requested:
            low, high = (min(max(n, fewest), most) for n in (low, high))
        if low < fewest or high > most:
            raise UserError(
                f"generator.n_heavy_atoms={settings.n_heavy_atoms}: formula or counts allow {fewest} to {most} heavy "
                f"atoms; leave it {AUTO} or change them"
            )
    if fragments is not None and len(fragments.molecules) == 1 and low < len(fragments.anchors):
        raise UserError(
            f"generator.n_heavy_atoms={settings.n_heavy_atoms}: {len(fragments.anchors)} attachments need one "
            "new atom each at least"
        )
    return low, high


def _fragments(settings: SimGenSettings) -> Fragments | None:
    attachments = [_index(a) for a in settings.attachments]
    if settings.fragments is not None:
        return Fragments(settings.fragments, attachments)
    if attachments:
        raise UserError(f"generator.attachments={attachments} belong to fragments; give generator.fragments")
    return None


def _index(attachment: int | str) -> int:
    try:
        return int(attachment)
    except ValueError:
        raise UserError(
            f"generator.attachments holds {attachment!r}; give the numbers of hydrogens, counted from 0"
        ) from None


def _patterns(forbidden: Sequence[str]) -> list[Chem.Mol]:
    patterns = []
    for text in map(str, forbidden):
        pattern = Chem.MolFromSmarts(text)
        if pattern is None:
            raise UserError(f"generator.forbidden holds {text!r}, which is no SMARTS; mend or remove it")
        patterns.append(pattern)
    return patterns


def _host(host: str | Atoms | None, shape: Shape | None, bond_energy: float) -> Host | None:
    """All atoms of the host and of the pocket's surroundings; None without either."""
    atoms = read_host(host).atoms if isinstance(host, str) else host
    if atoms is not None and atoms.pbc.any():
        name = host if isinstance(host, str) else atoms.get_chemical_formula()
        raise UserError(
            f"generator.host={name} is periodic, and its images would not count; give the part of it around the "
            "molecule, without a cell"
        )
    parts = [part for part in (atoms, shape.host if isinstance(shape, Pocket) else None) if part is not None]
    return replace(Host.of(*parts), bond_energy=bond_energy) if parts else None


def _walls(host: Host | None, hydrogen_bonds: float) -> tuple[Score, ...]:
    """The repulsion of the host, and the pull of its polar atoms where hydrogen bonds are worth something."""
    if host is None:
        return ()
    pull = (PolarPull.of(host, PULL * hydrogen_bonds),) if hydrogen_bonds else ()
    return (HostRepulsion.of(host), *pull)


def _symbols(fragments: Fragments | None) -> list[str]:
    """Elements of the heavy atoms of the fragments."""
    return [] if fragments is None else [chemical_symbols[z] for z in fragments.fixed.numbers]


def _skeletons(references: References, elements: Sequence[str]) -> list[Atoms]:
    """Reference molecules without hydrogen (and without fluorine, unless asked for) of allowed elements."""
    skeletons = [a[[i for i, s in enumerate(a.symbols) if s in elements]] for a in references.molecules]
    if missing := [e for e in elements if not any(e in a.symbols for a in skeletons)]:
        raise UserError(
            f"generator.elements={list(elements)}: the references hold no {', '.join(missing)} to resemble; "
            "leave it out or give other references"
        )
    return skeletons


def _priors(
    settings: SimGenSettings,
    fragments: Fragments | None,
    skeletons: Sequence[Atoms],
    sizes: tuple[int, int],
    work: Effort,
) -> tuple[Prior | Drawn, ...]:
    """Of the fragments, then of the shape; without either, Gaussians with the shapes of the references."""
    priors: list[Prior | Drawn] = [] if fragments is None else [Joining.of(fragments)]
    if settings.prior is not None:
        priors.append(settings.prior)
    if not priors and effort.is_large(sizes):
        priors.append(ReferenceShapes())
    if not priors:
        large = [a for a in skeletons if len(a) >= WHOLE_SHAPE]
        priors.append(GaussianMixture(shapes_of(large or skeletons), work.steps))
    positions = [a.positions for a in skeletons]
    return tuple(p.of(positions) if isinstance(p, ReferenceShapes) else p for p in priors)


def _assembly(
    settings: SimGenSettings, references: References, elements: Sequence[str], potential: PotentialLike
) -> Assembly:
    """Of the parts of the references, with the blocks of the file of building blocks where one is given."""
    source = settings.building_blocks
    given = source not in ("auto", "references")
    own = read_references([source], (), elements, potential).molecules if given else []
    known = _cut(references.molecules, references.weights, elements)
    blocks = [parts for parts, _ in _cut(own, [1.0] * len(own), elements)]
    if not any(parts.blocks for parts in (blocks if given else [parts for parts, _ in known])):
        raise UserError(
            f"generator.building_blocks={source}: no molecule of {' '.join(elements)} alone holds a ring or a group; "
            "allow more elements, give other molecules, or none"
        )
    return Assembly.of([parts for parts, _ in known], [w for _, w in known], blocks)


def _cut(molecules: Sequence[Atoms], weights: Sequence[float], elements: Sequence[str]) -> list[tuple[Parts, float]]:
    """The parts of those molecules that are made of `elements` alone, and their weights."""
    allowed = {atomic_numbers[e] for e in elements}
    rows = [(parts_of(a), w) for a, w in zip(molecules, weights, strict=True)]
    return [(parts, w) for parts, w in rows if parts is not None and set(parts.numbers) <= allowed]


def _with_chemical_potentials(
    potential: PotentialLike,
    references: References,
    elements: Sequence[str],
    fragments: Fragments | None,
    max_atoms: int,
) -> PotentialLike:
    """The potential with chemical potentials of all elements: its own, or else those fitted to the references."""
    fragment_symbols = set(_symbols(fragments))
    if {"H", *elements, *fragment_symbols} <= set(potential.chemical_potentials):
        return potential
    molecules = [a for a in references.molecules if set(a.symbols) <= set(potential.elements)]
    energies = [e for batch in in_batches(molecules, max_atoms) for e in potential.evaluate(batch).energy.tolist()]
    # all candidates hold the same fragments, so that the chemical potentials of their elements may have any value
    fitted = dict.fromkeys(fragment_symbols, 0.0) | fit_chemical_potentials(molecules, energies)
    if isinstance(potential, Potential):
        return replace(potential, chemical_potentials=fitted)
    wrapped = PotentialWrapper(potential)
    wrapped.chemical_potentials = fitted
    return wrapped

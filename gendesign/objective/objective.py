"""Objectives: scores of finished candidates, weighted, combined and lowered by a diversity filter."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import numpy as np
from ase import Atoms
from ase.build import molecule as known_molecule
from rdkit import Chem

from gendesign.errors import UserError
from gendesign.fields import check_bounds, setting, settings_of
from gendesign.objective.components import CALLED, Component
from gendesign.objective.diversity_filter import KINDS, DiversityFilter
from gendesign.objective.scores import Molecule, number
from gendesign.potential.protocol import PotentialLike
from gendesign.structure.bonds import perceive

log = logging.getLogger(__name__)
COMBINATIONS = ("geometric", "arithmetic")
PROBES = ("CH3CH2OH", "C6H6")  # names in ASE
ComponentLike = Component | Mapping[str, Any] | str | Callable[..., float]


@dataclass(frozen=True)
class Scored:
    """Scores of n candidates.

    total (n,): the objective, from 0 to 1. by_component: desirability (n,), from 0 to 1, by component name. values: the
    score itself (n,), NaN where there is none, by component name. valid (n,): whether the coordinates describe a
    molecule; the total of others is 0. failed (n,): whether a score failed on a valid molecule.
    """

    total: np.ndarray
    by_component: dict[str, np.ndarray]
    values: dict[str, np.ndarray]
    valid: np.ndarray
    failed: np.ndarray


@dataclass(frozen=True, eq=False)
class Objective:
    """The weighted mean of the components, times the penalties, times the factor of the diversity filter.

    A component is a Component, its settings, its words ("logp gaussian 2 1 weight 0.5") or a function
    `(atoms, mol) -> float`. The two means are those of REINVENT 2.0 (Blaschke et al., J. Chem. Inf. Model. 60, 5918,
    2020). `diversity_filter` may be the name of its kind. The scores energy, strain and uncertainty need a `potential`.

    A score that raises, or returns no finite number, counts as 0 for that candidate; `failures` counts these by
    component and the first one is logged. Raises UserError for settings that cannot work, such as a function that
    raises on both probe molecules.
    """

    components: Sequence[ComponentLike] = setting(
        (), "scores: names or path/to/file.py:function, each with transform and weight; [] for none"
    )
    combine: str = setting("geometric", "weighted mean of the components", allowed=COMBINATIONS)
    diversity_filter: DiversityFilter | str | None = setting(
        None, "scaffold, cluster or molecule: a group that was rewarded 25 times is not rewarded again"
    )
    potential: PotentialLike = None
    probe: bool = setting(True, "try functions of your own on ethanol and benzene before the run")
    failures: dict[str, int] = field(default_factory=dict, init=False)  # by component
    _functions: tuple[Callable, ...] = field(default=(), init=False, repr=False)
    _clipped: set[str] = field(default_factory=set, init=False, repr=False)  # components with a warning about clipping

    def __post_init__(self) -> None:
        check_bounds(self, "objective")
        single = isinstance(self.components, str | Mapping | Component) or callable(self.components)
        components = [self.components] if single else list(self.components)
        if not components:
            raise UserError("an objective needs components; give one or more, such as qed")
        object.__setattr__(self, "components", tuple(Component.read(item) for item in components))
        names = [component.name for component in self.components]
        if repeated := [name for name in names if names.count(name) > 1]:
            raise UserError(
                f"two components are called '{repeated[0]}'; tell them apart by 'named NAME' or leave one out"
            )
        if isinstance(self.diversity_filter, str):
            object.__setattr__(self, "diversity_filter", DiversityFilter(self.diversity_filter))
        self.failures.update(dict.fromkeys(names, 0))
        self._load()
        if self.probe:
            self._try()

    def _load(self) -> None:
        object.__setattr__(self, "_functions", tuple(component.function() for component in self.components))

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_functions": ()}  # functions loaded from files cannot be pickled; they are loaded again

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._load()

    def under(self, potential: PotentialLike) -> "Objective":
        """The same objective with another potential; both share one diversity filter."""
        return replace(self, potential=potential)

    def __call__(self, structures: Sequence[Atoms], *, remember: bool = True) -> Scored:
        """Score candidates with hydrogens, in order; without `remember` the diversity filter does not count them."""
        mols = [perceive(atoms).mol for atoms in structures]
        valid = np.array([mol is not None for mol in mols], dtype=bool)
        molecules = [Molecule(a, mol) for a, mol in zip(structures, mols, strict=True) if mol is not None]
        failed, values, desirabilities = np.zeros(len(mols), dtype=bool), {}, {}
        for component, function in zip(self.components, self._functions, strict=True):
            scores = np.full(len(mols), np.nan)
            scores[valid] = self._values(component, function, molecules)
            failed |= valid & np.isnan(scores)
            self._warn_of_clipping(component, scores)
            values[component.name] = scores
            desirabilities[component.name] = np.nan_to_num(component.transform(scores), nan=0.0)
        total = np.where(valid, self._combined(desirabilities), 0.0)
        if self.diversity_filter is not None:
            total[valid] *= self.diversity_filter(molecules, total[valid], remember)
        return Scored(total, desirabilities, values, valid, failed)

    def _combined(self, desirabilities: Mapping[str, np.ndarray]) -> np.ndarray:
        """Total (n,) of desirabilities (n,) by component."""
        parts = [component for component in self.components if not component.penalty]
        total = np.ones(len(next(iter(desirabilities.values()))))
        if parts:
            weights = np.array([component.weight for component in parts])[:, None] / sum(c.weight for c in parts)
            rows = np.stack([desirabilities[component.name] for component in parts])
            total = (rows**weights).prod(0) if self.combine == "geometric" else (weights * rows).sum(0)
        for component in self.components:
            if component.penalty:
                total = total * desirabilities[component.name] ** component.weight
        return total.clip(0, 1)

    def _values(self, component: Component, function: Callable, molecules: Sequence[Molecule]) -> np.ndarray:
        """The score of every molecule (n,), NaN where it failed."""
        structures = [molecule.atoms for molecule in molecules]
        if not component.geometry:
            call = _call_own if component.is_own else _call
            return np.array([self._guarded(component, call, function, molecule) for molecule in molecules])
        if self.potential is None:
            raise UserError(f"score '{component.name}' needs a potential; give one as Objective(potential=...)")
        try:
            scores = function(structures, self.potential)
        except UserError:
            raise
        except Exception:  # one structure caused it: score them one by one
            return np.array([self._guarded(component, _call_physics, function, a, self.potential) for a in structures])
        for i in np.flatnonzero(~np.isfinite(scores)):
            self._count_failure(component, structures[i], "no finite number, or elements unknown to the potential")
        return np.where(np.isfinite(scores), scores, np.nan)

    def _guarded(
        self, component: Component, call: Callable, function: Callable, scored: Molecule | Atoms, *arguments: Any
    ) -> float:
        """The score of one molecule, NaN if it raises."""
        try:
            score = call(function, scored, *arguments)
            reason = "it gave no finite number"
        except Exception as error:  # a score may raise anything; one candidate must not end the run
            if isinstance(error, UserError) and call is not _call_own:
                raise  # something is missing that every candidate needs
            score, reason = np.nan, _line(error)
        if np.isnan(score):
            self._count_failure(component, getattr(scored, "atoms", scored), reason)
        return score

    def _count_failure(self, component: Component, atoms: Atoms, reason: str) -> None:
        self.failures[component.name] += 1
        if self.failures[component.name] == 1:
            log.warning(
                "score '%s' failed on %s (%s): it counts as 0 there; later failures are only counted",
                component.name,
                atoms.get_chemical_formula("hill"),
                reason,
            )

    def _warn_of_clipping(self, component: Component, values: np.ndarray) -> None:
        outside = values[(values < 0) | (values > 1)]
        if component.transform.shape == "as_is" and len(outside) and component.name not in self._clipped:
            self._clipped.add(component.name)
            log.warning(
                "score '%s' gave %.4g, which as_is clips to 0..1; give it a transform, such as 'rising 0 %.4g'",
                component.name,
                outside[0],
                max(abs(outside[0]), 1),
            )

    def _try(self) -> None:
        """Refuse functions of the user that raise on every probe, and a potential that cannot answer."""
        probes = [known_molecule(name) for name in PROBES]
        molecules = [Molecule(atoms, perceive(atoms).mol) for atoms in probes]
        for component, function in zip(self.components, self._functions, strict=True):
            if component.geometry and self.potential is not None:
                function(probes, self.potential)
            if not component.is_own:
                continue
            errors = []
            for molecule in molecules:
                try:
                    _call_own(function, molecule)
                except Exception as error:
                    errors.append(_line(error))
            if len(errors) == len(molecules):
                raise UserError(
                    f"score '{component.name}' failed on ethanol and on benzene ({errors[0]}); it is called as "
                    f"({', '.join(CALLED)}) and must give a number: mend it, or set probe=False"
                )

    def state_dict(self) -> dict[str, Any]:
        """The counts so far, as plain values."""
        counts = None if self.diversity_filter is None else self.diversity_filter.state_dict()
        return {"failures": dict(self.failures), "diversity_filter": counts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the counts of `state_dict`. Raises UserError for the state of another objective."""
        same_filter = (state["diversity_filter"] is None) == (self.diversity_filter is None)
        if state["failures"].keys() != self.failures.keys() or not same_filter:
            components = ", ".join(state["failures"])
            raise UserError(
                f"the state is of another objective, of {components}; give the same components and diversity_filter"
            )
        if self.diversity_filter is not None:
            self.diversity_filter.load_state_dict(state["diversity_filter"])
        self.failures.update(state["failures"])


SETTINGS = settings_of(Objective)


def build_objective(
    components: Annotated[Sequence[ComponentLike], SETTINGS["components"]] = Objective.components,
    combine: Annotated[str, SETTINGS["combine"]] = Objective.combine,
    diversity_filter: Annotated[
        str | None, replace(SETTINGS["diversity_filter"], allowed=KINDS)
    ] = Objective.diversity_filter,
    probe: Annotated[bool, SETTINGS["probe"]] = Objective.probe,
) -> Objective | None:
    """The `_target_` of objective sections in conf/: an Objective, or None without components."""
    return Objective(components, combine, diversity_filter, probe=probe) if components else None


def _call(function: Callable, molecule: Molecule) -> float:
    return number(function(molecule))


def _call_own(function: Callable, molecule: Molecule) -> float:
    # copies, so that a function that changes its arguments does not affect the next one
    return number(function(molecule.atoms.copy(), Chem.Mol(molecule.mol)))


def _call_physics(function: Callable, atoms: Atoms, potential: PotentialLike) -> float:
    return number(function([atoms], potential)[0])


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:160]

"""Any score of finished candidates: components, weighted and combined, and the memory that keeps them diverse."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import molecule as known_molecule
from rdkit import Chem

from gendesign.errors import UserError
from gendesign.objective.components import CALLED, Component
from gendesign.objective.memory import Memory
from gendesign.objective.scores import Molecule, number
from gendesign.structure.bonds import perceive

log = logging.getLogger(__name__)
COMBINATIONS = ("geometric", "arithmetic")
PROBES = ("CH3CH2OH", "C6H6")


@dataclass(frozen=True)
class Scored:
    """What an objective says of n candidates.

    `total` (n,) in 0..1; `by_component` desirabilities (n,) in 0..1 and `values` the scores themselves (n,), NaN where
    there is none, both by name; `valid` (n,) whether the coordinates describe a molecule, without which all is 0;
    `failed` (n,) whether any score failed on a valid one.
    """

    total: np.ndarray
    by_component: dict[str, np.ndarray]
    values: dict[str, np.ndarray]
    valid: np.ndarray
    failed: np.ndarray


@dataclass(frozen=True, eq=False)
class Objective:
    """The weighted mean of `components`, times its penalties, times the factor of the memory.

    `components`: each a Component, its settings, its words ("logp gaussian 2 1 weight 0.5") or a function
    `(atoms, mol) -> float`; `combine`: geometric or arithmetic, the two means of REINVENT 2.0 (Blaschke et al.,
    J. Chem. Inf. Model. 60, 5918, 2020); `memory`: None, a Memory, or its kind; `potential`: what energy, strain and
    uncertainty are asked of; `probe`: try own functions and the potential's scores on ethanol and benzene at once.

    A score that raises or gives no finite number for a candidate counts as 0 there, is logged the first time, and is
    counted in `failures`. Raises UserError for what cannot work at all, such as an own function that raises on both.
    """

    components: Sequence[Any]
    combine: str = "geometric"
    memory: Memory | str | None = None
    potential: Any = None
    probe: bool = True
    failures: dict[str, int] = field(default_factory=dict, init=False)  # by component
    _functions: tuple[Callable, ...] = field(default=(), init=False, repr=False)
    _said: set[str] = field(default_factory=set, init=False, repr=False)  # warnings that were given

    def __post_init__(self) -> None:
        one = isinstance(self.components, str | Mapping | Component) or callable(self.components)
        given = [self.components] if one else list(self.components)
        if not given:
            raise UserError("an objective needs components; give one or more, such as qed")
        object.__setattr__(self, "components", tuple(Component.read(item) for item in given))
        names = [component.name for component in self.components]
        if twice := [name for name in names if names.count(name) > 1]:
            raise UserError(f"two components are called '{twice[0]}'; tell them apart by 'named NAME' or leave one out")
        if self.combine not in COMBINATIONS:
            raise UserError(f"combine={self.combine} is unknown; allowed are {', '.join(COMBINATIONS)}")
        if isinstance(self.memory, str):
            object.__setattr__(self, "memory", Memory(self.memory))
        self.failures.update(dict.fromkeys(names, 0))
        self._load()
        if self.probe:
            self._try()

    def _load(self) -> None:
        object.__setattr__(self, "_functions", tuple(component.function() for component in self.components))

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_functions": ()}  # own functions from files cannot be pickled, but loaded again

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._load()

    def under(self, potential: Any) -> "Objective":
        """The same objective, its memory shared, with another potential."""
        return replace(self, potential=potential)

    def __call__(self, structures: Sequence[Atoms], *, remember: bool = True) -> Scored:
        """Score hydrogenated candidates in their order; without `remember` the memory lowers, but does not count."""
        mols = [perceive(atoms).mol for atoms in structures]
        valid = np.array([mol is not None for mol in mols], dtype=bool)
        molecules = [Molecule(a, mol) for a, mol in zip(structures, mols, strict=True) if mol is not None]
        failed, values, shares = np.zeros(len(mols), dtype=bool), {}, {}
        for component, function in zip(self.components, self._functions, strict=True):
            found = np.full(len(mols), np.nan)
            found[valid] = self._values(component, function, molecules)
            failed |= valid & np.isnan(found)
            self._warn_of_clipping(component, found)
            values[component.name] = found
            shares[component.name] = np.nan_to_num(component.transform(found), nan=0.0)
        total = np.where(valid, self._combined(shares), 0.0)
        if self.memory is not None:
            total[valid] *= self.memory(molecules, total[valid], remember)
        return Scored(total, shares, values, valid, failed)

    def _combined(self, shares: Mapping[str, np.ndarray]) -> np.ndarray:
        """Total (n,) of desirabilities (n,) by component."""
        parts = [component for component in self.components if not component.penalty]
        total = np.ones(len(next(iter(shares.values()))))
        if parts:
            weights = np.array([component.weight for component in parts])[:, None] / sum(c.weight for c in parts)
            rows = np.stack([shares[component.name] for component in parts])
            total = (rows**weights).prod(0) if self.combine == "geometric" else (weights * rows).sum(0)
        for component in self.components:
            if component.penalty:
                total = total * shares[component.name] ** component.weight
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
            found = function(structures, self.potential)
        except UserError:
            raise
        except Exception:  # one of them did it: find out which
            found = [self._guarded(component, _call_physics, function, a, self.potential) for a in structures]
            return np.array(found)
        for i in np.flatnonzero(~np.isfinite(found)):
            self._note(component, structures[i], "no finite number, or elements that the potential does not know")
        return np.where(np.isfinite(found), found, np.nan)

    def _guarded(self, component: Component, call: Callable, function: Callable, what: Any, *more: Any) -> float:
        try:
            found = call(function, what, *more)
            reason = "it gave no finite number"
        except Exception as error:  # whatever a score may raise; one candidate must not end the run
            if isinstance(error, UserError) and call is not _call_own:
                raise  # something is missing that no candidate can do without
            found, reason = np.nan, _line(error)
        if np.isnan(found):
            self._note(component, getattr(what, "atoms", what), reason)
        return found

    def _note(self, component: Component, atoms: Atoms, reason: str) -> None:
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
        if component.transform.shape == "as_is" and len(outside) and component.name not in self._said:
            self._said.add(component.name)
            log.warning(
                "score '%s' gave %.4g, which as_is clips to 0..1; give it a transform, such as 'rising 0 %.4g'",
                component.name,
                outside[0],
                max(abs(outside[0]), 1),
            )

    def _try(self) -> None:
        """Refuse own functions that raise on every probe, and a potential that cannot answer."""
        probes = [known_molecule(name) for name in PROBES]
        known = [Molecule(atoms, perceive(atoms).mol) for atoms in probes]
        for component, function in zip(self.components, self._functions, strict=True):
            if component.geometry and self.potential is not None:
                function(probes, self.potential)
            if not component.is_own:
                continue
            errors = []
            for molecule in known:
                try:
                    _call_own(function, molecule)
                except Exception as error:
                    errors.append(_line(error))
            if len(errors) == len(known):
                raise UserError(
                    f"score '{component.name}' failed on ethanol and on benzene ({errors[0]}); it is called as "
                    f"({', '.join(CALLED)}) and must give a number: mend it, or set probe=False"
                )

    def state_dict(self) -> dict[str, Any]:
        """Plain values that say what was counted so far."""
        memory = None if self.memory is None else self.memory.state_dict()
        return {"failures": dict(self.failures), "memory": memory}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`. Raises UserError for the state of another objective."""
        if state["failures"].keys() != self.failures.keys() or (state["memory"] is None) != (self.memory is None):
            kept = ", ".join(state["failures"])
            raise UserError(f"the state is of another objective, of {kept}; give the same components and memory again")
        if self.memory is not None:
            self.memory.load_state_dict(state["memory"])
        self.failures.update(state["failures"])


def build_objective(
    components: Sequence[Any] = (), combine: str = "geometric", memory: Memory | str | None = None, probe: bool = True
) -> Objective | None:
    """The `_target_` of conf/generator/objective: an Objective, or None without components."""
    return Objective(components, combine, memory, probe=probe) if components else None


def _call(function: Callable, molecule: Molecule) -> float:
    return number(function(molecule))


def _call_own(function: Callable, molecule: Molecule) -> float:
    # copies, so that what one function does to a molecule does not reach the next
    return number(function(molecule.atoms.copy(), Chem.Mol(molecule.mol)))


def _call_physics(function: Callable, atoms: Atoms, potential: Any) -> float:
    return number(function([atoms], potential)[0])


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:160]

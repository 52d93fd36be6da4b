"""Find the keys of a file that hold its labels: named by the user, or recognised if they are unambiguous.

A name is split into words: REF_energy is (ref, energy). The words `energy`, `force(s)`, `stress` or `virial(s)` and the
shape determine the kind of label; the other words determine the method. Plain names (energy, forces, stress) have
precedence over names of other methods (xtb_energy). A name of a reference (REF_energy) next to a plain name with other
values is ambiguous.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress

from gendesign.errors import UserError
from gendesign.fields import setting
from gendesign.structure.label_units import energy_factor, force_factor, stress_factor
from gendesign.structure.labels import full_tensor

NONE = "none"  # labels.stress=none leaves the stress of a file unused
PLAIN = {"energy": "energy", "forces": "forces", "stress": "stress", "virial": "virial"}
KIND_WORDS = {"energy": {"energy", "etot", "toten"}, "forces": {"force", "forces"}, "stress": {"stress"},
              "virial": {"virial", "virials"}}  # fmt: skip
SHAPES = {"energy": "number", "forces": "per atom", "stress": "6 or 9 numbers", "virial": "6 or 9 numbers"}
NEUTRAL = {"total", "tot", "potential", "pot", "scf", "label", "labels", "per", "config"}
REFERENCE = {"ref", "reference", "target", "true", "dft", "qm"}
# Words in names of partial energies, differences, weights and errors. Such names are never labels.
PARTIAL = set(
    "kinetic atomization atomisation formation binding cohesive interaction adsorption strain dispersion zero zpe zpve "
    "gap fermi hull above relative delta diff difference shift nuclear repulsion solvation correction error std var "
    "variance sigma deviation uncertainty weight weights atom isolated barrier activation reaction homo lumo "
    "correlation exchange external constraint entropy free penalty bias average mean max min rms norm yield shear "
    "hydrostatic pressure electric field peratom".split()
)
UNIT_WORDS = {"hartree": "Hartree", "ha": "Hartree", "au": "Hartree", "kcal": "kcal/mol", "kj": "kJ/mol", "mev": "meV",
              "ry": "Rydberg", "rydberg": "Rydberg", "gpa": "GPa", "kb": "kB", "kbar": "kB"}  # fmt: skip
SHOWN = 12  # keys of a file that a message lists
ALIKE = 1e-5  # largest relative difference of two values that count as the same rounded label


@dataclass(frozen=True)
class LabelSettings:
    """Names and units of the labels in the info, arrays or calculator results of a file.

    A name of None is recognised automatically; "none" ignores the label. Units are those of `label_units`. Raises
    UserError for unknown units.
    """

    energy: str | None = setting(
        None, "key of the energy, such as REF_energy; null recognises usual names where they are unambiguous"
    )
    forces: str | None = setting(None, "key of the forces")
    stress: str | None = setting(None, "key of the stress, positive under tension; none leaves it out")
    virial: str | None = setting(
        None, "key of the virial, -stress times the volume, in the unit of the energy; none leaves it out"
    )
    energy_unit: str = setting("eV", "eV, meV, kcal/mol, kJ/mol, Hartree or Rydberg")
    force_unit: str = setting(
        "eV/Angstrom", "an energy per Angstrom, Bohr or nm, such as Hartree/Bohr; -Hartree/Bohr for gradients"
    )
    stress_unit: str = setting(
        "eV/Angstrom^3",
        "such as eV/Angstrom^3, GPa, kB or Hartree/Bohr^3; with a minus where compression is positive, -kB for VASP",
    )

    def __post_init__(self) -> None:
        for unit in ("energy_unit", "force_unit", "stress_unit"):
            object.__setattr__(self, unit, str(getattr(self, unit) or type(self).__dataclass_fields__[unit].default))
        energy_factor(self.energy_unit)
        force_factor(self.force_unit)
        stress_factor(self.stress_unit)
        for key in ("energy", "forces"):
            if getattr(self, key) == NONE:
                raise UserError(
                    f"labels.{key}=none: {key} are needed; only labels.stress and labels.virial may be none"
                )

    @classmethod
    def of(cls, labels: "LabelSettings | Mapping[str, Any] | None") -> "LabelSettings":
        """Settings from an instance, a mapping, or None for the defaults. Raises UserError for unknown keys."""
        if isinstance(labels, LabelSettings):
            return labels
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(labels or {}) - known):
            raise UserError(f"labels.{unknown[0]} is unknown; allowed are {', '.join(sorted(known))}")
        return cls(**(labels or {}))


@dataclass(frozen=True)
class Labelled:
    """Frames with their labels.

    frames: structures with energy, forces and stress (eV and Angstrom) as calculator results. note: which keys were
    used, "" for plain names. holds: the numeric keys of the file, in words.
    """

    frames: list[Atoms]
    note: str
    holds: str


def with_labels(frames: Sequence[Atoms], file: str, settings: LabelSettings) -> Labelled:
    """The frames of one file with the labels that `settings` names or that are recognised.

    Frames without a label stay without it. Raises UserError for a key that is missing, ambiguous or malformed.
    """
    keys = _Keys(frames, file)
    chosen: dict[str, str | None] = {"energy": keys.choose("energy", settings.energy)}
    method = _method(chosen["energy"]) if settings.energy else None
    for kind in ("forces", "stress", "virial"):
        chosen[kind] = keys.choose(kind, getattr(settings, kind), method)
    for kind in ("forces", "stress", "virial"):
        keys.refuse_other_methods(chosen["energy"], kind, chosen[kind], getattr(settings, kind))
    if settings.virial is None and chosen["stress"] and chosen["virial"]:
        keys.refuse_two_tensors(chosen["stress"], chosen["virial"])
        chosen["virial"] = None
    if settings.stress is None and settings.virial not in (None, NONE):
        chosen["stress"] = None
    factors = (
        energy_factor(settings.energy_unit), force_factor(settings.force_unit), stress_factor(settings.stress_unit)
    )  # fmt: skip
    out = [_relabelled(frame, chosen, factors, f"{file}, structure {k}") for k, frame in enumerate(frames, start=1)]
    return Labelled(out, keys.note(chosen, settings), keys.listed())


class _Keys:
    """The numeric keys of the frames of one file: `counts` of frames by kind and key, shapes of `all` keys."""

    def __init__(self, frames: Sequence[Atoms], file: str) -> None:
        self.frames, self.file = frames, file
        self.counts: dict[str, dict[str, int]] = {kind: {} for kind in KIND_WORDS}
        self.all: dict[str, str] = {}
        for frame in frames:
            for key, value in _values(frame).items():
                shape = _shape(value, len(frame), key in _per_atom(frame))
                if not shape:
                    continue
                self.all.setdefault(key, shape)
                for kind in _kinds(key, shape):
                    self.counts[kind][key] = self.counts[kind].get(key, 0) + 1

    def choose(self, kind: str, named: str | None, method: str | None = None) -> str | None:
        """The key of the labels of this kind, None without one.

        Keys of `method`, that of the named energy, come first.
        """
        if named == NONE:
            return None
        if named is not None:
            return self._named(kind, named)
        keys = [key for key in self.counts[kind] if not _words(key) & PARTIAL]
        keys = [key for key in keys if not (kind in ("stress", "virial") and _is_unclear(key))]
        if method is not None and (same_method := [key for key in keys if _method(key) == method]):
            keys = same_method
        plain = [key for key in keys if not _method(key)]
        first = PLAIN[kind] if PLAIN[kind] in plain else next(iter(plain), None)
        if first is not None:
            alternatives = [key for key in keys if key != first and (key in plain or _method(key) in REFERENCE)]
            return self._unambiguous(kind, first, alternatives)
        reference_keys = [key for key in keys if _method(key) in REFERENCE]
        first = next(iter(reference_keys or keys), None)
        if first is None:
            return None
        self._refuse_unit(kind, first)
        return self._unambiguous(kind, first, [key for key in keys if key != first])

    def refuse_other_methods(self, energy: str | None, kind: str, key: str | None, named: str | None) -> None:
        """Raise UserError if energy and `key` are of different methods, such as REF_energy and xtb_forces."""
        if named is None and energy and key and _method(energy) and _method(key) and _method(energy) != _method(key):
            raise UserError(
                f"{self.file}: {energy} and {key} look like two methods; it holds {self.listed()}; "
                f"set labels.energy and labels.{kind}"
            )

    def refuse_two_tensors(self, stress: str, virial: str) -> None:
        """Raise UserError if the stress and the virial of a frame disagree."""
        for frame in self.frames:
            values = {**_of_kind(frame, "stress"), **_of_kind(frame, "virial")}
            if frame.pbc.all() and stress in values and virial in values:
                direct, from_virial = full_tensor(values[stress]), -full_tensor(values[virial]) / frame.get_volume()
                if np.abs(direct - from_virial).max() > 1e-3 * max(np.abs(direct).max(), 1e-4):
                    raise UserError(
                        f"{self.file} holds {stress} and {virial}, which differ ({virial} is taken for -stress times "
                        f"the volume); choose one: labels.stress={stress} labels.virial=none, or the other way round"
                    )

    def note(self, chosen: Mapping[str, str | None], settings: LabelSettings) -> str:
        """Which keys are used as which labels; "" if names and units are plain and every key is used."""
        used = {kind: key for kind, key in chosen.items() if key}
        parts = [
            f"{'stress' if kind == 'virial' else kind} from {key}" + (" (-virial/volume)" if kind == "virial" else "")
            for kind, key in used.items()
        ]
        units = [
            f"{kind} in {unit}"
            for kind, unit, usual in (
                ("energies", settings.energy_unit, "eV"),
                ("forces", settings.force_unit, "eV/Angstrom"),
                ("stresses", settings.stress_unit, "eV/Angstrom^3"),
            )
            if unit != usual
        ]
        candidates = {key for kind in self.counts.values() for key in kind if not _words(key) & (PARTIAL - {"free"})}
        unused = sorted(key for key in candidates - set(used.values()) if not self._same_as_used(key, used.values()))
        if all(PLAIN[kind] == key and kind != "virial" for kind, key in used.items()) and not units and not unused:
            return ""
        text = ", ".join(parts) or "no labels"
        if units:
            text += f" ({', '.join(units)})"
        return text + (f"; not used: {', '.join(unused)}" if unused else "")

    def listed(self) -> str:
        """The numeric keys with their shapes, in words."""
        shown = [f"{key} ({shape})" for key, shape in list(self.all.items())[:SHOWN]]
        more = len(self.all) - len(shown)
        return (", ".join(shown) or "no numbers") + (f" and {more} more" if more > 0 else "")

    def _named(self, kind: str, named: str) -> str:
        wanted = SHAPES[kind]
        if self.all.get(named) != wanted:
            raise UserError(
                f"labels.{kind}={named}: {self.file} has no such {wanted}; it holds {self.listed()}; name one of these"
            )
        return named

    def _unambiguous(self, kind: str, first: str, others: Sequence[str]) -> str:
        differing = [key for key in others if not self._same_values(first, key)]
        if differing:
            names = " and ".join([first, *differing])
            raise UserError(
                f"{self.file} holds {names}, which differ; name the one to use: labels.{kind}={differing[0]} or "
                f"labels.{kind}={first}"
            )
        return first

    def _same_values(self, key: str, other: str) -> bool:
        """Whether every frame with the key `other` also has `key`, with the same values."""
        for values in map(_numbers, self.frames):
            if other in values:
                if key not in values:
                    return False
                a, b = np.ravel(values[key]).astype(float), np.ravel(values[other]).astype(float)
                if a.shape != b.shape or not np.allclose(a, b, rtol=ALIKE, atol=ALIKE, equal_nan=True):
                    return False
        return True

    def _same_as_used(self, key: str, used: Any) -> bool:
        return any(self._same_values(other, key) for other in used if self.all.get(other) == self.all.get(key))

    def _refuse_unit(self, kind: str, key: str) -> None:
        unit = next((UNIT_WORDS[word] for word in sorted(_words(key) & set(UNIT_WORDS))), None)
        if unit is not None:
            setting = {"energy": "energy_unit", "forces": "force_unit"}.get(kind, "stress_unit")
            unit = f"{unit}/Angstrom" if kind == "forces" else unit
            raise UserError(
                f"{self.file}: {key} looks like {unit} by its name; say so: labels.{kind}={key} labels.{setting}={unit}"
            )


def _relabelled(
    frame: Atoms, chosen: Mapping[str, str | None], factors: tuple[float, float, float], where: str
) -> Atoms:
    def value(kind: str) -> Any:
        return _of_kind(frame, kind).get(chosen[kind] or "")

    results: dict[str, Any] = {}
    if (energy := value("energy")) is not None:
        results["energy"] = float(np.ravel(energy)[0]) * factors[0]
    if (forces := value("forces")) is not None:
        results["forces"] = np.array(forces, dtype=float) * factors[1]
    tensor = None
    if (stress := value("stress")) is not None:
        tensor = _symmetric(stress, str(chosen["stress"]), where) * factors[2]
    elif frame.pbc.all() and (virial := value("virial")) is not None:
        tensor = -_symmetric(virial, str(chosen["virial"]), where) * factors[0] / frame.get_volume()
    if tensor is not None:
        results["stress"] = full_3x3_to_voigt_6_stress(tensor)
    out = frame.copy()
    for key in PLAIN.values():  # so that a plain name that the user did not choose is never read as a label
        out.info.pop(key, None)
        out.arrays.pop(key, None)
    out.calc = SinglePointCalculator(out, **results) if results else None
    return out


def _symmetric(value: Any, key: str, where: str) -> np.ndarray:
    tensor = full_tensor(value)
    if np.abs(tensor - tensor.T).max() > 0.05 * max(np.abs(tensor).max(), 1e-6):
        raise UserError(f"{where}: {key} is not symmetric, so it is no stress; leave it out or set labels.stress=none")
    return (tensor + tensor.T) / 2


def _values(frame: Atoms) -> dict[str, Any]:
    """All values of a frame by key. Calculator results have precedence over info and arrays."""
    results = {} if frame.calc is None else frame.calc.results
    arrays = {key: value for key, value in frame.arrays.items() if key not in ("numbers", "positions")}
    return {**frame.info, **arrays, **results}


def _numbers(frame: Atoms) -> dict[str, Any]:
    """The entries of `_values` that are a number, a vector per atom or a tensor."""
    columns = _per_atom(frame)
    return {key: value for key, value in _values(frame).items() if _shape(value, len(frame), key in columns)}


def _of_kind(frame: Atoms, kind: str) -> dict[str, Any]:
    """The entries of `_values` with the shape of labels of this kind."""
    columns, wanted = _per_atom(frame), SHAPES[kind]
    return {k: value for k, value in _values(frame).items() if _shape(value, len(frame), k in columns) == wanted}


def _per_atom(frame: Atoms) -> set[str]:
    results = set() if frame.calc is None else {"forces"} & set(frame.calc.results)
    return set(frame.arrays) | results


def _shape(value: Any, atoms: int, per_atom: bool) -> str:
    """The shape of a value: "number", "per atom" for (atoms, 3), "6 or 9 numbers", or "" for all others."""
    if isinstance(value, bool | np.bool_ | str) or not isinstance(value, int | float | np.number | np.ndarray | list):
        return ""
    array = np.asarray(value)
    if array.dtype.kind not in "if":
        return ""
    if per_atom:
        return "per atom" if array.shape == (atoms, 3) else ""
    return {1: "number", 6: "6 or 9 numbers", 9: "6 or 9 numbers"}.get(array.size, "") if array.ndim <= 2 else ""


def _kinds(key: str, shape: str) -> list[str]:
    wanted = {"number": ("energy",), "per atom": ("forces",)}.get(shape, ("stress", "virial"))
    return [kind for kind in wanted if _words(key) & KIND_WORDS[kind]]


def _is_unclear(key: str) -> bool:
    """Whether a name may be a stress or a virial, such as virial_stress."""
    return bool(_words(key) & KIND_WORDS["stress"] and _words(key) & KIND_WORDS["virial"])


def _words(key: str) -> set[str]:
    """The words of a name in lower case: REF_energy, refEnergy and energy-ref alike."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", key)}


def _method(key: str | None) -> str:
    """The method in a name: xtb for energy_xtb, ref for REF_energy and reference_energy, "" for a plain name."""
    words = _words(key or "") - NEUTRAL - set().union(*KIND_WORDS.values())
    if words & REFERENCE:
        return "dft" if words == {"dft"} else "ref"
    return "_".join(sorted(words))

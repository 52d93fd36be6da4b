"""A user's own model as a potential: `potential=my.module:factory`.

`factory()` returns an ASE calculator, a torch-sim ModelInterface, or an object with the methods of PotentialLike. These
attributes of it, or of the function, are read if they are there: name, elements, cutoff (Angstrom), weights_hash,
licence, citation, domain.
"""

import hashlib
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gendesign.imports.torch_sim  # noqa: F401  quick and silent

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import chemical_symbols
from torch import Tensor

from gendesign.errors import UserError
from gendesign.potential.base import PotentialBase, PotentialWrapper
from gendesign.potential.protocol import Capability, PotentialLike, require
from gendesign.structure.callables import load_function
from gendesign.structure.graph import Batch
from gendesign.structure.types import Prediction

CUTOFF = 6.0  # Angstrom, of models that state none: tells molecules in a box from crystals
ELEMENTS = tuple(chemical_symbols[1:95])  # of models that state none
STATED = ("name", "elements", "cutoff", "weights_hash", "licence", "citation", "domain")
LONGEST_MESSAGE = 200  # characters of an error of the model


def load_custom(name: str, device: torch.device, dtype: torch.dtype, head: str | None) -> PotentialLike:
    """The potential of the function `name`, tried on a small structure.

    Raises UserError if the import or the function fails, and for a model whose results have wrong shapes or are not
    finite.
    """
    if head is not None:
        raise UserError(f"head={head!r}: potential {name} is a function, which chooses by itself; leave head out")
    if os.getcwd() not in sys.path:  # a console script does not look there
        sys.path.append(os.getcwd())
    factory = load_function(name, ())
    try:
        made = factory()
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"potential {name} failed ({_words(error)}); mend the function") from error
    potential = _Checked(_adapted(name, made, device, dtype), name, _stated(name, factory, made))
    _try(potential)
    return potential


def _adapted(name: str, made: Any, device: torch.device, dtype: torch.dtype) -> PotentialLike:
    from torch_sim.models.interface import ModelInterface

    if isinstance(made, Calculator):
        return AsePotential(made, dtype)
    if isinstance(made, ModelInterface):
        return TorchSimPotential(made)
    if isinstance(made, PotentialLike):
        return made
    raise UserError(
        f"potential {name} returned a {type(made).__name__}; return an ASE calculator, a torch-sim ModelInterface "
        "or a PotentialLike"
    )


class AsePotential(PotentialBase):
    """An ASE calculator, called for one structure after the other on the CPU."""

    name, elements, cutoff = "ase", ELEMENTS, CUTOFF
    device = torch.device("cpu")

    def __init__(self, calculator: Calculator, dtype: torch.dtype) -> None:
        self.calculator, self.dtype = calculator, dtype
        more = {"stress": Capability.STRESS, "energies": Capability.ATOM_ENERGIES}
        self.supports = frozenset(c for key, c in more.items() if key in calculator.implemented_properties)

    def evaluate(self, structures: Sequence[Atoms] | Batch, *, stress: bool = False) -> Prediction:
        """See PotentialLike.evaluate."""
        if stress:
            require(self, Capability.STRESS)
        rows = [self._one(atoms, stress) for atoms in self.batch(structures).to_atoms()]
        energies, forces, sites, stresses = zip(*rows, strict=True)
        atoms = Capability.ATOM_ENERGIES in self.supports
        return Prediction(
            torch.tensor(np.array(energies), dtype=torch.float64),
            torch.tensor(np.concatenate(forces), dtype=self.dtype),
            torch.tensor(np.concatenate(sites), dtype=torch.float64) if atoms else None,
            torch.tensor(np.stack(stresses), dtype=self.dtype) if stress else None,
        )

    def _one(self, atoms: Atoms, stress: bool) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        atoms.calc = self.calculator
        energy, forces = atoms.get_potential_energy(), np.asarray(atoms.get_forces())
        _shaped(self.name, "forces", forces.shape, (len(atoms), 3), len(atoms))
        sites = np.asarray(atoms.get_potential_energies() if Capability.ATOM_ENERGIES in self.supports else [])
        tension = np.asarray(atoms.get_stress(voigt=False)) if stress else np.zeros((3, 3))
        return energy, forces, sites, tension


class TorchSimPotential(PotentialBase):
    """A torch-sim model, called for a whole batch."""

    name, elements, cutoff = "torch-sim", ELEMENTS, CUTOFF

    def __init__(self, model: Any) -> None:
        self.model = model
        self.device, self.dtype = torch.device(model.device), model.dtype
        self.supports = frozenset({Capability.STRESS} if model.compute_stress else ())
        cutoff = getattr(model, "cutoff", None)
        self.cutoff = CUTOFF if cutoff is None else float(cutoff)

    def evaluate(self, structures: Sequence[Atoms] | Batch, *, stress: bool = False) -> Prediction:
        """See PotentialLike.evaluate."""
        from torch_sim import SimState

        if stress:
            require(self, Capability.STRESS)
        batch = self.batch(structures)
        cell = torch.zeros(batch.n_systems, 3, 3) if batch.cell is None else batch.cell.transpose(1, 2)
        state = SimState(
            positions=batch.positions.detach(),
            masses=torch.ones_like(batch.positions[:, 0]),
            cell=cell.to(batch.positions),
            pbc=torch.tensor(batch.pbc, device=batch.positions.device),
            atomic_numbers=batch.numbers,
            system_idx=batch.system,
        )
        out = self.model(state)
        sites = out.get("energies")
        return Prediction(
            out["energy"].detach().double(),
            out["forces"].detach(),
            None if sites is None else sites.detach().double(),
            out["stress"].detach() if stress else None,
        )


class _Checked(PotentialWrapper):
    """A user's potential whose results are compared with the shapes they should have."""

    def __init__(self, potential: PotentialLike, name: str, stated: dict[str, Any]) -> None:
        super().__init__(potential)
        self.name = name
        for attribute, value in stated.items():
            setattr(self, attribute, value)
        if isinstance(potential, AsePotential | TorchSimPotential):
            potential.name, potential.elements = self.name, self.elements

    def evaluate(self, structures: Sequence[Atoms] | Batch, *, stress: bool = False) -> Prediction:
        """See PotentialLike.evaluate; raises UserError for wrong shapes and for an error of the model."""
        batch = self.batch(structures)
        try:
            out = self.potential.evaluate(batch, stress=stress)
        except (UserError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise UserError(
                f"potential {self.name} failed on {_formulas(batch)} ({_words(error)}); mend the model, or leave such "
                "structures out"
            ) from error
        atoms = len(batch.numbers)
        expected: dict[str, tuple[int, ...]] = {"energy": (batch.n_systems,), "forces": (atoms, 3)}
        if stress:
            expected["stress"] = (batch.n_systems, 3, 3)
        if Capability.ATOM_ENERGIES in self.supports:
            expected["atom_energy"] = (atoms,)
        for key, shape in expected.items():
            value = getattr(out, key)
            _shaped(self.name, key, None if value is None else tuple(value.shape), shape, atoms)
        return out

    def energies(self, structures: Sequence[Atoms] | Batch) -> Tensor:
        """Energies (systems,) in eV, float64."""
        return self.evaluate(structures).energy.double()

    def descriptors(self, structures: Sequence[Atoms] | Batch, **options: Any) -> Tensor:
        """See PotentialLike.descriptors."""
        require(self, Capability.DESCRIPTORS)
        return super().descriptors(structures, **options)


def _shaped(name: str, key: str, shape: tuple[int, ...] | None, expected: tuple[int, ...], atoms: int) -> None:
    if shape != expected:
        what = "nothing" if shape is None else f"shape {shape}"
        raise UserError(f"potential {name} returned {key} of {what} for {atoms} atoms; it must be {expected}")


def _try(potential: _Checked) -> None:
    """Evaluate a small structure; some models take crystals alone, so a periodic one is tried too."""
    symbols = ["O", "H", "H"] if {"O", "H"} <= set(potential.elements) else list(potential.elements[:1]) * 2
    bent = np.array([[0.0, 0.0, 0.12], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]])
    positions = bent if len(symbols) == 3 else np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 2.2]])
    molecule = Atoms(symbols, positions)
    boxed = Atoms(symbols, positions, cell=[12.0, 12.0, 12.0], pbc=True)
    failure: UserError | None = None
    for atoms in (molecule, boxed):
        try:
            out = potential.evaluate([atoms])
        except UserError as error:
            failure = failure or error
            continue
        wrong = [key for key in ("energy", "forces") if not bool(torch.isfinite(getattr(out, key)).all())]
        if not wrong:
            return
        failure = failure or UserError(
            f"potential {potential.name} returned {' and '.join(wrong)} that {'is' if wrong == ['energy'] else 'are'} "
            f"not finite for {atoms.get_chemical_formula()}; mend the model"
        )
    assert failure is not None
    raise failure


def _stated(name: str, factory: Callable[..., Any], made: Any) -> dict[str, Any]:
    """What the model, or else the function, says of itself."""
    stated = {}
    for attribute in STATED:
        if isinstance(made, Calculator) and attribute == "name":
            continue  # ASE's calculators have a name that is not the user's
        value = getattr(factory, attribute, getattr(made, attribute, None))
        if value is not None and not callable(value):
            stated[attribute] = value
    stated["elements"] = _elements(name, stated["elements"]) if "elements" in stated else None
    if stated["elements"] is None:
        del stated["elements"]
    if "cutoff" in stated:
        stated["cutoff"] = float(stated["cutoff"])
    if not stated.get("weights_hash"):  # changes with the code, so that results of two versions are not mixed
        source = inspect.getsourcefile(factory)
        stated["weights_hash"] = hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else ""
    return stated


def _elements(name: str, elements: Any) -> tuple[str, ...]:
    symbols = tuple(map(str, elements))
    if wrong := [symbol for symbol in symbols if symbol not in chemical_symbols[1:]]:
        raise UserError(
            f"potential {name} states the elements {', '.join(wrong)}, which are no chemical symbols; give symbols"
        )
    return symbols


def _formulas(batch: Batch) -> str:
    formulas = [atoms.get_chemical_formula() for atoms in batch.to_atoms()[:3]]
    return ", ".join(formulas) + (", ..." if batch.n_systems > len(formulas) else "")


def _words(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST_MESSAGE]

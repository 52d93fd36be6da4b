"""Crystals: cells, equations of state and elastic constants, beside the reference's."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.eos import EquationOfState
from ase.stress import full_3x3_to_voigt_6_stress
from matplotlib.figure import Figure

from gendesign.structure.types import Row
from gendesign.validation.methods import Method
from gendesign.validation.picture import OWN, REFERENCE, grid

FMAX = 0.003  # eV/Angstrom
SPAN, POINTS = 0.06, 7  # volumes from 1 - SPAN to 1 + SPAN
STRAIN = 0.005


def equilibrium(crystals: Sequence[Atoms], method: Method) -> list[Atoms | None]:
    """Each crystal with its cell and atoms relaxed by the method, or None."""
    return [None if end is None else end.atoms for end in method.relax(crystals, fmax=FMAX, cell=True)]


def equation_of_state(atoms: Atoms, method: Method) -> dict[str, Any] | None:
    """Birch-Murnaghan fit to energies at POINTS volumes about the relaxed `atoms`, inner coordinates relaxed.

    bulk_modulus in GPa, volume in Angstrom^3 and energy in eV, both per atom, with the points of the fit.
    """
    scaled = [
        _strained(atoms, (factor ** (1 / 3) - 1) * np.eye(3)) for factor in np.linspace(1 - SPAN, 1 + SPAN, POINTS)
    ]
    relaxed = method.relax(scaled, fmax=FMAX)
    if any(end is None for end in relaxed):
        return None
    answers = method.evaluate([end.atoms for end in relaxed])
    if any(answer is None for answer in answers):
        return None
    volumes = np.array([a.get_volume() for a in scaled]) / len(atoms)
    energies = np.array([answer.energy for answer in answers]) / len(atoms)
    try:
        volume, energy, modulus = EquationOfState(volumes, energies, eos="birchmurnaghan").fit(warn=False)
    except (RuntimeError, ValueError):  # no minimum among the points, as for a crystal that the method does not bind
        return None
    return {"bulk_modulus": modulus / units.GPa, "volume": volume, "energy": energy,
            "volumes": volumes.tolist(), "energies": energies.tolist()}  # fmt: skip


def _strained(atoms: Atoms, strain: np.ndarray) -> Atoms:
    copy = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    copy.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return copy


def voigt_strain(component: int, size: float) -> np.ndarray:
    """Symmetric strain tensor (3, 3) of one Voigt component (xx, yy, zz, yz, xz, xy) in engineering strain."""
    strain = np.zeros((3, 3))
    i, j = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))[component]
    strain[i, j] += size / 2
    strain[j, i] += size / 2
    return strain


def elastic_constants(atoms: Atoms, method: Method) -> np.ndarray | None:
    """Stiffness (6, 6) in GPa, Voigt order, of the relaxed `atoms` by stresses at +-STRAIN with inner relaxation."""
    strained = [_strained(atoms, voigt_strain(k, sign * STRAIN)) for k in range(6) for sign in (1, -1)]
    relaxed = method.relax(strained, fmax=FMAX)
    if any(end is None for end in relaxed):
        return None
    answers = method.evaluate([end.atoms for end in relaxed], stress=True)
    if any(answer is None for answer in answers):
        return None
    stress = np.array([full_3x3_to_voigt_6_stress(answer.stress) for answer in answers]) / units.GPa
    stiffness = (stress[::2] - stress[1::2]) / (2 * STRAIN)
    return (stiffness + stiffness.T) / 2


def voigt_reuss_hill(stiffness: np.ndarray) -> tuple[float, float]:
    """Bulk and shear modulus (GPa) of the polycrystal by Hill's mean (Hill 1952)."""

    def moduli(c: np.ndarray) -> tuple[float, float]:
        normal, off, shear = c[:3, :3].trace(), c[0, 1] + c[0, 2] + c[1, 2], c[3:, 3:].trace()
        return (normal + 2 * off) / 9, (normal - off + 3 * shear) / 15

    voigt = moduli(stiffness)
    compliance = np.linalg.inv(stiffness)
    s_normal, s_off = compliance[:3, :3].trace(), compliance[0, 1] + compliance[0, 2] + compliance[1, 2]
    reuss = 1 / (s_normal + 2 * s_off), 15 / (4 * s_normal - 4 * s_off + 3 * compliance[3:, 3:].trace())
    return (voigt[0] + reuss[0]) / 2, (voigt[1] + reuss[1]) / 2


def describe(atoms: Atoms | None, method: Method) -> dict[str, Any] | None:
    """Volume, equation of state and elasticity of a relaxed crystal; None where it could not be relaxed."""
    if atoms is None:
        return None
    stiffness = elastic_constants(atoms, method)
    moduli = None if stiffness is None or np.linalg.cond(stiffness) > 1e6 else voigt_reuss_hill(stiffness)
    return {
        "volume": atoms.get_volume() / len(atoms),
        "equation_of_state": equation_of_state(atoms, method),
        "elastic": None if stiffness is None else stiffness.round(3).tolist(),
        "shear_modulus": None if moduli is None else moduli[1],
    }


def measure(method: Method, crystals: Sequence[Atoms], reference: Method | None = None) -> dict[str, Any]:
    """Each crystal at the method's own equilibrium and, if given, at the reference's; volume (A^3/atom) as given."""
    own = equilibrium(crystals, method)
    true = [None] * len(crystals) if reference is None else equilibrium(crystals, reference)
    return {
        "crystals": [
            {
                "formula": given.get_chemical_formula(),
                "given_volume": given.get_volume() / len(given),
                "own": describe(mine, method),
                "reference": None if reference is None else describe(theirs, reference),
            }
            for given, mine, theirs in zip(crystals, own, true, strict=True)
        ]
    }


def rows(results: dict[str, Any]) -> list[Row]:
    """Every crystal's own numbers and, over all, the errors against the reference."""
    out = []
    for crystal in results["crystals"]:
        name, own = crystal["formula"], crystal["own"] or {}
        state = own.get("equation_of_state") or {}
        reference_volume = crystal["given_volume"]
        change = 100 * (own["volume"] / reference_volume - 1) if own else None
        out += [
            Row(f"volume, {name}", own.get("volume"), "Angstrom^3/atom", 1),
            Row(f"volume, {name}, against the structure given", change, "%", 1),
            Row(f"bulk modulus, {name}", state.get("bulk_modulus"), "GPa", 1),
            Row(f"shear modulus, {name}", own.get("shear_modulus"), "GPa", 1),
        ]
    out += _error("volume", "%", results, lambda side: side["volume"], relative=True)
    out += _error("bulk modulus", "%", results, lambda side: (side["equation_of_state"] or {}).get("bulk_modulus"),
                  relative=True)  # fmt: skip
    return out + _error("elastic constants", "GPa", results, lambda side: side["elastic"])


def _error(name: str, unit: str, results: dict[str, Any], value, relative: bool = False) -> list[Row]:
    """The mean absolute error over all crystals where both sides have the value; no row without a reference."""
    if not any(crystal["reference"] for crystal in results["crystals"]):
        return []
    errors = []
    for crystal in results["crystals"]:
        sides = [value(crystal[key]) if crystal[key] else None for key in ("own", "reference")]
        if None not in sides:
            own, true = map(np.array, sides)
            errors.append(float(np.abs(100 * (own - true) / true if relative else own - true).mean()))
    return [Row(f"{name} MAE against the teacher", float(np.mean(errors)) if errors else None, unit, len(errors))]


def picture(results: dict[str, Any]) -> Figure | None:
    """Energy against volume with the fit's points: the potential as a line, the reference as points."""
    crystals = [c for c in results["crystals"] if (c["own"] or {}).get("equation_of_state")]
    if not crystals:
        return None
    figure, panels = grid(len(crystals), columns=4, size=(3.0, 2.4))
    for panel, crystal in zip(panels, crystals, strict=True):
        for key, style, colour in (("own", "-", OWN), ("reference", "o", REFERENCE)):
            state = (crystal[key] or {}).get("equation_of_state")
            if state:
                energies = 1000 * (np.array(state["energies"]) - state["energy"])
                panel.plot(state["volumes"], energies, style, color=colour, ms=3)
        panel.set_title(crystal["formula"], fontsize=9)
    figure.supxlabel("volume (Angstrom^3/atom)", fontsize=9)
    figure.supylabel("energy above the minimum (meV/atom)", fontsize=9)
    return figure

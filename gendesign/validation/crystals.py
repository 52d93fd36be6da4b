"""Cells, equations of state and elastic constants of crystals, compared with the reference."""

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
    """Each crystal with atoms and cell relaxed by the method, None for a failed relaxation."""
    return [None if end is None else end.atoms for end in method.relax(crystals, fmax=FMAX, cell=True)]


def equation_of_state(atoms: Atoms, method: Method) -> dict[str, Any] | None:
    """Birch-Murnaghan fit to energies at POINTS volumes around the relaxed `atoms`, with relaxed inner coordinates.

    Returns bulk_modulus (GPa), volume (Angstrom^3 per atom), energy (eV per atom) and the points of the fit, or None if
    a relaxation or the fit fails.
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
    except (RuntimeError, ValueError):  # no minimum in the range, as for a crystal that the method does not bind
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
    """Stiffness (6, 6) in GPa, Voigt order, from stresses at +-STRAIN of the relaxed `atoms` with inner relaxation.

    None if the method has no answer.
    """
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
    """Bulk and shear modulus (GPa) of a polycrystal as Hill's mean (Proc. Phys. Soc. A 65, 349, 1952).

    stiffness: (6, 6) in GPa, Voigt order.
    """

    def moduli(c: np.ndarray) -> tuple[float, float]:
        normal, off, shear = c[:3, :3].trace(), c[0, 1] + c[0, 2] + c[1, 2], c[3:, 3:].trace()
        return (normal + 2 * off) / 9, (normal - off + 3 * shear) / 15

    voigt = moduli(stiffness)
    compliance = np.linalg.inv(stiffness)
    s_normal, s_off = compliance[:3, :3].trace(), compliance[0, 1] + compliance[0, 2] + compliance[1, 2]
    reuss = 1 / (s_normal + 2 * s_off), 15 / (4 * s_normal - 4 * s_off + 3 * compliance[3:, 3:].trace())
    return (voigt[0] + reuss[0]) / 2, (voigt[1] + reuss[1]) / 2


def describe(atoms: Atoms | None, method: Method) -> dict[str, Any] | None:
    """Volume, equation of state and elasticity of a relaxed crystal, None if its relaxation failed."""
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
    """Describe each crystal at the equilibrium of the method and, if there is one, of the reference."""
    predicted = equilibrium(crystals, method)
    expected = [None] * len(crystals) if reference is None else equilibrium(crystals, reference)
    return {
        "crystals": [
            {
                "formula": start.get_chemical_formula(),
                "given_volume": start.get_volume() / len(start),
                "own": describe(minimum, method),
                "reference": None if reference is None else describe(reference_minimum, reference),
            }
            for start, minimum, reference_minimum in zip(crystals, predicted, expected, strict=True)
        ]
    }


def rows(results: dict[str, Any]) -> list[Row]:
    """Properties of every crystal and the mean absolute errors against the reference."""
    out = []
    for crystal in results["crystals"]:
        name, predicted = crystal["formula"], crystal["own"] or {}
        state = predicted.get("equation_of_state") or {}
        change = 100 * (predicted["volume"] / crystal["given_volume"] - 1) if predicted else None
        out += [
            Row(f"volume, {name}", predicted.get("volume"), "Angstrom^3/atom", 1),
            Row(f"volume, {name}, against the structure given", change, "%", 1),
            Row(f"bulk modulus, {name}", state.get("bulk_modulus"), "GPa", 1),
            Row(f"shear modulus, {name}", predicted.get("shear_modulus"), "GPa", 1),
        ]
    out += _error("volume", "%", results, lambda side: side["volume"], relative=True)
    out += _error("bulk modulus", "%", results, lambda side: (side["equation_of_state"] or {}).get("bulk_modulus"),
                  relative=True)  # fmt: skip
    return out + _error("elastic constants", "GPa", results, lambda side: side["elastic"])


def _error(name: str, unit: str, results: dict[str, Any], value, relative: bool = False) -> list[Row]:
    """The mean absolute error over the crystals for which both methods have the value; no row without a reference."""
    if not any(crystal["reference"] for crystal in results["crystals"]):
        return []
    errors = []
    for crystal in results["crystals"]:
        sides = [value(crystal[key]) if crystal[key] else None for key in ("own", "reference")]
        if None not in sides:
            predicted, expected = map(np.array, sides)
            difference = predicted - expected
            errors.append(float(np.abs(100 * difference / expected if relative else difference).mean()))
    return [Row(f"{name} MAE against the teacher", float(np.mean(errors)) if errors else None, unit, len(errors))]


def picture(results: dict[str, Any]) -> Figure | None:
    """Energy against volume at the points of the fit: the potential as a line, the reference as points."""
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

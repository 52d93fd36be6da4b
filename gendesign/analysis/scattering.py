"""How strongly elements scatter: X-ray form factors and neutron scattering lengths, from the tables of pymatgen.

X-rays: f(q) = Z - 41.78214 s^2 sum a exp(-b s^2), s = q / (4 pi), four terms (De Graef and McHenry, Structure of
Materials, 2007), of neutral atoms. Neutrons: bound coherent lengths in fm of natural elements (Sears, Neutron News 3,
26 (1992), as listed by NIST).
"""

import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers

from gendesign.errors import UserError

KINDS = ("xray", "neutron")


@cache
def _table(name: str) -> dict[str, Any]:
    spec = find_spec("pymatgen.analysis.diffraction")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("the scattering tables of pymatgen are missing; install pymatgen again")
    path = Path(next(iter(spec.submodule_search_locations))) / name
    table: dict[str, Any] = json.loads(path.read_text())
    return table


def form_factor(symbol: str, q: np.ndarray) -> np.ndarray:
    """X-ray form factor of a neutral atom at q (1/Angstrom), in electrons."""
    terms = _table("atomic_scattering_params.json").get(symbol)
    if terms is None:
        raise UserError(f"no X-ray form factor of {symbol} in the table; leave structure_factor out of tests")
    s2 = (np.asarray(q, dtype=float) / (4 * np.pi)) ** 2
    total = sum(a * np.exp(-b * s2) for a, b in terms)
    return np.asarray(atomic_numbers[symbol] - 41.78214 * s2 * total)


def neutron_length(symbol: str) -> float:
    """Bound coherent neutron scattering length in fm, the real part."""
    value = _table("neutron_scattering_length.json").get(symbol)
    if value is None:
        raise UserError(f"no neutron scattering length of {symbol} in the table; leave structure_factor out of tests")
    return float(value)


def weights(symbol: str, q: np.ndarray, kind: str) -> np.ndarray:
    """Scattering of an element at q for `kind` xray or neutron."""
    if kind not in KINDS:
        raise UserError(f"radiation={kind}: allowed are {', '.join(KINDS)}")
    return form_factor(symbol, q) if kind == "xray" else np.full(len(q), neutron_length(symbol))

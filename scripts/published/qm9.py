"""Geometries and harmonic frequencies against QM9's, B3LYP/6-31G(2df,p)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import batched

import numpy as np
from ase import Atoms

from gendesign.structure.bonds import connectivity
from gendesign.structure.types import Row
from gendesign.validation.geometries import heavy_rmsd
from gendesign.validation.methods import Relaxed
from gendesign.validation.vibrations import frequencies, hessians
from scripts.organic.real import held_out, qm9_molecule
from scripts.organic.wheels import qm9
from scripts.published.kept import Kept
from scripts.published.methods import Judged

SAMPLE, QUICK = 200, 10
# B3LYP/6-31G(2df,p) harmonic to fundamental, Merrick, Moran, Radom, J. Phys. Chem. A 111, 11683 (2007); CCCBDB: 0.965
TO_FUNDAMENTALS = 0.9652
FMAX, STEPS = 0.003, 500  # eV/Angstrom
AT_ONCE = 10
IMAGINARY = -20.0  # 1/cm, below which a frequency counts as imaginary


@dataclass(frozen=True)
class Compared:
    """One molecule: heavy-atom RMSD (Angstrom), whether graph and convergence are fine, frequencies (1/cm) of both."""

    rmsd: float | None
    graph_kept: bool
    converged: bool
    predicted: np.ndarray | None
    reference: np.ndarray


@cache
def sample(n: int) -> list[tuple[Atoms, np.ndarray]]:
    """The first `n` molecules of QM9 (in the fixed order of `qm9()`) of H C N O that belong to the test sets."""
    out = []
    for index, row in enumerate(qm9()):
        if len(out) == n:
            break
        if set(row.atoms.symbols) <= set("HCNO") and (molecule := qm9_molecule(index)) and held_out(molecule[1]):
            out.append((row.atoms, np.sort(row.frequencies)))
    return out


def compare(judged: Judged, n: int) -> list[Compared]:
    """Relax each molecule from its B3LYP geometry and compute the frequencies at the method's own minimum.

    What an interrupted run has finished is read from its file.
    """
    kept = Kept(judged.name, "qm9")
    molecules = [(str(k), *molecule) for k, molecule in enumerate(sample(n))]
    for part in map(list, batched([m for m in molecules if m[0] not in kept], AT_ONCE)):
        kept.update(_compared(judged, part))
        kept.store()
        print(f"{judged.name}: {len(kept)} of {len(molecules)} molecules of QM9", flush=True)
    out = []
    for key, _, reference in molecules:
        *plain, predicted = kept[key]
        out.append(Compared(*plain, None if predicted is None else np.array(predicted), reference))
    return out


def _compared(judged: Judged, part: Sequence[tuple[str, Atoms, np.ndarray]]) -> dict[str, list]:
    """RMSD, graph, convergence and frequencies (None where one of these fails) of molecules by key."""
    starts = [atoms for _, atoms, _ in part]
    ends = judged.many.relax(starts, fmax=FMAX, steps=STEPS)
    again = [k for k, end in enumerate(ends) if not _fine(starts[k], end)]
    for k, end in zip(again, judged.single.relax([starts[k] for k in again], fmax=FMAX, steps=STEPS), strict=True):
        ends[k] = end  # with smaller steps than those of the batched optimizer
    out: dict[str, list] = {}
    minima: dict[str, Atoms] = {}
    for (key, atoms, _), end in zip(part, ends, strict=True):
        kept = end is not None and connectivity(atoms) == connectivity(end.atoms)
        rmsd = None if end is None else heavy_rmsd(atoms, end.atoms)
        out[key] = [rmsd, kept, end is not None and end.converged, None]
        if _fine(atoms, end):
            minima[key] = end.atoms
    for (key, minimum), hessian in zip(minima.items(), hessians(list(minima.values()), judged.many), strict=True):
        out[key][-1] = None if hessian is None else frequencies(minimum, hessian).round(3).tolist()
    return out


def _fine(start: Atoms, end: Relaxed | None) -> bool:
    return end is not None and end.converged and connectivity(start) == connectivity(end.atoms)


def factor(predicted: np.ndarray, reference: np.ndarray) -> float:
    """The factor of `predicted` that fits `reference` in the sense of least squares."""
    return float(predicted @ reference / (predicted @ predicted))


def rows(name: str, compared: list[Compared], targets: dict[str, str]) -> list[Row]:
    """What is reported; fractions are of all molecules, RMSD and frequencies of those that have them."""
    n = len(compared)
    rmsd = np.array([c.rmsd for c in compared if c.rmsd is not None])
    both = [(c.predicted, c.reference) for c in compared if c.predicted is not None]
    both = [(p, r) for p, r in both if len(p) == len(r)]
    out = [
        Row(f"{name}: QM9 heavy-atom RMSD, median", _or_none(np.median, rmsd), "Angstrom", len(rmsd),
            targets.get("rmsd")),
        Row(f"{name}: QM9 heavy-atom RMSD, 90 %", _or_none(lambda x: np.quantile(x, 0.9), rmsd), "Angstrom", len(rmsd)),
        Row(f"{name}: QM9 bond graph kept", sum(c.graph_kept for c in compared) / n, "fraction", n),
        Row(f"{name}: QM9 relaxations converged", sum(c.converged for c in compared) / n, "fraction", n),
        Row(f"{name}: QM9 molecules with frequencies", len(both) / n, "fraction", n),
    ]  # fmt: skip
    if both:
        predicted, reference = (np.concatenate(part) for part in zip(*both, strict=True))
        scale = factor(predicted, TO_FUNDAMENTALS * reference)
        scaled = np.abs(scale * predicted - TO_FUNDAMENTALS * reference).mean()
        imaginary = sum(int((p < IMAGINARY).sum()) for p, _ in both)
        out += [
            Row(f"{name}: QM9 frequencies MAE, harmonic, unscaled", float(np.abs(predicted - reference).mean()), "1/cm",
                len(both)),
            Row(f"{name}: QM9 frequencies MAE, scaled", float(scaled), "1/cm", len(both), targets.get("frequencies")),
            Row(f"{name}: QM9 frequencies, factor of the method", scale, "", len(both)),
            Row(f"{name}: QM9 imaginary frequencies below -20 1/cm", imaginary, "modes", len(both)),
        ]  # fmt: skip
    return out


def _or_none(function, values: np.ndarray) -> float | None:
    return float(function(values)) if len(values) else None

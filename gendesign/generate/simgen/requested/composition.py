"""Sizes, formulas, limits by element, forbidden patterns, fragments."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from ase.data import chemical_symbols

from gendesign.generate.simgen.fragments import displacement
from gendesign.generate.simgen.problem import Problem
from gendesign.generate.simgen.requested.findings import heavy, met_unless
from gendesign.generate.simgen.requirements import Requirements
from gendesign.structure.conditions import Condition, Finding, Subject
from gendesign.structure.formula import parse_formula


def conditions(problem: Problem) -> list[Condition]:
    """A check for each of these that was asked for."""
    checks = []
    if problem.size_requested:
        low, high = (n + problem.n_fixed for n in problem.sizes)
        checks.append(Condition("heavy_atoms", "heavy atoms as asked for", partial(_size, low, high)))
    if problem.formula is not None:
        exact = partial(_formula, parse_formula(problem.formula), problem.formula)
        checks.append(Condition("formula_kept", "formula as asked for", exact))
    if problem.counts is not None:
        fixed = [] if problem.fragments is None else [chemical_symbols[z] for z in problem.fragments.fixed.numbers]
        limits = problem.limits
        ranges = list(zip(problem.elements, limits.low.tolist(), limits.high.tolist(), strict=True))
        checks.append(Condition("counts", "counts of elements as asked for", partial(_counts, ranges, fixed)))
    rules = replace(problem.requirements, host=None, ring=None)
    if rules.forbidden:
        allowed = partial(_allowed, replace(rules, fixed=None))
        checks.append(Condition("forbidden", "without forbidden substructures", allowed, needs_molecule=True))
    if rules.fixed is not None:
        intact = partial(_intact, replace(rules, forbidden=()))
        checks.append(Condition("fragments", "fragments intact and in place", intact, "Angstrom", needs_molecule=True))
    return checks


def _size(low: int, high: int, subject: Subject) -> Finding:
    n = len(heavy(subject.atoms))
    wanted = str(low) if low == high else f"{low} to {high}"
    return met_unless("" if low <= n <= high else f"{n} heavy atoms, {wanted} were asked for", float(n))


def _formula(wanted: dict[str, int], text: str, subject: Subject) -> Finding:
    formula = subject.atoms.get_chemical_formula("hill")
    return met_unless("" if subject.atoms.symbols.formula.count() == wanted else f"{formula}, not {text}", formula)


def _counts(ranges: Sequence[tuple[str, int, int]], fixed: Sequence[str], subject: Subject) -> Finding:
    """Value: the number of new atoms by element, those of the fragments (`fixed` symbols) left out."""
    symbols = list(subject.atoms.symbols)
    new = {symbol: symbols.count(symbol) - fixed.count(symbol) for symbol, _, _ in ranges}
    wrong = [f"{new[s]} {s}" for s, low, high in ranges if not low <= new[s] <= high]
    reason = f"{', '.join(wrong)} beyond the limits" if wrong else ""
    return met_unless(reason, " ".join(f"{s}{n}" for s, n in new.items()))


def _allowed(rules: Requirements, subject: Subject) -> Finding:
    return met_unless(rules.broken_by(subject.atoms, subject.mol))


def _intact(rules: Requirements, subject: Subject) -> Finding:
    """Value: how far the fragments have moved."""
    complete = len(heavy(subject.atoms)) >= len(rules.fixed)
    shift = displacement(subject.atoms, rules.fixed) if complete else None
    return met_unless(rules.broken_by(subject.atoms, subject.mol), shift)

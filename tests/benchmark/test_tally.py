"""Numbers of the molecules' table from verdicts made by hand."""

import pytest

from gendesign.benchmark import tally as measures
from gendesign.benchmark.molecules import accessibility_rows, composition_rows, score_rows
from gendesign.benchmark.tally import Tally
from gendesign.structure.types import Verdict

FORMULAS = ("C9H20", "C8H9N", "C2H6O", "CH3", None)  # two large valid molecules, a small one, a radical, nothing
STRAINS = (1.0, None, 3.0)


def made() -> Tally:
    verdicts = []
    for i, formula in enumerate(FORMULAS):
        valid = i < 3
        verdicts += [
            Verdict(i, "formula", None, formula),
            Verdict(i, "valid", valid, reason="" if valid else "a radical"),
            Verdict(i, "posebusters", i == 0),
            Verdict(i, "unique", i != 1 if valid else None),
            Verdict(i, "novel", i == 0 if valid else None),
            Verdict(i, "strain_gfn2", None, STRAINS[i] if valid else None, "kcal/mol"),
            Verdict(i, "ring_sizes", None, ("3 6", "", "5")[i] if valid else None),
            Verdict(i, "edm_atoms", None, 1.0 if valid else 0.0),
            Verdict(i, "sa_score", None, (2.0, 3.0, 5.0)[i] if valid else None),
        ]
    return Tally.of(verdicts, 6)  # the sixth attempt crashed: no verdict at all


def test_shares_count_every_attempt():
    tally = made()
    assert measures.per_attempt("valid")(tally) == (0.5, 6)
    assert measures.per_attempt("posebusters")(tally) == (1 / 6, 6)
    assert measures.mean_over_attempts("edm_atoms")(tally) == (0.5, 6)
    assert measures.crashes(tally) == (1, 6)


def test_shares_of_valid_molecules():
    tally = made()
    assert measures.per_valid("unique")(tally) == (2 / 3, 3)
    assert measures.per_valid("novel", 9, 12)(tally) == (0.5, 2)
    assert measures.small_rings(tally) == (1 / 3, 3)


def test_a_strain_that_failed_counts_as_infinite():
    assert measures.median("strain_gfn2")(made()) == (3.0, 3)
    assert measures.median("strain_pm6")(made()) == (None, 3)


def test_checks_that_did_not_run_are_not_measured():
    assert measures.per_attempt("converged")(made()) == (None, 6)
    assert measures.per_valid("novel_stereo")(made()) == (None, 3)
    rows = {row.name: row for row in score_rows(made(), made(), made())}
    assert rows["relaxed to convergence"].value is None
    assert rows["median strain GFN2-xTB"].met is True and rows["crashes"].met is False


def test_composition_counts_heavy_atoms_of_all_candidates():
    shares, atoms = measures.shares(made(), ("C", "N", "O"))
    assert atoms == 22 and shares == pytest.approx({"C": 20 / 22, "N": 1 / 22, "O": 1 / 22})
    assert measures.variation(shares, {"C": 1.0, "N": 0.0, "O": 0.0}) == pytest.approx(2 / 22)
    rows = composition_rows(made(), made(), made(), ("C", "N", "O"))
    assert rows[0].value == 0 and rows[0].met and rows[1].name.endswith(", references")


def test_every_score_has_the_references_own_beside_it():
    rows = score_rows(made(), made(), made())
    assert [row.name for row in rows[1::2]] == [f"{row.name}, references" for row in rows[::2]]
    assert all(row.target is None for row in rows[1::2])
    median, known, apart, _ = accessibility_rows(made(), made(), made())
    assert (median.value, known.value, apart.value, apart.met) == (3.0, 3.0, 0.0, True)

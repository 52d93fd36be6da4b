"""Verdicts of screening against molecules whose answers are known."""

import gzip
import os
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.optimize import BFGS
from toy import ToyPotential

from gendesign.errors import UserError
from gendesign.potential.reference import gfn2_calculator
from gendesign.run.table import readable
from gendesign.screening import (
    CHECKS,
    Reference,
    Screening,
    Workers,
    energetics,
    screen,
    screen_each,
    screen_set,
    summarise,
)
from gendesign.screening.energetics import load_judge, potential_strain
from gendesign.screening.method import ScreeningContext
from gendesign.screening.uniqueness import novelty
from gendesign.screening.workers import Failure, late
from gendesign.structure.files import read_structures
from gendesign.structure.graph import Batch
from gendesign.structure.types import Candidate, Verdict

QUICK = tuple(check for check in CHECKS if check not in ("posebusters", "strain"))
quick = partial(Screening, checks=QUICK)


def by_check(verdicts, index=0):
    return {v.check: v for v in verdicts if v.candidate == index}


def test_good_and_bad_candidates_side_by_side():
    radical = molecule("CH3")
    candidates = [
        Candidate(molecule("CH3CH2OH"), 0, info={"converged": True, "fmax": 0.04}),
        Candidate(Atoms(), 1, failure="the sampler lost all atoms"),
        Candidate(Atoms(), 2),
        Candidate(radical, 3),
        Candidate(molecule("CH4"), 4, info={"charge": 1}),
        Candidate(Atoms("H2", [[0, 0, 0], [0, 0, np.nan]]), 5),
        Candidate(Atoms("H2", [[0, 0, 0], [0, 0, 0.1]]), 6),
        Candidate(molecule("CH3CH2OH"), 7, info={"converged": False, "fmax": 0.3}),
    ]
    verdicts = screen(candidates, settings=quick(), reference=Reference.of(["CO"], ["CCC"]))
    rows = {i: by_check(verdicts, i) for i in range(8)}
    assert [rows[i]["valid"].passed for i in range(8)] == [True, False, False, False, False, False, False, True]
    assert rows[1]["valid"].reason == "the sampler lost all atoms"
    assert "charged" in rows[4]["valid"].reason and "odd number" in rows[3]["valid"].reason
    assert rows[0]["edm_molecule"].passed and rows[3]["edm_atoms"].value == 3 / 4
    assert not rows[6]["distances"].passed and rows[0]["distances"].passed
    assert [rows[i]["converged"].passed for i in (0, 2, 7)] == [True, None, False]
    assert rows[0]["unique"].passed and not rows[7]["unique"].passed and rows[1]["unique"].passed is None
    assert rows[0]["novel"].passed and rows[0]["diversity"].value == pytest.approx(0)
    assert rows[0]["smiles"].value == "CCO" and rows[0]["formula"].value == "C2H6O"
    table = {row.name: row for row in summarise(verdicts, len(candidates))}
    assert table["valid"][1:4] == (2 / 8, "fraction", 8)
    assert table["unique among valid"][1:4] == (1 / 2, "fraction", 2)


def test_novelty_with_and_without_stereo():
    ethanol = molecule("CH3CH2OH")
    reference = Reference.of(["OCC"], ["C"])
    rows = by_check(screen([Candidate(ethanol, 0)], settings=quick(), reference=reference))
    assert not rows["novel"].passed and not rows["novel_references"].passed and rows["novel_training"].passed
    rows = by_check(screen([Candidate(ethanol, 0)], settings=quick(), reference=Reference.of([], ["C(O)C"])))
    assert not rows["novel"].passed and not rows["novel_training"].passed and not rows["novel_stereo"].passed
    keys = [Candidate(Atoms(), 0)]
    assert by_check(screen_set(keys, [], settings=quick()))["novel"].reason == "no reference given"
    with pytest.raises(UserError, match="not a SMILES"):
        Reference.of(["C1CC"])


def test_stereoisomers_are_one_molecule_but_two_with_stereo():
    reference = Reference.of([], ["C[C@H](N)O"])
    found = novelty({0: "CC(N)O"}, {0: "C[C@@H](N)O"}, reference)
    passed = {v.check: v.passed for v in found}
    assert not passed["novel"] and passed["novel_stereo"]


def test_training_molecules_are_read_from_a_file(tmp_path):
    path = tmp_path / "training.smi.gz"
    with gzip.open(path, "wt") as handle:
        handle.write("OCC ethanol\nC[C@H](N)O\n\n")
    reference = Reference.read(path, ["CO"])
    assert reference.molecules == {"CCO", "CC(N)O"} and reference.with_stereo == {"CCO", "C[C@H](N)O"}
    with pytest.raises(UserError, match="cannot read"):
        Reference.read(tmp_path / "missing.smi")


def test_periodic_candidates_get_generic_checks_only():
    rows = by_check(screen([Candidate(bulk("Si"), 0, info={"converged": True})], settings=Screening(workers=0)))
    assert rows["distances"].passed and rows["distances"].value == pytest.approx(2.352 / 2.22, abs=0.01)
    assert rows["converged"].passed
    for check in ("valid", "edm_molecule", "posebusters", "strain_gfn2"):
        assert rows[check].passed is None and rows[check].reason == "periodic"


def test_screening_one_by_one_gives_the_same_verdicts():
    candidates = [Candidate(molecule(name), i) for i, name in enumerate(("CH4", "C6H6", "CH3NO2", "CH3"))]
    together = screen_each(candidates, settings=quick())
    assert together == [v for c in candidates for v in screen_each([c], settings=quick())]
    assert screen_each([], settings=quick()) == [] and screen([], settings=quick()) == []
    assert summarise([], 0) == []


def test_posebusters_in_a_worker_names_what_fails():
    flat = molecule("C6H6")
    bent = flat.copy()
    bent.positions[0, 2] += 0.9  # a carbon and no hydrogen: out of plane, bonds stretched
    settings = Screening(checks=("validity", "posebusters"), posebusters="mol_fast", workers=1)
    verdicts = screen([Candidate(flat, 0), Candidate(bent, 1), Candidate(molecule("CH3"), 2)], settings=settings)
    rows = [by_check(verdicts, i)["posebusters"] for i in range(3)]
    assert rows[0].passed and not rows[0].reason
    assert not rows[1].passed and rows[1].reason
    assert not rows[2].passed and rows[2].reason.startswith("not valid")


def test_strain_of_a_minimum_is_zero_and_grows_when_bent():
    ethanol = molecule("CH3CH2OH")
    ethanol.calc = gfn2_calculator(ethanol)
    BFGS(ethanol, logfile=None).run(fmax=0.005)
    bent = ethanol.copy()
    bent.rattle(0.05, seed=2)
    settings = Screening(checks=("validity", "strain"), strain_methods=("gfn2", "pm6"), workers=0)
    verdicts = screen([Candidate(Atoms(ethanol.numbers, ethanol.positions), 0), Candidate(bent, 1)], settings=settings)
    rows, worse = by_check(verdicts, 0), by_check(verdicts, 1)
    assert abs(rows["strain_gfn2"].value) < 0.02 and rows["rmsd_gfn2"].value < 0.01 and not rows["strain_gfn2"].reason
    assert 0 < rows["strain_pm6"].value < 10 and rows["strain_pm6"].unit == "kcal/mol"
    assert worse["strain_gfn2"].value > 1 and worse["rmsd_gfn2"].value > 0.01


def test_strain_says_when_it_is_not_one():
    stretched = molecule("CH3CH2OH")
    stretched.rattle(0.1, seed=1)
    settings = Screening(checks=("strain",), strain_methods=("gfn2",), max_steps=1, workers=0)
    rows = by_check(screen([Candidate(stretched, 0)], settings=settings))
    assert rows["strain_gfn2"].value > 0 and "not converged in 1 steps" in rows["strain_gfn2"].reason
    without = Screening(checks=("strain",), strain_methods=("potential",))
    row = by_check(screen([Candidate(molecule("CH4"), 0)], settings=without))["strain_potential"]
    assert row.value is None and row.reason == "no potential given"


def test_strain_under_the_potential_against_its_formula():
    """A Morse curve of depth 1 eV, exponent 2/Angstrom and minimum 1.5 Angstrom, started at 1.7."""

    candidates = [Candidate(Atoms(kind, [[0, 0, 0], [0, 0, 1.7]]), i) for i, kind in enumerate(("N2", "S2", "NO"))]
    found = potential_strain(candidates, ToyPotential(), 0.001, 200)
    expected = (1 - np.exp(-0.4)) ** 2 * 23.0605
    assert [found[i].energy for i in (0, 2)] == pytest.approx([expected] * 2, abs=0.01)
    assert found[0].rmsd == pytest.approx(0.1, abs=1e-3) and found[0].reason == ""
    assert found[1].energy is None and "elements unknown" in found[1].reason


def test_a_method_that_fails_cannot_flatter_the_median():
    verdicts = [Verdict(i, "smiles", None, "C" * (i + 1)) for i in range(3)]
    for i, value in enumerate((1.0, None, None)):
        verdicts += [Verdict(i, "strain_gfn2", None, value, "kcal/mol", "" if value else "failed")]
        verdicts += [Verdict(i, "rmsd_gfn2", None, value, "Angstrom")]
    assert {r.name: r.value for r in summarise(verdicts, 3)}["median strain gfn2"] == np.inf


def test_workers_stop_what_takes_too_long_and_survive_what_dies():
    with Workers(1, time_limit=1.0) as workers:
        start = time.monotonic()
        answers = workers.map([(time.sleep, (60,)), (os._exit, (3,)), (int, ("x",)), (int, ("7",))])
        assert "time limit of 1 s" in answers[0].reason and "died" in answers[1].reason
        assert answers[2].reason.startswith("ValueError") and answers[3] == 7
        assert all(isinstance(answer, Failure) for answer in answers[:3])
        assert time.monotonic() - start < 50


@pytest.mark.parametrize(
    "wrong",
    [{"checks": ("vallidity",)}, {"posebusters": "dock"}, {"strain_methods": ("dft",)}, {"workers": -1}, {"fmax": 0}],
)
def test_wrong_settings_are_refused_in_one_line(wrong):
    with pytest.raises(UserError) as caught:
        Screening(**wrong)
    assert "\n" not in str(caught.value) and str(next(iter(wrong))) in str(caught.value)


def test_summary_counts_elements_and_small_rings():
    candidates = [Candidate(molecule(name), i) for i, name in enumerate(("cyclobutane", "C6H6", "CH3OH"))]
    table = {row.name: row for row in summarise(screen(candidates, settings=quick()), 3)}
    assert table["three- and four-membered among rings"][1:4] == (1 / 2, "fraction", 2)
    assert table["element C"].value == 11 / 12 and table["element O"].value == 1 / 12
    assert table["molecules with such rings"].value == pytest.approx(1 / 3)
    assert 1 <= table["synthetic accessibility"].value <= 10


def table_of(verdicts, n):
    return {row.name: row for row in summarise(verdicts, n)}


def test_what_does_not_apply_is_no_failure():
    boxed = molecule("CH3CH2OH", cell=[15, 15, 15], pbc=True)
    verdicts = screen([Candidate(boxed, 0)], settings=quick())
    for name in ("valid", "EDM molecule stable", "EDM atoms stable"):
        row = table_of(verdicts, 1)[name]
        assert (row.value, row.n) == (None, 0) and row.reason == "not applicable: 1 of 1 structures is periodic"
    assert {v.reason for v in verdicts if v.check in ("unique", "novel", "diversity")} <= {
        "periodic",
        "no reference given",
    }
    mixed = [Candidate(boxed, 0), Candidate(molecule("CH4"), 1), Candidate(Atoms(), 2, failure="lost all atoms")]
    verdicts = screen(mixed, settings=Screening(checks=("validity", "stability"), workers=0))
    row = table_of(verdicts, 3)["valid"]
    assert (row.value, row.n) == (1 / 2, 2) and row.reason == "not applicable: 1 of 3 structures is periodic"
    assert table_of(verdicts, 3)["EDM atoms stable"].value == 1 / 2
    failed = screen([Candidate(Atoms(), 0, failure="lost all atoms")], settings=quick())
    assert table_of(failed, 1)["valid"][1:] == (0.0, "fraction", 1, "")


def test_the_table_says_what_did_not_apply():
    share, periodic = {"unit": "fraction", "n": 2}, "not applicable: 1 of 1 structures is periodic"
    rows = [
        {"name": "valid", "value": None, "reason": periodic, **share},
        {"name": "PoseBusters", "value": 0.5, "reason": "not measured: 1 of 3 structures", **share},
        {"name": "diversity", "value": None, **share},
    ]
    shown = dict(readable(rows, {"candidates": 3, "seconds": {}}))
    assert shown["valid"] == "not applicable: 1 of 1 structures is periodic"
    assert shown["PoseBusters"] == "50 % of 2   (not measured: 1 of 3 structures)"
    assert shown["diversity"] == "not measured"


def test_running_out_of_time_is_no_failure():
    """Workers that have no time for anything; that PoseBusters or a method raises is a failure as before."""

    class Late(Workers):
        def map(self, tasks, owners=None):
            assert owners == [0, 0]  # PoseBusters and strain of one candidate share its time
            return [late(self.time_limit) for _ in tasks]

    settings = Screening(checks=("validity", "posebusters", "strain"), strain_methods=("gfn2",))
    found = screen_each([Candidate(molecule("C6H6"), 0)], settings=settings, workers=Late(1, 1.0))
    verdicts = by_check(found)
    said = "not measured: stopped after the time limit of 1 s"
    assert verdicts["posebusters"].passed is None and verdicts["posebusters"].reason == said
    assert verdicts["strain_gfn2"].value is None and verdicts["strain_gfn2"].reason == said
    rows = table_of(found, 1)
    why = "not measured: 1 of 1 structures was stopped after the time limit of 1 s"
    for name in ("PoseBusters", "median strain gfn2", "relaxed to its own minimum gfn2"):
        assert (rows[name].value, rows[name].n, rows[name].reason) == (None, 0, why)


def test_strains_that_ran_out_of_time_do_not_enter_the_median():
    verdicts = [Verdict(i, "smiles", None, "C" * (i + 1)) for i in range(3)]
    for i, value in enumerate((1.0, 3.0, None)):
        reason = "" if value else "not measured: stopped after the time limit of 1 s"
        verdicts += [Verdict(i, "strain_pm6", None, value, "kcal/mol", reason)]
        verdicts += [Verdict(i, "rmsd_pm6", None, value, "Angstrom", reason)]
    row = table_of(verdicts, 3)["median strain pm6"]
    assert (row.value, row.n) == (2.0, 2) and "1 of 3 structures was stopped" in row.reason


def test_strain_under_the_potential_keeps_the_time_limit():
    """The small molecule is measured, the large one (over 64 atoms) has no time left after its first step."""

    class Slow(ToyPotential):
        def evaluate(self, structures, *, stress=False):
            if isinstance(structures, Batch) and len(structures.positions) > 64:
                time.sleep(2.2)
            return super().evaluate(structures, stress=stress)

    line = Atoms("N70", [[0, 0, 1.7 * k] for k in range(70)])
    found = potential_strain(
        [Candidate(line, 0), Candidate(Atoms("N2", [[0, 0, 0], [0, 0, 1.7]]), 1)], Slow(), 1e-3, 200, 2.0
    )
    assert found[0].energy is None and found[0].reason == "not measured: stopped after the time limit of 2 s"
    assert found[1].energy is not None


def test_tasks_of_one_owner_share_the_time_limit():
    with Workers(1, time_limit=1.5) as workers:
        start = time.monotonic()
        answers = workers.map([(time.sleep, (60,)), (int, ("1",)), (int, ("2",))], owners=["a", "a", "b"])
    assert answers[0].timed_out and answers[1] == answers[0] and answers[2] == 2
    assert time.monotonic() - start < 50


def test_zwitterions_are_accepted_when_asked_for(tmp_path):
    betaine = read_structures([Path(__file__).parents[1] / "data" / "troubles" / "mesoionic.sdf"])[1]
    refused = by_check(screen([betaine], settings=quick()), 1)["valid"]
    assert not refused.passed and refused.reason.startswith("formal charges at N1(+1), O")
    assert refused.reason.endswith("screening.zwitterions=true accepts it")
    settings = Screening(
        checks=("validity", "posebusters", "novelty"), posebusters="mol_fast", workers=0, zwitterions=True
    )
    taken = by_check(screen([betaine], settings=settings, reference=Reference.of(["C"], ["C"])), 1)
    assert taken["valid"].passed and taken["posebusters"].passed and taken["novel"].passed
    assert taken["smiles"].value == "C[N+](C)(C)CC(=O)[O-]"


def test_edm_says_what_it_measures():
    row = by_check(screen([Candidate(molecule("C6H6"), 0)], settings=quick()))["edm_molecule"]
    assert row.passed is False and "knows no aromatic bonds" in row.reason
    row = by_check(screen([Candidate(molecule("SiH4"), 0)], settings=quick()))["edm_molecule"]
    assert row.passed is None and row.reason.endswith("has no Si")


class Judge(ToyPotential):
    """A judge that is always installed: the toy potential without oxygen."""

    name = "ani1ccx"

    def __init__(self):
        super().__init__(elements=("H", "C", "N"))


def test_strain_under_a_judge(monkeypatch):
    """Its strains are those of the potential by itself; elements that it lacks are left out, not failed."""
    monkeypatch.setattr(energetics, "load_judge", lambda name: Judge())
    settings = Screening(checks=("validity", "strain"), strain_methods=("potential", "ani1ccx"), workers=0)
    candidates = [Candidate(molecule(name), i) for i, name in enumerate(("CH4", "CH3CH2OH", "CH3"))]
    verdicts = screen(candidates, potential=Judge(), settings=settings)
    rows = [by_check(verdicts, i) for i in range(3)]
    assert rows[0]["strain_ani1ccx"].value == rows[0]["strain_potential"].value is not None
    assert rows[0]["rmsd_ani1ccx"].value == rows[0]["rmsd_potential"].value
    skipped = "not measured: of elements unknown to ani1ccx, which knows H C N"
    assert rows[1]["strain_ani1ccx"].value is None and rows[1]["strain_ani1ccx"].reason == skipped
    assert rows[2]["strain_ani1ccx"].reason.startswith("not valid")
    row = table_of(verdicts, 3)["median strain ani1ccx"]
    why = "not measured: 1 of 2 structures was of elements unknown to ani1ccx, which knows H C N"
    assert (row.value, row.n, row.reason) == (rows[0]["strain_ani1ccx"].value, 1, why)


def test_a_judge_that_is_not_installed_is_named_at_once(monkeypatch):
    def refuse(name, **options):
        raise UserError(f"potential {name} is not installed; install it: gendesign install {name}")

    monkeypatch.setattr("gendesign.potential.zoo.load_potential", refuse)
    load_judge.cache_clear()
    settings = Screening(strain_methods=("ani1ccx",), workers=0)
    with pytest.raises(UserError, match=r"strain_methods holds ani1ccx.*gendesign install ani1ccx") as caught:
        settings.open(ScreeningContext(None, ToyPotential(), None))
    assert "\n" not in str(caught.value)
    assert "ani1ccx" not in Screening().strain_methods

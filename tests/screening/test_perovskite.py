"""Checks, ranking and files of relaxed perovskites."""

import csv
import io
from typing import ClassVar

import numpy as np
import pytest

from gendesign.errors import UserError
from gendesign.generate.perovskite.build import build_start
from gendesign.generate.perovskite.compound import compose
from gendesign.generate.perovskite.settings import Composition, RandomStarts
from gendesign.screening.method import ScreeningContext
from gendesign.screening.perovskite import PerovskiteScreening
from gendesign.structure.cells import space_group
from gendesign.structure.crystals import UNRELAXED, duplicates
from gendesign.structure.types import Candidate, Verdict


def candidate(index: int, energy: float, seed: int = 0, failure: str | None = None, **options) -> Candidate:
    atoms = build_start(compose(Composition("C[NH3+]")), RandomStarts(**{"cells": ("1",), **options}), seed, 0).atoms
    info = {**atoms.info, "energy": energy, "converged": True, "fmax": 0.005}
    atoms.info = {}
    return Candidate(atoms, index, failure=failure, info=info)


def judged(candidates: list[Candidate]) -> tuple[list[Verdict], dict]:
    settings = PerovskiteScreening(kept=1)
    verdicts = [Verdict(c.index, "finished", c.failure is None, reason=c.failure or "") for c in candidates]
    verdicts += settings.screen_each(candidates)
    verdicts += settings.screen_set(candidates, verdicts)
    return verdicts, {(v.candidate, v.check): v for v in verdicts}


def test_intact_ones_are_ranked_and_broken_ones_never():
    best, worse, copy, broken = (
        candidate(i, e, s) for i, e, s in ((0, -10.0, 0), (1, -9.0, 1), (2, -9.999, 0), (3, -50.0, 2))
    )
    broken.atoms.positions[-1] += [0, 0, 1.5]  # a hydrogen has left
    stopped = candidate(4, -1.0, failure="stopped at rung 1: energy 1.000 eV per formula unit above the best")
    everyone = [best, worse, copy, broken, stopped]
    verdicts, found = judged(everyone)
    assert [found[i, "valid"].passed for i in range(5)] == [True, True, True, False, False]
    assert "bond" in found[3, "cations"].reason
    assert found[0, "rank"].value == 1 and found[1, "rank"].value == 2
    assert (2, "rank") not in found and "same as candidate 0" in found[2, "unique"].reason
    assert (3, "rank") not in found and (4, "rank") not in found
    assert found[1, "energy_above_best"].value == pytest.approx(1.0)
    settings = PerovskiteScreening(kept=1)
    files = settings.files(everyone, verdicts)
    rows = list(csv.DictReader(io.StringIO(files["ranked.csv"])))
    assert [row["candidate"] for row in rows] == ["0", "1"] and set(files) == {"ranked.csv", "rank001.cif"}
    assert "_cell_length_a" in files["rank001.cif"]
    _, low = judged([candidate(0, -3521.576416, 0)])
    (row,) = csv.DictReader(io.StringIO(settings.files([best], list(low.values()))["ranked.csv"]))
    assert row["energy_per_formula"] == "-3521.5764"
    table = {row["name"]: row["value"] for row in settings.summarise(verdicts, 5)}
    assert table["stopped early, others were lower in energy"] == 0.2
    assert table["valid"] == 0.6 and table["unique"] == 0.4
    assert table["best: energy per formula"] == -10.0


def test_energies_relative_to_other_crystals():
    everyone = [candidate(0, -10.0, 0), candidate(1, -9.0, 1)]
    asked = []

    def other(name, energy):
        return lambda starts: asked.append((name, starts)) or energy

    settings = PerovskiteScreening(decomposition=3, competing_phases=5)
    verdicts = settings.screen_each(everyone)
    comparisons = {"decomposition": other("decomposition", -9.5), "competing_phases": other("competing_phases", -10.25)}
    ranked = settings.screen_set(everyone, verdicts, comparisons=comparisons)
    found = {(v.candidate, v.check): v.value for v in ranked}
    assert asked == [("decomposition", 3), ("competing_phases", 5)]
    assert [found[i, "decomposition_energy"] for i in (0, 1)] == pytest.approx([-0.5, 0.5])
    assert [found[i, "energy_above_competing_phases"] for i in (0, 1)] == pytest.approx([0.25, 1.25])
    verdicts += ranked
    rows = list(csv.DictReader(io.StringIO(settings.files(everyone, verdicts)["ranked.csv"])))
    assert [float(row["energy_above_competing_phases"]) for row in rows] == [0.25, 1.25]
    assert [float(row["decomposition_energy"]) for row in rows] == [-0.5, 0.5]
    table = {row["name"]: (row["value"], row["unit"]) for row in settings.summarise(verdicts, 2)}
    assert table["best: energy above competing phases"] == (0.25, "eV per formula unit")


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        (PerovskiteScreening(decomposition=0, competing_phases=0), {}),  # 0 starts: not asked for
        (
            PerovskiteScreening(decomposition=0, competing_phases=2),
            {"competing_phases": lambda starts: None},
        ),  # none found
        (PerovskiteScreening(decomposition=0, competing_phases=2), {}),  # a generator without any
    ],
)
def test_what_was_not_found_is_left_out(settings, found):
    everyone = [candidate(0, -10.0)]
    never = {"decomposition": lambda starts: pytest.fail("not asked for")}
    verdicts = settings.screen_set(everyone, settings.screen_each(everyone), comparisons={**never, **found})
    assert {v.check for v in verdicts} == {"unique", "rank", "energy_above_best"}


def test_each_candidate_is_compared_without_the_others(tmp_path):
    asked = []

    class Stand:
        comparisons: ClassVar = {"decomposition": lambda starts, spread: asked.append(starts) or -9.0}

    settings = PerovskiteScreening(decomposition=3, competing_phases=0)
    for _ in range(2):  # the second session finds the number of the first
        session = settings.open(ScreeningContext(Stand(), None, tmp_path))
        verdicts = session.screen_each([candidate(0, -10.0), candidate(7, -8.5)])
        compared = {v.candidate: v.value for v in session.compare_each(verdicts)}
        assert compared == {0: pytest.approx(-1.0), 7: pytest.approx(0.5)}
    assert asked == [3]
    assert session.compare_each([]) == []


def test_measurements():
    flat = candidate(0, -10.0, tilt=0.0, distortion=0.0)
    _, found = judged([flat])
    assert found[0, "tilt"].value == pytest.approx(0, abs=1e-6)
    assert found[0, "bond_length_distortion"].value == pytest.approx(0, abs=1e-12)
    height = np.linalg.det(flat.atoms.cell.array) / 6.4**2
    assert found[0, "layer_spacing"].value == pytest.approx(height)
    grams = flat.atoms.get_masses().sum() / flat.atoms.get_volume() * 1.66053907
    assert found[0, "density"].value == pytest.approx(grams, rel=1e-6)


def test_space_group_of_the_cubic_perovskite():
    atoms = build_start(
        compose(Composition("Cs", thickness="3d")), RandomStarts(cells=("1",), tilt=0, distortion=0), 0, 0
    ).atoms
    assert space_group(atoms, 0.1) == "Pm-3m (221)"


def test_a_doubled_cell_is_a_copy():
    atoms = candidate(0, -10.0, distortion=0.0).atoms
    other = atoms.copy()
    other.positions += [1.0, 2.0, 3.0]
    other.wrap()
    assert duplicates([atoms, other, atoms * (2, 1, 1)], [-10.0, -9.9999, -9.9998], [1, 1, 2]) == [None, 0, 0]


def test_before_the_end_of_a_relaxation_only_the_very_same_is_a_copy():
    atoms = candidate(0, -10.0, distortion=0.0).atoms
    near, turned = atoms.copy(), atoms.copy()
    near.positions += np.random.default_rng(0).normal(0, 0.02, near.positions.shape)
    turned.positions += np.random.default_rng(1).normal(0, 0.25, turned.positions.shape)
    crowd, energies = [atoms, near, turned, atoms], [-10.0, -9.9995, -9.999, -9.99]
    assert duplicates(crowd, energies, [1] * 4) == [None, 0, 0, 0]
    assert duplicates(crowd, energies, [1] * 4, UNRELAXED) == [None, 0, None, None]


def test_other_structures_get_a_reason():
    stranger = candidate(0, -1.0)
    stranger = Candidate(stranger.atoms, 0)
    _, found = judged([stranger])
    assert not found[0, "valid"].passed and "generator=perovskite" in found[0, "valid"].reason


@pytest.mark.parametrize("wrong", [{"symprec": 0}, {"kept": -1}, {"competing_phases": -1}, {"window": -0.1}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(UserError) as caught:
        PerovskiteScreening(**wrong)
    assert "\n" not in str(caught.value) and next(iter(wrong)) in str(caught.value)

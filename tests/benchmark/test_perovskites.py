"""gendesign benchmark perovskites: its pure parts on cases made by hand, and the whole command on a toy potential."""

import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import make_supercell
from ionic import Ionic
from omegaconf import OmegaConf
from scipy.spatial.transform import Rotation

from gendesign import cli
from gendesign.benchmark import lattices, perovskites, relaxing
from gendesign.benchmark.lattices import PHASES, Lattice, in_plane, lattice_rows
from gendesign.benchmark.recovery import (
    LOWER,
    MATCHED,
    MISSED,
    TIE,
    UNCONFIRMED,
    UNKNOWN,
    Recovery,
    compare,
    read_references,
    references_for,
    share_rows,
)
from gendesign.benchmark.search import Material, Metered, SearchResult, fitting_cell
from gendesign.errors import UserError
from gendesign.generate.perovskite.build import build_start
from gendesign.generate.perovskite.compound import compose
from gendesign.generate.perovskite.settings import Composition, RandomStarts
from gendesign.potential.adapters import AseCalculator
from gendesign.relaxation import Relaxation, relax
from gendesign.run.settings import resolve
from gendesign.structure.files import write_extxyz
from gendesign.structure.types import Candidate
from scripts.hoip import references


@pytest.fixture(scope="module")
def crystals() -> list[Atoms]:
    """Two different starts of (methylammonium)2PbI4."""
    made = compose(Composition("C[NH3+]"))
    return [build_start(made, RandomStarts(cells=("sqrt2",)), 0, index).atoms for index in (0, 1)]


def disguised(atoms: Atoms) -> Atoms:
    """The same crystal: another cell of it, turned, shifted, its atoms in another order and displaced a little."""
    copy = make_supercell(atoms, [[1, 1, 0], [-1, 1, 0], [0, 0, 1]])
    turn = Rotation.from_rotvec([0.3, -1.1, 0.6]).as_matrix()
    copy.set_cell(copy.cell.array @ turn.T, scale_atoms=True)
    rng = np.random.default_rng(3)
    copy.positions += [1.3, 0.2, -2.0] + rng.normal(0, 0.03, copy.positions.shape)
    copy.wrap()
    return copy[rng.permutation(len(copy))]


def test_a_disguised_copy_is_matched_and_another_crystal_is_not(crystals):
    first, second = crystals
    found = compare([second, disguised(first)], [-1.3, -1.0], [first], -1.0, k=5)
    assert found.outcome == MATCHED and found.rank == 2
    assert 0.01 < found.distance < 0.12  # 0.03 Angstrom along each axis are 0.05
    assert (found.energy, found.match_energy) == (pytest.approx(-0.3), 0.0)
    moved = first.copy()  # hydrogens do not count
    moved.positions[moved.numbers == 1] += 0.4
    assert compare([moved], [0.0], [first], 0.0, k=1).outcome == MATCHED
    tied = compare([disguised(first), second], [0.0, 0.0], [second, first], 0.0, k=1)
    assert (tied.outcome, tied.rank) == (TIE, 1)  # another crystal as low as the reference is not the reference
    assert compare([disguised(first), second], [0.0, 0.0], [second, first], 0.0, k=2).outcome == MATCHED


def test_a_match_behind_the_best_k_does_not_count(crystals):
    first, second = crystals
    found = compare([second, first], [-0.01, 0.0], [first], 0.0, k=1)
    assert (found.outcome, found.rank) == (MISSED, 2)
    assert compare([], [], [first], 0.0, k=5) == Recovery(MISSED)


def test_lower_needs_more_than_the_tolerance_and_the_teacher(crystals):
    first, second = crystals
    assert compare([second], [-0.021], [first], 0.0, k=5).outcome == UNCONFIRMED
    assert compare([second], [-0.021], [first], 0.0, k=5, taught=lambda: -0.5).outcome == LOWER
    assert compare([second], [-0.019], [first], 0.0, k=5).outcome == MISSED
    for said, outcome in ((-0.001, LOWER), (0.001, MISSED), (None, MISSED)):
        found = compare([second], [-1.0], [first], 0.0, k=5, taught=lambda said=said: said)
        assert (found.outcome, found.taught) == (outcome, said)


def test_shares_count_what_could_not_be_compared():
    found = {"a": [Recovery(MATCHED, 1, 0.1, 0.03), Recovery(LOWER), Recovery(MATCHED, 2, 0.1, -0.01)],
             "b": [Recovery(outcome) for outcome in (MISSED, UNKNOWN, UNCONFIRMED, TIE, MISSED)]}  # fmt: skip
    share, *outcomes, close, first, second = share_rows(found)
    assert (share.value, share.n, share.target) == (0.375, 8, ">= 0.8")
    assert [row.value for row in outcomes] == [2 / 8, 1 / 8, 1 / 8, 1 / 8, 2 / 8] and close.value == 1 / 8
    assert (first.value, second.value, first.n) == (1.0, 0.0, 3)
    assert share_rows({})[0].value is None and share_rows({})[0].met is False


def test_planar_cells_reduce_to_that_of_two_metals():
    a, b = np.array([8.88, 0, 0]), np.array([0, 8.69, 0])
    one = np.array([(a + b) / 2, (a - b) / 2])  # of one metal
    for cell, metals in (
        (np.array([a, b]), 2),
        (np.array([b, a + 2 * b]), 2),
        (one, 1),
        (2 * one, 4),
        (np.array([one[0], 2 * one[1]]), 2),
        (np.array([one[0] + one[1], one[1]]), 1),
        (np.array([a, b + a]) @ Rotation.from_rotvec([0.4, 0.9, -0.3]).as_matrix().T, 2),
    ):
        assert in_plane(cell, metals) == pytest.approx((8.88 * 8.69 / 2, 8.88, 8.69))


def test_deviations_have_no_sign_and_a_target():
    hot, cold = Lattice(10.0, 40.0, 9.0, 8.0), Lattice(9.1, 42.0, 9.0, 8.0)
    rows = {row.name: row for row in lattice_rows("x", Lattice(9.0, 42.0, 9.0, 8.0), {"hot phase": hot})}
    off = rows["x: layer spacing, off the hot phase (10)"]
    assert off.value == pytest.approx(10.0) and off.met is False and rows["x: layer spacing"].value == 9.0
    assert rows["x: area per metal, off the hot phase (40)"].value == pytest.approx(5.0)
    phases = {"hot phase": hot, "cold phase": cold}
    assert all(row.value is None for row in lattice_rows("x", None, phases))
    both = {row.name: row for row in lattice_rows("x", Lattice(9.0, 42.0, 9.0, 8.0), phases, None)}
    off = both["x: layer spacing, off the cold phase (9.1)"]
    assert off.value == pytest.approx(100 / 91) and off.target is None and len(both) == 12


def test_the_first_crystal_that_is_like_the_measured_one():
    true = Lattice(10.0, 40.0, 9.0, 8.0)
    near, far = Lattice(10.4, 39.0, 9.4, 8.2), Lattice(10.6, 40.0, 9.0, 8.0)
    rank, above = lattices.nearest_rows("x", [(far, -3.0), (near, -2.75), (true, -2.0)], "cold phase", true)
    assert (rank.value, above.value, rank.n) == (2.0, 0.25, 1) and above.unit == "eV per formula unit"
    assert [row.value for row in lattices.nearest_rows("x", [(far, -3.0)], "cold phase", true)] == [None, None]
    assert [row.value for row in lattices.nearest_rows("x", [], "cold phase", true)] == [None, None]


def test_lattices_of_the_published_cells():
    made = {name: material.compound for name, material in lattices.MATERIALS.items()}
    warm, cold = (Lattice.of(cell, made["BA2PbI4"]) for cell in PHASES["BA2PbI4"].values())
    assert vars(warm) == pytest.approx({"spacing": 13.8, "area": 38.5836, "longer": 8.88, "shorter": 8.69})
    assert (cold.spacing, cold.longer, cold.shorter) == pytest.approx((13.1165, 8.986, 8.428))
    (triclinic,) = (Lattice.of(cell, made["PEA2PbI4"]) for cell in PHASES["PEA2PbI4"].values())
    assert (triclinic.spacing, triclinic.area) == pytest.approx((16.4, 8.7**2 / 2))


def test_how_far_a_crystal_moves_from_the_teachers():
    taught, own = Lattice(14.0, 38.0, 9.0, 8.5), Lattice(13.3, 38.0, 9.09, 8.5)
    rows = lattices.followed_rows("BA2PbI4", taught, own)
    assert [row.value for row in rows] == pytest.approx([5.0, 0.0, 1.0, 0.0]) and rows[0].target == "<= 3"
    assert [row.value for row in lattices.followed_rows("BA2PbI4", taught, None)] == [None] * 4


def test_cells_of_the_teacher(tmp_path):
    path, crystal = tmp_path / "cells.extxyz", lattices.cubic_start("CsPbI3")
    write_extxyz([Candidate(crystal.repeat((2, 2, 1)), 0, info={"material": "CsPbI3"})], path)
    taught = lattices.teacher_cells(str(path))["CsPbI3"].atoms
    rows = lattices.cubic_rows("CsPbI3", Candidate(crystal, 0, failure="broke"), taught)
    own, off, teacher, teacher_off, followed = rows
    assert (own.value, off.value, followed.value) == (None, None, None) and teacher.value == pytest.approx(6.4)
    assert teacher_off.value == pytest.approx(100 * (6.4 / 6.29 - 1))
    longer = Atoms(crystal.numbers, crystal.positions * 1.01, cell=crystal.cell * 1.01, pbc=True)
    *_, followed = lattices.cubic_rows("CsPbI3", Candidate(longer, 0, info={"converged": True}), taught)
    assert followed.value == pytest.approx(1.0) and followed.target == "<= 3" and "off teacher (6.4)" in followed.name
    write_extxyz([Candidate(crystal, 0, info={"material": "CsSnI3"})], path)
    with pytest.raises(UserError, match=r"material=CsSnI3; allowed are BA2PbI4; PEA2PbI4; BA2PbI4, room-.*; CsPbBr3"):
        lattices.teacher_cells(str(path))
    assert lattices.teacher_cells(None) == {}


def test_materials_and_their_cells():
    material = Material.parse("C[NH3+] Pb I")
    assert material.compound.formula() == "C2H12I4N2Pb" and "/" not in Material("C/C=C\\C[NH3+]", "Pb", "I").folder
    assert Material("C/C=C\\C[NH3+]", "Pb", "I").folder != Material("C/C=C/C[NH3+]", "Pb", "I").folder
    fitting = [fitting_cell(material, ["2x2", "sqrt2", 1], most) for most in (84, 83, 42, 41)]
    assert fitting == ["2x2", "sqrt2", "sqrt2", "1"] and fitting_cell(material, 1, 21) == "1"
    with pytest.raises(UserError, match="21 atoms per formula unit"):
        fitting_cell(material, ["sqrt2"], 41)
    with pytest.raises(UserError, match="is not CATION METAL HALIDE"):
        Material.parse("C[NH3+] PbI")


def test_references_must_be_independent_of_the_search(crystals, tmp_path):
    material, path = Material.parse("C[NH3+] Pb I"), tmp_path / "known.extxyz"
    info = {"composition": material.text, "starts": 40, "seeds": "1001 1002"}
    write_extxyz([Candidate(crystals[0], 7, "perovskite", 1002, info=info)], path)
    known = read_references(str(path))

    def config(seed: int, starts: int, searches: int = 1):
        return OmegaConf.create({"seed": seed, "perovskites": {"starts": starts, "searches": searches}})

    (found,) = references_for(material, known, config(0, 8))
    assert np.allclose(found.atoms.positions, crystals[0].positions) and found.seed == 1002
    for settings, said in (
        (config(0, 9), "give at most 8"),
        (config(1001, 8), "seed 1001 was used"),
        (config(999, 8, searches=3), "seed=999, perovskites.searches=3: seed 1001 was used"),
    ):
        with pytest.raises(UserError, match=said):
            references_for(material, known, settings)
    with pytest.raises(UserError, match=r"no reference is known of CC\[NH3\+\] Pb I, only of C\[NH3\+\] Pb I"):
        references_for(Material.parse("CC[NH3+] Pb I"), known, config(0, 8))
    with pytest.raises(UserError, match="does not exist; make it"):
        read_references(str(tmp_path / "none.extxyz"))


def test_both_ways_of_relaxing_end_alike(crystals):
    bare = [Atoms(a.numbers, a.positions, cell=a.cell, pbc=True) for a in crystals]
    limits = Relaxation("fire", 0.05, 12, cell=True, max_stress=0.5)
    found = {"batched": relaxing.batched(bare, Ionic(), limits), "single": relaxing.one_by_one(bare, Ionic(), limits)}
    assert found["batched"].steps == found["single"].steps == 12 and found["single"].converged == 0
    loose = Relaxation("fire", 1e9, 12, cell=True, max_stress=1e9)
    assert relaxing.one_by_one(bare, Ionic(), loose).steps == 0
    assert relaxing.batched(bare, Ionic(), loose).converged == 2


def test_a_pace_is_compared_only_where_both_came_equally_far():
    pace = {"seconds": 2.0, "converged": 3, "steps": 9.0}
    for single, ratio in (({**pace, "seconds": 5.0}, 2.5), ({**pace, "converged": 2}, None)):
        *_, row = relaxing.pace_rows({"batched": pace, "single": single, "own": pace}, 4, torch.device("cpu"))
        assert row.value == ratio and row.target == ">= 1"


def test_calls_are_counted():
    toy, atoms = Ionic(), lattices.cubic_start("CsPbI3")
    meter = Metered(toy)
    assert meter.name == "ionic" and np.allclose(atoms.get_distance(1, 2, mic=True), 3.2)
    relax([atoms, atoms], meter, Relaxation("fire", 1e-9, 3, cell=True))
    counts = {verdict.check: verdict.value for verdict in meter.read(4)}
    assert counts == {"model_calls": toy.calls / 2, "structure_evaluations": toy.calls}  # the toy counts structures
    assert toy.calls >= 2 * 5 and meter.read(4) == []  # before, three steps, and for the report


def test_references_that_tie_come_in_the_order_of_exact_energies(crystals):
    first, second = crystals

    def ended(*pairs: tuple[Atoms, float]) -> SearchResult:
        ranked = tuple(
            Candidate(atoms, i, info={"energy": energy * 2, "formula_units": 2})
            for i, (atoms, energy) in enumerate(pairs)
        )
        return SearchResult(ranked, 8, 0, 1, 1, 1.0)

    def made_of(searches: list[SearchResult], *exact: float) -> list[Candidate]:
        seeds, text = range(1, 1 + len(searches)), "C[NH3+] Pb I"
        return references.references(Material.parse(text), searches, Ionic(), seeds, lambda tied: [*exact][: len(tied)])

    searches = [ended((first, -7.0)), ended((disguised(second), -6.9996)), ended(), ended((second, -6.9997))]
    made, other = made_of(searches, -7.00001, -7.00002)
    assert np.array_equal(made.atoms.positions, second.positions) and made.info["starts"] == 32
    assert made.info["seeds"] == "1 2 3 4"
    assert (made.info["energy_per_formula"], made.info["found_by"], other.info["found_by"]) == (-6.9997, 2, 1)
    assert made.info["best_of_searches"] == other.info["best_of_searches"] == "0.0000 0.0004 none 0.0003"
    made, _ = made_of(searches, -7.00001, np.inf)
    assert np.array_equal(made.atoms.positions, first.positions)
    (made,) = made_of([ended((first, -7.0)), ended((second, -6.99)), ended((second, -6.99))])
    assert made.info["energy_per_formula"] == made.info["exact"] == -7.0


def test_exact_energies_are_those_of_a_potential_in_double_precision(monkeypatch, crystals):
    asked = []
    monkeypatch.setattr(references, "load", lambda config: asked.append(config.dtype) or Ionic())
    atoms = crystals[0]
    candidate = Candidate(atoms, 0, info={"formula_units": 2})
    (energy,) = references.exact_energies([candidate], resolve("benchmark", ["dtype=float32"]))
    assert asked == ["float64"]
    assert energy < float(Ionic().evaluate([atoms], stress=False).energy[0]) / 2


def labelled(path: Path) -> None:
    """Two kinds of structures with forces 50 and energies 10 meV per atom off those of the toy."""
    frames = []
    for kind, index in (("layered", 0), ("layered", 1), ("cubic", 2)):
        atoms = build_start(compose(Composition("C[NH3+]")), RandomStarts(cells=("1",)), 5, index).atoms
        atoms.calc = AseCalculator(Ionic())
        frame = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True, info={"kind": kind})
        frame.info.update(energy=atoms.get_potential_energy() + 0.01 * len(atoms), stress=atoms.get_stress())
        frame.arrays["forces"] = atoms.get_forces() + 0.05
        frames.append(frame)
    ase.io.write(path, frames, format="extxyz")


def cubic_minimum(formula: str) -> float:
    """The lattice constant of lowest energy on a fine grid."""
    lengths, start = np.arange(5.6, 7.2, 0.005), lattices.cubic_start(formula)
    grid = [Atoms(start.numbers, start.get_scaled_positions() * a, cell=[a] * 3, pbc=True) for a in lengths]
    return float(lengths[int(Ionic().evaluate(grid, stress=False).energy.argmin())])


def test_the_whole_command(tmp_path, monkeypatch, capfd):
    known, record = tmp_path / "known.extxyz", tmp_path / "record"
    monkeypatch.setattr(perovskites, "load", lambda config: Ionic())
    monkeypatch.setattr(references, "load", lambda config: Ionic())
    labelled(tmp_path / "test.extxyz")
    keys = ["perovskites=quick", "dtype=float64", f"perovskites.references={known}", f"output={tmp_path / 'out'}"]
    keys += ["perovskites.starts=8", "perovskites.rounds=1", "perovskites.steps=8", "perovskites.max_steps=60"]
    keys += ["perovskites.fmax=0.5", "perovskites.max_stress=2.0"]
    words = ["benchmark", "perovskites", *keys, f"record={record}", f"perovskites.test=[{tmp_path}/te*.extxyz]"]
    words += ["perovskites.known=[BA2PbI4]", "perovskites.timed=2", "perovskites.timed_steps=4"]
    words += ["seed=8", "perovskites.searches=2", "perovskites.timed_fmax=1e9", "perovskites.timed_stress=1e9"]
    assert cli.main(words) == 2
    assert "does not exist; make it: python -m scripts.hoip.references" in capfd.readouterr().err
    references.main(keys)
    ((kept, *_),) = read_references(str(known)).values()
    assert kept.info["starts"] == 40 and kept.info["weights_sha256"] == "0"
    assert cli.main(words) == 0
    rows = {row["name"]: row for row in json.loads((record / "perovskites.json").read_text())}
    assert rows["force MAE, combined"]["value"] == pytest.approx(50) and rows["force MAE, cubic"]["n"] == 1
    energy = rows["energy MAE, combined"]
    assert energy["value"] == pytest.approx(10) and energy["target"] == "<= 5" and energy["n"] == 3
    assert rows["stress MAE, combined"]["value"] < 1e-6
    assert rows["recovered: matched or lower"]["n"] == 2
    outcomes = [rows[f"C[NH3+] Pb I, seed {seed}: outcome, best 5"]["unit"] for seed in (8, 9)]
    for outcome in (MATCHED, TIE, LOWER, UNCONFIRMED, MISSED):
        assert rows[f"recovered: {outcome}"]["value"] == outcomes.count(outcome) / 2
    name = "C[NH3+] Pb I, seed 8"
    calls, evaluations = rows[f"{name}: model calls"]["value"], rows[f"{name}: structure evaluations"]["value"]
    assert 10 < calls < evaluations and rows[f"{name}: starts"]["value"] == 8
    assert rows[f"{name}: match above the reference"]["n"] == (rows[f"{name}: rank of the match"]["value"] is not None)
    assert rows["BA2PbI4, best of the search: layer spacing"]["value"] > 8
    assert rows["BA2PbI4, teacher: layer spacing"]["value"] is None
    for phase in PHASES["BA2PbI4"]:
        assert f"BA2PbI4, {phase} relaxed: above the best of the search" in rows
    assert rows["CsPbBr3, cubic: lattice constant"]["value"] == pytest.approx(cubic_minimum("CsPbBr3"), abs=0.01)
    assert rows["batches over one by one"]["target"] == ">= 1" and rows["batches over one by one"]["value"] > 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/perovskites/*/*/shards/*")}
    assert len(before) == 11  # five long searches, two, their reference, three of the known crystal
    assert cli.main(words) == 0
    again = {row["name"]: row for row in json.loads((record / "perovskites.json").read_text())}
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert again == rows


def test_another_seed_searches_in_other_folders(tmp_path):
    def folders(seed: int) -> set[Path]:
        config = resolve("benchmark", [f"seed={seed}", "perovskites=full", "perovskites.searches=2"])
        plans = [*perovskites.recovery_plans(config, tmp_path), *perovskites.known_plans(config, tmp_path).values()]
        return {s.path for plan in plans for s in plan.searches if s.structures is None}

    assert len(folders(3)) == 2 * 4 + 2 + 3 and not folders(3) & folders(5)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("perovskites.known=[MAPbI3]", "perovskites.known=MAPbI3: allowed are BA2PbI4, PEA2PbI4"),
        ("perovskites.starts=0", "perovskites.starts=0: give a whole number of 1 or more"),
        ("perovskites.test=[nowhere/*.extxyz]", "perovskites.test=nowhere/*.extxyz matches no file"),
        ("perovskites.compositions=[]", "does not know Br, Cs"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, capfd, word, said):
    monkeypatch.setattr(perovskites, "load", lambda config: Ionic(("H", "C", "N", "I", "Pb")))
    words = ["benchmark", "perovskites", "perovskites=quick", word, f"output={tmp_path / 'out'}", f"record={tmp_path}"]
    assert cli.main(words) == 2
    error = capfd.readouterr().err
    assert said in error and error.count("\n") == 1 and not (tmp_path / "out").exists()

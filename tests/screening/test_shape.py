"""Shape Tanimoto: exact cases, in place, as verdicts of a screen."""

import numpy as np
import pytest
import trimesh
from ase import Atoms
from ase.build import molecule

from gendesign.errors import UserError
from gendesign.screening import Screening, screen
from gendesign.screening.shape import ShapeCheck, tanimoto
from gendesign.structure.types import Candidate


@pytest.fixture
def target(tmp_path):
    atoms = molecule("C6H6")
    atoms.write(tmp_path / "benzene.xyz")
    return str(tmp_path / "benzene.xyz")


def test_identical_shapes_separate_shapes_and_half_of_one():
    benzene = molecule("C6H6")
    heavy = benzene[benzene.numbers > 1]
    assert tanimoto(heavy, heavy) == pytest.approx(1)
    far = heavy.copy()
    for shift in (30.0, 500.0):
        far.positions[:] = heavy.positions + shift
        assert tanimoto(heavy, far) == 0
    pair = Atoms("C2", [[0, 0, 0], [8.0, 0, 0]])
    assert tanimoto(pair, pair[:1]) == pytest.approx(0.5, abs=0.03)
    turned = heavy.copy()
    turned.rotate(90, "x")
    assert tanimoto(heavy, turned) < 0.8  # nothing is aligned


def test_verdicts(target):
    benzene, far = molecule("C6H6"), molecule("C6H6")
    far.positions += 40
    failed = Candidate(Atoms(), 2, failure="no molecule: broke")
    candidates = [Candidate(benzene, 0), Candidate(far, 1), failed, Candidate(molecule("H2"), 3)]
    measured = ShapeCheck(target)(candidates)
    assert [v.passed for v in measured] == [None] * 4 and measured[0].value == pytest.approx(1)
    judged = ShapeCheck(target, least=0.7)(candidates)
    assert [v.passed for v in judged] == [True, False, False, False]
    assert [v.reason for v in judged] == ["", "", "no molecule: broke", "no heavy atoms"]
    found = screen(candidates[:2], settings=Screening(checks=(), shape_target=target, shape_least=0.7, workers=0))
    assert [v.passed for v in found if v.check == "shape_tanimoto"] == [True, False]
    assert not any(v.check == "shape_tanimoto" for v in screen(candidates[:1], settings=Screening(checks=("rings",))))


def test_targets_that_are_no_molecules(tmp_path):
    trimesh.creation.icosphere(radius=3.0, subdivisions=3).export(tmp_path / "ball.stl")
    np.save(tmp_path / "ball.npy", np.random.default_rng(0).normal(size=(2000, 3)))
    ball = ShapeCheck(str(tmp_path / "ball.stl"))
    apart = np.linalg.norm(ball.atoms.positions[:, None] - ball.atoms.positions, axis=-1)
    assert apart[apart > 0].min() >= 1.2 - 1e-6
    assert ball([Candidate(ball.atoms, 0)])[0].value == pytest.approx(1)
    assert ShapeCheck(str(tmp_path / "ball.npy"))([Candidate(ball.atoms, 0)])[0].value > 0.4


def test_refusals(target):
    with pytest.raises(UserError, match=r"screening.checks=.*: allowed are"):
        Screening(checks=("shape",))
    with pytest.raises(UserError, match="shape_least=2: give a number from 0 to 1"):
        Screening(checks=(), shape_target=target, shape_least=2)
    with pytest.raises(UserError, match="does not exist"):
        Screening(checks=(), shape_target="missing.sdf")

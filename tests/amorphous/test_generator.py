"""The generator: equal bytes after any interruption, what candidates say, refusals before anything is computed."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from ase.io import write
from pairs import Argon, argon_crystal, was_killed

from gendesign.errors import UserError
from gendesign.generate.amorphous.generator import Amorphous
from gendesign.generate.amorphous.protocol import Stage
from gendesign.generate.amorphous.similarity import Annealing
from gendesign.generate.amorphous.stages import cut, strained
from gendesign.screening import ScreeningContext
from gendesign.screening.amorphous import AmorphousScreening
from gendesign.structure.constraints import fixed_components
from gendesign.structure.generator import ShardContext
from gendesign.structure.step_cache import StepCache

PROTOCOL = """
stages:
  - {name: settle, kind: relax, fmax: 0.05, max_steps: 20}
  - {name: melt, temperature: 150, duration: 0.2, timestep: 5, friction: 20}
  - {name: quench, ensemble: npt, temperature: [150, 20], duration: 0.2, timestep: 5, bulk_modulus: 3}
"""


@pytest.fixture
def protocol(tmp_path) -> str:
    path = tmp_path / "short.yaml"
    path.write_text(PROTOCOL)
    return str(path)


def generator(path: str, potential=None, **changes) -> Amorphous:
    settings = dict(formula="Ar", n_atoms=24, density=1.5, protocol=path) | changes
    return Amorphous(potential or Argon(), **settings)


def positions(candidates) -> list[np.ndarray]:
    return [candidate.atoms.positions for candidate in candidates]


class Deadly(Argon):
    """Ends its process at a call."""

    def __init__(self, call: int) -> None:
        self.left = call

    def evaluate(self, structures, *, stress=False):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().evaluate(structures, stress=stress)


def test_models_say_how_they_were_made_and_repeat(protocol):
    first, second = (list(generator(protocol).generate([0, 5], seed=3)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert one.failure is None and one.info == other.info
        assert np.array_equal(one.atoms.positions, other.atoms.positions)
    assert not np.allclose(first[0].atoms.positions, first[1].atoms.positions)
    assert first[0].info["cooling_rate"] == 650 and first[0].info["start"] == "random"
    assert first[0].history[0] == "packed at random"
    assert first[0].history[-1].startswith("quench: npt, 150 to 20 K at 650 K/ps, 0 GPa, 0.2 ps")
    assert not first[0].atoms.has("momenta")


def killed_run(protocol, call, folder):
    """Models until SIGKILL at a call of the potential."""
    context = ShardContext(StepCache(Path(folder)))
    list(generator(protocol, Deadly(int(call))).generate([0, 1], seed=0, context=context))


def test_killed_at_any_stage_it_ends_with_the_same_bits(protocol, tmp_path):
    whole = list(generator(protocol).generate([0, 1], seed=0))
    for call in (10, 60, 110):  # the relaxation, and both stages of dynamics
        folder = tmp_path / str(call)
        assert was_killed(__file__, "killed_run", str(protocol), str(call), str(folder))
        rest = list(generator(protocol).generate([0, 1], seed=0, context=ShardContext(StepCache(folder))))
        for a, b in zip(positions(whole), positions(rest), strict=True):
            assert np.array_equal(a, b)


def test_a_model_that_fails_keeps_its_last_frame(protocol):
    class Bad(Argon):
        calls = 0

        def evaluate(self, structures, *, stress=False):
            out = super().evaluate(structures, stress=stress)
            Bad.calls += 1
            if Bad.calls > 60 and len(out.forces) == 48:  # as long as both run
                out.forces[:24] = np.nan
            return out

    broken, fine = generator(protocol, Bad()).generate([0, 1], seed=0)
    assert broken.failure and "no longer finite" in broken.failure and len(broken.atoms) == 24
    assert np.isfinite(broken.atoms.positions).all()
    session = AmorphousScreening().open(ScreeningContext(generator(protocol), Argon(), None))
    verdicts = session.screen_each([broken, fine])
    assert {v.candidate: v.passed for v in verdicts if v.check == "valid"} == {0: False, 1: True}
    table = {row["name"]: row["value"] for row in session.summarise(verdicts, 2)}
    assert table["valid"] == 0.5 and table["cooling rate"] == 650 and 1.0 < table["density"] < 2.0
    files = session.files([broken, fine], verdicts)
    assert "at 650 K/ps" in files["stages.txt"] and files["models.csv"].count("\n") == 3


def test_strain_and_cut():
    atoms = argon_crystal(2)
    longer = strained(atoms, Stage(kind="strain", factors=(1, 1, 1.1)))
    assert longer.cell.lengths()[2] == pytest.approx(1.1 * atoms.cell.lengths()[2])
    slab = cut(atoms, Stage(kind="cut", vacuum=12, fixed=3))
    assert slab.cell.lengths()[2] == pytest.approx(atoms.cell.lengths()[2] + 12) and slab.pbc.tolist() == [1, 1, 0]
    fixed = fixed_components(slab).all(1)
    assert 0 < fixed.sum() < len(slab) and slab.positions[fixed, 2].max() < slab.positions[~fixed, 2].min() + 1e-9
    assert slab.positions[:, 2].min() == pytest.approx(6.0)


def test_a_surface_keeps_its_fixed_atoms(tmp_path):
    path, start = tmp_path / "surface.yaml", tmp_path / "start.xyz"
    path.write_text("stages: [{kind: cut, vacuum: 12, fixed: 3}, {temperature: 30, duration: 0.1, timestep: 5}]")
    write(start, argon_crystal(2), format="extxyz")
    (model,) = Amorphous(Argon(), start=str(start), protocol=str(path)).generate([0], seed=0)
    before = cut(argon_crystal(2), Stage(kind="cut", vacuum=12, fixed=3))
    fixed = fixed_components(before).all(1)
    assert np.allclose(model.atoms.positions[fixed], before.positions[fixed], atol=1e-6)
    assert not np.allclose(model.atoms.positions[~fixed], before.positions[~fixed], atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (dict(formula="GeO2", density=3.6), "Ge"),
        (dict(density=30.0), "cannot be packed"),
        (dict(route="similarity"), "none has Ar; give a file"),
        (dict(route="similarity", formula="Si", similarity=Annealing(void=9.0)), "void=9 Angstrom does not fit"),
        (dict(protocol="nothing"), "no such protocol"),
        (dict(protocol="silicon_slow"), "model edip of stage settle has no Ar, only Si"),
    ],
)
def test_what_cannot_be_is_refused_at_once(changes, said, protocol):
    with pytest.raises(UserError) as caught:
        generator(protocol, **changes)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_an_open_cell_is_neither_relaxed_nor_under_pressure(tmp_path):
    path = tmp_path / "cut.yaml"
    path.write_text("stages: [{kind: cut, name: open it}]")
    assert "stage open it" in generator(str(path)).holds_cell
    path.write_text("stages: [{kind: cut}, {kind: pack}]")
    assert generator(str(path)).holds_cell == ""
    path.write_text("stages: [{kind: cut}, {name: press, ensemble: npt, temperature: 30, duration: 0.1}]")
    with pytest.raises(UserError, match="stage press changes the cell"):
        generator(str(path))


def test_a_missing_engine_names_the_line_that_installs_it(monkeypatch, tmp_path):
    monkeypatch.setenv("GENDESIGN_ENGINES", str(tmp_path))
    with pytest.raises(UserError, match="gendesign install lammps"):
        Amorphous(Argon(), formula="Si", n_atoms=24, protocol="silicon_slow")

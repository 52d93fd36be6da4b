"""The route by similarity: periodic scores against differences, and models that come to resemble their references."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.io import write
from matscipy.neighbours import neighbour_list
from scipy.special import sph_harm_y

from gendesign.errors import UserError
from gendesign.generate.amorphous.generator import Amorphous
from gendesign.generate.amorphous.power_spectrum import PowerSpectrum, spherical_harmonics
from gendesign.generate.amorphous.references import disordered, read_references
from gendesign.generate.amorphous.similarity import Annealing, Run, SimilarityRoute
from gendesign.generate.amorphous.starts import Starts
from gendesign.generate.simgen.kernel import energies
from gendesign.structure.counter_random import keys
from gendesign.structure.graph import neighbours


@pytest.fixture(scope="module")
def references(tmp_path_factory) -> str:
    path, rng = tmp_path_factory.mktemp("references") / "carbon.xyz", np.random.default_rng(0)
    frames = [bulk("C", "diamond", a=3.57, cubic=True) * (2, 2, 2) for _ in range(3)]
    for frame in frames:
        frame.positions += rng.normal(0, 0.1, frame.positions.shape)
    write(path, frames, format="extxyz")
    return str(path)


def route(references: str, **changes) -> SimilarityRoute:
    settings = Annealing(references=(references,), **{**dict(steps=60, cutoff=2.6), **changes})
    return SimilarityRoute.of(settings, tiny.potential(), Starts("C", 24, 3.3))


def run(references: str, **changes) -> Run:
    made = route(references, **changes)
    return Run.of(made, [made.starts.make(i, 0) for i in range(2)], keys(0, torch.arange(2)))


def coordination(atoms: Atoms, cutoff: float) -> np.ndarray:
    return np.bincount(neighbour_list("i", atoms, cutoff), minlength=len(atoms))


def test_spherical_harmonics_span_those_of_scipy():
    u = np.random.default_rng(0).normal(size=(40, 3))
    u /= np.linalg.norm(u, axis=1)[:, None]
    ours = spherical_harmonics(torch.tensor(u)).numpy()
    theta, phi = np.arccos(u[:, 2]), np.arctan2(u[:, 1], u[:, 0])
    for order in range(4):
        theirs = np.stack([sph_harm_y(order, m, theta, phi) for m in range(-order, order + 1)], 1)
        block = ours[:, order**2 : (order + 1) ** 2]
        assert np.allclose(block @ block.T, 4 * np.pi / (2 * order + 1) * (theirs @ theirs.conj().T).real)


def test_power_spectrum_is_that_of_the_turned_structure_and_of_a_larger_cell():
    atoms = disordered("quartz", 0.2, 0.05)[0]
    spectrum = PowerSpectrum(("O", "Si"), 3.6, 1.6, dtype=torch.float64)
    turned = atoms.copy()
    turned.rotate(37, (1, 2, 3), rotate_cell=True)
    one, other, twice = (spectrum.descriptors([a]) for a in (atoms, turned, atoms * (2, 1, 1)))
    assert torch.allclose(one, other, atol=1e-9)
    assert torch.allclose(one, twice[: len(one)], atol=1e-9)
    assert float(one.std(0).max()) > 0.1


@pytest.mark.parametrize("descriptors", ["geometry", "potential"])
def test_the_forces_are_the_gradient_of_the_likeness(references, descriptors):
    start = run(references, descriptors=descriptors)
    state, kind = start.state, start.route.environments.features.dtype
    x, step = state.batch.positions, 1e-3 if kind == torch.float32 else 1e-5

    def value(positions: torch.Tensor) -> float:
        near = neighbours(state.batch.at(positions), start.route.describer.cutoff)
        features = start.features(state, positions.to(kind), near).double()
        known = replace(start.route.environments, features=start.route.environments.features.double())
        return float(energies(features, state.batch.numbers, known, 0.0).sum())

    forces = start.pull(state, neighbours(state.batch, start.route.describer.cutoff + 0.5))
    for row in (0, 30):
        moved = torch.zeros_like(x)
        moved[row, 1] = step
        with torch.no_grad():
            slope = (value(x + moved) - value(x - moved)) / (2 * step)
        assert float(forces[row, 1]) == pytest.approx(-slope, rel=2e-2, abs=2e-2 * float(forces.abs().max()))


def test_disordered_crystals_keep_bonds_and_lose_angles():
    silicon, silica = disordered("diamond", 0.6, 0.0)[0], disordered("quartz", 0.4, 0.0)[0]
    i, vector, length = neighbour_list("iDd", silicon, 2.85)
    assert len(length) == 4 * len(silicon) and length.std() < 0.07
    angles = [
        np.degrees(np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1)))
        for atom in range(len(silicon))
        for k, a in enumerate(vector[i == atom])
        for b in vector[i == atom][k + 1 :]
    ]
    assert 5 < np.std(angles) < 15 and np.mean(angles) == pytest.approx(109.5, abs=1)
    oxygens = np.bincount(neighbour_list("i", silica, {("Si", "O"): 2.0}), minlength=len(silica))
    assert set(oxygens[silica.numbers == 14]) == {4} and set(oxygens[silica.numbers == 8]) == {2}


def test_auto_takes_crystals_of_the_whole_composition():
    assert {a.get_chemical_formula(empirical=True) for a in read_references("auto", 0.3, 0.05, ["O", "Si"])} == {"O2Si"}
    assert {a.get_chemical_formula(empirical=True) for a in read_references("auto", 0.3, 0.05, ["Si"])} == {"Si"}


def test_a_packing_of_silicon_becomes_fourfold():
    made = SimilarityRoute.of(Annealing(steps=400), tiny.potential(), Starts("Si", 64, None))
    start = made.starts.make(0, 5)
    annealed = Run.of(made, [start], keys(5, torch.arange(1)))
    while annealed.state.step < 400:
        annealed.advance()
    (model,) = annealed.state.batch.to_atoms()
    before, after = (float((coordination(atoms, 2.85) == 4).mean()) for atoms in (start, model))
    assert before < 0.5 and after > 0.7
    # not by growing the crystal: second neighbours of the diamond all lie at 3.84 Angstrom
    far = neighbour_list("d", model, 4.6)
    assert (far[far > 3.0]).std() > 0.2


def test_the_temperature_falls_and_ends_at_zero():
    settings = Annealing(steps=100, hot=50.0, cold=5.0)
    values = [settings.temperature(step) for step in range(100)]
    assert values[0] == pytest.approx(50) and values[97] == pytest.approx(5, rel=0.05) and values[98:] == [0, 0]
    assert all(np.diff(values[:99]) < 0)


def test_dynamics_keeps_its_temperature(references):
    still = run(references, steps=10000, hot=20.0, cold=20.0)
    seen = []
    for step in range(400):
        still.advance()
        if step >= 200:
            seen.append(float(still.state.temperature.mean()) * units.kB)
    assert np.mean(seen) == pytest.approx(20, rel=0.25)


def test_models_repeat_and_do_not_depend_on_their_company(references):
    settings = Annealing(references=(references,), steps=12, cutoff=2.6)
    make = Amorphous(tiny.potential(), formula="C", n_atoms=16, density=3.3, route="similarity", similarity=settings)
    both, alone = list(make.generate([0, 1], seed=2)), list(make.generate([1], seed=2))
    assert np.allclose(both[1].atoms.positions, alone[0].atoms.positions, atol=1e-5)
    assert both[0].failure is None and both[0].info["route"] == "similarity" and "unlikeness" in both[0].info


def test_a_void_stays_empty_and_fixed_atoms_stay(references):
    start = run(references, void=2.0, steps=150)
    moving = start.state.moving.clone()
    moving[0] = 0
    start.state = start.evaluate(replace(start.state, moving=moving))
    first = start.state.batch.positions[0].clone()
    while start.state.step < 150:
        start.advance()
    assert torch.equal(start.state.batch.positions[0], first)
    for atoms in start.state.batch.to_atoms():
        away = np.linalg.norm((atoms.get_scaled_positions() - 0.5) @ atoms.cell.array, axis=1)
        assert away[1:].min() > 1.7


def test_references_without_an_element_are_refused(references):
    with pytest.raises(UserError, match="cold=9 is above hot=5"):
        Annealing(hot=5.0, cold=9.0)
    with pytest.raises(UserError, match="none has O; give a file"):
        SimilarityRoute.of(Annealing(references=(references,)), tiny.potential(), Starts("CO", 24, 2.0))
    with pytest.raises(UserError, match="give auto, one of"):
        SimilarityRoute.of(Annealing(references=("absent",)), tiny.potential(), Starts("C", 24, 2.0))
